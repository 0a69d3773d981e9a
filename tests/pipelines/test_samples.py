"""The drawn `base_vlm` tree: official layouts, ids that join, and nothing said that is not so."""

import hashlib
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from pipelines.pictures import PLURALS, compose
from pipelines.samples import write_samples

IMAGES = 160


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    out = tmp_path_factory.mktemp("base_vlm")
    return out, write_samples(out, IMAGES, seed=3)


def _load(tree, name: str):
    return json.loads((tree[0] / name).read_text())


def _digests(root: Path) -> dict[str, str]:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_tree_has_the_official_names_and_nothing_else(tree):
    names = {str(p.relative_to(tree[0])) for p in tree[0].rglob("*.json")}
    assert names == {
        "coco/annotations/captions_train2017.json",
        "coco/annotations/captions_val2017.json",
        "vqa/v2_OpenEnded_mscoco_train2014_questions.json",
        "vqa/v2_OpenEnded_mscoco_val2014_questions.json",
        "vqa/v2_mscoco_train2014_annotations.json",
        "vqa/v2_mscoco_val2014_annotations.json",
        "gqa/train_balanced_questions.json",
        "gqa/val_balanced_questions.json",
    }
    files = [p for p in tree[0].rglob("*") if p.is_file()]
    assert {p.suffix for p in files} == {".json", ".jpg"}, "temporary files were left behind"
    assert len(files) == IMAGES + 8
    assert tree[1]["coco_images"] + tree[1]["gqa_images"] == IMAGES


@pytest.mark.parametrize(("split", "share"), [("train", 0.8), ("val", 0.2)])
def test_coco_captions_join_files_by_id(tree, split, share):
    coco = _load(tree, f"coco/annotations/captions_{split}2017.json")
    assert set(coco) == {"info", "licenses", "images", "annotations"}
    assert len(coco["licenses"]) == 8
    assert len(coco["images"]) == round(tree[1]["coco_images"] * share)
    for image in coco["images"]:
        assert image["file_name"] == f"{image['id']:012d}.jpg"
        with Image.open(tree[0] / f"coco/{split}2017" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
            assert picture.mode == "RGB"
    per_image: dict[int, list[str]] = {}
    for annotation in coco["annotations"]:
        assert set(annotation) == {"image_id", "id", "caption"}
        per_image.setdefault(annotation["image_id"], []).append(annotation["caption"].strip())
    assert len({a["id"] for a in coco["annotations"]}) == len(coco["annotations"])
    assert all(len(set(said)) == 5 for said in per_image.values())
    bare = {image["id"] for image in coco["images"]} - set(per_image)
    assert 1 <= len(bare) <= 0.06 * len(coco["images"])


@pytest.mark.parametrize("split", ["train", "val"])
def test_vqa_joins_by_question_id_on_pictures_of_its_own_split(tree, split):
    asked = _load(tree, f"vqa/v2_OpenEnded_mscoco_{split}2014_questions.json")
    answered = _load(tree, f"vqa/v2_mscoco_{split}2014_annotations.json")
    assert set(asked) == {
        *("info", "task_type", "data_type", "license", "data_subtype", "questions")
    }
    assert set(answered) == {"info", "license", "data_subtype", "data_type", "annotations"}
    assert asked["data_subtype"] == answered["data_subtype"] == f"{split}2014"
    order = [q["question_id"] for q in asked["questions"]]
    other = [a["question_id"] for a in answered["annotations"]]
    assert sorted(order) == sorted(other)
    assert len(set(order)) == len(order)
    assert order != other
    assert order != sorted(order)
    assert all(q["question_id"] // 1000 == q["image_id"] for q in asked["questions"])
    per_image = Counter(q["image_id"] for q in asked["questions"])
    assert set(per_image.values()) <= {3, 4}
    assert all((tree[0] / f"coco/{split}2017/{i:012d}.jpg").exists() for i in per_image)
    for annotation in answered["annotations"]:
        said = Counter(a["answer"] for a in annotation["answers"])
        assert [a["answer_id"] for a in annotation["answers"]] == list(range(1, 11))
        assert said.most_common(1)[0][0] == annotation["multiple_choice_answer"]
        assert said[annotation["multiple_choice_answer"]] >= 6
        assert annotation["answer_type"] in ("yes/no", "number", "other")
    assert any(len({a["answer"] for a in n["answers"]}) > 1 for n in answered["annotations"])


def test_gqa_entries_have_every_key_and_spans_that_name_their_word(tree):
    train, val = (_load(tree, f"gqa/{s}_balanced_questions.json") for s in ("train", "val"))
    assert not set(train) & set(val)
    assert not {e["imageId"] for e in train.values()} & {e["imageId"] for e in val.values()}
    both = train | val
    assert set(Counter(e["imageId"] for e in both.values()).values()) == {3}
    for key, entry in both.items():
        assert key.isdigit()
        assert len(key) == 8
        assert set(entry) == {
            *("semantic", "entailed", "equivalent", "question", "imageId", "isBalanced", "groups"),
            *("answer", "semanticStr", "annotations", "types", "fullAnswer"),
        }
        assert (tree[0] / f"gqa/images/{entry['imageId']}.jpg").exists()
        assert all(both[other]["imageId"] == entry["imageId"] for other in entry["entailed"])
        assert set(entry["types"]) == {"detailed", "semantic", "structural"}
        for part in ("question", "fullAnswer"):
            for span in entry["annotations"][part]:
                word = entry[part].rstrip("?.").replace(",", "").split()[int(span)]
                assert word in {*PLURALS, *PLURALS.values()}


def test_answers_are_true_of_the_scene_that_was_drawn(tree):
    scenes = {
        a["question_id"]: (a, compose(random.Random(f"coco 3 {a['image_id']}")))
        for split in ("train", "val")
        for a in _load(tree, f"vqa/v2_mscoco_{split}2014_annotations.json")["annotations"]
    }
    asked = {
        q["question_id"]: q["question"]
        for split in ("train", "val")
        for q in _load(tree, f"vqa/v2_OpenEnded_mscoco_{split}2014_questions.json")["questions"]
    }
    seen = Counter()
    singular = {PLURALS[s]: s for s in PLURALS} | {s: s for s in PLURALS}
    for key, (annotation, scene) in scenes.items():
        question, answer = asked[key].rstrip("?"), annotation["multiple_choice_answer"]
        words = question.split()
        named = next((singular[w] for w in words if w in singular), "")
        things = [t for t in scene.things if t.shape == named]
        if question.startswith("What color"):
            truth = things[0].colour
        elif question.startswith("How many"):
            truth = str(len(things))
        elif question.startswith("Is there"):
            truth = "yes" if things else "no"
        elif question.startswith(("Is the", "Are the")):
            truth = "yes" if things[0].colour == words[-1] else "no"
        elif question == "What is in the background":
            truth = scene.place.noun
        else:
            step = 1 if "left" in words or "above" in words else -1
            at = scene.things.index(things[0])
            truth = scene.things[at - step].shape
            assert scene.things[at - step].x * step < things[0].x * step or (
                scene.things[at - step].y * step < things[0].y * step
            )
        assert answer == truth, f"{key}: {question}? said {answer}, is {truth}"
        seen[words[0]] += 1
    assert seen["What"] > 20
    assert seen["How"] > 5
    assert seen["Is"] > 10


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tree, tmp_path):
    write_samples(tmp_path / "again", IMAGES, seed=3)
    assert _digests(tmp_path / "again") == _digests(tree[0])
    write_samples(tmp_path / "other", 20, seed=4)
    ours = {p.name for p in tree[0].rglob("*.jpg")}
    assert len(ours & {p.name for p in (tmp_path / "other").rglob("*.jpg")}) <= 1


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 20"):
        write_samples(tmp_path, 4)
