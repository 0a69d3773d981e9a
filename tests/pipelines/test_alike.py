"""A picture that comes back under another name is told by its pixels, and held back."""

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from manifests import store
from pipelines import ledger

COCO, GQA = "coco/val2017/000000000139.jpg", "gqa/images/{}.jpg"


def photograph(seed: int) -> Image.Image:
    """Clouds of several sizes: as much detail as a photograph has, another for each seed."""
    rng = np.random.default_rng(seed)
    layers = [rng.uniform(0, 255, (n, n, 3)).astype(np.uint8) for n in (4, 9, 24, 60)]
    sized = [np.asarray(Image.fromarray(part).resize((320, 240)), float) for part in layers]
    return Image.fromarray(np.mean(sized, axis=0).astype(np.uint8))


def put(path: Path, picture: Image.Image, quality: int) -> None:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=quality)
    path.write_bytes(sink.getvalue())


@pytest.fixture
def twins(shop):
    """COCO's val picture 139 is also GQA's train picture 2354786, smaller and encoded again."""
    put(shop.raw / COCO, photograph(1), 95)
    put(shop.raw / GQA.format(2354786), photograph(1).resize((250, 190)), 70)
    put(shop.raw / GQA.format(2370134), photograph(2), 90)
    shop.only("coco", "gqa")
    shop.settings["protect"] = {"image": ["coco/val"], "text": [], "near_duplicates": "protected"}
    return shop


def held_back(shop) -> dict[str, str]:
    rows = store.scan(shop.out).filter(pl.col("status") == "held back").collect()
    return dict(zip(rows["group"], rows["error"], strict=True))


def test_a_train_picture_that_looks_like_a_protected_one_is_held_back(twins):
    sealed = twins.build()
    assert held_back(twins) == {"vg:2354786": "image looks like another: coco:139"}
    (line,) = (ln for ln in ledger.read(twins.out, sealed) if ln.status == "held back")
    assert (line.corpus, line.split, line.reason) == ("gqa", "train", "image looks like another")


def test_off_compares_none(twins):
    twins.settings["protect"]["near_duplicates"] = "off"
    twins.build()
    assert held_back(twins) == {}
    assert not (twins.out / "fingerprints").exists()


def test_only_all_compares_train_pictures_with_each_other(twins):
    put(twins.raw / GQA.format(2370134), photograph(3), 90)
    put(twins.raw / "coco/train2017/000000391895.jpg", photograph(3).resize((300, 220)), 80)
    twins.build()
    assert held_back(twins) == {"vg:2354786": "image looks like another: coco:139"}
    twins.settings["protect"]["near_duplicates"] = "all"
    twins.build()
    assert held_back(twins) == {
        "vg:2354786": "image looks like another: coco:139",
        "vg:2370134": "image looks like another: coco:391895",
    }


def test_a_second_build_reads_no_picture_twice(twins, monkeypatch, digests):
    twins.build()
    before = digests(twins.out)
    monkeypatch.setattr("pipelines.fingerprint.imagehash", None)
    twins.build()
    assert digests(twins.out) == before


def test_a_train_picture_of_coco_that_looks_like_one_protected_elsewhere_is_held_back(twins):
    rows = twins.rows("gqa")
    protected = next(row for row in rows if row.split == "val" and row.status is None)
    put(twins.raw / protected.locator.removeprefix("file:"), photograph(5), 90)
    put(twins.raw / "coco/train2017/000000391895.jpg", photograph(5).resize((280, 200)), 75)
    twins.settings["protect"]["image"] = ["gqa/val"]
    twins.build()
    assert held_back(twins) == {"coco:391895": f"image looks like another: {protected.group}"}


def test_a_picture_that_could_not_be_read_is_looked_at_again(twins):
    path = twins.raw / GQA.format(2354786)
    outside = twins.raw.parent / "elsewhere.jpg"
    path.rename(outside)
    path.symlink_to(outside)
    twins.build()
    assert held_back(twins) == {}, "a link out of the root is not read"
    path.unlink()
    outside.rename(path)  # the same size and time of change as before
    twins.build()
    assert held_back(twins) == {"vg:2354786": "image looks like another: coco:139"}
