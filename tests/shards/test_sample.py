"""Records pulled out of shards as files."""

import json

import pytest
from typer.testing import CliRunner

from shards.cli import app
from shards.reader import DamageError, Dataset
from shards.sample import sample


def test_a_record_is_two_files(whole, tmp_path):
    assert sample(whole, tmp_path / "out", key="vqa-train-0005") == ["vqa-train-0005"]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["vqa-train-0005.jpg", "vqa-train-0005.json"]
    records = Dataset(whole).records("vqa", "train")
    (record,) = (record for record in records if record.key == "vqa-train-0005")
    assert (tmp_path / "out" / names[0]).read_bytes() == record.image
    said = json.loads((tmp_path / "out" / names[1]).read_text())
    assert [turn["target"] for turn in said["record"]["turns"]] == ["a5"] * 4
    assert said["row"]["locator"] == "file:vqa-train-0005.jpg"
    assert said["lineage"]["source"] == "the whole file vqa-train-0005.jpg"
    assert said["image"] == {"bytes": len(record.image), "width": 32, "height": 32}


def test_the_seed_alone_draws(whole, tmp_path):
    first = sample(whole, tmp_path / "1", 5, seed=1)
    assert sample(whole, tmp_path / "2", 5, seed=1) == first
    assert sample(whole, tmp_path / "3", 3, seed=1) == first[:3]
    assert sample(whole, tmp_path / "4", 5, seed=2) != first
    # The least md5 of "1:corpus/split/key"; for ever.
    assert first[:2] == ["robots-train-0007", "coco-train-0000"]
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


def test_a_filter_is_kept_to(whole, tmp_path):
    keys = sample(whole, tmp_path / "out", 1000, where="split = 'val'")
    assert sorted(keys) == [f"coco-val-000{i}" for i in range(6)]


def test_what_cannot_be_drawn_is_said_and_writes_nothing(copy, whole, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there exists already"):
        sample(whole, tmp_path / "there")
    with pytest.raises(OSError, match="--out .*/f/s cannot be written: File exists; choose"):
        (tmp_path / "f").touch()
        sample(whole, tmp_path / "f" / "s")
    (tmp_path / "f").unlink()
    with pytest.raises(ValueError, match="--out .*/coco/new lies in the data set"):
        sample(whole, whole / "coco" / "new")
    with pytest.raises(ValueError, match="no written record where status = 'duplicate'"):
        sample(whole, tmp_path / "out", where="status = 'duplicate'")
    with pytest.raises(ValueError, match="bad-1 was not written; see why: python -m"):
        sample(whole, tmp_path / "out", key="bad-1")
    shard = Dataset(copy).seal.select("coco", "val")[0]
    with (copy / shard.tar).open("r+b") as tar:
        tar.seek(600)
        tar.write(b"\xa5\x5a")
    with pytest.raises(DamageError):
        sample(copy, tmp_path / "out", 1000)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["copy", "there"]


def test_two_records_of_one_key_are_not_one_file(tmp_path, make_record, write_shard, seal_shards):
    train = write_shard(tmp_path / "d", [make_record("coco", 1, key="same")])
    val = write_shard(tmp_path / "d", [make_record("coco", 2, "val", key="same")])
    seal_shards(tmp_path / "d", [train, val])
    with pytest.raises(ValueError, match="same is a record in each of coco/.*--where") as error:
        sample(tmp_path / "d", tmp_path / "out", key="same")
    where = str(error.value).partition('--where "')[2].removesuffix('"')
    assert sample(tmp_path / "d", tmp_path / "out", where=where) == ["same"]


def test_the_command(whole, tmp_path):
    arguments = ["sample", str(whole), "--out", str(tmp_path / "out"), "--n", "2"]
    told = CliRunner().invoke(app, arguments)
    assert (told.exit_code, told.stdout) == (
        0,
        f"{tmp_path / 'out'}: 2 records, a .jpg and a .json each\n",
    )
    arguments[-1] = "1"
    said = CliRunner().invoke(app, [*arguments, "--json", "--out", str(tmp_path / "one")])
    assert json.loads(said.stdout) == {"out": str(tmp_path / "one"), "keys": ["robots-train-0007"]}
    one = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "1")])
    assert one.stdout == f"{tmp_path / '1'}: 1 record, a .jpg and a .json each\n"
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 1
    assert again.stderr == f"sample failed: {tmp_path / 'out'} exists already; remove it first\n"
