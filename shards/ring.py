"""The steps of a stream, filled ahead of the trainer into buffers that are used again and again.

    with Ring(stream, range(first, steps), rank=0, world=1, fill="threads", threads=2) as ring:
        for step, slots in ring: ...      -> a Slot a pool

`threads` of this process do the work, or one or two helper processes with threads of their own, in
memory that is shared: they go on while Python's lock is held here. Who fills what cannot change it.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future
from mmap import mmap
from multiprocessing.connection import wait
from typing import Literal, Protocol

import numpy as np

from shards.filler import COUNTER, Filler, Share
from shards.helper import Helper, HelperError
from shards.slot import Slot
from shards.stream import Stream

Fill = Literal["threads", "processes"]

_MANY = 8  # threads: from here on two helpers are quicker than one, for each has a lock of its own
_PATIENCE = 20  # seconds that a helper may do nothing while a step is waited for


class _Workers(Protocol):
    """Who fills: `begin` a step into a turn's slots, then `wait` for it, in the same order."""

    memory: np.ndarray

    def begin(self, turn: int, step: int) -> None: ...
    def wait(self) -> None: ...
    def end(self) -> None: ...


class _Threads:
    """Threads of this process."""

    def __init__(self, share: Share, threads: int) -> None:
        self.memory = np.zeros(share.nbytes, np.uint8)
        self._filler = Filler(share, threads, self.memory)
        self._begun: list[list[Future[None]]] = []

    def begin(self, turn: int, step: int) -> None:
        self._begun.append(self._filler.begin(turn, step))

    def wait(self) -> None:
        for filled in self._begun.pop(0):
            filled.result()

    def end(self) -> None:
        self._filler.end()


class _Processes:
    """Helper processes, in memory that has no name: it is gone with the last of them."""

    def __init__(self, share: Share, threads: int, helpers: int) -> None:
        number = os.memfd_create("ring", os.MFD_CLOEXEC)
        self._helpers: list[_Helper] = []
        try:
            os.ftruncate(number, helpers * COUNTER + share.nbytes)
            whole = np.frombuffer(mmap(number, 0), np.uint8)
            self.memory = whole[helpers * COUNTER :]
            for place in range(helpers):
                self._helpers.append(_Helper(number, whole[place * COUNTER :][:8].view(np.int64)))
                self._helpers[-1].send((share, max(1, threads // helpers), place, helpers))
        except BaseException:
            self.end()
            raise
        finally:
            os.close(number)

    def begin(self, turn: int, step: int) -> None:
        for helper in self._helpers:
            helper.send((turn, step))

    def wait(self) -> None:
        for helper in self._helpers:
            helper.wait()

    def end(self) -> None:
        for helper in self._helpers:
            helper.end()


class _Helper(Helper):
    """A helper that fills; `beats` int64 [1] is what it counts while it does."""

    def __init__(self, memory: int, beats: np.ndarray) -> None:
        super().__init__("shards.filler", "--set fill=threads starts none", [memory])
        self._beats = beats

    def wait(self) -> None:
        """Until it has filled its next step. Raises what stopped it."""
        beats, quiet = int(self._beats[0]), 0
        while not wait([self.pipe], 1):  # a second at a time, so that a sleep of all is no silence
            quiet = quiet + 1 if int(self._beats[0]) == beats else 0
            beats = int(self._beats[0])
            if quiet >= _PATIENCE:
                raise HelperError(
                    f"helper process {self.pid} has read nothing for {quiet} seconds: it is "
                    f"stopped, or the disk or network it reads from hangs. Run it again; "
                    f"--set fill=threads starts no helpers"
                )
        _, error = self.hear()
        if error is not None:
            raise error


class Ring:
    """Steps of a stream for one rank, filled up to `ahead` steps before they are asked for.

    Iterating, inside a `with`, gives (step, [a Slot a pool]), the last slots smaller where the
    mixture ends. Slots are reused: work on a step's slots must be done before the next but one step
    is asked for. `memory`, uint8, is all of them. Raises DamageError, and HelperError for a helper
    process that was killed or does nothing any more.
    """

    def __init__(
        self,
        stream: Stream,
        steps: range,
        *,
        rank: int = 0,
        world: int = 1,
        fill: Fill = "threads",
        threads: int = 1,
        helpers: int | None = None,
        ahead: int = 2,
    ) -> None:
        if stream.steps is not None:
            steps = range(steps.start, min(steps.stop, stream.steps), steps.step)
        self._steps, self._share = steps, Share(stream, rank, world, ahead)
        self._workers: _Workers
        if fill == "threads":
            self._workers = _Threads(self._share, threads)
        else:
            many = min(threads, helpers or (2 if threads >= _MANY else 1))
            self._workers = _Processes(self._share, threads, many)
        self.memory = self._workers.memory
        self._slots = self._share.slots(self.memory)

    def __enter__(self) -> "Ring":
        return self

    def __exit__(self, *exception: object) -> None:
        self._workers.end()

    def __iter__(self) -> Iterator[tuple[int, list[Slot]]]:
        share, begun = self._share, 0
        for place, step in enumerate(self._steps):
            while begun < len(self._steps) and begun - place <= share.ahead:
                self._workers.begin(begun % share.turns, self._steps[begun])
                begun += 1
            self._workers.wait()
            rows = share.stream.positions(step, share.rank, share.world)
            slots = self._slots[place % share.turns]
            yield step, [slot.part(0, len(row)) for slot, row in zip(slots, rows, strict=False)]
