"""Records become the same bytes under the same names, or nothing at all."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from manifests.place import order_in_shard
from manifests.schema import MANIFEST, Record, Turn
from manifests.seal import rows_digest
from shards import tar, writer
from shards.writer import ShardWriter, Source

SOURCE = Source(locator="file:train/7.jpg", digest="ab" * 16, width=640, height=480)
TURN = Turn(thread=0, id="1", prompt="", target="a cat", kind="caption")


def _tiny(key: str, **fields) -> Record:
    whole: dict[str, Any] = {"corpus": "coco", "group": f"coco:{key}", "split": "train"}
    return Record(key=key, **whole | {"image": b"\xff\xd8jpeg", "turns": (TURN,)} | fields)


OTHER = "d"
TINY = sorted((_tiny("a"), _tiny("b"), _tiny("c")), key=lambda record: order_in_shard(record.key))


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_tiny_shard_is_pinned_to_the_bit(tmp_path, write_shard):
    shard = write_shard(tmp_path, TINY)
    data = (tmp_path / shard.tar).read_bytes()
    assert shard.sha256 == hashlib.sha256(data).hexdigest()
    assert shard.sha256 == "fdcfa9a0e0b9a5bd9b3060224d04ff500ffaa979db7528f1fb0fb5843fa85bbe"
    assert shard.rows_digest == "6deac1a19e8b8f0aa677e6084ca508ed933630eb0ff2e3ced1c2375fb0925979"
    assert shard.tar == f"coco/coco-train-00000-{shard.sha256[:8]}.tar"
    assert (shard.nbytes, shard.records, shard.turns) == (len(data), 3, 3)
    assert len(data) == 3 * 2048 + 1024


def test_the_same_records_are_the_same_bytes_and_names(tmp_path, make_record, write_shard):
    records = [make_record("coco", number) for number in range(20)]
    records.sort(key=lambda record: order_in_shard(record.key))
    assert write_shard(tmp_path / "a", records) == write_shard(tmp_path / "b", records)
    assert _files(tmp_path / "a") == _files(tmp_path / "b")
    assert len(_files(tmp_path / "a")) == 2
    other = write_shard(tmp_path / "a", records[:-1])
    assert len(_files(tmp_path / "a")) == 4, "another content is another name"
    assert other.place == ("coco", "train", "00000")


def test_records_stay_in_the_order_they_were_added(tmp_path, write_shard):
    shard = write_shard(tmp_path, TINY[::-1])
    rows = pq.read_table(tmp_path / shard.manifest).to_pylist()
    assert [row["key"] for row in rows] == [record.key for record in TINY[::-1]]
    assert [row["offset"] for row in rows] == [0, 2048, 4096]
    data = (tmp_path / shard.tar).read_bytes()
    names = [member.name for member in tar.members(data)]
    assert names == [f"{r.key}.{kind}" for r in TINY[::-1] for kind in ("jpg", "json")]


def test_large_records_are_written_and_hashed_whole(tmp_path, write_shard):
    images = [bytes([number]) * 50_000 * number for number in range(1, 14)]  # to 650 kB
    records = [_tiny(f"k{number}", image=image) for number, image in enumerate(images)]
    shard = write_shard(tmp_path, records)
    data = (tmp_path / shard.tar).read_bytes()
    assert data == b"".join(writer.extent(record) for record in records) + tar.END
    assert shard.sha256 == hashlib.sha256(data).hexdigest()


def test_names_carry_the_digest_of_their_content(tmp_path, write_shard):
    write_shard(tmp_path, TINY, shard_id="00007")
    for name, data in _files(tmp_path).items():
        assert Path(name).stem == f"coco-train-00007-{hashlib.sha256(data).hexdigest()[:8]}"


def test_rows_say_where_each_record_is(tmp_path, write_shard):
    shard = write_shard(tmp_path, TINY)
    data = (tmp_path / shard.tar).read_bytes()
    table = pq.read_table(tmp_path / shard.manifest)
    assert table.schema.equals(MANIFEST)
    rows = table.to_pylist()
    assert rows_digest(rows) == shard.rows_digest
    assert [row["key"] for row in rows] == [record.key for record in TINY]
    for place, (row, record) in enumerate(zip(rows, TINY, strict=True)):
        extent = data[row["offset"] : row["offset"] + row["nbytes"]]
        assert row["offset"] == 2048 * place
        assert extent == writer.extent(record)
        assert row["digest"] == writer.digest(extent)
        names = [member.name for member in tar.members(extent)]
        assert names == [f"{record.key}.jpg", f"{record.key}.json"]
    first = {"corpus": "coco", "split": "train", "group": f"coco:{TINY[0].key}", "turns": 1}
    first |= {"shard": Path(shard.tar).name, "kinds": ["caption"], "licence": "", "pair": None}
    first |= {"source_digest": "0" * 32, "width": 640, "height": 480}
    first |= {"status": "written", "error": None, "locator": f"file:{TINY[0].key}.jpg"}
    assert rows[0].items() >= first.items()


def test_pair_and_evidence_come_from_meta(tmp_path, write_shard):
    shard = write_shard(
        tmp_path, [_tiny("a", meta='{"evidence":{"decided":"both"},"pair":"p1","site":{}}')]
    )
    (row,) = pq.read_table(tmp_path / shard.manifest).to_pylist()
    assert (row["pair"], row["evidence"]) == ("p1", "both")


def test_failures_are_rows_after_the_written_ones(tmp_path, write_shard):
    failures = [
        writer.row(key="y", status="quarantined", error="0 bytes", turns=2),
        writer.row(key="x", status="quarantined", error="0 bytes", turns=1),
        writer.row(key="x", status="duplicate", error="as b", turns=4),
    ]
    shard = write_shard(tmp_path / "a", TINY, failures=failures)
    again = write_shard(tmp_path / "b", TINY, failures=failures[::-1])
    assert shard == again, "in whatever order they were found"
    rows = pq.read_table(tmp_path / "a" / shard.manifest).to_pylist()
    assert [row["status"] for row in rows[:3]] == ["written"] * 3
    assert [(row["key"], row["error"], row["turns"]) for row in rows[3:]] == sorted(
        [("x", "0 bytes", 1), ("x", "as b", 4), ("y", "0 bytes", 2)],
        key=lambda row: (order_in_shard(row[0]), row[1]),
    )
    for row in rows[3:]:
        assert (row["corpus"], row["split"]) == ("coco", "train")
        assert (row["offset"], row["nbytes"], row["digest"], row["shard"]) == (None,) * 4
    assert (shard.records, shard.turns) == (3, 3)


def test_a_row_has_the_columns_of_a_manifest_and_no_other():
    assert list(writer.row(error="x", key="k")) == MANIFEST.names
    with pytest.raises(ValueError, match="a manifest has no column eror, kye"):
        writer.row(kye="k", eror="x")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (TINY[0], f"{TINY[0].key} comes twice in coco-train-00000"),
        (TINY[1], f"{TINY[1].key} comes twice in coco-train-00000"),
        (_tiny(OTHER, corpus="gqa"), "d is gqa/train, not coco-train-00000"),
        (_tiny(OTHER, split="val"), "d is coco/val, not coco-train-00000"),
        (_tiny("z.2146"), "a dot would split its name in a tar"),
        (_tiny(OTHER, turns=()), "no turns"),
        (_tiny(OTHER, meta="{"), "truncated"),
        (_tiny(OTHER, meta="[]"), "Expected `object`, got `array`"),
    ],
)
def test_a_refused_record_leaves_no_byte(tmp_path, record, message):
    with ShardWriter(tmp_path / "a", "coco", "train", "00000") as shard:
        for good in TINY[:2]:
            shard.add(good, SOURCE)
        with pytest.raises(ValueError, match=message):
            shard.add(record, SOURCE)
        got = shard.close()
    with ShardWriter(tmp_path / "b", "coco", "train", "00000") as shard:
        for good in TINY[:2]:
            shard.add(good, SOURCE)
        assert got == shard.close()


def test_an_exception_leaves_no_file(tmp_path):
    with (
        pytest.raises(KeyError),
        ShardWriter(tmp_path, "coco", "train", "00000") as shard,
    ):
        shard.add(TINY[0], SOURCE)
        assert len(_files(tmp_path)) == 1
        raise KeyError
    assert _files(tmp_path) == {}


def test_a_shard_that_is_not_closed_leaves_no_file(tmp_path):
    with ShardWriter(tmp_path, "coco", "train", "00000") as shard:
        shard.add(TINY[0], SOURCE)
    assert _files(tmp_path) == {}


def test_webdataset_reads_a_shard_as_it_is(tmp_path, make_record, write_shard):
    from webdataset.compat import WebDataset  # it takes seconds to import

    records = [make_record("robots", number) for number in range(6)]
    records.sort(key=lambda record: order_in_shard(record.key))
    shard = write_shard(tmp_path, records)
    samples = list(WebDataset(str(tmp_path / shard.tar), shardshuffle=False))
    assert [{"__key__", "jpg", "json"} == {*s} - {"__url__", "__local_path__"} for s in samples]
    found = [(sample["__key__"], sample["jpg"], sample["json"]) for sample in samples]
    assert found == [(record.key, record.image, record.encode()) for record in records]
