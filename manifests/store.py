"""Read and write what lies on disk. All writing of data goes through this module.

A file appears under its final name whole or not at all: it is written beside its place under a
temporary name, synced, renamed, and its folder synced.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.seal import NAME, File, Seal

if TYPE_CHECKING:
    import polars as pl

TEMPORARY = ".tmp-"  # how unfinished names begin; readers and validators know it

_UMASK = os.umask(0o077)  # can only be read by setting it; put back at once, before any thread
os.umask(_UMASK)


def sync(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_file(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """An open temporary file in `folder`, to be named by `publish`; removed if it is not."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file, temporary
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, final: Path) -> None:
    """Give a finished temporary file or folder of the same parent its final name, durably."""
    # Temporary names are private (0600, 0700); a data set is shared as the user's umask allows.
    temporary.chmod((0o777 if temporary.is_dir() else 0o666) & ~_UMASK)
    sync(temporary)
    temporary.rename(final)
    sync(final.parent)


def write(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, at once."""
    with new_file(path.parent) as (file, temporary):
        file.write(data)
        file.flush()
        publish(temporary, path)


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
            sync(file)
        publish(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """While the block runs no other build writes to `folder` (flock, so on one machine).

    Raises BlockingIOError if one does already.
    """
    folder.mkdir(parents=True, exist_ok=True)
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
