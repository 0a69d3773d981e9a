"""One function over many items on all cores, its results in the order of the items.

    for checked in ordered_map(function, items, nbytes, progress): ...

In processes, as much of the work is Python; each ends with the one that started it, however that
ends. They are started by command, not by `multiprocessing`, which would run a caller's script again
in each. What is small is done here: to start a process takes longer.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from threading import Thread
from typing import Any, NoReturn, TypeVar

R = TypeVar("R")
Advance = Callable[[int], None]

_FEW = 64_000_000  # bytes that one process reads before others have started
_TOLD = 8_000_000  # bytes between two words of progress
_PATIENCE = 300  # seconds without a word from any
_MAIN = (
    "import sys; sys.path[:] = sys.argv[2:]; from shards import pool; pool.work(int(sys.argv[1]))"
)


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
            workers[worker.pipe] = worker
            worker.begin(function)
            worker.give(next(todo))
        for number in range(len(items)):
            while number not in done:
                ready = wait([w.pipe for w in workers.values() if w.number is not None], _PATIENCE)
                if not ready:
                    raise ChildProcessError(
                        f"no helper process has read anything for {_PATIENCE} seconds; is the "
                        f"disk or the network it is mounted from still there? Then run it again"
                    )
                for pipe in ready:
                    worker = workers[pipe]
                    kind, said = worker.hear()
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
            worker.end()


class _Worker:
    """A process that works on one item at a time; `number` is that of the item, None if idle."""

    def __init__(self) -> None:
        self.pipe, theirs = Pipe()
        self.number: int | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, str(theirs.fileno()), *sys.path],
            stdin=subprocess.PIPE,  # ends when this process does
            pass_fds=[theirs.fileno()],
        )
        theirs.close()  # so that ours ends when theirs does

    def begin(self, function: Callable) -> None:
        self._send(function)

    def give(self, item: tuple[int, tuple] | None) -> None:
        self.number = None
        if item is not None:
            self.number, what = item
            self._send(what)

    def hear(self) -> tuple[str, Any]:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self._killed()

    def _send(self, what: Any) -> None:
        try:
            self.pipe.send(what)
        except OSError:
            self._killed()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()
        self.pipe.close()

    def _killed(self) -> NoReturn:
        raise ChildProcessError(
            f"a helper process was killed (exit code {self._process.wait()}), perhaps for want of "
            f"memory. Run it again; after taskset -c 0 the same command starts none"
        ) from None


def work(descriptor: int) -> None:
    """What a helper process does until its parent ends it, or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent ends us
    Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    pipe = Connection(descriptor)
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
