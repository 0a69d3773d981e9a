"""What was written is read back, and not one bit of anything else."""

import os
from itertools import pairwise
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from manifests import seal, store
from manifests.place import order_in_shard
from shards import reader, rows, tar, writer
from shards.reader import DamageError, Dataset, parse
from shards.validate import validate


def _index(folder: Path) -> Path:
    return folder / "index" / "coco-train.idx"


def test_every_record_is_read_back_in_the_order_of_shards(whole, make_record):
    data = Dataset(whole)
    names = [("coco", "train"), ("coco", "val"), ("llava", "train"), ("robots", "train")]
    assert data.names == [*names, ("vqa", "train")]
    for corpus, split, count in [("coco", "train", 40), ("coco", "val", 6), ("robots", "train", 9)]:
        records = list(data.records(corpus, split))
        source = data.source(corpus, split)
        assert len(records) == len(source) == count
        by_key = {record.key: record for record in records}
        assert by_key == {
            record.key: record for record in (make_record(corpus, i, split) for i in range(count))
        }
        starts = source.starts.tolist()
        for begin, end in pairwise(starts):
            keys = [order_in_shard(record.key) for record in records[begin:end]]
            assert keys == sorted(keys)
        backwards = [source.record(number) for number in reversed(range(count))]
        assert backwards == records[::-1]


def test_a_source_that_is_not_there_is_named_with_those_that_are(whole):
    with pytest.raises(
        KeyError, match="has no coco/test; it has coco/train, coco/val, llava/train"
    ):
        Dataset(whole).source("coco", "test")


def test_the_index_is_32_bytes_a_record_and_says_what_the_manifests_say(copy):
    source = Dataset(copy).source("coco", "train")
    index = source.index
    assert reader.ENTRY.itemsize == 32
    assert _index(copy).stat().st_size == 32 * (1 + 40)
    rows = []
    for ordinal, shard in enumerate(source.shards):
        table = pq.read_table(copy / shard.manifest).to_pylist()
        rows += [(ordinal, row) for row in table if row["status"] == "written"]
    for entry, (ordinal, row) in zip(index, rows, strict=True):
        where = (int(entry["shard"]), int(entry["offset"]), int(entry["nbytes"]))
        assert where == (ordinal, row["offset"], row["nbytes"])
        assert bytes(entry["digest"]).hex() == row["digest"]


def test_a_column_is_in_the_order_of_the_records(whole):
    source = Dataset(whole).source("coco", "train")
    assert len(source.shards) > 1
    keys = [source.record(number).key for number in range(len(source))]
    assert source.column("key") == keys
    assert source.column("evidence") == [None] * len(source)


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data + bytes(32),
        lambda data: b"X" + data[1:],
        lambda data: data[:16] + bytes(16) + data[32:],  # another seal's
    ],
    ids=["empty", "cut in the header", "cut", "too long", "no index", "stale"],
)
def test_an_index_that_is_not_this_seals_is_made_anew(copy, harm):
    records = list(Dataset(copy).records("coco", "train"))
    path = _index(copy)
    right = path.read_bytes()
    path.write_bytes(harm(right))
    assert list(Dataset(copy).records("coco", "train")) == records
    assert path.read_bytes() == right


def test_an_index_is_used_when_it_is_right(copy, monkeypatch):
    list(Dataset(copy).records("coco", "train"))
    monkeypatch.setattr(rows.pq, "read_table", None)
    assert len(list(Dataset(copy).records("coco", "train"))) == 40


def test_another_build_in_the_same_folder_is_never_read_by_the_old_index(
    tmp_path, make_record, write_shard, seal_shards
):
    for numbers in (range(5), range(10, 15)):
        records = [make_record("coco", number) for number in numbers]
        records.sort(key=lambda record: order_in_shard(record.key))
        seal_shards(tmp_path, [write_shard(tmp_path, records)])
        assert list(Dataset(tmp_path).records("coco", "train")) == records


def test_every_flipped_bit_is_caught(tmp_path, make_record, write_shard, seal_shards, monkeypatch):
    small = [make_record("coco", number, image=b"\xff\xd8" + b"i" * 30) for number in range(3)]
    small.sort(key=lambda record: order_in_shard(record.key))
    shard = write_shard(tmp_path, small)
    seal_shards(tmp_path, [shard])
    source = Dataset(tmp_path).source("coco", "train")
    entry = source.index[1]
    offset, nbytes = int(entry["offset"]), int(entry["nbytes"])
    table = pq.read_table(tmp_path / shard.manifest)
    monkeypatch.setattr(rows.pq.ParquetFile, "read", lambda *_, **__: table)  # 20,000 times
    view, digest = memoryview(bytearray(nbytes)), bytes(entry["digest"])
    source.read_into(view, 0, offset, digest)
    right = bytes(view)
    assert parse(right) == small[1]
    caught = 0
    with (tmp_path / shard.tar).open("r+b", buffering=0) as file:
        for bit in range(nbytes * 8):
            at = bit // 8
            os.pwrite(file.fileno(), bytes([right[at] ^ 1 << bit % 8]), offset + at)
            try:
                source.read_into(view, 0, offset, digest)
            except DamageError:
                caught += 1
            os.pwrite(file.fileno(), right[at : at + 1], offset + at)
    assert caught == nbytes * 8 > 16_000
    assert source.record(1) == small[1]


def test_a_flipped_bit_is_named(copy):
    source = Dataset(copy).source("coco", "train")
    entry, record = source.index[7], source.record(7)
    path = copy / source.shards[int(entry["shard"])].tar
    data = bytearray(path.read_bytes())
    data[int(entry["offset"]) + 600] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamageError) as caught:
        Dataset(copy).source("coco", "train").record(7)
    assert str(caught.value) == (
        f"{path.relative_to(copy)}: record {record.key} at byte {int(entry['offset'])} is damaged: "
        f"its digest differs. Repair it with: python -m shards repair {copy}"
    )
    assert source.record(6)


def test_a_truncated_tar_is_damage_with_shard_record_and_next_command(copy):
    source = Dataset(copy).source("coco", "train")
    shard, last = source.shards[0], source.shards[0].records - 1
    record, entry = source.record(last), source.index[last]
    os.truncate(copy / shard.tar, int(entry["offset"]) + 100)
    with pytest.raises(DamageError) as caught:
        source.record(last)
    message = str(caught.value)
    assert message.startswith(f"{shard.tar}: record {record.key} at byte {int(entry['offset'])} ")
    assert f": 100 of {int(entry['nbytes'])} bytes are there. " in message
    assert f"python -m shards repair {copy}" in message
    assert source.record(last - 1)


def test_a_missing_tar_is_damage(copy):
    source = Dataset(copy).source("coco", "train")
    (copy / source.shards[0].tar).unlink()
    with pytest.raises(
        DamageError, match=r"is sealed but cannot be opened \(No such file.*shards v"
    ):
        source.record(0)


def test_damage_is_damage_without_the_manifest_that_names_the_record(copy):
    source = Dataset(copy).source("coco", "train")
    assert source.record(0)
    os.truncate(copy / source.shards[0].tar, 10)
    (copy / source.shards[0].manifest).unlink()
    with pytest.raises(DamageError, match="record unknown at byte 0 is damaged: 10 of"):
        source.record(0)


@pytest.mark.parametrize("harm", ["missing", "rows"])
def test_an_index_is_not_made_from_a_manifest_that_is_not_the_sealed_one(copy, harm):
    source = Dataset(copy).source("coco", "train")
    path = copy / source.shards[1].manifest
    table = pq.read_table(path)
    path.unlink()
    if harm == "rows":
        store.write(path, store.parquet_bytes(table.slice(1)))
    with pytest.raises(DamageError, match=f"{path.name} .*python -m shards validate"):
        source.record(0)


def test_a_source_of_failures_alone_is_empty(tmp_path, seal_shards):
    failure = writer.row(key="x", corpus="coco", split="val", turns=1, status="quarantined")
    with writer.ShardWriter(tmp_path, "coco", "val", "00000") as shard:
        seal_shards(tmp_path, [shard.close([failure])], [failure])
    source = Dataset(tmp_path).source("coco", "val")
    assert (len(source), source.starts.tolist()) == (0, [0, 0])
    assert len(source.index) == 0
    assert list(Dataset(tmp_path).records("coco", "val")) == []


def test_a_folder_without_a_seal_is_refused(tmp_path):
    with pytest.raises(seal.SealError, match="is not a sealed data set"):
        Dataset(tmp_path)


def test_parse_takes_one_record_and_nothing_else(make_record):
    record = make_record("robots", 3)
    image, said = tar.member(f"{record.key}.jpg", record.image), record.encode()
    assert parse(writer.extent(record)) == record
    for wrong in (b"", image, image * 2, image + tar.member("other.json", said)):
        with pytest.raises(tar.TarError, match=r"a record is key.jpg then key.json; found "):
            parse(wrong)
    with pytest.raises(msgspec.DecodeError):
        parse(image + tar.member(f"{record.key}.json", said[:-1]))


def test_a_damaged_index_is_not_blamed_on_the_tar(copy):
    source = Dataset(copy).source("coco", "train")
    right = source.record(1)
    path = copy / "index" / "coco-train.idx"
    data = bytearray(path.read_bytes())
    data[32 * 2 + 20] ^= 1  # in the digest of record 1
    path.write_bytes(data)
    assert [p for p in validate(copy) if str(p).startswith("index/coco-train.idx: damaged")]
    with pytest.raises(DamageError, match="idx was damaged, not the records, and is removed"):
        Dataset(copy).source("coco", "train").record(1)
    assert Dataset(copy).source("coco", "train").record(1) == right
    assert list(validate(copy)) == []


def test_many_shards_do_not_hold_many_files_open(tmp_path, make_record, write_shard, seal_shards):
    shards = []
    for number in range(300):
        record = make_record("coco", number)
        shards.append(write_shard(tmp_path, [record], f"{number:05d}"))
    seal_shards(tmp_path, shards)
    source = Dataset(tmp_path).source("coco", "train")
    open_files = Path("/proc/self/fd")
    before = len(list(open_files.iterdir()))
    assert len([source.record(number) for number in range(300)]) == 300
    assert len(list(open_files.iterdir())) - before <= 260
    del source
    assert len(list(open_files.iterdir())) <= before


@pytest.mark.parametrize("field", ["offset", "nbytes", "shard", "digest"])
def test_a_flipped_byte_in_any_field_of_the_index_is_damage_of_the_index(copy, field):
    source = Dataset(copy).source("coco", "train")
    right, path = source.record(17), _index(copy)
    whole = path.read_bytes()
    kind, begin = (reader.ENTRY.fields or {})[field][:2]
    for byte in range(begin, begin + kind.itemsize):
        data = bytearray(whole)
        data[32 * (1 + 17) + byte] ^= 0xFF
        path.write_bytes(data)
        with pytest.raises(DamageError, match="index/coco-train.idx was damaged, not the records"):
            Dataset(copy).source("coco", "train").record(17)
        assert Dataset(copy).source("coco", "train").record(17) == right
        assert path.read_bytes() == whole


def test_an_offset_near_2_to_the_64_is_damage_of_the_index(copy):
    assert Dataset(copy).source("coco", "train").record(0)
    data = bytearray(_index(copy).read_bytes())
    data[32:40] = b"\xff" * 8
    _index(copy).write_bytes(data)
    with pytest.raises(DamageError, match="was damaged, not the records"):
        Dataset(copy).source("coco", "train").record(0)
