"""Two seals compared, from the seal down to records."""

import json
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from manifests import store
from manifests.seal import Seal, SealError
from shards.cli import app
from shards.diff import Records, Shards, diff
from shards.reader import DamageError
from shards.reshard import reshard


@pytest.fixture
def pair(tmp_path, make_record, write_shard, seal_shards):
    """a and b: in b a record of coco came, one went, one has another licence; vqa is new."""
    for name, numbers, licence in (("a", (0, 1, 2), "CC0"), ("b", (1, 2, 3, 4), "CC BY")):
        said = [make_record("coco", n, licence=licence if n == 2 else "CC0") for n in numbers]
        shards = [write_shard(tmp_path / name, said)]
        shards.append(write_shard(tmp_path / name, [make_record("llava", 0)]))
        if name == "b":
            shards.append(write_shard(tmp_path / name, [make_record("vqa", 1)]))
        sealed = seal_shards(tmp_path / name, shards)
    codecs = {**sealed.codecs, "jpeg": "99"}
    store.commit(tmp_path / "b", msgspec.structs.replace(sealed, codecs=codecs))
    return tmp_path / "a", tmp_path / "b"


def test_what_came_went_and_changed(pair):
    a, b = pair
    found = diff(a, b)
    assert found.roots == (Seal.read(a).root, Seal.read(b).root)
    assert not found.equal
    (codec,) = found.settings
    assert (codec.name, codec.b) == ("codecs.jpeg", "99")
    assert [(line.name, line.a, line.b) for line in found.ledger] == [
        ("coco/train read", 15, 20),
        ("coco/train records", 3, 4),
        ("coco/train written", 15, 20),
        *(
            (f"vqa/train {name}", None, count)
            for name, count in {
                "duplicate": 0,
                "held_back": 0,
                "quarantined": 0,
                "read": 3,
                "records": 1,
                "unannotated": 0,
                "written": 3,
            }.items()
        ),
    ]
    assert found.shards == [
        _shards("coco/train", changed=1, records=(3, 4), turns=(15, 20)),
        _shards("llava/train", same=1, records=(1, 1), turns=(2, 2)),
        _shards("vqa/train", came=1, records=(0, 1), turns=(0, 3)),
    ]
    assert found.records == [
        _records("coco/train", "came", "coco-train-0003", "coco-train-0004"),
        _records("coco/train", "changed", "coco-train-0002", columns=["digest", "licence"]),
        _records("coco/train", "went", "coco-train-0000"),
        _records("vqa/train", "came", "vqa-train-0001"),
    ]


def _shards(place: str, **fields: Any) -> Shards:
    return Shards(**{"place": place, "came": 0, "went": 0, "changed": 0, "same": 0, **fields})


def _records(place: str, change: str, *keys: str, columns=()) -> Records:
    return Records(
        place=place, change=change, columns=list(columns), count=len(keys), keys=list(keys)
    )


def test_a_data_set_does_not_differ_from_itself(whole):
    found = diff(whole, whole)
    assert found.equal
    assert (found.settings, found.ledger, found.records) == ([], [], [])
    assert all((s.came, s.went, s.changed) == (0, 0, 0) for s in found.shards)


def test_other_shards_with_the_same_records_differ_in_shards_alone(
    tmp_path, make_record, write_shard, seal_shards
):
    for name, bits in (("a", 0), ("b", 1)):
        shard = write_shard(tmp_path / name, [make_record("coco", n) for n in range(4)])
        sealed = seal_shards(tmp_path / name, [shard])
        placed = msgspec.structs.replace(sealed, bits={"coco/train": 0})
        store.commit(tmp_path / name, placed)
        if bits:
            reshard(tmp_path / name, "coco/train", bits)
    found = diff(tmp_path / "a", tmp_path / "b")
    assert not found.equal
    assert [(one.name, one.a, one.b) for one in found.settings] == [("bits.coco/train", 0, 1)]
    assert (found.records, found.ledger) == ([], [])
    assert (found.shards[0].changed, found.shards[0].came) == (1, 1)


def test_of_a_seal_alone_no_record_is_compared(pair, tmp_path):
    a, b = pair
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "dataset.json").write_bytes((a / "dataset.json").read_bytes())
    found = diff(tmp_path / "alone" / "dataset.json", b)
    assert found.records is None
    assert msgspec.structs.replace(found, a=str(a), records=diff(a, b).records) == diff(a, b)


def test_a_manifest_that_cannot_be_read_is_no_traceback(pair):
    a, b = pair
    shard = Seal.read(b).select("coco", "train")[0]
    (b / shard.manifest).write_bytes(b"PAR1 no longer PAR1")
    with pytest.raises(ValueError, match=f"reading the manifests of {a} and {b} failed"):
        diff(a, b)
    (b / shard.manifest).unlink()
    with pytest.raises(DamageError, match=f"a manifest cannot be read: .* validate {a}, .* {b}$"):
        diff(a, b)


def test_a_folder_without_a_seal_is_refused(whole, tmp_path):
    with pytest.raises(SealError, match="is not a sealed data set"):
        diff(whole, tmp_path)
    told = CliRunner().invoke(app, ["diff", str(whole), str(tmp_path)])
    assert told.exit_code == 1
    assert told.stderr.startswith(f"diff failed: {tmp_path} is not a sealed data set")
    assert len(told.stderr.splitlines()) == 1


def test_the_command_prints_tables_or_one_object(pair):
    a, b = map(str, pair)
    told = CliRunner().invoke(app, ["diff", a, b])
    assert told.exit_code == 0
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert "the roots differ" in lines
    assert "coco/train changed 1 digest, licence coco-train-0002" in lines
    assert "coco/train written 15 20" in lines
    assert max(map(len, lines)) <= 100
    said = json.loads(CliRunner().invoke(app, ["diff", a, b, "--json"]).stdout)
    assert said == msgspec.to_builtins(diff(a, b)) | {
        "roots": list(diff(a, b).roots),
        "shards": json.loads(msgspec.json.encode(diff(a, b).shards)),
    }
    same = CliRunner().invoke(app, ["diff", a, a])
    assert "the same root: every shard is the same" in same.stdout
    assert "No record came, went or changed." in same.stdout
