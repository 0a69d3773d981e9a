"""Drawn RefCOCO, RefCOCO+ and RefCOCOg: true boxes, and expressions that fit one thing alone."""

import json
import pickle
import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from PIL import Image

from pipelines.samples import write_samples
from pipelines.samples.pictures import COLOURS, PLURALS, compose
from pipelines.samples.refer import expressions

SEED = 5
LOCATIONS = {"left", "right", "top", "bottom", "middle", "above", "below"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base_vlm")
    write_samples(out, 240, SEED)
    return out


def _read(tree: Path, corpus: str):
    (path,) = (tree / corpus).glob("refs(*).p")
    data = path.read_bytes()
    assert data[:2] == b"\x80\x02", "protocol 2"
    return json.loads((tree / corpus / "instances.json").read_text()), pickle.loads(data)


def _nearest(pixel: tuple[int, int, int]) -> str:
    return min(
        COLOURS, key=lambda c: sum(abs(a - b) for a, b in zip(COLOURS[c], pixel, strict=True))
    )


@pytest.mark.parametrize("corpus", ["refcoco", "refcoco_plus", "refcocog"])
def test_refs_join_instances_by_ann_id_on_coco_train_pictures(tree, corpus):
    instances, refs = _read(tree, corpus)
    assert set(instances) == {"info", "licenses", "images", "annotations", "categories"}
    boxes = {a["id"]: a for a in instances["annotations"]}
    images = {image["id"]: image for image in instances["images"]}
    shapes = {c["id"]: c["name"] for c in instances["categories"]}
    assert set(shapes.values()) == set(PLURALS)
    splits = defaultdict(set)
    for ref in refs:
        assert set(ref) == {
            *("sent_ids", "file_name", "ann_id", "ref_id", "image_id", "split", "sentences"),
            "category_id",
        }
        annotation, image = boxes[ref["ann_id"]], images[ref["image_id"]]
        assert annotation["image_id"] == ref["image_id"]
        assert annotation["category_id"] == ref["category_id"]
        assert ref["file_name"] == f"COCO_train2014_{ref['image_id']:012d}_{ref['ann_id']}.jpg"
        assert image["file_name"] == f"COCO_train2014_{ref['image_id']:012d}.jpg"
        assert ref["sent_ids"] == [s["sent_id"] for s in ref["sentences"]]
        assert all(set(s) == {"tokens", "raw", "sent_id", "sent"} for s in ref["sentences"])
        assert all(s["tokens"] == s["sent"].split() for s in ref["sentences"])
        splits[ref["split"]].add(ref["image_id"])
    assert len({i for r in refs for i in r["sent_ids"]}) == sum(len(r["sent_ids"]) for r in refs)
    official = (
        {"train", "val", "test"} if corpus == "refcocog" else {"train", "val", "testA", "testB"}
    )
    assert set(splits) == official
    assert sum(map(len, splits.values())) == len(set().union(*splits.values())), "no image in two"


@pytest.mark.parametrize("corpus", ["refcoco", "refcoco_plus", "refcocog"])
def test_the_middle_of_a_box_has_the_colour_that_its_expressions_say(tree, corpus):
    instances, refs = _read(tree, corpus)
    boxes = {a["id"]: a["bbox"] for a in instances["annotations"]}
    shapes = {c["id"]: c["name"] for c in instances["categories"]}
    for ref in refs:
        x, y, w, h = boxes[ref["ann_id"]]
        with Image.open(tree / f"coco/train2017/{ref['image_id']:012d}.jpg") as picture:
            assert 0 <= x < x + w <= picture.width
            assert 0 <= y < y + h <= picture.height
            cx, cy = int(x + w / 2), int(y + h / 2)
            pixel = picture.crop((cx - 2, cy - 2, cx + 3, cy + 3)).resize((1, 1)).getpixel((0, 0))
        colour = _nearest(pixel)  # type: ignore[arg-type]
        scene = compose(random.Random(f"coco {SEED} {ref['image_id']}"))
        for sentence in ref["sentences"]:
            words = sentence["sent"].split()
            named = [word for word in words if word in COLOURS]
            assert not named or named[0] == colour, f"{words} is {colour} at {cx, cy}"
            shape = [word for word in words if word in PLURALS]
            assert not shape or shape[0] == shapes[ref["category_id"]]
            fitting = [
                t for t in scene.things
                if (not named or t.colour == named[0]) and (not shape or t.shape == shape[0])
            ]  # fmt: skip
            assert len(fitting) == 1 or LOCATIONS & set(words), f"{words} fits {fitting}"
            if corpus == "refcoco_plus":
                assert not LOCATIONS & set(words)


def test_words_of_location_name_the_thing_that_is_there():
    said = Counter()
    for i in range(200):
        scene = compose(random.Random(i))
        across = {t: t.x if scene.across else t.y for t in scene.things}
        for thing in scene.things:
            for text in expressions(scene, thing, "refcoco"):
                words = set(text.split())
                place = words & LOCATIONS
                said.update(place)
                if place & {"left", "top"}:
                    assert across[thing] == min(across.values())
                elif place & {"right", "bottom"}:
                    assert across[thing] == max(across.values())
                elif place:
                    assert min(across.values()) < across[thing] < max(across.values())
    assert set(said) == LOCATIONS - {"above", "below"}


def test_refcocog_says_more_words_than_refcoco(tree):
    def length(corpus: str) -> float:
        words = [len(s["tokens"]) for ref in _read(tree, corpus)[1] for s in ref["sentences"]]
        return sum(words) / len(words)

    assert length("refcocog") > 2 * length("refcoco")
