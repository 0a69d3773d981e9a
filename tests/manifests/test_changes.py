"""What came, went and changed between two sealed data sets."""

import pytest

from manifests import store
from manifests.seal import SealError


def _row(key: str, split: str = "train", corpus: str = "coco", **fields: object) -> dict:
    whole = {"group": f"coco:{key}", "digest": "d" * 32, "turns": 5, "kinds": ["caption"]}
    return {"corpus": corpus, "split": split, "key": key, "status": "written"} | whole | fields


def _changes(a, b) -> list[tuple]:
    found = store.changes(a, b).sort("corpus", "key").collect()
    assert found.columns == ["corpus", "split", "key", "change", "columns"]
    return found.rows()


def test_records_come_go_and_change(tmp_path, write_set):
    a = [
        _row("1"),
        _row("2"),
        _row("3"),
        _row("4", licence="CC0", pair="p"),
        _row("5", status="quarantined"),
        _row("6"),
        _row("1", corpus="vqa", split="val"),
    ]
    b = [
        _row("1", shard="another.tar", offset=512),  # where it lies is no change
        _row("3", split="val"),
        _row("4", licence=None, pair="q", kinds=["caption", "qa"], digest="e" * 32),
        _row("5"),
        _row("6", status="duplicate"),
        _row("7", split="test"),
        _row("1", corpus="vqa", split="val"),
    ]
    write_set(tmp_path / "a", a)
    write_set(tmp_path / "b", b)
    assert _changes(tmp_path / "a", tmp_path / "b") == [
        ("coco", "train", "2", "went", []),
        ("coco", "val", "3", "changed", ["split"]),
        ("coco", "train", "4", "changed", ["digest", "kinds", "licence", "pair"]),
        ("coco", "train", "5", "came", []),
        ("coco", "train", "6", "went", []),
        ("coco", "test", "7", "came", []),
    ]
    assert _changes(tmp_path / "b", tmp_path / "a")[1] == (
        "coco",
        "train",
        "3",
        "changed",
        ["split"],
    )
    assert _changes(tmp_path / "a", tmp_path / "a") == []


def test_a_key_of_two_splits_is_two_records(tmp_path, write_set):
    write_set(tmp_path / "a", [_row("1"), _row("1", "val")])
    write_set(tmp_path / "b", [_row("1"), _row("1", "val", turns=4)])
    assert _changes(tmp_path / "a", tmp_path / "b") == [("coco", "val", "1", "changed", ["turns"])]


def test_manifests_of_shards_that_both_have_are_not_read(tmp_path, write_set):
    sealed = write_set(tmp_path / "a", [_row("1"), _row("1", "val")])
    write_set(tmp_path / "b", [_row("1"), _row("2", "val")])
    for shard in sealed.select("coco", "train"):
        (tmp_path / "a" / shard.manifest).unlink()
    found = [("coco", "val", "1", "went", []), ("coco", "val", "2", "came", [])]
    assert _changes(tmp_path / "a", tmp_path / "b") == found


def test_all_came_to_an_empty_data_set(tmp_path, write_set):
    write_set(tmp_path / "a", [])
    write_set(tmp_path / "b", [_row("1")])
    assert _changes(tmp_path / "a", tmp_path / "b") == [("coco", "train", "1", "came", [])]


def test_a_folder_without_a_seal_is_refused(tmp_path, write_set):
    write_set(tmp_path / "a", [_row("1")])
    with pytest.raises(SealError, match="b is not a sealed data set"):
        store.changes(tmp_path / "a", tmp_path / "b")
