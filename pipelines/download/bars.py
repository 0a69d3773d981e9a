"""What is under way, shown: a bar for each file on a terminal, a line for each that is done.

Ctrl-C reaches the threads too: each stops at its next bytes, so the program ends at once.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from pipelines.download.fetch import Progress as Report

Unit = Literal["bytes", "images"]


class StoppedError(RuntimeError):
    """The run was stopped, by Ctrl-C or by an error elsewhere."""


class Bars:
    """The bars of one run, and its stop. Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self.stop = threading.Event()
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), _Amount(), TimeRemainingColumn())
        quiet = not console.is_terminal
        self._progress = Progress(*columns, console=console, transient=True, disable=quiet)

    def __enter__(self) -> "Bars":
        self._ours = threading.current_thread() is threading.main_thread()
        if self._ours:  # only there may signals be handled
            self._before = signal.signal(signal.SIGINT, self._interrupted)
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()
        if self._ours:
            signal.signal(signal.SIGINT, self._before)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self.stop.set()
        raise KeyboardInterrupt

    @contextmanager
    def bar(self, name: str, unit: Unit = "bytes") -> Iterator[Report]:
        """A bar; yields what is told how much is done, of how much; it raises StoppedError."""
        task = self._progress.add_task(name, total=None, unit=unit)

        def report(done: int, total: int | None) -> None:
            if self.stop.is_set():
                raise StoppedError(f"{name} was stopped; run the same command again to go on")
            self._progress.update(task, completed=done, total=total)

        try:
            yield report
        finally:
            self._progress.remove_task(task)

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def sleep(self, seconds: float) -> None:
        """Wait, unless the run is stopped."""
        self.stop.wait(seconds)


class _Amount(ProgressColumn):
    """How much is done, and how fast."""

    def render(self, task: Task) -> Text:
        show = decimal if task.fields["unit"] == "bytes" else "{:,} images".format
        of = "" if task.total is None else f" of {show(int(task.total))}"
        speed = "" if task.speed is None else f", {show(int(task.speed))}/s"
        return Text(f"{show(int(task.completed))}{of}{speed}")
