"""The calls that change a data set's files: no other code makes any.

A disk can be full, broken or slow, a call be cut short, a process be killed between any two: all of
it happens here, so tests make it happen, at the n-th call, for every n.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

TEMPORARY = ".tmp-"  # how unfinished names begin; readers and validators know it


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if they are not there."""
    os.makedirs(path, exist_ok=True)


def create(folder: Path) -> tuple[int, Path]:
    """A new file in `folder` under a temporary name: its descriptor and path."""
    path = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path


def write(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however little the system takes at once."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def set_mode(path: Path, mode: int) -> None:
    """Say who may read and write a file or folder."""
    os.chmod(path, mode)


def sync(path: Path) -> None:
    """Return when a file's bytes, or a folder's names, are on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
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
