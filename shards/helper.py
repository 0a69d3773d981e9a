"""A Python process of ours that works for this one, and ends with it, however that ends.

It is started by command, not by `multiprocessing`, which would run a caller's script again in it.
It runs `serve(pipe, descriptors)` of a module, which hears over the pipe what is to be done.
"""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from threading import Thread
from typing import Any, NoReturn

_MAIN = (
    "import sys; sys.path[:] = sys.argv[3:]; from shards import helper; helper.run(*sys.argv[1:3])"
)


_GRACE = 5  # seconds for a process that was killed to be gone


class HelperError(ChildProcessError):
    """A helper process that was killed, or that says nothing any more."""


class Helper:
    """A process that runs `serve(pipe, descriptors)` of `module`; its end of `pipe` is here.

    `without` says how to do without it, for the error when it is killed.
    """

    def __init__(self, module: str, without: str, descriptors: Sequence[int] = ()) -> None:
        self._without = without
        self.pipe, theirs = Pipe()
        passed = [theirs.fileno(), *descriptors]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, module, ",".join(map(str, passed)), *sys.path],
            stdin=subprocess.PIPE,  # ends when this process does
            pass_fds=passed,
        )
        theirs.close()  # so that ours ends when theirs does

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, what: Any) -> None:
        """Raises HelperError if the process was killed."""
        try:
            self.pipe.send(what)
        except OSError:
            self._killed()

    def hear(self) -> Any:
        """What it said, as soon as it says it. Raises HelperError if the process was killed."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self._killed()

    def end(self) -> None:
        self._process.kill()
        if self._process.stdin:
            self._process.stdin.close()
        self._exit_code()
        self.pipe.close()

    def _exit_code(self) -> int | str:
        with suppress(subprocess.TimeoutExpired):  # one that waits for a dead disk cannot be killed
            return self._process.wait(_GRACE)
        return "none: it cannot be ended"

    def _killed(self) -> NoReturn:
        raise HelperError(
            f"a helper process was killed (exit code {self._exit_code()}, process {self.pid}), "
            f"perhaps for want of memory. Run it again; {self._without}"
        ) from None


def run(module: str, descriptors: str) -> None:
    """What a helper process does until the one that started it ends it, or ends."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # a terminal, torchrun send it to all of a group;
        signal.signal(number, signal.SIG_IGN)  # the parent ends us
    Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    pipe, *others = map(int, descriptors.split(","))
    importlib.import_module(module).serve(Connection(pipe), others)
