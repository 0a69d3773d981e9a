"""Part of a rank's steps, filled by threads: of the trainer's process, or of a helper's.

Run as a helper (`serve`), it fills memory that it shares with the trainer, and counts there.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from mmap import mmap
from multiprocessing.connection import Connection
from queue import Queue
from threading import Lock, Thread
from typing import NamedTuple

import numpy as np

from shards.files import Beat
from shards.sampler import Rows
from shards.slot import Slot, nbytes
from shards.stream import Stream

COUNTER = 64  # bytes: a helper's sign of life, in a cache line of its own
_GATHERED = 4_000_000  # bytes of tokens, labels and threads that are gathered at a time


class EndedError(OSError):
    """What was being fetched is not needed any more."""


class Share(NamedTuple):
    """What one rank takes of a stream, and how many steps it may be ahead of its trainer."""

    stream: Stream
    rank: int
    world: int
    ahead: int

    @property
    def turns(self) -> int:
        # One step in use, `ahead` being filled, one that an asynchronous copy may still read.
        return self.ahead + 2

    @property
    def sizes(self) -> list[int]:
        """Rows of each pool of a whole step."""
        pool, pools = self.stream.batching.pool, self.stream.batching.pools
        low, high = self.rank * pool // self.world, (self.rank + 1) * pool // self.world
        return [high - low] * pools

    @property
    def nbytes(self) -> int:
        """Of all slots of all turns."""
        shape = self.stream.max_tokens, self.stream.pixels
        return self.turns * sum(nbytes(size, *shape) for size in self.sizes)

    def slots(self, memory: np.ndarray) -> list[list[Slot]]:
        """The slots of each turn in memory of `nbytes`."""
        shape, at = (self.stream.max_tokens, self.stream.pixels), 0
        turns: list[list[Slot]] = []
        for _ in range(self.turns):
            turns.append([])
            for size in self.sizes:
                turns[-1].append(Slot(size, *shape, memory[at:]))
                at += nbytes(size, *shape)
        return turns


class Filler:
    """Threads that fill part `number` of `parts` of a rank's rows; `beat` is called as they do."""

    def __init__(
        self,
        share: Share,
        threads: int,
        memory: np.ndarray,
        number: int = 0,
        parts: int = 1,
        beat: Beat = lambda: None,
    ) -> None:
        self._share, self._threads, self._number, self._parts = share, threads, number, parts
        self._slots = share.slots(memory)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fill")
        self._lock = Lock()
        width = 24 * share.stream.max_tokens * max(1, sum(share.sizes))
        self._together = max(1, _GATHERED // width)  # steps that are gathered at a time
        self._gathered: dict[int, list[list[Rows]]] = {}
        self._beat, self._ended = beat, False
        share.stream.dataset.beat = self._alive
        self._ahead, self._first = share.stream.ahead(), None

    def begin(self, turn: int, step: int) -> list[Future[None]]:
        """Begin to fill this part of a step's rows into the slots of a turn."""
        share, begun = self._share, []
        if self._ahead:
            self._first = step if self._first is None else self._first
            self._ahead.at(max(self._first, step - share.ahead), step)
        positions = share.stream.positions(step, share.rank, share.world)
        for pool, row in enumerate(positions):
            low, high = (len(row) * (self._number + i) // self._parts for i in (0, 1))
            cut = max(1, -(-(high - low) // self._threads))
            for begin in range(low, high, cut):
                place = (turn, pool, step, begin, min(begin + cut, high))
                begun.append(self._pool.submit(self._fill, *place))
        return begun

    def _fill(self, turn: int, pool: int, step: int, begin: int, end: int) -> None:
        slot = self._slots[turn][pool].part(begin, end)
        self._share.stream.fill_rows(slot, self._rows(step)[pool].part(begin, end))
        self._beat()

    def _alive(self) -> None:
        """What a fetch that takes long calls: it is given up when nobody waits for it any more."""
        if self._ended:
            raise EndedError("the run has ended")
        self._beat()

    def _rows(self, step: int) -> list[Rows]:
        """A step's rows, pool by pool, gathered for many steps when the first of them is due."""
        number, place = divmod(step, self._together)
        with self._lock:
            if number not in self._gathered:
                if len(self._gathered) > self._share.ahead + 1:
                    del self._gathered[min(self._gathered)]
                self._gathered[number] = self._gather(number * self._together)
            return self._gathered[number][place]

    def _gather(self, first: int) -> list[list[Rows]]:
        stream, rank, world, _ = self._share
        steps = [stream.positions(first + i, rank, world) for i in range(self._together)]
        flat = [row for step in steps for row in step]
        whole = stream.rows(np.concatenate([np.zeros(0, np.int64), *flat]))
        ends = np.cumsum([len(row) for row in flat]).tolist()
        parts = iter(whole.part(end - len(row), end) for row, end in zip(flat, ends, strict=True))
        return [[next(parts) for _ in step] for step in steps]

    def end(self) -> None:
        self._ended = True
        if self._ahead:
            self._ahead.end()
        self._pool.shutdown(cancel_futures=True)


def serve(pipe: Connection, descriptors: Sequence[int]) -> None:
    """What a helper does: steps come over the pipe, and go back when they are filled."""
    try:
        share, threads, number, parts = pipe.recv()  # which opens the stream
    except Exception as error:  # noqa: BLE001 - the trainer raises it
        while True:
            pipe.recv()
            pipe.send((None, error))
    whole = np.frombuffer(mmap(descriptors[0], 0), np.uint8)
    counter = whole[number * COUNTER :][:8].view(np.int64)

    def beat() -> None:
        counter[0] += 1

    beat()
    filler = Filler(share, threads, whole[parts * COUNTER :], number, parts, beat)
    due: Queue[tuple[int, list[Future[None]]]] = Queue()

    def answer() -> None:
        while True:
            step, begun = due.get()
            wait(begun)
            error = next((error for one in begun if (error := one.exception())), None)
            try:
                pipe.send((step, error))
            except Exception:  # noqa: BLE001 - an error that cannot be pickled
                pipe.send((step, RuntimeError(repr(error))))

    Thread(target=answer, daemon=True).start()
    while True:  # steps are begun as they come: threads never wait for a step's last picture
        turn, step = pipe.recv()
        try:
            begun = filler.begin(turn, step)
        except Exception as error:  # noqa: BLE001 - the trainer raises it
            begun = [Future()]
            begun[0].set_exception(error)
        due.put((step, begun))
