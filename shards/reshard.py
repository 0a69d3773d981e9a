"""More shards for one corpus and split, made from those that are there, without the sources.

    sealed = reshard(folder, "coco/train", bits=7)

Shard i of 2**b becomes 2i and 2i+1, and so on up to 2**bits; each takes the records and failures of
its groups, in their order, every record copied byte for byte. The seal is replaced last: until then
the old data set stands, and what results is what a build with these bits would have made.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from manifests import store
from manifests.place import MAX_BITS, shard_of
from manifests.seal import Seal, Shard, merkle_root
from shards import interop
from shards.rows import DamageError, extent
from shards.writer import ShardWriter


class ReshardError(ValueError):
    """A place that cannot be divided as asked."""


def reshard(
    folder: Path, place: str, bits: int, progress: Callable[[Shard], None] = lambda shard: None
) -> Seal:
    """Divide the shards of `place` ("coco/train") into 2**bits; returns the seal then in force.

    `progress` is told each old shard before it is read. Raises SealError, ReshardError, DamageError
    (nothing damaged is copied) or OSError; after any of them the data set is as it was.
    """
    Seal.read(folder)  # before a lock makes a folder
    with store.sole_writer(folder):
        sealed = Seal.read(folder)
        old = _shards_to_divide(sealed, place, bits)
        try:
            if sealed.bits[place] < bits:
                sealed = _divide_place(folder, sealed, old, place, bits, progress)
                store.commit(folder, sealed)
            interop.write(folder)
        finally:
            store.collect(folder)
    return sealed


def _shards_to_divide(sealed: Seal, place: str, bits: int) -> list[Shard]:
    """The shards of a place. Raises ReshardError if they cannot be divided into 2**bits."""
    corpus, _, split = place.partition("/")
    shards = sealed.select(corpus, split)
    if not shards:
        there = sorted({f"{shard.corpus}/{shard.split}" for shard in sealed.shards})
        raise ReshardError(f"there is no {place}; the data set has {', '.join(there) or 'nothing'}")
    if place not in sealed.bits:
        raise ReshardError(
            f"{place} has shards by container, such as {shards[0].id}; only shards that groups are "
            f"placed in by hash can be divided"
        )
    now = sealed.bits[place]
    if bits < now:
        raise ReshardError(
            f"{place} has bits {now}, asked for {bits}; for fewer shards build it again from the "
            f"sources, with bits: {bits} in the config"
        )
    if bits > MAX_BITS:
        raise ReshardError(f"bits is {bits}; expected {now + 1} to {MAX_BITS}")
    return shards


def _divide_place(
    folder: Path,
    sealed: Seal,
    old: list[Shard],
    place: str,
    bits: int,
    progress: Callable[[Shard], None],
) -> Seal:
    """Write the new shards, which nothing refers to yet; returns the seal that will."""
    new: list[Shard] = []
    for shard in old:
        progress(shard)
        new += _divide_shard(folder, shard, sealed.bits[place], bits)
    divided = set(old)
    others = [shard for shard in sealed.shards if shard not in divided]
    shards = tuple(sorted([*others, *new], key=lambda shard: shard.place))
    return msgspec.structs.replace(
        sealed, bits=sealed.bits | {place: bits}, shards=shards, root=merkle_root(shards)
    )


def _divide_shard(folder: Path, shard: Shard, now: int, bits: int) -> Iterator[Shard]:
    """The shards that one becomes; one that would have no row does not exist."""
    parts: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(folder, shard):
        if shard_of(row["group"], now) != shard.id:
            raise DamageError(
                f"{shard.manifest}: {row['key']} of group {row['group']} does not belong in shard "
                f"{shard.id}. Build again with: python -m pipelines build"
            )
        parts[shard_of(row["group"], bits)].append(row)
    with (folder / shard.tar).open("rb") as file:
        for part, rows in sorted(parts.items()):
            with (copier := ShardWriter(folder, shard.corpus, shard.split, part)):
                for row in rows:
                    if row["status"] == "written":
                        copier.copy(row, extent(folder, shard.tar, file.fileno(), row))
                yield copier.close(row for row in rows if row["status"] != "written")


def _rows(folder: Path, shard: Shard) -> list[dict[str, Any]]:
    """A manifest's rows, in order. Raises DamageError if they are not the sealed ones."""
    data = (folder / shard.manifest).read_bytes()
    if hashlib.sha256(data).hexdigest() != shard.manifest_sha256:
        raise DamageError(
            f"{shard.manifest} is damaged: its sha256 is not the sealed one. "
            f"Repair it with: python -m shards repair {folder}"
        )
    return pq.read_table(pa.BufferReader(data)).to_pylist()
