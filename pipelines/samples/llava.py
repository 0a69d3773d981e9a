"""LLaVA-Instruct-150K: conversations, descriptions and reasoning about COCO train pictures.

One JSON list; an id is its picture's number, so it comes again where a picture is talked of twice.
"""

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipelines.samples.files import CocoPicture, put_json, some
from pipelines.samples.knowledge import known
from pipelines.samples.pictures import NUMBERS, PLURALS, Scene, questions

_DESCRIBE = ("Describe the following image.", "What do you see happening in this image?",
             "Write a detailed description of the given image.",
             "Can you explain what this image shows?")  # fmt: skip


def write_llava(out: Path, drawn: list[CocoPicture], seed: int, counts: dict[str, int]) -> None:
    """A third of the train pictures, each talked of once or twice."""
    entries = []
    train = [picture for picture in drawn if picture.folder == "train2017"]
    for picture in some(train, 0.33, 3, f"llava {seed}"):
        rng = random.Random(f"llava {seed} {picture.number}")
        for talk in rng.sample((_conversation, _description, _reasoning), rng.choice((1, 1, 2))):
            entries.append(llava_entry(picture, talk(picture.scene, rng), rng.random() < 0.5))
    random.Random(f"llava order {seed}").shuffle(entries)
    put_json(out / "llava/llava_instruct_150k.json", entries)
    counts["llava_conversations"] += len(entries)


def llava_entry(
    picture: CocoPicture, turns: list[tuple[str, str]], image_first: bool
) -> dict[str, Any]:
    """One entry; `<image>` stands before or after the first thing that the human says."""
    said = []
    for i, (question, answer) in enumerate(turns):
        if i == 0:
            question = f"<image>\n{question}" if image_first else f"{question}\n<image>"
        said += [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": picture.name.removesuffix(".jpg"), "image": picture.name, "conversations": said}


def _conversation(scene: Scene, rng: random.Random) -> list[tuple[str, str]]:
    asked = questions(scene, rng)
    return [(q.text, q.full) for q in asked[: rng.choice((2, 3, 3, 4))]]


def _description(scene: Scene, rng: random.Random) -> list[tuple[str, str]]:
    """Two paragraphs: what is there, and where."""
    things, count = scene.things, len(scene.things)
    if scene.alike:
        first = things[0]
        what = f"The image shows {NUMBERS[count]} {first.colour} {PLURALS[first.shape]}"
        row = "next to each other" if scene.across else "one above the other"
        place = [f"They stand {row}."]
    else:
        what = f"The image shows {' and '.join(str(thing) for thing in things)}"
        relation = "to the left of" if scene.across else "above"
        place = [f"The {a.shape} is {relation} the {b.shape}." for a, b in pairwise(things)]
    background = f"The background is a {scene.place.noun}."
    text = f"{what} {scene.place.phrase}.\n\n{' '.join([*place, background])}"
    return [(rng.choice(_DESCRIBE), text)]


def _reasoning(scene: Scene, rng: random.Random) -> list[tuple[str, str]]:
    q = rng.choice(known(scene))
    return [(f"{q.text} How can you tell?", f"{q.why} So the answer is {q.answer}.")]
