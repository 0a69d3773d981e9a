"""Read and write what lies on disk. All writing of data goes through this module, by `disk`.

A file appears under its final name whole or not at all: it is written beside its place under a
temporary name, synced, renamed, and its folder synced.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from manifests import disk
from manifests.disk import TEMPORARY
from manifests.schema import MANIFEST
from manifests.seal import NAME, File, Seal, SealError, Shard

if TYPE_CHECKING:
    import polars as pl

_UMASK = os.umask(0o077)  # can only be read by setting it; put back at once, before any thread
os.umask(_UMASK)
_SHARDS = re.compile(r"(?P<corpus>.+)-(train|val|test)-.+-[0-9a-f]{8}\.(tar|tar\.idx|parquet)")
_CACHES = ("index", "tokens")  # which readers write to at any time, and no build
_UNFINISHED = TEMPORARY + "[0-9a-f]" * 16  # as a glob


class NewFile:
    """A file under a temporary name, at `path`, until it is published."""

    def __init__(self, folder: Path) -> None:
        disk.make_folder(folder)
        self.descriptor, self.path = disk.create(folder)

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`. Raises OSError if not all of it could be written."""
        disk.write(self.descriptor, data, self.path)

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
    disk.make_folder(final.parent)
    temporary = disk.create_folder(final.parent)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            disk.sync(file)
        publish(temporary, final)
    finally:
        disk.remove_folder(temporary)


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """While the block runs no other build writes to `folder` (flock, so on one machine).

    Raises BlockingIOError if one does already. The lock of one that is killed ends with it.
    """
    disk.make_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"another build is writing to {folder}; wait for it, or name another folder"
            ) from None
        yield
    finally:
        os.close(descriptor)


def tar_name(corpus: str, split: str, shard_id: str, sha256: str) -> str:
    """Where a shard's tar lies in its data set: other content, another name."""
    return f"{corpus}/{corpus}-{split}-{shard_id}-{sha256[:8]}.tar"


def manifest_name(corpus: str, split: str, shard_id: str, sha256: str) -> str:
    """Where a shard's manifest lies in its data set."""
    return f"manifests/{corpus}/{corpus}-{split}-{shard_id}-{sha256[:8]}.parquet"


def check_files(folder: Path, shard: Shard) -> None:
    """See that both files of a shard that is to be sealed are there, as those who wrote it say.

    Raises SealError, naming the file, if its name does not follow from the shard's place and the
    file's sha256, or its size is another.
    """
    tar = (shard.tar, tar_name(*shard.place, shard.sha256), shard.nbytes)
    manifest = manifest_name(*shard.place, shard.manifest_sha256)
    for told, name, nbytes in (tar, (shard.manifest, manifest, shard.manifest_nbytes)):
        if told != name:
            raise SealError(f"{told} is not sealed: its place and its sha256 make it {name}")
        try:
            size = (folder / name).stat().st_size
        except FileNotFoundError:
            raise SealError(f"{folder / name} is not sealed: it was written, and is gone") from None
        if size != nbytes:
            raise SealError(f"{folder / name} is not sealed: {size} bytes, {nbytes} were written")


def commit(folder: Path, seal: Seal) -> None:
    """Replace the folder's seal: from here on the new data set is the one that is read."""
    write(folder / NAME, seal.encode())


def collect(folder: Path) -> None:
    """Remove what the seal in force does not list: shards, manifests and ledgers of an older one,
    of a build that failed or was killed; and unfinished files. Call it as the folder's sole writer.

    By their names: the folder may hold a user's own files, which are nobody's to remove. Without a
    seal all shards are of builds that were never finished. With one that cannot be read, or lists
    what is not there, nobody knows which are: then only unfinished files are removed.

    Who reads meanwhile keeps the files that are open, whole. A replaced shard that is opened only
    now is gone: `shards.reader` raises DamageError, which says so and what to do.
    """
    parts = [folder, *folder.glob("*"), *folder.glob("manifests/*")]
    parts = [part for part in parts if part.name not in _CACHES]
    ours = [path for part in parts for path in part.glob(_UNFINISHED) if path.is_file()]
    listed: set[Path] = set()
    try:
        sealed = Seal.read(folder)
    except SealError:
        known = not (folder / NAME).exists()
    else:
        listed = {folder / name for one in sealed.shards for name in (one.tar, one.manifest)}
        listed.add(folder / sealed.reasons.path)
        known = all(path.exists() for path in listed)
        listed |= {folder / f"{shard.tar}.idx" for shard in sealed.shards}
    if known:
        ours += folder.glob("manifests/ledger-*.parquet")
        for part in parts:
            named = ((path, _SHARDS.fullmatch(path.name)) for path in part.glob("*"))
            ours += [path for path, name in named if name and name["corpus"] == part.name]
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


# What can change of a record that was written; in which shard it lies, and where, is not of it.
_COMPARED = ("split", "group", "digest", "width", "height", "turns", "kinds", "licence", "pair")
_COMPARED += ("evidence", "locator", "source_digest")


def changes(a: Path | str, b: Path | str) -> "pl.LazyFrame":
    """What became of the written records of `a` in `b`: a row each, none for one that is the same.

    Columns: corpus, split (in `b`; in `a` of what went), key, change ("came", "went", "changed"),
    columns (list[str]: what of its manifest row changed; empty if it came or went). Only manifests
    of shards that the two seals do not share are read, at the call. Raises SealError.
    """
    import polars as pl

    before, after = Seal.read(a), Seal.read(b)
    shared = {(s.place, s.rows_digest) for s in before.shards}
    shared &= {(s.place, s.rows_digest) for s in after.shards}
    old, new = (
        _written(Path(folder), [s for s in seal.shards if (s.place, s.rows_digest) not in shared])
        for folder, seal in ((a, before), (b, after))
    )
    # Most rows are the same: 128 bits of each leave few to be compared, so millions fit in memory.
    bits, place = ["low", "high"], ["corpus", "in", "key"]
    old, new = (
        rows.join(others.select(bits), on=bits, how="anti").collect(engine="streaming").lazy()
        for rows, others in ((old, new), (new, old))
    )
    stayed = old.join(new, on=place, suffix="_new")
    # A key that went from one split of a corpus and came in another has moved.
    went, came = old.join(new, on=place, how="anti"), new.join(old, on=place, how="anti")
    others = went.join(came, on=["corpus", "key"], how="full", suffix="_new", coalesce=True)
    both = pl.concat([stayed.drop("in"), others.drop("in", "in_new")])
    change = pl.when(pl.col("split").is_null()).then(pl.lit("came"))
    change = change.when(pl.col("split_new").is_null()).then(pl.lit("went"))
    differing = [
        pl.when(pl.col(name).ne_missing(pl.col(f"{name}_new"))).then(pl.lit(name))
        for name in _COMPARED
    ]
    found = both.select(
        "corpus",
        pl.coalesce("split_new", "split").alias("split"),
        "key",
        change.otherwise(pl.lit("changed")).alias("change"),
        pl.concat_list(differing).list.drop_nulls().alias("columns"),
    ).filter(pl.col("columns").list.len() > 0)
    changed = pl.col("change") == "changed"
    return found.with_columns(pl.when(changed).then("columns").otherwise([]).alias("columns"))


def _written(folder: Path, shards: Iterable[Shard]) -> "pl.LazyFrame":
    """Written rows of some shards, as `changes` compares them: `in` is the split once more, `low`
    and `high` are hashes of the row."""
    import polars as pl

    rows = pl.LazyFrame(pl.from_arrow(MANIFEST.empty_table()))
    if files := [folder / shard.manifest for shard in shards]:
        rows = pl.scan_parquet(files, glob=False)
    rows = rows.filter(pl.col("status") == "written")
    rows = rows.select("corpus", "key", *_COMPARED, pl.col("split").alias("in"))
    whole = pl.struct(pl.all())
    return rows.with_columns(low=whole.hash(0), high=whole.hash(1))
