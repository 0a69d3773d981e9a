"""Divided shards are those of a build with more bits; until the seal is written, the old stand."""

import hashlib
import os
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from manifests import store
from manifests.place import order_in_shard, shard_of
from manifests.seal import Seal, SealError, merkle_root
from shards import interop, writer
from shards.cli import app
from shards.reader import DamageError, Dataset
from shards.reshard import ReshardError, reshard
from shards.validate import validate
from shards.writer import ShardWriter, Source


@pytest.fixture
def make(make_record, seal_shards, tmp_path):
    """make(name, bits): a data set as a build with these bits of coco/train would write it."""

    def made(name, bits):
        out = tmp_path / name
        records = [make_record("coco", number) for number in range(30)]
        failures = [
            writer.row(key=f"bad-{i}", group=f"coco:{i % 5}", corpus="coco", split="train", turns=1,
                       status="quarantined", error=f"0 bytes: {i}.jpg")
            for i in range(8)
        ]  # fmt: skip
        places = defaultdict(lambda: ([], []))
        for record in sorted(records, key=lambda record: order_in_shard(record.key)):
            places[shard_of(record.group, bits)][0].append(record)
        for row in failures:
            places[shard_of(row["group"], bits)][1].append(row)
        shards = []
        for part, (mine, failed) in sorted(places.items()):
            shards.append(_write(out, "train", part, mine, failed))
        shards.append(_write(out, "val", "00000", [make_record("coco", 90, "val")], []))
        sealed = seal_shards(out, shards, failures)
        store.commit(out, msgspec.structs.replace(sealed, bits={"coco/train": bits, "coco/val": 0}))
        interop.write(out)
        return out

    return made


def _write(out, split, part, records, failures):
    with ShardWriter(out, "coco", split, part) as shard:
        for record in records:
            source = Source(locator=f"file:{record.key}.jpg", digest="1" * 32, width=64, height=48)
            shard.add(record, source)
        return shard.close(failures)


def files(folder: Path) -> dict[str, str]:
    """sha256 of every file by its name; those of `index`, which readers make, apart."""
    paths = [p for p in folder.rglob("*") if p.is_file() and p.parent.name != "index"]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def ids(folder: Path) -> list[str]:
    return [shard.id for shard in Seal.read(folder).select("coco", "train")]


@pytest.mark.parametrize("steps", [(0, 1), (0, 3), (1, 2, 3), (2, 6)])
def test_the_data_set_is_the_one_that_a_build_with_these_bits_makes(make, steps):
    folder = make("grown", steps[0])
    for bits in steps[1:]:
        sealed = reshard(folder, "coco/train", bits)
        assert sealed == Seal.read(folder)
        assert list(validate(folder)) == []
    assert files(folder) == files(make("built", steps[-1]))


def test_a_shard_becomes_two_and_no_record_is_lost(make):
    folder = make("data", 1)
    before = {
        shard.id: {r.key: r for r in Dataset(folder).records("coco", "train")
                   if shard_of(r.group, 1) == shard.id}
        for shard in Seal.read(folder).select("coco", "train")
    }  # fmt: skip
    assert sum(map(len, before.values())) == 30
    seen = []
    reshard(folder, "coco/train", 2, seen.append)
    assert [shard.id for shard in seen] == ["00000", "00001"]
    assert ids(folder) == ["00000", "00001", "00002", "00003"]
    after = {r.key: r for r in Dataset(folder).records("coco", "train")}
    assert after == {**before["00000"], **before["00001"]}
    first, second, *_ = Seal.read(folder).select("coco", "train")
    assert first.records + second.records == len(before["00000"])


def test_a_shard_that_would_have_no_row_does_not_exist(make):
    folder = make("data", 0)
    reshard(folder, "coco/train", 8)
    groups = {f"coco:{number}" for number in range(30)}
    assert ids(folder) == sorted({shard_of(group, 8) for group in groups})
    assert len(ids(folder)) < 256


def test_other_places_and_files_of_others_stay(make):
    folder = make("data", 1)
    (val,) = Seal.read(folder).select("coco", "val")
    theirs = [folder / "coco" / name for name in ("coco-train-mine.tar", "notes.txt")]
    for path in theirs:
        path.write_text("mine")
    before = (folder / val.tar).stat()
    reshard(folder, "coco/train", 2)
    assert Seal.read(folder).select("coco", "val") == [val]
    assert (folder / val.tar).stat().st_ino == before.st_ino, "not written again"
    assert all(path.read_text() == "mine" for path in theirs)


def test_the_bits_that_are_there_change_nothing_but_what_a_kill_left(make):
    folder = make("data", 2)
    before = files(folder)
    left = (
        "coco-train-00007-0123abcd.tar",
        ".tmp-0123456789abcdef",
        "../.tmp-1123456789abcdef",
        "../manifests/coco/.tmp-2123456789abcdef",
    )
    for name in left:
        (folder / "coco" / name).write_bytes(b"left")
    reshard(folder, "coco/train", 2)
    assert files(folder) == before


class Killed(BaseException):
    """No handler stands between this and the end of the process."""


@pytest.mark.parametrize("moment", range(23))
def test_a_kill_at_any_moment_leaves_one_whole_data_set(make, monkeypatch, moment):
    folder = make("data", 1)
    old, new = Seal.read(folder), Seal.read(make("new", 2))
    published = store.publish
    calls = iter(range(100))

    def publish(temporary, final):
        if next(calls) == moment:
            raise Killed
        published(temporary, final)

    # 4 tars, 4 manifests, the seal; 4 .tar.idx, 3 of the index, 3 lists, 2 for wids, the card
    monkeypatch.setattr(store, "publish", publish)
    monkeypatch.setattr(store, "collect", lambda *_: None)  # nor does anybody clean up
    if moment < 22:
        with pytest.raises(Killed):
            reshard(folder, "coco/train", 2)
    else:
        reshard(folder, "coco/train", 2)
    monkeypatch.undo()
    assert Seal.read(folder) == (old if moment < 9 else new)
    for problem in map(str, validate(folder)):
        assert "not listed" in problem or "it is made anew by" in problem
    assert len(list(Dataset(folder).records("coco", "train"))) == 30
    reshard(folder, "coco/train", 2)
    assert files(folder) == files(folder.parent / "new")


@pytest.mark.parametrize("part", ["tar", "manifest"])
def test_damage_is_not_copied(make, part):
    folder = make("data", 1)
    shard = Seal.read(folder).select("coco", "train")[1]
    name = getattr(shard, part)
    with (folder / name).open("r+b") as file:
        file.seek(-2000 if part == "tar" else 30, os.SEEK_END if part == "tar" else os.SEEK_SET)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    before = files(folder)
    with pytest.raises(DamageError, match=f"{name}.* damaged") as caught:
        reshard(folder, "coco/train", 2)
    assert str(caught.value).endswith(f"Repair it with: python -m shards repair {folder}")
    assert files(folder) == before


def test_a_row_that_its_group_puts_elsewhere_is_refused(make):
    folder = make("data", 1)
    sealed = Seal.read(folder)
    first, second, val = sealed.shards
    swapped = (msgspec.structs.replace(first, id="00001"),
               msgspec.structs.replace(second, id="00000"), val)  # fmt: skip
    forged = msgspec.structs.replace(sealed, shards=swapped, root=merkle_root(swapped))
    store.commit(folder, forged)
    with pytest.raises(DamageError, match="does not belong in shard 00001"):
        reshard(folder, "coco/train", 2)


@pytest.mark.parametrize(
    ("place", "bits", "message"),
    [
        ("coco/train", 1, "coco/train has bits 2, asked for 1; for fewer shards build it again"),
        ("coco/train", 21, "bits is 21; expected 3 to 20"),
        ("coco/test", 3, "there is no coco/test; the data set has coco/train, coco/val"),
        ("coco", 3, "there is no coco; the data set has coco/train, coco/val"),
    ],
)
def test_what_cannot_be_divided_is_refused(make, place, bits, message):
    folder = make("data", 2)
    before = files(folder)
    with pytest.raises(ReshardError, match=message):
        reshard(folder, place, bits)
    assert files(folder) == before


def test_shards_by_container_are_refused(write_shard, seal_shards, make_record, tmp_path):
    shard = write_shard(tmp_path, [make_record("cc3m", 1)], "1a2b3c4d-00007")
    seal_shards(tmp_path, [shard])
    with pytest.raises(ReshardError, match="shards by container, such as 1a2b3c4d-00007"):
        reshard(tmp_path, "cc3m/train", 3)


def test_two_do_not_write_at_once(make):
    folder = make("data", 1)
    with store.sole_writer(folder), pytest.raises(BlockingIOError, match="another"):
        reshard(folder, "coco/train", 2)
    assert len(ids(folder)) == 2


def test_a_folder_that_is_none_is_not_made(tmp_path):
    with pytest.raises(SealError, match="not a sealed data set"):
        reshard(tmp_path / "typo", "coco/train", 2)
    assert list(tmp_path.iterdir()) == []


def test_the_command(make):
    folder = make("data", 1)
    done = CliRunner().invoke(app, ["reshard", str(folder), "coco/train", "--bits", "2"])
    assert done.exit_code == 0
    assert done.stderr == (
        "note: the next build gives coco/train bits 1 again, unless its config says: "
        "corpora.coco.bits: {train: 2}\n"
    )
    root = Seal.read(folder).root
    assert done.stdout == f"{folder}: coco/train has 4 shards (bits 2), root {root}\n"
    again = CliRunner().invoke(app, ["reshard", str(folder), "coco/train", "--bits", "2"])
    nothing = f"{folder}: coco/train already has bits 2: nothing to do\n"
    assert (again.exit_code, again.stdout, again.stderr) == (0, nothing, "")
    for bits in ("-1", "21"):
        wrong = CliRunner().invoke(app, ["reshard", str(folder), "coco/train", "--bits", bits])
        assert wrong.exit_code == 2
    refused = CliRunner().invoke(app, ["reshard", str(folder), "coco/train", "--bits", "1"])
    assert refused.exit_code == 1
    assert refused.stderr.startswith("reshard failed: coco/train has bits 2, asked for 1")
