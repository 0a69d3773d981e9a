"""A small `base_vlm` tree of drawn pictures, in the official layouts of COCO, VQA v2 and GQA.

Every caption, question and answer is derived from the scene that the picture was drawn from, so it
is true of the picture.
"""

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.pictures import COLOURS, PLACES, PLURALS, Scene, captions, compose, paint, questions

UNANNOTATED = 0.02  # share of COCO pictures that nothing is said about, as in the real corpus


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
    return [{"answer": word, "answer_confidence": rng.choice(("yes", "yes", "yes", "maybe", "no")),
             "answer_id": i} for i, word in enumerate(said, 1)]  # fmt: skip


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


_GQA_TYPES = {  # VQA question type -> GQA's (detailed, semantic, structural), operation
    "what color": (("directOf", "attr", "query"), "query color"),
    "is the": (("verifyAttr", "attr", "verify"), "verify color"),
    "are the": (("verifyAttr", "attr", "verify"), "verify color"),
    "is there a": (("exist", "obj", "verify"), "exist"),
    "what is in the": (("place", "global", "query"), "query place"),
    "what is": (("relS", "rel", "query"), "query name"),
}


def _gqa(image_id: str, scene: Scene, ids: list[str], rng: random.Random) -> dict[str, dict]:
    """One GQA entry for each of `ids`, by question id, all about one picture."""
    pool = [q for q in questions(scene, rng) if q.form != "how many"][: len(ids)]
    objects = {t.shape: str(rng.randrange(1_000_000, 5_000_000)) for t in scene.things}

    def spans(text: str, known: dict[str, str]) -> dict[str, str]:
        words = enumerate(text.lower().rstrip("?.").replace(",", "").split())
        singular = {PLURALS[s]: s for s in known} | {s: s for s in known}
        return {str(i): known[singular[word]] for i, word in words if word in singular}

    entries = {}
    for key, q in zip(ids, pool, strict=True):
        (detailed, semantic, structural), operation = _GQA_TYPES[
            "what color" if q.form.startswith("what color") else q.form
        ]
        steps: list[dict[str, Any]] = []
        for name in reversed(q.about):  # the object that the question starts from comes first
            relation = q.text.removeprefix("What is ").rsplit(" the ", 1)[0]
            first = not steps
            steps.append({
                "operation": "select" if first else "relate",
                "dependencies": [] if first else [0],
                "argument": f"{name} ({objects.get(name, '-')})" if first
                else f"_,{relation},s ({objects[name]})",
            })  # fmt: skip
        operation, _, argument = operation.partition(" ")
        if structural == "verify" and semantic == "attr":
            argument = q.text.rstrip("?").split()[-1]
        steps.append({"operation": operation, "argument": argument or "?",
                      "dependencies": [len(steps) - 1] if steps else []})  # fmt: skip
        flow = (f"{s['operation']}: {s['argument']}{f' {d}' if (d := s['dependencies']) else ''}"
                for s in steps)  # fmt: skip
        entries[key] = {
            "semantic": steps,
            "entailed": [],
            "equivalent": [key],
            "question": q.text,
            "imageId": image_id,
            "isBalanced": True,
            "groups": {
                "global": {"color": "color", "place": "place", "name": "thing"}.get(argument),
                "local": f"{10 + len(q.about)}-{'_'.join(q.about) or 'scene'}",
            },
            "answer": q.answer,
            "semanticStr": "->".join(flow),
            "annotations": {
                "answer": spans(q.answer, objects),
                "question": spans(q.text, objects),
                "fullAnswer": spans(q.full, objects),
            },
            "types": {"detailed": detailed, "semantic": semantic, "structural": structural},
            "fullAnswer": q.full,
        }
    for key, q in zip(ids, pool, strict=True):  # an object that is spoken of is there
        for other, claim in zip(ids, pool, strict=True):
            if claim.form == "is there a" and claim.answer == "yes" and key != other:
                entries[key]["entailed"] += [other] * (claim.about[0] in q.about)
    return entries


def _put(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def _put_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _put(path, json.dumps(content).encode())


def _put_picture(path: Path, scene: Scene, rng: random.Random) -> None:
    buffer = io.BytesIO()
    paint(scene, rng).save(buffer, "JPEG", quality=90)
    _put(path, buffer.getvalue())


_URL = "http://example.org/drawn"
_LICENSES = [{"url": f"{_URL}/{i}", "id": i, "name": f"Drawn sample {i}"} for i in range(1, 9)]


def write_samples(out: Path, images: int = 600, seed: int = 1) -> dict[str, int]:
    """Write the tree under `out` (three quarters COCO pictures, of which half have questions; one
    quarter GQA) and return how many files and annotations of each sort it holds.

    Byte for byte the same for equal (images, seed) and Pillow. Raises ValueError below 20 images,
    where a split would be empty; OSError if `out` cannot be written.
    """
    if images < 20:
        raise ValueError(f"images={images}; at least 20 are needed for both splits of both corpora")
    out, rng = Path(out), random.Random(f"samples {seed}")
    gqa = images // 4
    counts = {"coco_images": images - gqa, "coco_captions": 0, "coco_unannotated": 0,
              "vqa_questions": 0, "gqa_images": gqa, "gqa_questions": 0}  # fmt: skip
    ids = rng.sample(range(1, 581_930), images - gqa)
    cut = round(len(ids) * 0.8)
    for split, members in (("train", ids[:cut]), ("val", ids[cut:])):
        _write_coco(out, split, members, seed, counts)
    ids = rng.sample(range(2_315_000, 2_418_000), gqa)
    numbers = rng.sample(range(100_000, 20_000_000), gqa * 3)
    (out / "gqa/images").mkdir(parents=True, exist_ok=True)
    cut = round(len(ids) * 0.8)
    for split, low, high in (("train", 0, cut), ("val", cut, gqa)):
        entries: dict[str, dict] = {}
        for i in range(low, high):
            own = random.Random(f"gqa {seed} {ids[i]}")
            scene = compose(own)
            _put_picture(out / f"gqa/images/{ids[i]}.jpg", scene, own)
            keys = [f"{n:08d}" for n in numbers[i * 3 : i * 3 + 3]]
            entries |= _gqa(str(ids[i]), scene, keys, own)
        _put_json(out / f"gqa/{split}_balanced_questions.json", entries)
        counts["gqa_questions"] += len(entries)
    return counts


def _write_coco(out: Path, split: str, ids: list[int], seed: int, counts: dict[str, int]) -> None:
    """One split of COCO, with VQA v2 questions on about half of its annotated pictures."""
    listed, said, asked = [], [], []
    (out / f"coco/{split}2017").mkdir(parents=True, exist_ok=True)
    order = random.Random(f"coco {split} {seed}")
    bare = set(order.sample(ids, max(1, round(len(ids) * UNANNOTATED))))
    counts["coco_unannotated"] += len(bare)
    for image_id in ids:
        rng = random.Random(f"coco {seed} {image_id}")
        scene, name = compose(rng), f"{image_id:012d}.jpg"
        _put_picture(out / f"coco/{split}2017/{name}", scene, rng)
        listed.append({
            "license": rng.randint(1, 8), "file_name": name,
            "coco_url": f"{_URL}/{split}2017/{name}", "height": scene.height, "width": scene.width,
            "date_captured": "2013-11-20 22:56:00", "flickr_url": f"{_URL}/{name}", "id": image_id,
        })  # fmt: skip
        if image_id in bare:
            continue
        blank = rng.choice(("", "", "", " "))  # the real captions have stray blanks too
        for k, text in enumerate(rng.sample(captions(scene), 5)):
            said.append({"image_id": image_id, "id": image_id * 10 + k,
                         "caption": text + blank * (k == 0)})  # fmt: skip
        if rng.random() < 0.5:
            asked += _vqa(image_id, scene, rng)
    order.shuffle(said)
    order.shuffle(asked)
    counts["coco_captions"] += len(said)
    counts["vqa_questions"] += len(asked)
    info = {"description": "Drawn samples", "url": _URL, "version": "1.0", "year": 2017}
    coco = {"info": {**info, "contributor": "EmberVLM", "date_created": "2017/09/01"},
            "licenses": _LICENSES, "images": listed, "annotations": said}  # fmt: skip
    _put_json(out / f"coco/annotations/captions_{split}2017.json", coco)
    head = {"info": {**info, "version": "2.0", "contributor": "EmberVLM",
                     "date_created": "2017-04-26 17:00:44"},
            "license": {"url": _URL, "name": "MIT"}, "data_subtype": f"{split}2014"}  # fmt: skip
    # The two files are in different orders on purpose: they join by question_id, not by position.
    _put_json(out / f"vqa/v2_OpenEnded_mscoco_{split}2014_questions.json",
              {**head, "task_type": "Open-Ended", "data_type": "mscoco",
               "questions": [q for q, _ in asked]})  # fmt: skip
    order.shuffle(asked)
    _put_json(out / f"vqa/v2_mscoco_{split}2014_annotations.json",
              {**head, "data_type": "mscoco", "annotations": [a for _, a in asked]})  # fmt: skip
