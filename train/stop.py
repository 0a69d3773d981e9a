"""Being told to stop: SIGTERM and Ctrl-C are heard at the end of a step, and nothing is lost."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(Exception):  # noqa: N818 - it is no error
    """The run was told to stop, and has saved all it did."""


class Stop:
    """Whether this process was told to stop, while `heard`."""

    def __init__(self) -> None:
        self.asked: str | None = None  # the signal's name
        self._at_once = False

    @contextmanager
    def heard(self) -> Iterator["Stop"]:
        """Signals only set `asked` while the block runs; a second one acts as it always does."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def hear(number: int, frame: FrameType | None) -> None:
            name = signal.Signals(number)
            self.asked = name.name
            signal.signal(name, before[name])
            if self._at_once:
                raise Stopped

        for number in before:
            signal.signal(number, hear)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A signal ends the block by Stopped: for what takes long and changes nothing."""
        if self.asked:
            raise Stopped
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False
