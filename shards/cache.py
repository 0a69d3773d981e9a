"""Files that were fetched, on this host's disk: how many bytes they take, and what is in use.

    CACHE/<16 hex of a seal's root>/    a data set, laid out as it is where it comes from
    CACHE/unfinished/                   what is being fetched, under temporary names
    CACHE/locks/                        folders that are locked while something is fetched

Every lock is an flock, which ends with its process however that ends. A tar in use is one with a
shared lock: it is never removed. An unfinished file or folder has an exclusive one for as long as
somebody writes to it: whoever looks for room removes the others. Bytes are counted and room is made
under one lock, on `unfinished`, so no two processes take the same room.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from manifests import disk, store

PATIENCE = 60.0  # seconds that a file waits for room before that is an error
_GB = 10**9
_SETS = "[0-9a-f]" * 16  # as a glob
_POLL = 0.05  # seconds, at first, between two looks at what others hold


class CacheError(OSError):
    """There is no room for a file; the text says what takes it, and what to set."""


class Cache:
    """Tars of all data sets in `folder` take `limit` bytes at most, those being fetched included.

    Small files and folders (manifests, seals) are neither counted nor ever removed. `folder` must
    be on a disk of this host: locks do not hold between hosts.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._unfinished = folder / "unfinished"

    def open(self, path: Path, nbytes: int) -> int | None:
        """A descriptor of a tar, in use until it is closed; None if it is not there, whole."""
        try:
            number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with ExitStack() as unless_whole:
            unless_whole.callback(os.close, number)
            fcntl.flock(number, fcntl.LOCK_SH)
            found = os.fstat(number)
            with suppress(FileNotFoundError):  # it was removed before it was locked
                _touch(path)
                if found.st_size == nbytes and os.path.samestat(found, path.stat()):
                    unless_whole.pop_all()
                    return number
        return None

    @contextmanager
    def alone(self, name: str, beat: Callable[[], None]) -> Iterator[None]:
        """While the block runs no other process or thread is in one of the same hexadecimal name.

        `beat` is called again and again while we wait for another. No two names share a lock: one
        may wait for room that another, whose shard is at hand, will make.
        """
        lock = self.folder / "locks" / name
        disk.make_folder(lock.parent)
        number = self._locked_folder(lock, beat)
        try:
            yield
        finally:
            with suppress(OSError):
                lock.rmdir()
            os.close(number)

    def _locked_folder(self, lock: Path, beat: Callable[[], None]) -> int:
        """A descriptor of the folder, made and locked, that is still there when it is locked."""
        while True:
            with suppress(FileExistsError):
                lock.mkdir()
            try:
                number = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            while not _locked(number):
                beat()
                time.sleep(_POLL)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(number), lock.stat()):
                    return number
            os.close(number)

    @contextmanager
    def new_tar(self, nbytes: int, beat: Callable[[], None]) -> Iterator[store.NewFile]:
        """A file of `nbytes` to be written and kept (`keep`); removed if it is not.

        Room is made by removing tars that are not in use; while all are, we wait and call `beat`.
        Raises CacheError if there is none for PATIENCE seconds, or can be none at all.
        """
        if nbytes > self.limit:
            raise CacheError(
                f"a shard of {nbytes:,} bytes can never be in {self.folder}, whose limit is "
                f"{self.limit:,}. Set a higher one: {self._more(nbytes)}"
            )
        ends, pause = time.monotonic() + PATIENCE, _POLL
        with ExitStack() as stack:
            while True:
                with self._counting():
                    in_use = self._make_room(nbytes)
                    if in_use + nbytes <= self.limit:
                        file = stack.enter_context(store.new_file(self._unfinished))
                        fcntl.flock(file.descriptor, fcntl.LOCK_EX)
                        os.ftruncate(file.descriptor, nbytes)  # counted from now on
                        break
                if time.monotonic() > ends:
                    raise CacheError(
                        f"no room for a shard of {nbytes:,} bytes in {self.folder} for "
                        f"{PATIENCE:.0f} seconds: running processes use {in_use:,} of its "
                        f"{self.limit:,} bytes. Set a higher limit: {self._more(in_use + nbytes)}"
                    )
                beat()
                time.sleep(pause)
                pause = min(2 * pause, 1.0)
            yield file

    def keep(self, file: store.NewFile, path: Path) -> int:
        """Give a file of `new_tar` that is whole its name; a descriptor of it, already in use."""
        disk.sync(file.path)  # the longest part; others can count meanwhile
        disk.make_folder(path.parent)
        with self._counting():  # so nobody removes it between our two locks
            file.publish(path)
            _touch(path)
            fcntl.flock(file.descriptor, fcntl.LOCK_UN)
            number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(number, fcntl.LOCK_SH)
        return number

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for what is written before it gets its place; removed when the block ends."""
        with self._counting():
            folder = disk.create_folder(self._unfinished)
            number = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(number, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            disk.remove_folder(folder)
            os.close(number)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """While the block runs nobody else makes room, begins a file or gives one its name."""
        disk.make_folder(self._unfinished)
        number = os.open(self._unfinished, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)

    def _make_room(self, nbytes: int) -> int:
        """Remove what nobody writes to, and unused tars until `nbytes` more fit; bytes left."""
        written = [path for path in self._unfinished.iterdir() if not _remove_unused(path)]
        taken = sum(nbytes for _, nbytes, path in map(_seen, written) if path.is_file())
        tars = sorted(map(_seen, self.folder.glob(f"{_SETS}/*/*.tar")))
        taken += sum(nbytes for _, nbytes, _ in tars)
        for _, freed, path in tars:
            if taken + nbytes <= self.limit:
                break
            if _remove_unused(path):
                taken -= freed
        return taken

    def _more(self, nbytes: int) -> str:
        """The setting that leaves room for `nbytes`, and some more."""
        return f"--set cache_gb={2 * nbytes // _GB + 1}"


def _touch(path: Path) -> None:
    """Note that a file is used now: the least recently used are removed first."""
    now = time.time_ns()  # the kernel's own stamp is some milliseconds behind
    os.utime(path, ns=(now, now))


def _seen(path: Path) -> tuple[int, int, Path]:
    """When a file was last used, in ns, and its bytes; zeros if it is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0, path
    return found.st_mtime_ns, found.st_size, path


def _remove_unused(path: Path) -> bool:
    """Remove a file or folder unless somebody has a lock on it; whether it is gone."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        if not _locked(number):
            return False
        if path.is_dir():
            disk.remove_folder(path)
        else:
            disk.remove(path)
        return True
    finally:
        os.close(number)


def _locked(number: int) -> bool:
    """Whether an exclusive lock on an open file could be had at once, and now is."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
