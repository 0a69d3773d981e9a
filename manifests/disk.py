"""The calls that change a data set's files: no other code makes any.

A disk can be full, broken or slow, a call be cut short, a process be killed between any two: all of
it happens here, so tests make it happen, at the n-th call, for every n. A call that a signal
interrupts is made again by Python itself. Every error is an OSError that names a file or folder.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = ".tmp-"  # how unfinished names begin; readers and validators know it


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if they are not there, durably."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        os.mkdir(path)
    except FileExistsError:
        if not path.is_dir():  # else another process was faster
            raise
    sync(path.parent)  # or what is written into it could be lost with it


def create(folder: Path) -> tuple[int, Path]:
    """A new file in `folder` under a temporary name: its descriptor and path."""
    path = _temporary(folder)
    with _naming(path):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path


def create_folder(folder: Path) -> Path:
    """A new folder in `folder` under a temporary name: its path."""
    path = _temporary(folder)
    with _naming(path):
        os.mkdir(path, 0o700)
    return path


def write(descriptor: int, data: bytes | memoryview, path: Path) -> None:
    """Write all of `data` to the open file of `path`, however little the system takes at once."""
    left = memoryview(data)
    with _naming(path):
        while left:
            left = left[os.write(descriptor, left) :]


def set_mode(path: Path, mode: int) -> None:
    """Say who may read and write a file or folder."""
    os.chmod(path, mode)


def sync(path: Path) -> None:
    """Return when a file's bytes, or a folder's names, are on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with _naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(old: Path, new: Path) -> None:
    """Give a file or folder another name in the same file system, at once; `new` is replaced."""
    os.rename(old, new)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def remove_folder(path: Path) -> None:
    """Remove a folder and all that is in it, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)


def _temporary(folder: Path) -> Path:
    return folder / f"{TEMPORARY}{secrets.token_hex(8)}"


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the place in an OSError: of a temporary name, which says nothing, the folder."""
    try:
        yield
    except OSError as error:
        place = path.parent if path.name.startswith(TEMPORARY) else path
        raise OSError(error.errno, error.strerror, str(place)) from error
