"""A build packs what changed, and its bytes are those of a build into an empty folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipelines import build as building
from pipelines import config as configs
from pipelines import pack, reuse, state
from pipelines.locators import Images
from shards import card
from shards.images import ImageError
from shards.validate import validate

ALL = [
    f"{corpus}-{split}-00000" for corpus in ("coco", "gqa", "vqav2") for split in ("train", "val")
]
ROBOTS = [f"robots-{split}-00000" for split in ("test", "train", "val")]


@pytest.fixture
def repacked(shop, tmp_path, monkeypatch, digests):
    """Change something, build again: the names of the shards that were packed.

    What stands in `out` must be what a build into an empty folder gives.
    """
    old = 1_600_000_000_123_456_789  # ns; what is late is packed again, and not the question here
    monkeypatch.setattr(state, "is_late", lambda found, since: False)
    kept, names = pack.pack, []
    del shop.settings["corpora"]["robots"]  # which takes longest

    def noting(plan, *rest):
        names.append(plan.name)
        return kept(plan, *rest)

    monkeypatch.setattr(building.pack, "pack", noting)

    def run(change=lambda: None, deep=False):
        if not (shop.out / "dataset.json").exists():
            shop.build()
        change()
        for path in shop.raw.rglob("*.json"):  # the times of annotation files do not matter
            os.utime(path, ns=(old, old))
        names.clear()
        shop.build(deep=deep)
        found = sorted(names)
        fresh = tmp_path / "fresh"
        shop.build(fresh)
        assert digests(shop.out) == digests(fresh)
        assert list(validate(shop.out)) == []
        return found

    return run


def caption_file(shop):
    return shop.raw / "coco/annotations/captions_train2017.json"


def recaption(shop):
    path = caption_file(shop)
    path.write_text(path.read_text().replace("Something red and", "A thing, red and"))


def test_nothing_changed_and_nothing_is_packed(repacked):
    assert repacked() == []


def test_one_caption_packs_one_shard(shop, repacked):
    assert repacked(lambda: recaption(shop)) == ["coco-train-00000"]


def test_rows_that_move_in_their_file_pack_nothing(shop, repacked):
    def change():
        for path in (shop.raw / "vqa").glob("*.json"):
            name = "questions" if "questions" in path.name else "annotations"
            shop.edit(path, lambda file, name=name: file[name].reverse())

    assert repacked(change) == []


def test_a_new_row_packs_its_own_shard(shop, repacked):
    def add(file):
        first = file["annotations"][0]
        file["annotations"].insert(0, {**first, "id": 1, "caption": "Quite another caption."})

    assert repacked(lambda: shop.edit(caption_file(shop), add)) == ["coco-train-00000"]


def picture(shop, number):
    return shop.raw / f"coco/train2017/{number:012d}.jpg"


@pytest.mark.parametrize("size", ["same", "another"])
def test_a_picture_that_was_replaced_packs_all_shards_that_hold_it(shop, repacked, size):
    path = picture(shop, 522418)
    assert path.is_file()

    def change():
        data = path.read_bytes()
        if size == "same":
            path.write_bytes(data[:-3] + b"\0" + data[-2:])
        else:
            Image.new("RGB", (64, 48), "red").save(path)
            assert path.stat().st_size != len(data)

    packed = repacked(change)
    assert "coco-train-00000" in packed
    assert set(packed) <= {"coco-train-00000", "vqav2-train-00000"}


def test_a_picture_that_was_missing_and_comes_is_packed(shop, repacked):
    path = picture(shop, 522418)
    data = path.read_bytes()
    path.unlink()
    shop.build()
    packed = repacked(lambda: path.write_bytes(data))
    assert "coco-train-00000" in packed and "gqa-train-00000" not in packed


def test_a_corpus_that_comes_or_goes_leaves_the_others(shop, repacked):
    corpora, robots = shop.settings["corpora"], {"path": str(shop.robots)}
    assert repacked(lambda: corpora.update(robots=robots)) == ROBOTS
    assert repacked(lambda: corpora.pop("robots")) == []


def test_more_bits_pack_their_corpus(shop, repacked):
    shop.only("gqa", "coco")
    more = {"gqa": {"bits": 1}, "coco": {}}
    packed = repacked(lambda: shop.settings.update(corpora=more))
    assert {name.rpartition("-")[0] for name in packed} <= {"gqa-train", "gqa-val"}
    assert "gqa-train-00001" in packed


def test_another_image_policy_packs_all(shop, repacked):
    assert repacked(lambda: shop.settings.update(image={"quality": 80})) == ALL


def test_what_is_protected_packs_what_it_takes_or_gives(shop, repacked):
    none = {"image": [], "text": [], "near_duplicates": "off"}
    packed = repacked(lambda: shop.settings.update(protect=none))
    assert "coco-train-00000" in packed and "coco-val-00000" not in packed


def test_other_code_packs_all(shop, repacked, monkeypatch):
    def change():
        monkeypatch.setattr(state, "code", lambda parts=(): f"another {parts}")

    assert repacked(change) == ALL


def tar(shop):
    (path,) = (shop.out / "vqav2").glob("*-train-*.tar")
    return path


def flip(path):
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: os.truncate(path, 1024)])
def test_a_shard_that_is_damaged_or_gone_is_packed_again(shop, repacked, damage):
    assert repacked(lambda: damage(tar(shop))) == ["vqav2-train-00000"]


def test_a_copy_without_times_packs_nothing(repacked, shop):
    def copy():
        for path in shop.out.rglob("*"):
            os.utime(path)

    assert repacked(copy) == []


def test_a_copy_without_times_packs_what_is_damaged_in_it(repacked, shop):
    def copy():
        flip(next((shop.out / "manifests/gqa").glob("*-val-*")))
        flip(tar(shop))
        for path in shop.out.rglob("*"):
            os.utime(path)

    assert repacked(copy) == ["gqa-val-00000", "vqav2-train-00000"]


def test_a_manifest_that_is_gone_is_packed_again(shop, repacked):
    def change():
        next((shop.out / "manifests/gqa").glob("*-val-*")).unlink()

    assert repacked(change) == ["gqa-val-00000"]


def test_a_seal_that_is_gone_is_made_of_what_is_there(shop, repacked):
    assert repacked((shop.out / "dataset.json").unlink) == []


@pytest.mark.parametrize("data", [None, b"\0garbage", b'{"format": 0, "digest": "", "state": {}}'])
def test_without_a_state_that_can_be_believed_all_is_packed(shop, repacked, data):
    def change():
        path = shop.out / "build-state.json"
        path.unlink()
        if data is not None:
            path.write_bytes(data)

    assert repacked(change) == ALL


def test_deep_packs_all_and_replaces_what_is_damaged_with_its_time_kept(shop, repacked):
    shop.build()
    path = tar(shop)
    changed = path.stat().st_mtime_ns
    flip(path)
    os.utime(path, ns=(changed, changed))
    shop.build()
    assert {problem.place for problem in validate(shop.out)} == {("vqav2", "train", "00000")}
    assert repacked(deep=True) == ALL


def test_deep_sees_a_picture_whose_size_and_time_were_kept(shop, repacked):
    path = picture(shop, 522418)

    def change():
        kept = path.stat()
        data = path.read_bytes()
        path.write_bytes(data[:-3] + b"\0" + data[-2:])
        os.utime(path, ns=(kept.st_mtime_ns, kept.st_mtime_ns))

    assert repacked(change, deep=True) == ALL


def test_what_was_reused_is_said_by_corpus(shop, monkeypatch):
    shop.only("coco", "gqa")
    monkeypatch.setattr(state, "is_late", lambda found, since: False)
    shop.cli()
    recaption(shop)
    said = shop.cli().stderr.splitlines()
    assert said[0] == f"{shop.raw / 'coco'} has changed since the last build"
    assert "shards reused: 3 of 4; packed: 1 of coco" in said
    (said,) = shop.cli().stderr.splitlines()
    assert said.startswith(f"nothing to do: {shop.out} is sealed with root ")
    said = shop.cli("--deep").stderr.splitlines()
    assert said[0].startswith("    survey  2 done in ")
    assert not any(line.startswith("shards reused: ") for line in said)


def test_a_picture_that_changed_in_the_last_tick_is_not_believed(shop, monkeypatch):
    path = picture(shop, 522418)
    shop.only("coco", "gqa")
    monkeypatch.setattr(
        state, "is_late", lambda found, since: found.st_size == path.stat().st_size
    )  # as if it had been written as the build began
    shop.build()
    known = state.read(shop.out)
    assert known is not None
    assert "coco-train-00000" not in known.shards and "gqa-val-00000" in known.shards
    assert known.unsure == f"{path} changed while the last build ran, or just before"


def test_a_picture_that_could_not_be_read_is_tried_again(shop, monkeypatch):
    """A disk's error passes without a change of the file: neither answer may rest on it."""
    read = Images.read

    def failing(self, locator):
        if locator.endswith("000000522418.jpg"):
            try:
                raise OSError(5, "Input/output error")
            except OSError as error:
                raise ImageError(f"image cannot be read: {locator}: {error.strerror}") from error
        return read(self, locator)

    shop.only("coco")
    monkeypatch.setattr(state, "is_late", lambda found, since: False)
    with monkeypatch.context() as patch:
        patch.setattr(Images, "read", failing)
        lost = shop.build()
    (tar,) = (shard.tar for shard in lost.shards if shard.split == "train")
    answer = state.compare(configs.load(shop.written()), shop.out)
    assert answer == (False, f"images of {tar} could not be read; they are tried again")
    found = shop.build()
    assert found.root != lost.root
    assert state.compare(configs.load(shop.written()), shop.out).same


def test_pictures_outside_of_all_corpora_are_watched(shop, monkeypatch):
    """llava names pictures anywhere below the root."""
    monkeypatch.setattr(state, "is_late", lambda found, since: False)
    (shop.raw / "far/off").mkdir(parents=True)
    picture(shop, 522418).rename(shop.raw / "far/off/x.jpg")
    talk = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "That."}]
    said = [{"id": "1", "image": "far/off/x.jpg", "conversations": talk}]
    said += [{"id": "2", "image": "not/there/y.jpg", "conversations": talk}]
    (shop.raw / "llava").mkdir(exist_ok=True)
    (shop.raw / "llava/llava_v1_5_mix665k.json").write_text(json.dumps(said))
    shop.settings["corpora"] = {"llava": {}}
    shop.settings["protect"] = {"image": [], "text": [], "near_duplicates": "off"}
    sealed = shop.build()
    assert sum(shard.records for shard in sealed.shards) == 1
    known = state.read(shop.out)
    assert known is not None
    names = ["coco/train2017", "coco/val2017", "far/off", "llava", "not/there"]
    assert sorted(known.sources) == [str(shop.raw / name) for name in names]
    config = configs.load(shop.written())
    assert state.compare(config, shop.out).same
    (shop.raw / "not/there").mkdir(parents=True)
    there = shop.raw / "not/there"
    assert state.compare(config, shop.out) == (False, f"{there} has changed since the last build")


def test_two_pictures_of_one_size_and_time_that_swap_names_pack_their_shards(shop, repacked):
    one, other = picture(shop, 391895), picture(shop, 522418)
    data = one.read_bytes()
    other.write_bytes(data[:-3] + b"\0" + data[-2:])
    for path in (one, other):
        os.utime(path, ns=(1_600_000_000_000_000_001, 1_600_000_000_000_000_001))

    def swap():
        before = [(p.stat().st_size, p.stat().st_mtime_ns) for p in (one, other)]
        one.rename(shop.raw / "aside.jpg")
        other.rename(one)
        (shop.raw / "aside.jpg").rename(other)
        assert [(p.stat().st_size, p.stat().st_mtime_ns) for p in (one, other)] == before
        assert before[0] == before[1]

    assert "coco-train-00000" in repacked(swap)


def test_another_card_s_template_packs_nothing_and_writes_the_card(shop, repacked, monkeypatch):
    def change():
        template = shop.config.with_name("card.md.jinja")
        template.write_text(card._TEMPLATE.read_text() + "More.\n")
        monkeypatch.setattr(card, "_TEMPLATE", template)

    assert repacked(change) == []
    assert (shop.out / "README.md").read_text().endswith("More.\n")


def test_the_code_that_packs_is_all_that_packing_imports():
    root = Path(__file__).parents[2]
    script = (
        "import sys, pipelines.pack, pipelines.scenes\n"
        "print(*(f for m in list(sys.modules.values()) if (f := getattr(m, '__file__', None))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    ours = {
        Path(name).relative_to(root).as_posix()
        for name in done.stdout.split()
        if name.startswith(
            tuple(f"{root / room}/" for room in ("manifests", "shards", "pipelines"))
        )
    }
    imported = {name for name in ours if not name.endswith("__init__.py")}
    assert "pipelines/robots/scene.py" in imported
    known = {n for n in imported if n.startswith(tuple(f"{part}/" for part in reuse.PACKING))}
    assert imported - known == {part for part in reuse.PACKING if part.endswith(".py")}
