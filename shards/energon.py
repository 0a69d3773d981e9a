"""What Megatron-Energon 7 reads beside tars, as its `energon prepare` makes it.

    <tar>.idx               where each record begins, and where the last one ends: uint64
    .nv-meta/.info.json     the tars and how many records each has; a tar's place is its number
    .nv-meta/split.yaml     the tars of each split, of all corpora
    .nv-meta/dataset.yaml   what a sample is made by; yours to change
    .nv-meta/index.sqlite   where each record and each of its two files lies, by key
    .nv-meta/index.sha256   of index.sqlite, as sha256sum prints it (Energon does not read it)
    .nv-meta/index.uuid     the first half of the seal's root; written last

Written without Energon, from seal and manifests; only the sizes of a record's two files are read
from their headers in the tars.
"""

import contextlib
import errno
import hashlib
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import yaml

from manifests import store
from manifests.schema import SPLITS
from manifests.seal import Seal, Shard
from shards import tar
from shards.reader import DamageError
from shards.rows import written
from shards.sequential import FileError, MissingError, SequentialFile, read_there

META = ".nv-meta"
DATASET = f"{META}/dataset.yaml"
_INDEX, _SHA256, _UUID = (f"{META}/index.{kind}" for kind in ("sqlite", "sha256", "uuid"))
_DATASET = b"__module__: megatron.energon\n__class__: CrudeWebdataset\n"
_TABLES = """
CREATE TABLE samples (
    tar_file_id INTEGER NOT NULL,
    sample_key TEXT NOT NULL UNIQUE,
    sample_index INTEGER NOT NULL,
    byte_offset INTEGER,
    byte_size INTEGER
);
CREATE TABLE sample_parts (
    tar_file_id INTEGER,
    sample_index INTEGER,
    part_name TEXT,
    content_byte_offset INTEGER,
    content_byte_size INTEGER
);
"""
_INDICES = """
CREATE INDEX idx_samples_by_tar_and_idx ON samples(tar_file_id, sample_index);
CREATE INDEX idx_sample_parts_seq
    ON sample_parts(tar_file_id, sample_index, content_byte_offset);
CREATE INDEX idx_sample_parts_full
    ON sample_parts(tar_file_id, sample_index, part_name, content_byte_offset, content_byte_size);
"""
_CACHE = 512 * 1024  # KiB of pages: keys come in no order, so all of their index is used


class KeyTwiceError(ValueError):
    """Two corpora have a record of the same key, which Energon's index cannot hold."""


def filled(sealed: Seal) -> list[Shard]:
    """The shards that hold a record, in the order of the seal; no library likes an empty tar."""
    return [shard for shard in sealed.shards if shard.records]


def listings(sealed: Seal) -> dict[str, bytes]:
    """The small files that the seal alone gives, by their paths in the data set."""
    shards = filled(sealed)
    counts = {"shard_counts": {shard.tar: shard.records for shard in shards}}
    parts = {name: [shard.tar for shard in shards if shard.split == name] for name in SPLITS}
    split = yaml.safe_dump({"split_parts": parts, "exclude": []}, sort_keys=False, width=10_000)
    return {
        f"{META}/.info.json": msgspec.json.format(msgspec.json.encode(counts)) + b"\n",
        f"{META}/split.yaml": split.encode(),
    }


def write_dataset(folder: Path) -> None:
    """Write `dataset.yaml` if there is none: users say in it what they make of a record."""
    path = folder / DATASET
    if not path.exists():
        store.write(path, _DATASET)


def dataset_is_own(folder: Path) -> bool:
    """Whether a `dataset.yaml` is there and not the one that `write_dataset` writes."""
    try:
        return read_there(folder, DATASET) not in (None, _DATASET)
    except FileError:
        return True


def offsets(folder: Path, shard: Shard) -> bytes:
    """The content of `<tar>.idx`. Raises DamageError if the manifest cannot be read."""
    _, starts, sizes = _extents(folder, shard)
    return np.append(starts, starts[-1] + sizes[-1]).astype("<u8").tobytes()


def index_is_fresh(folder: Path, sealed: Seal) -> bool:
    """Whether the index is there and of this seal; its bytes are not read."""
    with contextlib.suppress(FileError):
        return (folder / _INDEX).is_file() and read_there(folder, _UUID) == _uuid(sealed)
    return False


def index_problem(folder: Path, sealed: Seal) -> tuple[str, str] | None:
    """Which file of the index that is there is not what was written, and what is wrong with it."""
    file = _INDEX
    try:
        with SequentialFile(folder, _INDEX) as index:
            file = _UUID
            if read_there(folder, _UUID) != _uuid(sealed):
                return _UUID, "not of this seal: the index beside it is of other data"
            file = _INDEX
            expected = _sha256_line(index.drain())
        file = _SHA256
        if read_there(folder, _SHA256) != expected:
            return _INDEX, f"its sha256 is not the one in {_SHA256}"
    except MissingError:  # of the index: the others may be missing, and are then told of
        return None
    except FileError as error:
        return file, str(error)
    return None


def write_index(folder: Path, sealed: Seal, progress: Callable[[Shard], None]) -> None:
    """Write `index.sqlite`, its digest and its UUID; `progress` is told each shard before it is
    read. Raises KeyTwiceError, DamageError or OSError."""
    with store.new_file(folder / META) as file:
        try:
            with contextlib.closing(sqlite3.connect(file.path, isolation_level=None)) as base:
                _fill(base, folder, sealed, progress)
        except sqlite3.IntegrityError as error:
            raise KeyTwiceError(_twice(folder, sealed)) from error
        except sqlite3.Error as error:
            full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
            code = errno.ENOSPC if full else errno.EIO
            raise OSError(code, str(error), str(folder / _INDEX)) from error
        with file.path.open("rb") as written:
            sha256 = hashlib.file_digest(written, "sha256").hexdigest()
        file.publish(folder / _INDEX)
    store.write(folder / _SHA256, _sha256_line(sha256))
    store.write(folder / _UUID, _uuid(sealed))


def _fill(
    base: sqlite3.Connection, folder: Path, sealed: Seal, progress: Callable[[Shard], None]
) -> None:
    # The file has a temporary name and is synced when it is whole: a journal would guard nothing.
    base.executescript(
        f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_CACHE};"
        f"BEGIN; {_TABLES}"
    )
    for number, shard in enumerate(filled(sealed)):
        progress(shard)
        keys, starts, sizes = _extents(folder, shard)
        extents = list(zip(keys, starts.tolist(), sizes.tolist(), strict=True))
        samples = ((number, key, i, at, size) for i, (key, at, size) in enumerate(extents))
        base.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", samples)
        parts = _parts(folder, shard, number, extents)
        base.executemany("INSERT INTO sample_parts VALUES (?, ?, ?, ?, ?)", parts)
    base.executescript(_INDICES)  # commits first


def _parts(
    folder: Path, shard: Shard, number: int, extents: list[tuple[str, int, int]]
) -> Iterator[tuple[int, int, str, int, int]]:
    """The rows of `sample_parts`: manifests know extents, only headers the sizes inside them."""
    try:
        file = (folder / shard.tar).open("rb", buffering=0)
    except OSError as error:
        raise DamageError(
            f"{shard.tar} cannot be read ({error.strerror}). "
            f"Check with: python -m shards validate {folder}"
        ) from error
    with file:
        for i, (key, start, nbytes) in enumerate(extents):
            at, end = start, start + nbytes
            for kind in ("jpg", "json"):
                header = os.pread(file.fileno(), tar.BLOCK, at)
                size = _size(header, f"{key}.{kind}")
                if size is None or (at := at + tar.BLOCK + tar.padded(size)) > end:
                    raise DamageError(
                        f"{shard.tar}: record {key} at byte {start} has no {key}.{kind}. "
                        f"Check with: python -m shards validate {folder}"
                    )
                yield number, i, kind, at - tar.padded(size), size


def _size(header: bytes, name: str) -> int | None:
    """The size in a member's header; None if it is not that of `name`."""
    try:
        size = int(header[124:135], 8)
    except ValueError:
        return None
    return size if header == tar.header(name, size) else None


def _extents(folder: Path, shard: Shard) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Keys, offsets and sizes of a shard's records. Raises DamageError."""
    rows = written(folder, shard, "key", "offset", "nbytes")
    return rows["key"].to_pylist(), rows["offset"].to_numpy(), rows["nbytes"].to_numpy()


def _twice(folder: Path, sealed: Seal) -> str:
    """What to tell of the first key that stands in two shards."""
    seen: dict[str, str] = {}
    for shard in filled(sealed):
        for key in _extents(folder, shard)[0]:
            if other := seen.get(key):
                return (
                    f"record {key} is in {other} and in {shard.tar}; Energon's index wants every "
                    f"key once in a data set. Build with other names for one of the two corpora"
                )
            seen[key] = shard.tar
    raise AssertionError("sqlite found a key twice, the manifests have none twice")


def _uuid(sealed: Seal) -> bytes:
    return str(uuid.UUID(sealed.root[:32])).encode()


def _sha256_line(sha256: str) -> bytes:
    return f"{sha256}  index.sqlite\n".encode()
