"""What stands for `os` in manifests/disk.py, and fails when it is told to.

    disk.os = FaultyOS(Fault("kill", 7))      # the process is killed before the 7th changing call

Calls that change what is on disk are counted from 0: open to create, write, fsync, rename, unlink,
chmod, mkdir. Reads, and fsync's own open and close, are not.
"""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

# kill: before the call. torn: after half the bytes of a write. power: as kill, and the disk has
# none of the names that no fsync of their folder followed, and no bytes without one of their file;
# what was unlinked is gone. blank: the same, but the names are there, their files empty.
# ENOSPC, EIO: the call fails. full: it and all after it fail that need room. short: a write takes
# half.
How = Literal["none", "kill", "torn", "power", "blank", "ENOSPC", "EIO", "full", "short"]
_COUNTED = ("open", "write", "fsync", "rename", "unlink", "chmod", "mkdir")
_NEED_ROOM = ("open", "write", "fsync", "rename", "mkdir")


class Fault(NamedTuple):
    """What happens at which call."""

    how: How = "none"
    at: int = -1


NO_FAULT = Fault()


class FaultyOS:
    """The `os` module, but for one call. `calls` are the names of those that were counted."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self.calls: list[str] = []
        self._power = _Power()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in (*_COUNTED, "close"):
            return real

        def call(*args: Any, **named: Any) -> Any:
            changing = name in _COUNTED and not (name == "open" and not args[1] & os.O_CREAT)
            if changing:
                self.calls.append(name)
                self._meet(name, real, *args)
            if changing and name == "write" and self._fault == ("short", len(self.calls) - 1):
                return real(args[0], args[1][: (len(args[1]) + 1) // 2])
            self._power.before(name, *args)
            done = real(*args, **named)
            self._power.after(name, done, *args)
            return done

        return call

    def _meet(self, name: str, real: Callable, *args: Any) -> None:
        how, now = self._fault.how, len(self.calls) - 1
        path = () if isinstance(args[0], int) else (str(args[0]),)  # as the real call names it
        if how == "full" and now >= self._fault.at and name in _NEED_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *path)
        if now != self._fault.at:
            return
        if how == "torn" and name == "write":
            real(args[0], args[1][: len(args[1]) // 2])
        if how in ("power", "blank"):
            self._power.cut(blank=how == "blank")
        if how in ("kill", "torn", "power", "blank"):
            _end()
        if how in ("ENOSPC", "EIO"):
            code = getattr(errno, how)
            raise OSError(code, os.strerror(code), *path)


def _end() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a signal that cannot be caught was")


class _Power:
    """What a disk may have lost, if the power fails now: all that no fsync has made sure of."""

    def __init__(self) -> None:
        self._paths: dict[int, Path] = {}  # of open descriptors
        self._unsure: list[tuple[Path, Path, bytes | None]] = []  # folder, name, what it replaced
        self._unwritten: set[Path] = set()

    def before(self, name: str, *args: Any) -> None:
        if name == "rename":
            old, new = Path(args[0]), Path(args[1])
            replaced = new.read_bytes() if new.is_file() else None
            self._unsure.append((new.parent, new, replaced))
            if old in self._unwritten:
                self._unwritten.add(new)

    def after(self, name: str, done: Any, *args: Any) -> None:
        if name == "open":
            path = self._paths[done] = Path(args[0])
            if args[1] & os.O_CREAT:
                self._unsure.append((path.parent, path, None))
                self._unwritten.add(path)
        elif name == "close":
            self._paths.pop(args[0], None)
        elif name == "mkdir":
            self._unsure.append((Path(args[0]).parent, Path(args[0]), None))
        elif name == "fsync":
            synced = self._paths[args[0]]
            self._unsure = [one for one in self._unsure if one[0] != synced]
            self._unwritten.discard(synced)

    def cut(self, *, blank: bool) -> None:
        for path in self._unwritten:
            if path.is_file():
                path.write_bytes(b"")
        for _, path, replaced in () if blank else reversed(self._unsure):
            if replaced is not None:
                path.write_bytes(replaced)
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
