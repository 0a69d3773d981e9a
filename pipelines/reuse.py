"""Which shards need not be packed again: those that are made of what they were made of before.

    reuse = Reuse(config, out, deep)     # before a source is read
    made = reuse.made_of(plan)           # its rows, and its images by size and times
    reuse.packed(plan, made)             # what came of the same the last time; None: pack it
    reuse.remember(sealed, made, packed) # after the commit

A digest is over all that packing is told and reads: the rows after the gate, in order, the image
policy, the code that packs and its libraries, and the size and times of the file that each image
lies in. (Scenes follow from rows and code; what a reader or the gate does shows in the rows.) Rows
are taken as Arrow's bytes: were these others for the same rows, a shard would be packed once more,
and come out the same.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from xxhash import xxh3_128

from manifests.schema import canonical_json
from manifests.seal import NAME, Seal
from pipelines import pack, state
from pipelines.config import BuildConfig
from pipelines.specs import Packed, ShardPlan
from pipelines.state import Remembered, State
from shards import interop
from shards.sequential import FileError, SequentialFile

# What is imported by `pack.py` and `scenes.py`: with other code all shards are packed again.
PACKING = ("manifests", "pipelines/locators.py", "pipelines/pack.py", "pipelines/robots")
PACKING += ("pipelines/scenes.py", "pipelines/specs.py", "pipelines/table.py", "shards/images.py")
PACKING += ("shards/jpeg.py", "shards/shrink.py", "shards/tar.py", "shards/writer.py")


class Made(NamedTuple):
    """What a shard is made of: its digest, the folders of its images, and one of them that changed
    so late that nobody knows which of its contents is packed."""

    digest: str
    folders: frozenset[str]
    late: str | None


class Reuse:
    """What the last build into `out` left, for a build of `config` that begins now.

    With `deep` it left nothing to be believed.
    """

    def __init__(self, config: BuildConfig, out: Path, deep: bool) -> None:
        self._since = time.time_ns()
        self._out, self._root = out, config.root_folder
        self._code, self._decided = state.code(), state.decided(config)
        policy = msgspec.structs.asdict(config.image)
        self._recipe = canonical_json([state.code(PACKING), policy])
        self._last = None if deep else state.read(out)
        paths = [path for name in config.corpora for path in config.watched(name)]
        self._sources = _apart(str(p.parent if p.is_file() else p) for p in paths)
        self._stat = lru_cache(4096)(self._stat_of)  # thousands of images lie in one container

    def made_of(self, plan: ShardPlan) -> Made:
        """Look at a shard's rows and images; of these no byte is read."""
        with pq.ParquetFile(plan.rows) as file:
            rows = file.read(columns=[*pack.Row._fields]).combine_chunks()
        digest = xxh3_128(f"{self._recipe} {plan.name}\n".encode())
        digest.update(_arrow_bytes(rows))
        usable = rows.filter(pc.field("status").is_null())["locator"]
        late = None
        for locator in usable.unique().to_pylist():
            stamp, is_late = self._stat(_file_of(locator))
            digest.update(stamp)
            late = late or (locator if is_late else None)
        files = map(_file_of, rows["locator"].unique().to_pylist())
        folders = {file.rpartition("/")[0] for file in files if file}
        apart = (str(self._root / name) for name in folders if ".." not in name.split("/"))
        known = tuple(f"{folder}/" for folder in self._sources)
        elsewhere = frozenset(name for name in apart if not f"{name}/".startswith(known))
        return Made(digest.hexdigest(), elsewhere, late)

    def _stat_of(self, relative: str) -> tuple[bytes, bool]:
        """A file's size and times, and whether it changed late; nothing of a scene."""
        if not relative:
            return b"", False
        try:
            found = os.stat(f"{self._root}/{relative}")  # noqa: PTH116 - a Path is slow
        except (OSError, ValueError):  # a NUL in its name
            return b"absent\n", False
        told = f"{state.source_stamp(found)}\n".encode()
        return told, state.is_late(found, self._since)

    def packed(self, plan: ShardPlan, made: Made) -> Packed | None:
        """What came of the same the last time, if its files are still as they were left. A file
        whose time is another, as a copy's may be, is read."""
        last = self._last
        known = last and last.shards.get(plan.name)
        if last is None or not known or known.inputs != made.digest:
            return None
        shard = known.packed.shard
        for name, nbytes, sha256 in (
            (shard.tar, shard.nbytes, shard.sha256),
            (shard.manifest, shard.manifest_nbytes, shard.manifest_sha256),
        ):
            stamp = state.stamp_of(self._out / name)
            left = stamp is not None and stamp == last.files.get(name)
            if not left and not _holds(self._out, name, nbytes, sha256):
                return None
        return known.packed

    def remember(self, sealed: Seal, made: Sequence[Made], packed: Sequence[Packed]) -> None:
        """Write down, for the next build, what this one saw and left; the seal is in force."""
        folders = _apart([*self._sources, *(name for one in made for name in one.folders)])
        trees = {folder: state.look(Path(folder), self._since) for folder in folders}
        late = next((tree.late for tree in trees.values() if tree.late), None)
        unread = next((one.shard.tar for one in packed if one.again), None)
        unsure = None
        if late:
            unsure = f"{late} changed while the last build ran, or just before"
        elif unread:
            unsure = f"images of {unread} could not be read; they are tried again"
        kept = zip(made, packed, strict=True)
        shards = {
            "-".join(one.shard.place): Remembered(of.digest, one)
            for of, one in kept
            if not one.again and not of.late
        }
        stamps = ((name, state.stamp_of(self._out / name)) for name in self._files(sealed))
        told = State(
            root=sealed.root,
            code=self._code,
            config=self._decided,
            sources={folder: tree.digest for folder, tree in trees.items()},
            files={name: stamp for name, stamp in stamps if stamp},
            shards=shards,
            unsure=unsure,
        )
        state.write(self._out, told)

    def _files(self, sealed: Seal) -> Iterator[str]:
        """The data set's own files, from its folder."""
        yield from (NAME, "build.json", sealed.reasons.path)
        for shard in sealed.shards:
            yield from (shard.tar, shard.manifest)
        for path in self._out.rglob("*"):
            if interop.is_sidecar(name := path.relative_to(self._out).as_posix()):
                yield name


def _holds(out: Path, name: str, nbytes: int, sha256: str) -> bool:
    """Whether a file of a data set is there with these bytes; all are read if its size fits."""
    try:
        with SequentialFile(out, name) as stream:
            return stream.nbytes == nbytes and stream.drain() == sha256
    except FileError:  # pack it again
        return False


def _arrow_bytes(rows: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def _file_of(locator: str) -> str:
    """The file, below the root, that a locator leads into; "" if it leads into none."""
    kind, _, where = locator.partition(":")
    if kind in ("range", "parquet"):
        where = where.rpartition("@")[0]
    return "" if kind == "scene" or PurePosixPath(where).is_absolute() else where


def _apart(folders: Iterable[str]) -> list[str]:
    """These folders without those that lie in another of them."""
    kept: list[str] = []
    for folder in sorted(f"{name}/" for name in set(folders)):
        if not kept or not folder.startswith(kept[-1]):
            kept.append(folder)
    return [folder.removesuffix("/") for folder in kept]
