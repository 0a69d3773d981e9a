"""OK-VQA and A-OKVQA: questions about COCO's pictures that also ask what one knows of a thing.

OK-VQA is keyed by COCO's 2014 splits (its val stands mostly on pictures of train2017), A-OKVQA by
those of 2017; its test pictures are not on disk and its test questions have no answers.
"""

import random
import string
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.samples.coco import INFO, given
from pipelines.samples.files import URL, CocoPicture, put_json, some
from pipelines.samples.pictures import PLURALS, Scene, compose

USES = {  # what a thing is for, in full and as OK-VQA stems it
    "ball": ("playing", "play"), "boat": ("sailing", "sail"), "car": ("driving", "drive"),
    "tent": ("camping", "camp"), "house": ("living", "live"), "box": ("packing", "pack"),
    "tree": ("climbing", "climb"), "star": ("wishing", "wish"),
}  # fmt: skip
_STUFF = {
    "ball": "rubber", "boat": "wood", "car": "metal", "tent": "cloth", "house": "brick",
    "box": "cardboard", "tree": "wood", "star": "gas",
}  # fmt: skip
_PASTIMES = {
    "field": ("farming", "farm"), "floor": ("dancing", "dance"), "sky": ("sleeping", "sleep"),
    "beach": ("swimming", "swim"), "snow": ("skiing", "ski"), "carpet": ("sitting", "sit"),
}  # fmt: skip
_CATEGORIES = {
    "one": "Vehicles and Transportation", "two": "Brands, Companies and Products",
    "three": "Objects, Material and Clothing", "four": "Sports and Recreation",
    "five": "Cooking and Food", "six": "Geography, History, Language and Culture",
    "seven": "People and Everyday life", "eight": "Plants and Animals",
    "nine": "Science and Technology", "ten": "Weather and Climate", "other": "Other",
}  # fmt: skip
_CATEGORY = {"ball": "four", "boat": "one", "car": "one", "tent": "four", "house": "seven",
             "box": "three", "tree": "eight", "star": "nine"}  # fmt: skip


class Known(NamedTuple):
    """A question, its answer in full and stemmed, OK-VQA's category, wrong answers, and why."""

    text: str
    answer: str
    stem: str
    category: str
    wrong: tuple[str, ...]
    why: str


def known(scene: Scene) -> list[Known]:
    """What can be asked of a scene; each needs the picture, and knowledge that it does not show."""
    asked = []
    for thing in scene.things[: 1 if scene.alike else None]:
        colour, shape = thing.colour, thing.shape
        things, are = (f"{colour} things", "are") if scene.alike else (f"{colour} thing", "is")
        one = f"The {things} {are} {PLURALS[shape]}." if scene.alike else f"That is {thing}."
        for text, (answer, stem), answers, category, why in (
            (f"What {are} the {things} used for?", USES[shape], [u for u, _ in USES.values()],
             _CATEGORY[shape], f"People use {PLURALS[shape]} for {USES[shape][0]}."),
            (f"What {are} the {things} usually made of?", (_STUFF[shape],) * 2, _STUFF.values(),
             "three", f"{PLURALS[shape].title()} are usually made of {_STUFF[shape]}."),
        ):  # fmt: skip
            wrong = tuple(sorted({*answers} - {answer}))
            asked.append(Known(text, answer, stem, category, wrong, f"{one} {why}"))
    noun = scene.place.noun
    answer, stem = _PASTIMES[noun]
    wrong = tuple(sorted({a for a, _ in _PASTIMES.values()} - {answer}))
    why = f"The background is a {noun}. It is a place for {answer}."
    asked.append(Known("What is this kind of place good for?", answer, stem, "seven", wrong, why))
    return asked


def write_okvqa(out: Path, drawn: list[CocoPicture], seed: int, counts: dict[str, int]) -> None:
    """One question on each of a seventh of the train pictures, and on pictures of both for val."""
    train = [p for p in drawn if p.folder == "train2017"]
    val = [p for p in drawn if p.folder == "val2017"]
    chosen = some(train, 0.2, 2, f"okvqa {seed}")
    cut = max(1, round(len(chosen) * 0.7))
    chosen_val = chosen[cut:] + some(val, 0.1, 1, f"okvqa val {seed}")
    for split, pictures in (("train", chosen[:cut]), ("val", chosen_val)):
        asked, answered = [], []
        for picture in pictures:
            rng = random.Random(f"okvqa {seed} {picture.number}")
            q = rng.choice(known(picture.scene))
            digit = rng.randrange(10)  # the id is the picture's number and one digit more
            ids = {"image_id": picture.number, "question_id": int(f"{picture.number}{digit}")}
            asked.append({**ids, "question": q.text})
            five = [q.answer] * 5  # annotators, each counted twice
            for i in rng.sample(range(5), rng.choice((0, 0, 1, 2))):
                five[i] = rng.choice(q.wrong)
            stems = dict((*USES.values(), *_PASTIMES.values()))
            said = given([word for word in five for _ in (0, 1)], rng)
            answers = [{"answer_id": a["answer_id"], "raw_answer": a["answer"],
                        "answer_confidence": a["answer_confidence"],
                        "answer": stems.get(a["answer"], a["answer"])} for a in said]  # fmt: skip
            answered.append({**ids, "answer_type": "other", "question_type": q.category,
                             "answers": answers, "confidence": 3})  # fmt: skip
        random.Random(f"okvqa order {seed}").shuffle(answered)
        head = {"info": {**INFO, "version": "1.0", "year": 2019}, "data_type": "mscoco",
                "license": {"url": URL, "name": "MIT"}, "data_subtype": f"{split}2014"}  # fmt: skip
        put_json(out / f"okvqa/OpenEnded_mscoco_{split}2014_questions.json",
                 {**head, "task_type": "Open-Ended", "questions": asked})  # fmt: skip
        put_json(out / f"okvqa/mscoco_{split}2014_annotations.json",
                 {**head, "question_types": _CATEGORIES, "annotations": answered})  # fmt: skip
        counts["okvqa_questions"] += len(asked)


def write_aokvqa(out: Path, drawn: list[CocoPicture], seed: int, counts: dict[str, int]) -> None:
    """One question on each of a sixth of the pictures, and test questions without answers."""
    test = random.Random(f"aokvqa test {seed}").sample(range(1, 581_930), max(2, len(drawn) // 40))
    scenes = [compose(random.Random(f"aokvqa {seed} {number}")) for number in test]
    for split in ("train", "val", "test"):
        here = [p for p in drawn if p.folder == f"{split}2017"]
        pictures = (
            [CocoPicture(n, "test2017", s) for n, s in zip(test, scenes, strict=True)]
            if split == "test"
            else some(here, 0.16, 1, f"aokvqa {split} {seed}")
        )
        entries = []
        for picture in pictures:
            rng = random.Random(f"aokvqa question {seed} {picture.number}")
            entry = aokvqa_entry(picture.number, split, rng.choice(known(picture.scene)), rng)
            if split == "test":
                for name in ("correct_choice_idx", "direct_answers", "rationales"):
                    del entry[name]
            entries.append(entry)
        put_json(out / f"aokvqa/aokvqa_v1p0_{split}.json", entries)
        counts["aokvqa_questions"] += len(entries)


def aokvqa_entry(image: int, split: str, q: Known, rng: random.Random) -> dict[str, Any]:
    choices = [q.answer, *rng.sample(q.wrong, 3)]
    rng.shuffle(choices)
    said = [q.answer] * 10
    for i in rng.sample(range(10), rng.choice((0, 0, 1, 2, 3))):
        said[i] = rng.choice(q.wrong)
    first, second = (sentence.rstrip(".") + "." for sentence in q.why.split(". "))
    return {
        "split": split,
        "image_id": image,
        "question_id": "".join(rng.choices(string.ascii_letters + string.digits, k=22)),
        "question": q.text,
        "choices": choices,
        "correct_choice_idx": choices.index(q.answer),
        "direct_answers": said,
        "difficult_direct_answer": len(set(said)) > 2,
        "rationales": [q.why, second, f"{second} {first}"],
    }
