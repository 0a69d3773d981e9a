"""COCO 2017's pictures and captions, and VQA v2's questions about half of the pictures."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.samples.files import URL, CocoPicture, painted, put, put_json
from pipelines.samples.pictures import COLOURS, PLACES, PLURALS, Scene, captions, compose, questions

UNANNOTATED = 0.02  # share of COCO pictures that nothing is said about, as in the real corpus
LICENSES = [{"url": f"{URL}/{i}", "id": i, "name": f"Drawn sample {i}"} for i in range(1, 9)]
INFO = {"description": "Drawn samples", "url": URL, "version": "1.0", "year": 2017}


def write_coco(
    out: Path, split: str, ids: list[int], seed: int, counts: dict[str, int]
) -> list[CocoPicture]:
    """One split of COCO, with VQA v2 questions on about half of its annotated pictures."""
    listed, said, asked, drawn = [], [], [], []
    order = random.Random(f"coco {split} {seed}")
    bare = set(order.sample(ids, max(1, round(len(ids) * UNANNOTATED))))
    counts["coco_unannotated"] += len(bare)
    for image_id in ids:
        rng = random.Random(f"coco {seed} {image_id}")
        picture = CocoPicture(image_id, f"{split}2017", compose(rng))
        scene = picture.scene
        drawn.append(picture)
        put(out / picture.path, painted(scene, rng))
        listed.append(listing(picture, rng.randint(1, 8)))
        if image_id in bare:
            continue
        blank = rng.choice(("", "", "", " "))  # the real captions have stray blanks too
        for k, text in enumerate(rng.sample(captions(scene), 5)):
            said.append({"image_id": image_id, "id": image_id * 10 + k,
                         "caption": text + blank * (k == 0)})  # fmt: skip
        if rng.random() < 0.5:
            asked += _vqa(image_id, scene, rng)
    order.shuffle(said)
    counts["coco_captions"] += len(said)
    counts["vqa_questions"] += len(asked)
    coco = {"info": {**INFO, "contributor": "EmberVLM", "date_created": "2017/09/01"},
            "licenses": LICENSES, "images": listed, "annotations": said}  # fmt: skip
    put_json(out / f"coco/annotations/captions_{split}2017.json", coco)
    _write_vqa(out, split, asked, order)
    return drawn


def _write_vqa(out: Path, split: str, asked: list[tuple[dict, dict]], order: random.Random) -> None:
    """The files of questions and of annotations, in different orders: they join by question_id."""
    head = {"info": {**INFO, "version": "2.0", "contributor": "EmberVLM",
                     "date_created": "2017-04-26 17:00:44"},
            "license": {"url": URL, "name": "MIT"}, "data_subtype": f"{split}2014"}  # fmt: skip
    order.shuffle(asked)
    put_json(out / f"vqa/v2_OpenEnded_mscoco_{split}2014_questions.json",
             {**head, "task_type": "Open-Ended", "data_type": "mscoco",
              "questions": [q for q, _ in asked]})  # fmt: skip
    order.shuffle(asked)
    put_json(out / f"vqa/v2_mscoco_{split}2014_annotations.json",
             {**head, "data_type": "mscoco", "annotations": [a for _, a in asked]})  # fmt: skip


def listing(picture: CocoPicture, licence: int) -> dict[str, Any]:
    """A picture's entry in the `images` of an annotation file."""
    return {
        "license": licence, "file_name": picture.name,
        "coco_url": f"{URL}/{picture.folder}/{picture.name}", "height": picture.scene.height,
        "width": picture.scene.width, "date_captured": "2013-11-20 22:56:00",
        "flickr_url": f"{URL}/{picture.name}", "id": picture.number,
    }  # fmt: skip


def given(said: list[str], rng: random.Random) -> list[dict[str, Any]]:
    """What annotators said, with their confidence, numbered from 1."""
    return [{"answer": word, "answer_confidence": rng.choice(("yes", "yes", "yes", "maybe", "no")),
             "answer_id": i} for i, word in enumerate(said, 1)]  # fmt: skip


def _answers(truth: str, form: str, rng: random.Random) -> list[dict[str, Any]]:
    """Ten annotators' answers; at most four err, so the truth is always the consensus."""
    if truth in ("yes", "no"):
        others = ["no" if truth == "yes" else "yes"]
    elif form == "how many":
        others = [str(int(truth) + 1), str(abs(int(truth) - 1))]
    else:
        same = (sorted(COLOURS), [p.noun for p in PLACES], sorted(PLURALS))
        others = [word for words in same if truth in words for word in words if word != truth]
    said = [truth] * 10
    for i in rng.sample(range(10), rng.choice((0, 0, 0, 1, 1, 2, 3, 4))):
        said[i] = rng.choice(others)
    return given(said, rng)


def _vqa(image_id: int, scene: Scene, rng: random.Random) -> Iterator[tuple[dict, dict]]:
    """Three or four (question, annotation) pairs of one picture."""
    for k, q in zip(sorted(rng.sample(range(8), rng.choice((3, 4)))), questions(scene, rng),
                    strict=False):  # fmt: skip
        ids = {"image_id": image_id, "question_id": image_id * 1000 + k}
        kind = {"yes": "yes/no", "no": "yes/no"}.get(q.answer, "other")
        yield (
            {**ids, "question": q.text},
            {
                "question_type": q.form,
                "multiple_choice_answer": q.answer,
                "answers": _answers(q.answer, q.form, rng),
                "answer_type": "number" if q.form == "how many" else kind,
                **ids,
            },
        )
