"""Digests and a root that agree with wrong bytes do not help: what they say is checked too."""

import hashlib
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import store
from manifests.schema import MANIFEST
from manifests.seal import Seal, Shard, merkle_root, rows_digest
from shards import tar, writer
from shards.validate import validate


def _shard(folder: Path) -> Shard:
    return Seal.read(folder).select("coco", "train")[1]


def _reseal(
    folder: Path,
    extents: list[bytes],
    rows: list[dict],
    end: bytes = tar.END,
    columns: pa.Schema = MANIFEST,
    **forged: str,
) -> str:
    """Replace a shard by other bytes and rows, all digests and the root made to agree, but for
    what is forged. Returns the name of the tar."""
    seal, old = Seal.read(folder), _shard(folder)
    data = b"".join(extents) + end
    sha256 = hashlib.sha256(data).hexdigest()
    stem = f"coco-train-{old.id}"
    rows = [row | {"shard": f"{stem}-{sha256[:8]}.tar"} for row in rows]
    table = store.parquet_bytes(pa.Table.from_pylist(rows, schema=columns))
    table_sha256 = hashlib.sha256(table).hexdigest()
    new = msgspec.structs.replace(
        old,
        tar=f"coco/{stem}-{sha256[:8]}.tar",
        nbytes=len(data),
        sha256=sha256,
        manifest=f"manifests/coco/{stem}-{table_sha256[:8]}.parquet",
        manifest_nbytes=len(table),
        manifest_sha256=table_sha256,
        rows_digest=rows_digest(rows),
        records=len(rows),
        turns=sum(row["turns"] for row in rows),
    )
    new = msgspec.structs.replace(new, **forged)
    (folder / old.tar).unlink()
    (folder / old.manifest).unlink()
    store.write(folder / new.tar, data)
    store.write(folder / new.manifest, table)
    shards = tuple(new if shard == old else shard for shard in seal.shards)
    changed = {"shards": shards, "root": merkle_root(shards), "ledger": ()}
    store.commit(folder, msgspec.structs.replace(seal, **changed))
    return new.tar


def _turned(extent: bytes) -> bytes:
    """The same JSON, two fields the other way round."""
    return extent.replace(b'"answers":[],"box":null', b'"box":null,"answers":[]')


def _rows(extents: list[bytes], rows: list[dict]) -> list[dict]:
    """Rows that say truly where extents lie."""
    starts = [sum(map(len, extents[:i])) for i in range(len(extents))]
    return [
        row | {"offset": start, "nbytes": len(extent), "digest": writer.digest(extent)}
        for row, start, extent in zip(rows, starts, extents, strict=True)
    ]


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda e, r: (e, r), None),
        (lambda e, r: (e[::-1], r[::-1]), None),  # their order is the plan's
        (lambda e, r: ([e[0], *e], [r[0], *r]), "{first} is there 2 times"),
        (lambda e, r: ([_turned(e[0]), *e[1:]], r), "{first}: its JSON is not canonical"),
        (lambda e, r: ([e[1], e[0], *e[2:]], r), "{first}: its manifest row has key"),
        (lambda e, r: (e, [r[0] | {"licence": "?"}, *r[1:]]), "{first}: its manifest row has lice"),
        (lambda e, r: (e, [r[0] | {"turns": 4}, *r[1:]]), "{first}: its manifest row has turns 4"),
        (lambda e, r: ([e[0][:1024], *e[1:]], r), "{first}: "),
    ],
    ids=["whole", "order", "doubled", "json", "swapped", "licence", "turns", "cut"],
)
def test_a_seal_that_agrees_with_wrong_bytes_does_not_help(copy, harm, problem):
    shard = _shard(copy)
    rows, data = pq.read_table(copy / shard.manifest).to_pylist(), (copy / shard.tar).read_bytes()
    extents = [data[row["offset"] : row["offset"] + row["nbytes"]] for row in rows]
    first = f"record {rows[0]['key']}"
    extents, rows = harm(extents, rows)
    name = _reseal(copy, extents, _rows(extents, rows))
    found = [line for line in validate(copy) if not line.startswith("ledger")]
    if problem is None:
        assert found == []
    else:
        assert any(line.startswith(f"{name}: {problem.format(first=first)}") for line in found)


@pytest.mark.parametrize(
    ("forged", "problem"),
    [
        (
            {"tar": "coco/coco-train-00001-01234567.tar"},
            "coco/coco-train-00001-01234567.tar: its n",
        ),
        ({"rows_digest": "0" * 64}, "{manifest}: its rows are not the sealed ones"),
        ({"columns": MANIFEST.remove(0)}, "{manifest}: its columns are not those of a manifest"),
        ({"split": "val"}, "{tar}: record {first}: is of coco/train"),
    ],
)
def test_a_seal_that_says_something_else_is_refused(copy, forged, problem):
    shard = _shard(copy)
    rows, data = pq.read_table(copy / shard.manifest).to_pylist(), (copy / shard.tar).read_bytes()
    name = _reseal(copy, [data[: -len(tar.END)]], rows, **forged)
    (new,) = (shard for shard in Seal.read(copy).shards if shard.tar == name)
    expected = problem.format(tar=name, manifest=new.manifest, first=rows[0]["key"])
    found = list(validate(copy))
    assert any(line.startswith(expected) for line in found), found


def test_gaps_statuses_and_ends_are_checked(copy):
    shard = _shard(copy)
    rows, data = pq.read_table(copy / shard.manifest).to_pylist(), (copy / shard.tar).read_bytes()
    extents = [data[row["offset"] : row["offset"] + row["nbytes"]] for row in rows]
    odd = writer.row(key="odd", corpus="coco", split="train", turns=1, status="lost")
    rows = _rows(extents, rows)[1:]
    name = _reseal(copy, extents, [*rows, odd], end=tar.END + b"secret")
    found = "\n".join(validate(copy))
    assert f"{name}: record {rows[0]['key']}: begins at byte {len(extents[0])}, the one" in found
    assert "record odd: unknown status 'lost'" in found
    assert f"{name}: bytes after the last record (byte {sum(map(len, extents))}) are not" in found
    assert f"{name}: {len(rows)} records of {5 * len(rows)} turns, sealed with" in found
