"""A file of a data set read once from front to back, hashed on the way, in little memory.

    with SequentialFile(folder, "coco/coco-train-00000-01234567.tar") as stream:
        extent = stream.at(offset, nbytes)     # cheap where the one before ended
        digest = stream.drain()                # sha256 of the whole file

Files are read, not mapped: one that is cut off meanwhile is then too short, not a SIGBUS. Nothing
but a regular file is opened, and none outside of the folder by its name.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath

_BLOCK = 512 * 1024  # bytes: what a processor's cache holds


class FileError(Exception):
    """A file that cannot be opened or read; its text says why, and follows the file's name."""


class MissingError(FileError):
    """A file that is not there."""


class SequentialFile:
    """`nbytes` is the size of the file. All that it does may raise FileError."""

    def __init__(
        self, folder: Path, name: str, progress: Callable[[int], None] = lambda nbytes: None
    ) -> None:
        self._number = open_file(folder, name)
        self.nbytes = os.fstat(self._number).st_size
        self._progress = progress
        self._sha256 = hashlib.sha256()
        self._buffer = memoryview(bytearray(_BLOCK))
        self._start = self._end = 0  # what the buffer holds that was not taken
        self._read = 0  # bytes of the file that were read and hashed

    def __enter__(self) -> "SequentialFile":
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._number)

    def at(self, offset: int, nbytes: int) -> memoryview:
        """The bytes there, fewer where the file ends, until the next call."""
        nbytes = min(nbytes, max(self.nbytes - offset, 0))  # a forged length asks for no memory
        if offset != self._read - (self._end - self._start):
            apart = memoryview(bytearray(nbytes))
            return apart[: self._pread(apart, offset)]
        while self._end - self._start < nbytes and self._fill(nbytes):
            pass
        begin, self._start = self._start, min(self._start + nbytes, self._end)
        return self._buffer[begin : self._start]

    def drain(self) -> str:
        """Read what is left; the sha256 of the whole file, in hex."""
        self._start = self._end = 0
        while self._fill(0):
            self._end = 0
        return self._sha256.hexdigest()

    def _fill(self, nbytes: int) -> bool:
        """Read on, with room for `nbytes` in all; False at the end of the file."""
        held = self._buffer[self._start : self._end]
        if nbytes > len(self._buffer):
            self._buffer = memoryview(bytearray(nbytes))
            self._buffer[: len(held)] = held
        elif self._start:
            self._buffer[: len(held)] = bytes(held)
        self._start, self._end = 0, len(held)
        got = self._pread(self._buffer[self._end :], self._read)
        self._sha256.update(self._buffer[self._end : self._end + got])
        self._end += got
        self._read += got
        self._progress(got)
        return got > 0

    def _pread(self, into: memoryview, offset: int) -> int:
        try:
            return os.preadv(self._number, [into], offset)
        except OSError as error:
            raise FileError(f"cannot be read at byte {offset}: {error.strerror}") from None


def read_whole(folder: Path, name: str) -> bytes:
    """All bytes of a small file. Raises FileError."""
    with SequentialFile(folder, name) as stream:
        return bytes(stream.at(0, stream.nbytes))


def read_there(folder: Path, name: str) -> bytes | None:
    """All bytes of a small file, None if there is none. Raises FileError."""
    try:
        return read_whole(folder, name)
    except MissingError:
        return None


def open_file(folder: Path, name: str) -> int:
    """A descriptor of a regular file, by a name relative to `folder`. Raises FileError."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
        raise FileError("its name leads out of the data set; it is not read")
    try:
        # A pipe that nobody writes to would keep us waiting.
        number = os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise MissingError("missing") from None
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileError("is not a regular file")
    return number
