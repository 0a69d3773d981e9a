"""Placing: split, shard and bucket of each row; what a corpus protects."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from manifests.place import shard_of, split_of
from pipelines import buckets
from pipelines.buckets import guard, place
from pipelines.gate import gate
from pipelines.protect import Protect
from pipelines.table import Row, write_rows

OPEN = Protect(image=(), text=())


def row(number: int, **more: Any) -> Row:
    fields: dict[str, Any] = {"split": "train", "target": "said", "prompt": f"What {number}?"}
    fields |= {"key": f"x-{number}", "group": f"coco:{number}", "locator": f"file:{number}.jpg"}
    fields |= {"id": str(number), "thread": str(number)}
    return Row(**fields | more)


@pytest.fixture
def placed(tmp_path: Path):
    def run(rows, corpus="x", protect=OPEN, bits=0):
        write_rows(tmp_path / f"{corpus}.rows", corpus, rows)
        exponents = (
            {} if bits is None else {f"{corpus}/{s}": bits for s in ("train", "val", "test")}
        )
        return place(tmp_path / f"{corpus}.rows", corpus, exponents, protect, tmp_path)

    return run


def read(one) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(bucket) for bucket in one.buckets])


def test_a_shard_is_whole_in_one_bucket_however_many_there_are(placed, monkeypatch):
    monkeypatch.setattr(buckets, "_BUCKET", 40)
    monkeypatch.setattr(buckets, "_BATCH", 7)
    one = placed([row(n // 3, id=str(n), thread=str(n)) for n in range(300)], bits=5)
    assert 2 <= len(one.buckets) <= 8
    homes: dict[str, set[str]] = {}
    for bucket in one.buckets:
        for shard in pl.read_parquet(bucket)["shard"].unique():
            homes.setdefault(shard, set()).add(bucket)
    assert {len(home) for home in homes.values()} == {1}
    rows = read(one).sort("row")
    assert rows["id"].to_list() == [str(n) for n in range(300)], "no row is lost or moved"
    assert rows["row"].to_list() == list(range(300))
    assert rows["shard"].to_list() == [shard_of(f"coco:{n // 3}", 5) for n in range(300)]


def test_a_corpus_without_official_splits_goes_by_md5_of_the_group(placed):
    rows = read(placed([row(n, split=None) for n in range(50)]))
    assert rows["split"].to_list() == [split_of(group) for group in rows["group"]]


def test_containers_are_shards_of_8192_rows_in_their_order(placed, tmp_path):
    rows = [row(n, container="cc3m/b.tar", position=n) for n in (8192, 3, 8191, 0)]
    rows += [row(9, container="cc3m/a.tar", position=1), row(7, container="cc3m/a.tar", position=0)]
    one = placed(rows, bits=None)
    guards = guard([one], OPEN, tmp_path)
    (bucket,) = one.buckets
    plans = gate(Path(bucket), Path(one.disputed), guards, None, tmp_path).plans
    of = {plan.id: pl.read_parquet(plan.rows)["key"].to_list() for plan in plans}
    # sha256 of "cc3m/a.tar" begins 42ee8db6, of "cc3m/b.tar" 3bbf3b66
    a, b = (
        buckets.sha256(b"cc3m/a.tar").hexdigest()[:8],
        buckets.sha256(b"cc3m/b.tar").hexdigest()[:8],
    )
    assert of == {
        f"{a}-00000": ["x-7", "x-9"],
        f"{b}-00000": ["x-0", "x-3", "x-8191"],
        f"{b}-00001": ["x-8192"],
    }


def fates(tmp_path: Path, protect: Protect, *places) -> dict[str, str | None]:
    guards = guard(places, protect, tmp_path)
    found = {}
    for one in places:
        for bucket in one.buckets:
            for plan in gate(Path(bucket), Path(one.disputed), guards, None, tmp_path).plans:
                for got in pl.read_parquet(plan.rows).to_dicts():
                    found[f"{plan.corpus}/{plan.split} {got['id']}"] = got["error"]
    return found


def test_a_protected_question_is_not_trained_on_but_its_picture_is(placed, tmp_path):
    protect = Protect(image=(), text=("vqav2/val",))
    val = placed([row(1, split="val", prompt="What is  this?")], "vqav2", protect)
    train = placed(
        [
            row(1, id="same", thread="a", prompt="what is this"),
            row(1, id="other", thread="b", prompt="What is that?"),
            row(2, id="elsewhere", prompt="What is this?"),
        ],
        "llava",
        protect,
    )
    assert fates(tmp_path, protect, val, train) == {
        "vqav2/val 1": None,
        "llava/train same": "question is protected by vqav2/val",
        "llava/train other": None,
        "llava/train elsewhere": None,
    }
    strict = Protect(image=(), text=("vqav2/val",), strict=True)
    val = placed([row(1, split="val", prompt="What is  this?")], "vqav2", strict)
    train = placed([row(1, id="any", prompt="Anything?"), row(2)], "llava", strict)
    assert fates(tmp_path, strict, val, train) == {
        "vqav2/val 1": None,
        "llava/train any": "image is protected by vqav2/val",
        "llava/train 2": None,
    }


def test_a_users_lists_protect_too(placed, tmp_path):
    images, texts = tmp_path / "pope.txt", tmp_path / "asked.txt"
    images.write_text("COCO_val2014_000000000001.jpg\n\nvg:2\n")
    texts.write_text("coco:3\tIs it red?\nHow many suns?\n")
    protect = Protect(image=(str(images),), text=(str(texts),))
    train = placed(
        [
            row(1),
            row(2, group="vg:2"),
            row(3, id="red", thread="r", prompt="Is it red"),
            row(3, id="blue", thread="b", prompt="Is it blue?"),
            row(4, prompt="How many suns?"),
            row(5, prompt="How many suns?", split="val"),
        ],
        protect=protect,
    )
    assert fates(tmp_path, protect, train) == {
        "x/train 1": "image is protected by pope.txt",
        "x/train 2": "image is protected by pope.txt",
        "x/train red": "question is protected by asked.txt",
        "x/train blue": None,
        "x/train 4": "question is protected by asked.txt",
        "x/val 5": None,
    }


def test_duplicates_in_containers_do_not_depend_on_how_rows_are_bucketed(
    placed, tmp_path, monkeypatch
):
    rows = [
        row(n, group="coco:1", key=f"x-{n}", container=f"{n // 5}.tar", position=n % 5, prompt="")
        for n in range(20)
    ]
    found = []
    for size in (1000, 4):
        monkeypatch.setattr(buckets, "_BUCKET", size)
        found.append(fates(tmp_path, OPEN, placed(rows, bits=None)))
    assert found[0] == found[1]
    assert sum(error is None for error in found[0].values()) == 4, "one a container"


def test_a_conversation_with_a_protected_question_is_held_back_whole(placed, tmp_path):
    protect = Protect(image=(), text=("vqav2/val",))
    val = placed([row(1, split="val", prompt="Is it red?")], "vqav2", protect)
    turns = ["What is it?", "Is it red?\nAnswer the question using a single word.", "Why?"]
    talk = [row(1, id=f"t{n}", thread="t", prompt=text) for n, text in enumerate(turns)]
    talk.append(row(1, id="u", thread="u", prompt="Why?"))
    train = placed(talk, "llava", protect)
    held = "question is protected by vqav2/val"
    assert fates(tmp_path, protect, val, train) == {
        "vqav2/val 1": None,
        **{f"llava/train t{n}": held for n in range(3)},
        "llava/train u": None,
    }


def test_a_question_without_words_protects_nothing(placed, tmp_path):
    texts = tmp_path / "asked.txt"
    texts.write_text("-----\n?\n")
    protect = Protect(image=(), text=(str(texts), "vqav2/val"))
    val = placed([row(1, split="val", prompt="?")], "vqav2", protect)
    train = placed([row(1, prompt=""), row(2, prompt="!")], "coco", protect)
    assert set(fates(tmp_path, protect, val, train).values()) == {None}
