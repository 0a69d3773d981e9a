"""GQA 1.2: question files as its archive has them, and pictures of Visual Genome's and its own.

`<split>_balanced` is a part of `<split>_all`, word for word; `train_all` is a folder of parts.
Questions of `test`, `challenge` and `submission` have no answers.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipelines.samples.files import painted, put, put_json
from pipelines.samples.pictures import PLURALS, Question, Scene, compose, questions

_TYPES = {  # VQA question type -> GQA's (detailed, semantic, structural), operation
    "what color": (("directOf", "attr", "query"), "query color"),
    "is the": (("verifyAttr", "attr", "verify"), "verify color"),
    "are the": (("verifyAttr", "attr", "verify"), "verify color"),
    "is there a": (("exist", "obj", "verify"), "exist"),
    "what is in the": (("place", "global", "query"), "query place"),
    "what is": (("relS", "rel", "query"), "query name"),
}
_UNANSWERED = ("question", "imageId", "isBalanced")  # the keys of a question without its answer
Entries = dict[str, dict[str, Any]]


def write_gqa(
    out: Path,
    ids: list[int],
    numbers: list[int],
    seed: int,
    parts: int,
    counts: dict[str, int],
) -> None:
    """Pictures `ids`, 80 % of them train, with three balanced questions each, numbered `numbers`;
    evaluation pictures beside them; `parts` files of train_all."""
    folder, cut = out / "gqa", round(len(ids) * 0.8)
    for split, low, high in (("train", 0, cut), ("val", cut, len(ids))):
        balanced: Entries = {}
        everything: Entries = {}
        for i in range(low, high):
            rng = random.Random(f"gqa {seed} {ids[i]}")
            scene = compose(rng)
            put(folder / f"images/{ids[i]}.jpg", painted(scene, rng))
            keys = [f"{n:08d}" for n in numbers[i * 3 : i * 3 + 3]]
            own = _entries(str(ids[i]), scene, _asked(scene, rng, ())[:3], keys, rng)
            balanced |= own
            everything |= own | _others(str(ids[i]), scene, own, 20_000_000 + i * 10, seed)
        put_json(folder / f"{split}_balanced_questions.json", balanced)
        if split == "train":
            for part in range(parts):
                share = dict(list(everything.items())[part::parts])
                put_json(folder / f"train_all_questions/train_all_questions_{part}.json", share)
        else:
            put_json(folder / "val_all_questions.json", everything)
        counts["gqa_questions"] += len(balanced)
    count, submitted = max(2, len(ids) // 15), {}
    for place, split in enumerate(("testdev", "test", "challenge"), 1):
        balanced, everything = _evaluation(folder, split, place, count, seed)
        put_json(folder / f"{split}_balanced_questions.json", balanced)
        put_json(folder / f"{split}_all_questions.json", everything)
        submitted |= everything if split != "testdev" else {}
        counts["gqa_images"] += count
        counts["gqa_questions"] += len(balanced)
    put_json(folder / "submission_all_questions.json", submitted)


def _evaluation(
    folder: Path, split: str, place: int, count: int, seed: int
) -> tuple[Entries, Entries]:
    """The balanced and all questions of an evaluation split, about pictures called n<number>."""
    balanced: Entries = {}
    everything: Entries = {}
    names = random.Random(f"gqa {split} {seed}").sample(
        range(place * 100_000, place * 100_000 + 99_999), count
    )
    for i, number in enumerate(names):
        image_id, rng = f"n{number}", random.Random(f"gqa {split} {seed} {number}")
        scene = compose(rng)
        put(folder / f"images/{image_id}.jpg", painted(scene, rng))
        first = 201_000_000 + place * 1_000_000 + i * 20  # real ids are longer here
        keys = [str(first + k) for k in range(3)]
        own = _entries(image_id, scene, _asked(scene, rng, ())[:3], keys, rng)
        balanced |= own
        everything |= own | _others(image_id, scene, own, first + 10, seed)
    if split == "testdev":
        return balanced, everything
    return _unanswered(balanced), _unanswered(everything)


def _unanswered(entries: Entries) -> Entries:
    return {key: {name: entry[name] for name in _UNANSWERED} for key, entry in entries.items()}


def _asked(scene: Scene, rng: random.Random, but: Iterable[str]) -> list[Question]:
    """GQA does not count things; nothing of `but` is asked again."""
    return [q for q in questions(scene, rng) if q.form != "how many" and q.text not in but]


def _others(image_id: str, scene: Scene, balanced: Entries, first: int, seed: int) -> Entries:
    """Questions that were left out when the set was balanced, numbered from `first`."""
    rng = random.Random(f"gqa all {seed} {image_id}")
    asked = _asked(scene, rng, {entry["question"] for entry in balanced.values()})
    keys = [f"{first + k:08d}" for k in range(len(asked))]
    entries = _entries(image_id, scene, asked, keys, rng)
    return {key: {**entry, "isBalanced": False} for key, entry in entries.items()}


def _spans(text: str, known: dict[str, str]) -> dict[str, str]:
    words = enumerate(text.lower().rstrip("?.").replace(",", "").split())
    singular = {PLURALS[s]: s for s in known} | {s: s for s in known}
    return {str(i): known[singular[word]] for i, word in words if word in singular}


def _entries(
    image_id: str, scene: Scene, asked: list[Question], ids: list[str], rng: random.Random
) -> Entries:
    """One GQA entry for each of `asked`, by question id, all about one picture."""
    objects = {t.shape: str(rng.randrange(1_000_000, 5_000_000)) for t in scene.things}
    entries = {key: _entry(key, image_id, q, objects) for key, q in zip(ids, asked, strict=True)}
    for key, q in zip(ids, asked, strict=True):  # an object that is spoken of is there
        for other, claim in zip(ids, asked, strict=True):
            if claim.form == "is there a" and claim.answer == "yes" and key != other:
                entries[key]["entailed"] += [other] * (claim.about[0] in q.about)
    return entries


def _program(q: Question, objects: dict[str, str]) -> list[dict[str, Any]]:
    """The steps that answer a question, each on what an earlier one found."""
    (_, semantic, structural), operation = _type(q)
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
    return steps


def _type(q: Question) -> tuple[tuple[str, str, str], str]:
    return _TYPES["what color" if q.form.startswith("what color") else q.form]


def _entry(key: str, image_id: str, q: Question, objects: dict[str, str]) -> dict[str, Any]:
    (detailed, semantic, structural), _ = _type(q)
    steps = _program(q, objects)
    flow = (f"{s['operation']}: {s['argument']}{f' {d}' if (d := s['dependencies']) else ''}"
            for s in steps)  # fmt: skip
    return {
        "semantic": steps,
        "entailed": [],
        "equivalent": [key],
        "question": q.text,
        "imageId": image_id,
        "isBalanced": True,
        "groups": {
            "global": {"color": "color", "place": "place", "name": "thing"}.get(
                steps[-1]["argument"]
            ),
            "local": f"{10 + len(q.about)}-{'_'.join(q.about) or 'scene'}",
        },
        "answer": q.answer,
        "semanticStr": "->".join(flow),
        "annotations": {
            "answer": _spans(q.answer, objects),
            "question": _spans(q.text, objects),
            "fullAnswer": _spans(q.full, objects),
        },
        "types": {"detailed": detailed, "semantic": semantic, "structural": structural},
        "fullAnswer": q.full,
    }
