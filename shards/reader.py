"""(shard, offset, length) -> verified bytes -> Record.

    data = Dataset(folder)
    for record in data.records("coco", "train"): ...
    record = data.source("coco", "train").record(17)

Every read checks the record's xxh3-128 against the index; damage is never returned, never skipped.
"""

import contextlib
import os
import resource
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import xxhash

from manifests import store
from manifests.schema import Record
from manifests.seal import Seal, Shard
from shards import tar
from shards.files import Beat, Files, LocalFiles, MirroredFiles
from shards.rows import DamageError, written
from shards.sequential import read_there
from shards.tars import Tars

# 32 bytes a record. `shard` is the ordinal among the source's shards in the order of their ids.
ENTRY = np.dtype([("offset", "<u8"), ("nbytes", "<u4"), ("shard", "<u4"), ("digest", "V16")])
_MAGIC = b"EMBERIDX"
CACHE_BYTES = 64_000_000_000  # of shards of a remote data set kept on disk


class Source:
    """The records of one corpus and split, in the order of shards and places in them.

    `tars` are those of them that are open. Whatever is read may raise DamageError, or OSError if
    it cannot be fetched; `beat` is called while a fetch takes long.
    """

    def __init__(self, files: Files, root: str, shards: list[Shard], beat: Beat) -> None:
        self.corpus, self.split = shards[0].corpus, shards[0].split
        self.shards = shards
        self._files, self._folder, self._root, self._beat = files, files.folder, root, beat
        # Bound to what it needs, not to self: a cycle would keep the files open.
        self.tars = Tars(lambda shard: files.open_tar(shards[shard], beat), files.most)

    def __len__(self) -> int:
        return sum(shard.records for shard in self.shards)

    @property
    def name(self) -> str:
        return f"{self.corpus}/{self.split}"

    @cached_property
    def starts(self) -> np.ndarray:
        """int64 [shards + 1]: the first record of each shard, and the number of all."""
        return np.concatenate([[0], np.cumsum([s.records for s in self.shards])]).astype(np.int64)

    @cached_property
    def index(self) -> np.ndarray:
        """ENTRY [records], memory-mapped from `index/<corpus>-<split>.idx`; made anew if stale.

        The file's first 32 bytes are a header that names the seal, so an index left by an older
        build is never read. Read rows by `entries`, which believes none that cannot be.
        """
        path, header = self._index_path, self._index_header
        if not _is_index(path, header, ENTRY.itemsize * (1 + len(self))):
            store.write(path, header + self._entries().tobytes())
        return np.memmap(path, ENTRY, "r", offset=ENTRY.itemsize, shape=(len(self),))

    @cached_property
    def _sizes(self) -> np.ndarray:
        return np.array([shard.nbytes for shard in self.shards], np.uint64)

    def entries(self, records: np.ndarray) -> np.ndarray:
        """ENTRY [N]: where records int64 [N] lie. Raises DamageError if the index is damaged."""
        rows = np.asarray(self.index)[records]
        known = rows["shard"] < len(self._sizes)
        size = self._sizes[np.where(known, rows["shard"], 0)]
        inside = (rows["nbytes"] <= size) & (rows["offset"] <= size - rows["nbytes"])
        if not (known & inside).all():  # before a wrong offset or length is believed
            self._refuse_index()
        return rows

    @property
    def _index_path(self) -> Path:
        return self._folder / "index" / f"{self.corpus}-{self.split}.idx"

    @property
    def _index_header(self) -> bytes:
        return _MAGIC + len(self).to_bytes(8, "little") + bytes.fromhex(self._root)[:16]

    def index_damaged(self) -> bool:
        """Whether an index of this very seal is there and does not follow from the manifests.

        Raises DamageError, and FileError if it cannot be read.
        """
        header = self._index_header
        found = read_there(self._folder, f"index/{self._index_path.name}") or b""
        return found.startswith(header) and found != header + self._entries().tobytes()

    def _entries(self) -> np.ndarray:
        self._files.need_manifests(self.shards, self._beat)
        entries = np.zeros(len(self), ENTRY)
        for ordinal, shard in enumerate(self.shards):
            self._beat()
            table = written(self._folder, shard, "offset", "nbytes", "digest")
            part = entries[self.starts[ordinal] : self.starts[ordinal + 1]]
            part["offset"], part["nbytes"] = table["offset"].to_numpy(), table["nbytes"].to_numpy()
            part["shard"] = ordinal
            raw = b"".join(bytes.fromhex(text) for text in table["digest"].to_pylist())
            part["digest"] = np.frombuffer(raw, "V16")
        return entries

    def read_into(self, view: memoryview, shard: int, offset: int, digest: bytes) -> None:
        """Fill `view` with a record's whole extent, verified. Raises DamageError."""
        file = self.tars.get(shard)  # held until read
        try:
            got = os.preadv(file.number, [view], offset)
        except OSError as error:
            raise DamageError(
                f"{self.shards[shard].tar}: record {self.key(shard, offset)} at byte {offset} "
                f"cannot be read ({error.strerror}): the disk says so, not the data. If it lasts, "
                f"copy {self._files.where} elsewhere and see what is whole with: "
                f"python -m shards validate"
            ) from error
        if got != len(view):
            self._damaged(shard, offset, f"{got} of {len(view)} bytes are there")
        if not intact(view, digest):
            self._damaged(shard, offset, "its digest differs")

    def record(self, number: int) -> Record:
        """Record `number` (0-based), verified. Raises DamageError."""
        (entry,) = self.entries(np.array([number]))
        extent = bytearray(int(entry["nbytes"]))
        view, digest = memoryview(extent), entry["digest"].tobytes()
        self.read_into(view, int(entry["shard"]), int(entry["offset"]), digest)
        return parse(bytes(extent))

    def column(self, name: str) -> list[Any]:
        """What the manifests say of each record under `name`, in the order of the records."""
        self._files.need_manifests(self.shards, self._beat)
        tables = (written(self._folder, shard, name) for shard in self.shards)
        return [value for table in tables for value in table[name].to_pylist()]

    def key(self, shard: int, offset: int) -> str:
        """The key of the record at a place of a shard (its ordinal); "unknown" if none is."""
        with contextlib.suppress(DamageError, ValueError):  # ValueError: no record begins there
            self._files.need_manifests([self.shards[shard]], self._beat)
            rows = written(self._folder, self.shards[shard], "key", "offset")
            return rows["key"][rows["offset"].to_pylist().index(offset)].as_py()
        return "unknown"

    def _damaged(self, shard: int, offset: int, what: str) -> NoReturn:
        index_damaged = False
        with contextlib.suppress(DamageError):  # the manifest may be damaged as well
            index_damaged = self.index.tobytes() != self._entries().tobytes()
        if index_damaged:
            self._refuse_index()
        raise DamageError(
            f"{self.shards[shard].tar}: record {self.key(shard, offset)} at byte {offset} is "
            f"damaged: {what}. {self._files.blame(self.shards[shard])}"
        )

    def _refuse_index(self) -> NoReturn:
        self._index_path.unlink(missing_ok=True)
        raise DamageError(
            f"{self._index_path} was damaged, not the records, and is removed: it is made anew "
            f"from the manifests when the same command runs again"
        )


def intact(extent: memoryview, digest: bytes) -> bool:
    """Whether these are the bytes of the digest."""
    return xxhash.xxh3_128_digest(extent) == digest


class Dataset:
    """A sealed data set in a local folder, or at a URL that fsspec knows, such as s3://bucket/data.

    Of one at a URL, what is read is kept under `cache`, `cache_bytes` of shards at most. Raises
    manifests.seal.SealError if it is none, shards.origin.RemoteError if it cannot be fetched.
    """

    def __init__(
        self, where: Path | str, cache: Path | None = None, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self.files: Files
        if "://" in str(where):
            from shards.remote import Mirror  # which few need

            mirror = Mirror(str(where), cache or cache_folder(), cache_bytes)
            self.files = MirroredFiles(mirror)
        else:
            self.files = LocalFiles(Path(where))
        self.folder = self.files.folder
        self.seal = Seal.read(self.folder)
        _allow_many_files()
        self.beat: Beat = _no_beat

    def __reduce__(self) -> tuple:
        return _again, (self.files,)  # another process reads the seal itself

    @property
    def names(self) -> list[tuple[str, str]]:
        """Every (corpus, split) that has shards, sorted."""
        return sorted({(shard.corpus, shard.split) for shard in self.seal.shards})

    def source(self, corpus: str, split: str) -> Source:
        """One corpus and split. Raises KeyError naming what there is."""
        shards = self.seal.select(corpus, split)
        if not shards:
            there = ", ".join("/".join(name) for name in self.names)
            raise KeyError(f"{self.files.where} has no {corpus}/{split}; it has {there}")
        return Source(self.files, self.seal.root, shards, lambda: self.beat())

    def records(self, corpus: str, split: str) -> Iterator[Record]:
        """Every record of a corpus and split, verified, front to back."""
        source = self.source(corpus, split)
        for number in range(len(source)):
            yield source.record(number)


def cache_folder() -> Path:
    """Where data sets of URLs are kept unless somebody says where: the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "embervlm"


def _again(files: Files) -> Dataset:
    dataset = object.__new__(Dataset)
    dataset.files, dataset.folder, dataset.beat = files, files.folder, _no_beat
    dataset.seal = Seal.read(files.folder)
    _allow_many_files()
    return dataset


def _allow_many_files() -> None:
    """Sources keep hundreds of tars open, and many systems allow 1,024 files unless asked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _no_beat() -> None:
    pass


def parse(extent: bytes) -> Record:
    """The record in the bytes of its extent. Raises tar.TarError or msgspec.DecodeError."""
    found = list(tar.members(extent))
    names = [member.name for member in found]
    key = names[0].removesuffix(".jpg") if names else ""
    if names != [f"{key}.jpg", f"{key}.json"]:
        raise tar.TarError(f"a record is key.jpg then key.json; found {', '.join(names) or 'none'}")
    image, said = (extent[m.content : m.content + m.size] for m in found)
    return Record.decode(key, image, said)


def _is_index(path: Path, header: bytes, size: int) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(header)) == header and path.stat().st_size == size
    except FileNotFoundError:
        return False
