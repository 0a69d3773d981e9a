"""The drawn tree as a whole, and COCO, VQA v2 and GQA: ids that join, nothing that is not so."""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.samples import write_samples
from pipelines.samples.pictures import PLURALS, compose

IMAGES = 160
SHARD = (".tar", ".parquet", "_stats.json")


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
    files = {p.relative_to(tree[0]) for p in tree[0].rglob("*") if p.is_file()}
    pictures = {p for p in files if p.suffix in (".jpg", ".gif")}
    assert {p.as_posix() for p in files - pictures} == {
        "drawn.txt",
        *(f"coco/annotations/captions_{split}2017.json" for split in ("train", "val")),
        *(f"vqa/v2_OpenEnded_mscoco_{split}2014_questions.json" for split in ("train", "val")),
        *(f"vqa/v2_mscoco_{split}2014_annotations.json" for split in ("train", "val")),
        *(f"okvqa/OpenEnded_mscoco_{split}2014_questions.json" for split in ("train", "val")),
        *(f"okvqa/mscoco_{split}2014_annotations.json" for split in ("train", "val")),
        *(f"aokvqa/aokvqa_v1p0_{split}.json" for split in ("train", "val", "test")),
        *(f"gqa/train_all_questions/train_all_questions_{part}.json" for part in (0, 1)),
        *("gqa/train_balanced_questions.json", "gqa/val_balanced_questions.json"),
        *("gqa/val_all_questions.json", "gqa/submission_all_questions.json"),
        *(f"gqa/{split}_{kind}_questions.json" for split in ("testdev", "test", "challenge")
          for kind in ("all", "balanced")),
        *("ocrvqa/dataset.json", "ocrvqa/LICENCE.txt"),
        *("refcoco/instances.json", "refcoco/refs(unc).p"),
        *("refcoco_plus/instances.json", "refcoco_plus/refs(unc).p"),
        *("refcocog/instances.json", "refcocog/refs(umd).p"),
        *(f"cc3m/train/{shard}{end}" for shard in ("00000", "00001") for end in SHARD),
        *(f"cc3m/validation/00000{end}" for end in SHARD),
        *(f"laion/{shard}{end}" for shard in ("00000", "00001") for end in SHARD),
        "llava/llava_instruct_150k.json",
    }  # fmt: skip
    folders = Counter(p.parent.as_posix() for p in pictures)
    assert folders == {
        "coco/train2017": 96, "coco/val2017": 24, "gqa/images": 40 + 6, "ocrvqa/images": 24,
    }  # fmt: skip
    assert tree[1]["coco_images"] == 120
    assert tree[1]["gqa_images"] == 46


def test_coco_vqa_and_gqa_are_what_they_were_before_other_corpora_came(tree):
    """The demo's tokenizer and figures rest on these files; pictures depend on Pillow as well."""
    together = hashlib.sha256()
    names = ("coco/annotations/captions_{}2017.json", "gqa/{}_balanced_questions.json",
             "vqa/v2_OpenEnded_mscoco_{}2014_questions.json",
             "vqa/v2_mscoco_{}2014_annotations.json")  # fmt: skip
    for name in sorted(name.format(split) for name in names for split in ("train", "val")):
        together.update(name.encode() + (tree[0] / name).read_bytes())
    before = "13b8f0daf68254b6c4fe750a8e47d8a78f7a8b58b9b09375df2d74ea798267ad"
    assert together.hexdigest() == before


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


def test_all_gqa_questions_hold_the_balanced_ones_and_tests_have_no_answers(tree):
    parts = [_load(tree, f"gqa/train_all_questions/train_all_questions_{i}.json") for i in (0, 1)]
    assert not set(parts[0]) & set(parts[1])
    for split, everything in (
        ("train", parts[0] | parts[1]),
        *((split, _load(tree, f"gqa/{split}_all_questions.json"))
          for split in ("val", "testdev", "test", "challenge")),
    ):  # fmt: skip
        balanced = _load(tree, f"gqa/{split}_balanced_questions.json")
        assert {key: entry for key, entry in everything.items() if entry["isBalanced"]} == balanced
        assert len(everything) > len(balanced)
        asked = Counter((entry["imageId"], entry["question"]) for entry in everything.values())
        assert set(asked.values()) == {1}, "nothing is asked twice of a picture"
        for entry in everything.values():
            assert (tree[0] / f"gqa/images/{entry['imageId']}.jpg").exists()
            answered = split in ("train", "val", "testdev")
            assert ("answer" in entry) == answered
            assert answered or set(entry) == {"question", "imageId", "isBalanced"}
            assert entry["imageId"].startswith("n") == (split not in ("train", "val"))
    submitted = _load(tree, "gqa/submission_all_questions.json")
    assert set(submitted) == {
        *_load(tree, "gqa/test_all_questions.json"),
        *_load(tree, "gqa/challenge_all_questions.json"),
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tree, tmp_path):
    command = [sys.executable, "-m", "pipelines", "samples", "--seed", "3"]
    command += ["--out", str(tmp_path / "again"), "--images", str(IMAGES)]
    order = {**os.environ, "PYTHONHASHSEED": "7"}  # that of sets and of dicts of sets
    subprocess.run(command, check=True, env=order, cwd=Path(__file__).parents[2])
    assert _digests(tmp_path / "again") == _digests(tree[0])
    write_samples(tmp_path / "other", 20, seed=4)
    ours = {p.name for p in tree[0].rglob("*.jpg")}
    assert len(ours & {p.name for p in (tmp_path / "other").rglob("*.jpg")}) <= 1


def test_the_least_tree_has_every_split_of_every_corpus(tmp_path):
    for seed in range(3):
        counts = write_samples(tmp_path / str(seed), 20, seed)
        assert all(counts.values()), counts


def test_a_user_types_samples_with_a_layout_and_traps(tmp_path):
    command = ["samples", "--out", str(tmp_path / "tree"), "--images"]
    done = CliRunner().invoke(app, [*command, "20", "--as-on-disk", "--traps"])
    assert done.exit_code == 0, done.output
    assert "15 coco_images" in done.stdout
    assert done.stdout.strip().endswith("73 traps")
    assert (tmp_path / "tree/traps.json").exists()
    refused = CliRunner().invoke(app, [*command, "4"])
    assert refused.exit_code == 1
    assert refused.stderr.startswith("samples failed: images=4; at least 20 are needed")


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 20"):
        write_samples(tmp_path, 4)


def test_nobody_s_own_files_are_drawn_over(tmp_path):
    own = tmp_path / "coco/annotations/captions_train2017.json"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(FileExistsError, match="holds coco, which drawn.txt does not name as drawn"):
        write_samples(tmp_path, images=20)
    assert own.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["coco"]
