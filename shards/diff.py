"""Two seals compared: what came, went and changed, from the seal down to the columns of records.

found = diff("data/old", "data/new")                  # folders, or their dataset.json alone
"""

from pathlib import Path
from typing import Any

import msgspec

from manifests import store
from manifests.seal import NAME, Seal
from shards.inspect import reading

_EXAMPLES = 5  # keys of each change
_SETTINGS = ("schema_version", "config_digest", "image_policy", "codecs", "bits")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something of both seals with its value in each; null where it is not."""

    name: str
    a: Any
    b: Any


class Shards(msgspec.Struct, frozen=True, kw_only=True):
    """One corpus and split: how many shards came, went, changed and are the same, and `records`
    and `turns` as (in a, in b)."""

    place: str
    came: int
    went: int
    changed: int
    same: int
    records: tuple[int, int]
    turns: tuple[int, int]


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """How many records of a place ("came", "went", or "changed" in these columns), some keys."""

    place: str
    change: str
    columns: list[str]
    count: int
    keys: list[str]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`roots` are equal exactly if every shard is. `settings` and `ledger` hold what differs alone.

    `records` is null if one of the two is a seal without its manifests.
    """

    a: str
    b: str
    roots: tuple[str, str]
    equal: bool
    settings: list[Change]
    ledger: list[Change]
    shards: list[Shards]
    records: list[Records] | None


def diff(a: Path | str, b: Path | str) -> Difference:
    """Compare two data sets; by the path of a `dataset.json`, the seal alone. Raises SealError, and
    DamageError or ValueError if a manifest cannot be read."""
    paths = [Path(a), Path(b)]
    folders = [path.parent if path.name == NAME else path for path in paths]
    old, new = (Seal.read(folder) for folder in folders)
    return Difference(
        a=str(a),
        b=str(b),
        roots=(old.root, new.root),
        equal=old.root == new.root,
        settings=_differing(_settings(old), _settings(new)),
        ledger=_differing(_ledger(old), _ledger(new)),
        shards=_shards(old, new),
        records=_records(*folders) if folders == paths else None,
    )


def _settings(seal: Seal) -> dict[str, Any]:
    """What the seal states, tables line by line: `image_policy.size`."""
    flat: dict[str, Any] = {}
    for name in _SETTINGS:
        value = getattr(seal, name)
        flat |= (
            {f"{name}.{k}": v for k, v in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    return flat


def _ledger(seal: Seal) -> dict[str, int]:
    """Every number of the ledger: `coco/train written`."""
    return {
        f"{line.corpus}/{line.split} {name}": value
        for line in seal.ledger
        for name, value in msgspec.structs.asdict(line).items()
        if name not in ("corpus", "split")
    }


def _differing(a: dict[str, Any], b: dict[str, Any]) -> list[Change]:
    names = sorted(a.keys() | b.keys())
    found = (Change(name=name, a=a.get(name), b=b.get(name)) for name in names)
    return [change for change in found if change.a != change.b]


def _shards(old: Seal, new: Seal) -> list[Shards]:
    """Every place of either, in order."""
    places = sorted({(s.corpus, s.split) for seal in (old, new) for s in seal.shards})
    found = []
    for corpus, split in places:
        a, b = old.select(corpus, split), new.select(corpus, split)
        before, after = ({s.id: (s.sha256, s.rows_digest) for s in shards} for shards in (a, b))
        both = before.keys() & after.keys()
        same = sum(before[shard] == after[shard] for shard in both)
        found.append(
            Shards(
                place=f"{corpus}/{split}",
                came=len(after.keys() - both),
                went=len(before.keys() - both),
                changed=len(both) - same,
                same=same,
                records=(sum(s.records for s in a), sum(s.records for s in b)),
                turns=(sum(s.turns for s in a), sum(s.turns for s in b)),
            )
        )
    return found


def _records(a: Path, b: Path) -> list[Records]:
    """Records that differ, by place and what of them does, the most first in each place."""
    import polars as pl

    place = pl.format("{}/{}", "corpus", "split").alias("place")
    with reading(a, b):
        found = (
            store.changes(a, b)
            .group_by(place, "change", "columns")
            .agg(pl.len().alias("count"), pl.col("key").bottom_k(_EXAMPLES).sort().alias("keys"))
            .sort("place", "change", "count", "keys", descending=[False, False, True, False])
            .collect()
        )
    return [Records(**row) for row in found.iter_rows(named=True)]
