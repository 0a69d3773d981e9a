"""Read and write what lies on disk. All writing of data goes through this module, by `disk`.

A file appears under its final name whole or not at all: it is written beside its place under a
temporary name, synced, renamed, and its folder synced.
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from manifests import disk
from manifests.disk import TEMPORARY
from manifests.seal import NAME, File, Seal, SealError

if TYPE_CHECKING:
    import polars as pl

_UMASK = os.umask(0o077)  # can only be read by setting it; put back at once, before any thread
os.umask(_UMASK)
_SHARDS = re.compile(r"(?P<corpus>.+)-(train|val|test)-.+-[0-9a-f]{8}\.(tar|tar\.idx|parquet)")


class NewFile:
    """A file under a temporary name, at `path`, until it is published."""

    def __init__(self, folder: Path) -> None:
        disk.make_folder(folder)
        self.descriptor, self.path = disk.create(folder)

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`. Raises OSError if not all of it could be written."""
        disk.write(self.descriptor, data)

    def publish(self, final: Path) -> None:
        """Give it its final name in the same folder, durably."""
        publish(self.path, final)


@contextmanager
def new_file(folder: Path) -> Iterator[NewFile]:
    """A new file in `folder`, which is removed if it is not published when the block ends."""
    file = NewFile(folder)
    try:
        yield file
    finally:
        os.close(file.descriptor)
        disk.remove(file.path)


def publish(temporary: Path, final: Path) -> None:
    """Give a finished temporary file or folder of the same parent its final name, durably."""
    # Temporary names are private (0600, 0700); a data set is shared as the user's umask allows.
    disk.set_mode(temporary, (0o777 if temporary.is_dir() else 0o666) & ~_UMASK)
    disk.sync(temporary)
    disk.rename(temporary, final)
    disk.sync(final.parent)


def write(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, at once."""
    with new_file(path.parent) as file:
        file.write(data)
        file.publish(path)


def write_named(folder: Path, stem: str, suffix: str, data: bytes) -> File:
    """Write `<folder>/<stem>-<8 hex of sha256><suffix>`: other content, another name."""
    sha256 = hashlib.sha256(data).hexdigest()
    path = f"{stem}-{sha256[:8]}{suffix}"
    write(folder / path, data)
    return File(path=path, nbytes=len(data), sha256=sha256)


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A temporary folder that becomes `final` when the block ends well, and is removed otherwise.

    Raises FileExistsError if `final` exists: a finished folder is never written over.
    """
    if final.exists():
        raise FileExistsError(f"{final} exists already; remove it first")
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=final.parent))
    try:
        yield temporary
        for file in temporary.rglob("*"):
            disk.sync(file)
        publish(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """While the block runs no other build writes to `folder` (flock, so on one machine).

    Raises BlockingIOError if one does already.
    """
    disk.make_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BlockingIOError(
            f"another build is writing to {folder}; wait for it, or name another folder"
        ) from None
    finally:
        os.close(descriptor)


def commit(folder: Path, seal: Seal) -> None:
    """Replace the folder's seal: from here on the new data set is the one that is read."""
    write(folder / NAME, seal.encode())


def collect(folder: Path, corpora: Iterable[str] = ()) -> None:
    """Remove what the seal in force does not list: shards, manifests and ledgers of an older one,
    of a build that failed or was killed; and unfinished files, of its corpora and of these.

    By their names: the folder may hold a user's own files, which are nobody's to remove.
    """
    listed: set[Path] = set()
    known = set(corpora)
    with suppress(SealError):
        sealed = Seal.read(folder)
        for shard in sealed.shards:
            listed |= {folder / shard.tar, folder / f"{shard.tar}.idx", folder / shard.manifest}
        listed.add(folder / sealed.reasons.path)
        known.update(shard.corpus for shard in sealed.shards)
    ours = [*folder.glob("manifests/ledger-*.parquet")]
    for part in (*folder.glob("*"), *folder.glob("manifests/*")):
        named = ((path, _SHARDS.fullmatch(path.name)) for path in part.glob("*"))
        ours += [path for path, name in named if name and name["corpus"] == part.name]
    for part in (folder, folder / "manifests", *(folder / name for name in known)):
        ours += [path for path in part.glob(f"{TEMPORARY}*") if path.is_file()]
    for name in known:
        ours += (folder / "manifests" / name).glob(f"{TEMPORARY}*")
    for path in ours:
        if path not in listed:
            disk.remove(path)


def parquet_bytes(table: pa.Table) -> bytes:
    """`table` as one Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def scan(dataset: Path | str) -> "pl.LazyFrame":
    """Every manifest row of a sealed data set, written or not, as a polars LazyFrame.

    Reads the files that the seal lists, so rows of an unfinished build are never among them.
    """
    import polars as pl

    folder = Path(dataset)
    files = [folder / shard.manifest for shard in Seal.read(folder).shards]
    if not files:
        raise ValueError(
            f"{folder} is sealed but holds no shard; its ledger in dataset.json says why"
        )
    return pl.scan_parquet(files, glob=False)  # a folder may be called data[1]
