"""A whole build: a true ledger, and bytes that follow from the sources alone."""

import os
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import polars as pl
import pytest
import yaml

from manifests import store
from manifests.seal import Seal, merkle_root
from pipelines import build as building
from pipelines.corpora import coco, gqa
from shards.interop import is_sidecar
from shards.validate import validate

# corpus, split: read = written + quarantined + duplicate + held back; images, unannotated.
# Counted by hand in tests/fixtures.
LEDGER = {
    ("coco", "train"): (10, 6, 1, 1, 2, 2, 1),
    ("coco", "val"): (4, 3, 1, 0, 0, 2, 0),
    ("gqa", "train"): (4, 3, 1, 0, 0, 2, 1),
    ("gqa", "val"): (2, 1, 0, 1, 0, 1, 0),
    ("robots", "test"): (1, 1, 0, 0, 0, 1, 0),
    ("robots", "train"): (11, 6, 4, 1, 0, 6, 0),
    ("robots", "val"): (2, 1, 1, 0, 0, 1, 0),
    ("vqav2", "train"): (6, 3, 3, 0, 0, 2, 0),
    ("vqav2", "val"): (3, 3, 0, 0, 0, 2, 0),
}


def counts(seal):
    return {
        (c.corpus, c.split): (
            c.read,
            c.written,
            c.quarantined,
            c.duplicate,
            c.held_back,
            c.records,
            c.unannotated,
        )
        for c in seal.ledger
    }


def recaption(shop, old="Something red and round.", new="Something round and red."):
    path = shop.raw / "coco/annotations/captions_train2017.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_ledger_is_what_hands_counted_and_the_data_set_is_whole(shop, unfinished):
    sealed = shop.build()
    assert counts(sealed) == LEDGER
    assert all(count.balances for count in sealed.ledger)
    assert list(validate(shop.out)) == []
    assert list(unfinished(shop.out)) == []
    assert Seal.read(shop.out) == sealed
    assert sealed.root == merkle_root(sealed.shards)
    assert [s.place for s in sealed.shards] == [(*place, "00000") for place in LEDGER]


def test_failures_are_rows_of_the_manifests_with_their_reasons(shop):
    shop.build()
    rows = store.scan(shop.out).filter(pl.col("status") != "written").collect()
    failures = {(r["key"], r["status"], r["turns"]): r["error"] for r in rows.to_dicts()}
    assert failures["coco-000000184613", "held back", 2] == "image is protected by vqav2/val"
    assert failures["coco-000000391895", "duplicate", 1] == "said before: as 770337"
    assert failures["gqa-2371269", "duplicate", 1] == "said before: as 05451385"
    assert failures["gqa-n161313", "unannotated", 0] == "no question names this image"
    assert failures["vqav2-000000000009", "quarantined", 1].startswith(
        "image is missing: coco/train2017/000000000009.jpg"
    )
    assert failures["robots-single-00005", "duplicate", 1] == "said before: as single-00000"
    assert failures["robots-multi-0004", "quarantined", 1].startswith("too many subtasks: 6;")
    assert rows.height == 5 + 3 + 6 + 3, (
        "522418 has two reasons: no answer, and answers without a question"
    )
    assert rows.filter(pl.col("error").is_null()).height == 0


def test_workers_and_the_order_of_folders_change_no_byte(shop, tmp_path, digests, monkeypatch):
    listed = []

    def listing(*, backwards):
        def scandir(path):
            entries = sorted(os.scandir(path), key=lambda e: e.name, reverse=backwards)
            listed.append([entry.name for entry in entries])
            return iter(entries)

        for module in (coco, gqa):
            monkeypatch.setattr(module, "os", SimpleNamespace(scandir=scandir))

    listing(backwards=False)
    shop.build(tmp_path / "one", workers=1)
    forwards = listed.copy()
    listed.clear()
    listing(backwards=True)
    shop.build(tmp_path / "two", workers=2)
    assert forwards and {tuple(x) for x in listed} == {tuple(x[::-1]) for x in forwards}
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    sealed = [name for name in digests(tmp_path / "one") if not is_sidecar(name)]
    assert len(sealed) == 2 * len(LEDGER) + 2


def test_the_order_of_questions_in_their_files_changes_no_byte(shop, tmp_path, digests):
    shop.only("vqav2")
    shop.build(tmp_path / "one")
    for path in (shop.raw / "vqa").glob("*.json"):
        name = "questions" if "questions" in path.name else "annotations"
        shop.edit(path, lambda file, name=name: file[name].reverse())
    shop.build(tmp_path / "two")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_a_rebuild_into_the_same_folder_leaves_the_same_data_set(shop, digests):
    shop.build()
    before = digests(shop.out)
    shop.build(workers=2)
    assert digests(shop.out) == before
    assert list(validate(shop.out)) == []


def test_one_caption_rewrites_one_shard(shop, digests):
    shop.build()
    before = digests(shop.out)
    recaption(shop)
    shop.build()
    after = digests(shop.out)
    gone, come = before.keys() - after.keys(), after.keys() - before.keys()
    for names in ({n for n in gone if n[-4:] != ".idx"}, {n for n in come if n[-4:] != ".idx"}):
        assert sorted(name.rpartition("-")[0] for name in names) == [
            "coco/coco-train-00000",
            "manifests/coco/coco-train-00000",
        ]
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert {name for name in changed if not is_sidecar(name)} == {"dataset.json"}
    assert {name for name in before if name.startswith("manifests/ledger")} <= after.keys()
    assert list(validate(shop.out)) == []


def test_more_bits_split_a_shard_and_leave_the_split_alone(shop):
    shop.only("robots")
    before = shop.build()
    shop.settings["corpora"]["robots"]["bits"] = 1
    after = shop.build()
    assert counts(after) == counts(before)
    assert {s.id for s in after.shards} == {"00000", "00001"}
    assert after.bits == {f"robots/{split}": 1 for split in ("train", "val", "test")}
    assert list(validate(shop.out)) == []


@pytest.mark.parametrize("name", ["data[1]", "sp ace", "b\u00fccher", "a*"])
def test_a_folder_may_have_any_name(shop, tmp_path, name):
    shop.only("gqa")
    shop.build(tmp_path / name)
    assert list(validate(tmp_path / name)) == []


def test_a_corpus_that_is_left_out_is_collected(shop):
    shop.build()
    shop.only("gqa")
    shop.build()
    assert sorted(p.name for p in shop.out.rglob("*.tar")) == sorted(
        s.tar.removeprefix("gqa/") for s in Seal.read(shop.out).shards
    )


def test_the_seal_tells_no_time_host_or_path_and_build_json_does(shop, tmp_path):
    shop.build()
    sealed = (shop.out / "dataset.json").read_text()
    assert str(tmp_path) not in sealed and "base_vlm" not in sealed
    story = yaml.safe_load((shop.out / "build.json").read_text())
    assert story["config"]["root"] == str(shop.raw)
    made = ["scenarios", "split", "paraphrase", "reasoning"]
    assert [n["node"] for n in story["nodes"]] == [
        *("survey", "tabulate", *made, "place", "gate", "compare", "scenes", "pack", "seal"),
    ]
    assert [(f["corpus"], f["files"], f["images"]) for f in story["found"]] == [
        ("coco", 2, 6),
        ("vqav2", 4, 6),
        ("gqa", 2, 4),
        ("robots", 2, 0),
    ]


def test_one_build_at_a_time_writes_to_a_folder(shop):
    shop.only("gqa")
    with store.sole_writer(shop.out):
        with pytest.raises(BlockingIOError, match=f"another build is writing to {shop.out}; wait"):
            shop.build()
        assert list(shop.out.iterdir()) == []
    assert shop.build() == Seal.read(shop.out)


def test_questions_find_coco_s_pictures_wherever_the_config_says_coco_is(shop):
    (shop.raw / "pictures").mkdir()
    (shop.raw / "coco").rename(shop.raw / "pictures" / "coco2017")
    shop.settings["corpora"]["coco"] = {"path": "pictures/coco2017"}
    assert counts(shop.build()) == LEDGER
    rows = store.scan(shop.out).filter(pl.col("corpus") == "vqav2", pl.col("status") == "written")
    locators = rows.collect()["locator"]
    assert len(locators) == 4
    assert locators.str.starts_with("file:pictures/coco2017/").all()


def test_the_root_may_be_coco_s_own_folder(shop):
    shop.only("coco")
    before = counts(shop.build())
    assert before["coco", "train"][-1] == 1, "an image that no caption names is among them"
    shop.settings |= {"root": str(shop.raw / "coco"), "corpora": {"coco": {"path": "."}}}
    assert counts(shop.build()) == before
    rows = store.scan(shop.out).filter(pl.col("status") == "unannotated").collect()
    assert rows["locator"].to_list() == ["file:train2017/000000262148.jpg"]


def test_helper_processes_pack_what_this_one_packs(shop, tmp_path, digests, monkeypatch):
    shop.build(tmp_path / "here")
    monkeypatch.setattr(building, "_FEW", 0)
    shop.build(tmp_path / "there", workers=2)
    assert digests(tmp_path / "there") == digests(tmp_path / "here")


def test_a_helper_that_is_killed_is_named_and_leaves_nothing(shop, monkeypatch, unfinished):
    def killed(*_, **__):
        raise BrokenProcessPool("A process in the process pool was terminated abruptly")

    monkeypatch.setattr(building, "pack_one", killed)
    with pytest.raises(ChildProcessError, match="a helper process was killed, perhaps for want of"):
        shop.build()
    assert list(unfinished(shop.out)) == []
