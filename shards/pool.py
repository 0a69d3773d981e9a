"""One function over many items on all cores, its results in the order of the items.

    for checked in ordered_map(function, items, nbytes, progress): ...

In processes, as much of the work is Python. What is small is done here: to start a process takes
longer.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from shards.helper import Helper

R = TypeVar("R")
Advance = Callable[[int], None]

_FEW = 64_000_000  # bytes that one process reads before others have started
_TOLD = 8_000_000  # bytes between two words of progress
_PATIENCE = 300  # seconds without a word from any


def ordered_map(
    function: Callable[..., R],
    items: Sequence[tuple],
    nbytes: int,
    progress: Advance = lambda nbytes: None,
) -> Iterator[R]:
    """`function(*item, progress)` of each item; they read about `nbytes` in all.

    Function, items and results are pickled. Raises ChildProcessError if a process is killed or
    none says a word for five minutes, and whatever `function` raises.
    """
    count = min(len(os.sched_getaffinity(0)), len(items))
    if count < 2 or nbytes < _FEW:
        yield from (function(*item, progress) for item in items)
        return
    todo, done = iter(enumerate(items)), dict[int, R]()
    workers = dict[Any, _Worker]()
    try:
        for _ in range(count):
            worker = _Worker()
            workers[worker.helper.pipe] = worker
            worker.helper.send(function)
            worker.give(next(todo))
        for number in range(len(items)):
            while number not in done:
                busy = [pipe for pipe, worker in workers.items() if worker.number is not None]
                ready = wait(busy, _PATIENCE)
                if not ready:
                    raise ChildProcessError(
                        f"no helper process has read anything for {_PATIENCE} seconds; is the "
                        f"disk or the network it is mounted from still there? Then run it again"
                    )
                for pipe in ready:
                    worker = workers[pipe]
                    kind, said = worker.helper.hear()
                    if kind == "read":
                        progress(said)
                    elif kind == "failed":
                        raise said
                    else:
                        assert worker.number is not None
                        done[worker.number] = said
                        worker.give(next(todo, None))
            yield done.pop(number)
    finally:
        for worker in workers.values():
            worker.helper.end()


class _Worker:
    """A helper that works on one item at a time; `number` is that of the item, None if idle."""

    def __init__(self) -> None:
        self.helper = Helper("shards.pool", "after taskset -c 0 the same command starts none")
        self.number: int | None = None

    def give(self, item: tuple[int, tuple] | None) -> None:
        self.number = None
        if item is not None:
            self.number, what = item
            self.helper.send(what)


def serve(pipe: Connection, descriptors: Sequence[int]) -> None:
    """What a helper process does until its parent ends it, or ends."""
    function, held = pipe.recv(), 0

    def tell(nbytes: int) -> None:
        nonlocal held
        held += nbytes
        if held >= _TOLD:
            pipe.send(("read", held))
            held = 0

    while True:
        item = pipe.recv()
        try:
            result = ("done", function(*item, tell))
        except Exception as error:  # noqa: BLE001 - the parent raises it
            result = ("failed", error)
        pipe.send(("read", held))
        held = 0
        pipe.send(result)
