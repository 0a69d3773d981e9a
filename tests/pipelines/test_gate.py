"""The gate: where each row goes and how it ends, from rows written by hand."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from manifests.place import order_in_shard, shard_of, split_of
from manifests.schema import Step
from pipelines.buckets import guard, place
from pipelines.gate import gate
from pipelines.protect import Protect
from pipelines.table import Row, write_rows


def row(corpus, image, identity="1", split: Any = "train", **more):
    fields: dict[str, Any] = {"thread": identity, "target": f"said {identity}", "locator": "l"}
    fields |= more
    group = fields.pop("group", f"coco:{image}")
    key = fields.pop("key", f"{corpus}-{image}")
    return corpus, Row(key=key, group=group, id=identity, split=split, **fields)


@pytest.fixture
def gated(tmp_path: Path):
    """Rows of several corpora -> the plans, and their rows in one frame."""

    def run(*rows, protect=(), bits=None):
        corpora = list(dict.fromkeys(corpus for corpus, _ in rows))
        tables = []
        for corpus in corpora:
            tables.append(tmp_path / f"{corpus}.rows")
            write_rows(tables[-1], corpus, [r for name, r in rows if name == corpus])
        places = [(c, s) for c in corpora for s in ("train", "val", "test")]
        exponents = {f"{c}/{s}": (bits or {}).get(c, 0) for c, s in places}
        guarding = Protect(image=tuple(protect), text=())
        placed = [place(t, t.stem, exponents, guarding, tmp_path) for t in tables]
        guards = guard(placed, guarding, tmp_path)
        buckets = [(Path(b), Path(one.disputed)) for one in placed for b in one.buckets]
        plans = [p for b in buckets for p in gate(*b, guards, None, tmp_path).plans]
        plans.sort(key=lambda plan: (plan.corpus, plan.split, plan.id))
        return plans, pl.concat([pl.read_parquet(plan.rows) for plan in plans])

    return run


def fates(rows):
    return {(r["corpus"], r["id"]): (r["status"], r["error"]) for r in rows.to_dicts()}


def test_the_same_said_twice_of_one_image_in_one_corpus_is_a_duplicate(gated):
    _, rows = gated(
        row("coco", 1, "b", target="a cat"),
        row("coco", 1, "a", target="a cat"),
        row("coco", 1, "c", target="a cat", prompt="What?", kind="qa"),
        row("coco", 2, "d", target="a cat"),
        row("vqav2", 1, "e", target="a cat"),
        row("coco", 1, "f", target="a cat"),
    )
    assert fates(rows) == {
        ("coco", "b"): (None, None),  # the first that was read
        ("coco", "a"): ("duplicate", "said before: as b"),
        ("coco", "c"): (None, None),
        ("coco", "d"): (None, None),
        ("vqav2", "e"): (None, None),
        ("coco", "f"): ("duplicate", "said before: as b"),
    }


def test_a_quarantined_row_is_nobody_s_original(gated):
    _, rows = gated(
        row("coco", 1, "a", target="x", status="quarantined", error="why"),
        row("coco", 1, "b", target="x"),
    )
    assert fates(rows) == {("coco", "a"): ("quarantined", "why"), ("coco", "b"): (None, None)}


@pytest.mark.parametrize("protect", [["vqav2/val"], ["*/val"], ["gqa/*", "vqav2/v?l"]])
def test_an_image_that_another_corpus_protects_is_not_trained_on(gated, protect):
    _, rows = gated(
        row("coco", 1, "train"),
        row("coco", 2, "other"),
        row("coco", 3, "test", split="test"),
        row("vqav2", 1, "val", split="val"),
        row("vqav2", 3, "val3", split="val"),
        protect=protect,
    )
    assert fates(rows) == {
        ("coco", "train"): ("held back", "image is protected by vqav2/val"),
        ("coco", "other"): (None, None),
        ("coco", "test"): (None, None),  # only training is held back
        ("vqav2", "val"): (None, None),
        ("vqav2", "val3"): (None, None),
    }


def test_nothing_is_held_back_that_is_not_protected(gated):
    shared = (row("coco", 1, "a"), row("vqav2", 1, "b", split="val"))
    for protect in ((), ["coco/val"], ["vqav2/test"], ["vqav2"]):
        _, rows = gated(*shared, protect=protect)
        assert set(fates(rows).values()) == {(None, None)}, protect


def test_an_image_protects_whatever_became_of_what_is_said_of_it(gated):
    _, rows = gated(
        row("coco", 1, "a"),
        row("coco", 2, "b"),
        row("coco", 3, "c"),
        row("vqav2", 1, "", split="val", status="unannotated", error="no"),
        row("vqav2", 2, "c", split="val", status="quarantined", error="no"),
        protect=["vqav2/val"],
    )
    assert fates(rows)["coco", "a"] == ("held back", "image is protected by vqav2/val")
    assert fates(rows)["coco", "b"] == ("held back", "image is protected by vqav2/val")
    assert fates(rows)["coco", "c"] == (None, None)


def test_all_protectors_are_named_whatever_the_order_of_the_corpora(gated):
    rows = [row("coco", 1), row("gqa", 1, split="val"), row("vqav2", 1, split="val")]
    said = {fates(gated(*order, protect=["*/val"])[1])["coco", "1"] for order in (rows, rows[::-1])}
    assert said == {("held back", "image is protected by gqa/val and vqav2/val")}


def test_a_key_names_one_image_of_one_split(gated):
    _, rows = gated(
        row("coco", 1, "a", key="k"),
        row("coco", 2, "b", key="k"),
        row("coco", 1, "c", split="val", key="k"),
        row("coco", 1, "d", key="k"),
    )
    error = "doubled key: k is already that of a record of coco:1 in train"
    assert fates(rows) == {
        ("coco", "a"): (None, None),
        ("coco", "b"): ("quarantined", error),
        ("coco", "c"): ("quarantined", error),
        ("coco", "d"): (None, None),
    }


@pytest.mark.parametrize("key", ["a.b", "a b", "a/b", "", "\u00e9", "a" * 91, "a\n"])
def test_a_key_that_no_tar_can_hold_spoils_its_own_rows_only(gated, key):
    _, rows = gated(row("coco", 1, "a", key=key), row("coco", 2, "b", key="a" * 90))
    error = f"unfit key: {key} is not 1 to 90 of A-Z a-z 0-9 _ -"
    assert fates(rows) == {("coco", "a"): ("quarantined", error), ("coco", "b"): (None, None)}


def test_threads_are_numbered_from_0_without_gaps_and_10_comes_after_9(gated):
    said = {"10": "v", "9": "w", "1000": "x", "11": "y", "2": "v"}
    rows = [row("coco", 1, identity, target=text) for identity, text in said.items()]
    rows.append(row("coco", 1, "1", status="quarantined", error="why"))
    rows.append(row("coco", 2, "77"))
    rows.append(row("coco", 1, "9b", thread="9", target="a second turn"))
    _, table = gated(*rows)
    usable = table.filter(pl.col("status").is_null())
    numbers = {r["id"]: (r["key"], r["thread"]) for r in usable.to_dicts()}
    assert numbers == {
        "9": ("coco-1", 0),
        "9b": ("coco-1", 0),
        "10": ("coco-1", 1),
        "11": ("coco-1", 2),
        "1000": ("coco-1", 3),
        "77": ("coco-2", 0),
    }  # "2" says what "10" said before it
    told = usable.filter(pl.col("key") == "coco-1")["id"].to_list()
    assert told == ["9", "9b", "10", "11", "1000"]


def test_rows_lie_in_the_shard_split_and_order_that_md5_says(gated):
    groups = [f"task {n}" for n in range(60)]
    rows = [
        row("robots", 0, str(n), split=None, group=g, key=f"r-{n}") for n, g in enumerate(groups)
    ]
    plans, table = gated(*rows, bits={"robots": 2})
    assert {plan.id for plan in plans} == {"00000", "00001", "00002", "00003"}
    assert {plan.split for plan in plans} == {"train", "val", "test"}
    for r in table.to_dicts():
        md5 = hashlib.md5(r["group"].encode()).digest()
        bucket = int.from_bytes(md5, "big") % 100
        assert r["split"] == split_of(r["group"])
        assert r["split"] == ("train" if bucket < 70 else "val" if bucket < 90 else "test")
        assert r["shard"] == shard_of(r["group"], 2) == f"{md5[0] >> 6:05d}"
        assert r["order"] == order_in_shard(r["key"]) == hashlib.md5(r["key"].encode()).hexdigest()
    assert table.height == 60


def test_an_official_split_is_never_moved(gated):
    _, table = gated(*(row("coco", n, str(n), split="val") for n in range(30)))
    assert set(table["split"]) == {"val"}


def test_there_is_one_plan_a_shard_sorted_by_place_and_its_rows_by_md5(gated, tmp_path):
    splits = ("train", "val", "test")
    rows = [row(c, n, str(n), split=splits[n % 3]) for c in ("gqa", "coco") for n in range(40)]
    plans, _ = gated(*rows, bits={"coco": 1, "gqa": 0})
    names = [f"coco-{s}-0000{i}" for s in sorted(splits) for i in (0, 1)]
    names += [f"gqa-{s}-00000" for s in sorted(splits)]
    assert [plan.name for plan in plans] == names
    assert [Path(plan.rows) for plan in plans] == [tmp_path / f"{name}.parquet" for name in names]
    for plan in plans:
        part = pl.read_parquet(plan.rows)
        place = ("corpus", "split", "shard")
        assert set(part.select(place).iter_rows()) == {(plan.corpus, plan.split, plan.id)}
        assert part["order"].is_sorted()
        assert plan.annotations == part.height
    assert sum(plan.annotations for plan in plans) == 80


def test_every_row_has_one_fate_and_the_sums_balance(gated):
    rows = [
        *(row("coco", n, f"{n}-{k}", target=f"t{k % 3}") for n in range(5) for k in range(4)),
        *(row("vqav2", n, f"v{n}", split="val") for n in range(2)),
        row("coco", 7, "gone", status="quarantined", error="why"),
        row("coco", 8, "", status="unannotated", error="nobody"),
        row("coco", 9, "odd", key="coco-4"),
    ]
    plans, table = gated(*rows, protect=["vqav2/val"])
    assert Counter(table.filter(pl.col("corpus") == "coco")["status"]) == {
        None: 9,  # images 2 3 4: three sayings each
        "duplicate": 3,
        "held back": 8,  # images 0 1: before duplicates are looked for
        "quarantined": 2,
        "unannotated": 1,
    }
    assert table.height == len(rows)
    assert sum(plan.annotations for plan in plans) == len(rows) - 1, "an image is no annotation"
    assert table.filter(pl.col("status").is_null() != pl.col("error").is_null()).height == 0


def test_no_rows_make_no_plans(tmp_path: Path):
    write_rows(tmp_path / "coco.rows", "coco", [])
    none = place(tmp_path / "coco.rows", "coco", {"coco/val": 0}, Protect(), tmp_path)
    assert none.buckets == ()


def test_a_key_in_train_and_in_a_protected_split_is_that_of_the_protected_record(gated):
    both = (row("coco", 1, "a", key="k"), row("coco", 1, "b", split="val", key="k"))
    for rows in (both, both[::-1]):
        _, table = gated(*rows, protect=["coco/val"])
        assert fates(table) == {
            ("coco", "a"): ("held back", "image is protected by coco/val"),
            ("coco", "b"): (None, None),
        }


def plan(*robots):
    return tuple(Step(text=f"go {n}", robot=r, order=n) for n, r in enumerate(robots))


def test_a_record_has_one_plan(gated):
    _, rows = gated(
        row("robots", 1, "a", key="k", plan=plan("Drone")),
        row("robots", 1, "b", key="k", plan=plan("Humanoid")),
        row("robots", 1, "c", key="k", plan=plan("Drone")),
    )
    error = "doubled key: k is already that of a record of coco:1 in train"
    assert fates(rows) == {
        ("robots", "a"): (None, None),
        ("robots", "b"): ("quarantined", error),
        ("robots", "c"): (None, None),
    }


def test_a_team_and_a_choice_of_the_same_task_are_two_records(gated):
    same: dict[str, Any] = {"group": "a task", "kind": "robot", "prompt": "A task"}
    same |= {"target": "Drone, Humanoid", "robots": ("Drone", "Humanoid"), "split": None}
    team = plan("Drone", "Humanoid")
    _, rows = gated(
        row("robots", 0, "single", key="robots-single", **same),
        row("robots", 0, "multi", key="robots-multi", plan=team, **same),
        row("robots", 0, "again", key="robots-again", plan=team, **same),
    )
    assert fates(rows) == {
        ("robots", "single"): (None, None),
        ("robots", "multi"): (None, None),
        ("robots", "again"): ("duplicate", "said before: as multi"),
    }


def test_a_conversation_is_a_duplicate_as_a_whole_or_not_at_all(gated):
    def turn(thread, number, target):
        return row("llava", 1, f"{thread}{number}", thread=thread, prompt="And?", target=target)

    _, rows = gated(
        *(turn("a", n, said) for n, said in enumerate(("x", "y", "y"))),
        *(turn("b", n, said) for n, said in enumerate(("z", "y", "x"))),
        *(turn("c", n, said) for n, said in enumerate(("x", "y", "y"))),
    )
    assert fates(rows) == {
        **{("llava", f"a{n}"): (None, None) for n in range(3)},
        **{("llava", f"b{n}"): (None, None) for n in range(3)},
        **{("llava", f"c{n}"): ("duplicate", "said before: as a0") for n in range(3)},
    }


def test_an_annotation_that_its_files_hold_twice_is_no_second_turn(gated):
    _, rows = gated(
        row("coco", 1, "a", target="same"),
        row("coco", 1, "a", target="same"),
        row("coco", 1, "a", target="other"),
        row("coco", 1, "b", target="else"),
    )
    assert [(r["id"], r["status"], r["error"]) for r in rows.sort("row").to_dicts()] == [
        ("a", None, None),
        ("a", "duplicate", "said before: as a"),
        ("a", "quarantined", "doubled id: a is already that of another annotation"),
        ("b", None, None),
    ]
