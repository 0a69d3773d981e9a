"""A small `base_vlm` tree of drawn pictures, in the official layouts of COCO, VQA v2 and GQA.

Every caption, question and answer is derived from the scene that the picture was drawn from, so it
is true of the picture. Scenes are few words wide (eight shapes, eight colours, six places): what is
said can only be known by looking, and little has to be learnt to say it.
"""

import io
import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageChops, ImageDraw

Rgb = tuple[int, int, int]

COLOURS: dict[str, Rgb] = {
    "red": (220, 30, 35),
    "blue": (30, 70, 225),
    "yellow": (250, 220, 30),
    "green": (20, 150, 50),
    "purple": (135, 40, 170),
    "orange": (250, 130, 15),
    "white": (248, 248, 248),
    "black": (18, 18, 18),
}
PLURALS = {s: s + "s" for s in ("ball", "star", "tree", "house", "boat", "car", "tent")}
PLURALS["box"] = "boxes"
NUMBERS = ("no", "one", "two", "three")
UNANNOTATED = 0.02  # share of COCO pictures that nothing is said about, as in the real corpus


class Place(NamedTuple):
    """A background: how one says it, the upper and lower colour, and colours that vanish on it."""

    noun: str
    phrase: str
    upper: Rgb
    lower: Rgb
    hides: tuple[str, ...]


PLACES = (
    Place("field", "on a green field", (150, 205, 250), (70, 190, 60), ("green",)),
    Place("floor", "on a wooden floor", (240, 225, 190), (165, 105, 55), ("orange",)),
    Place("sky", "under a night sky", (18, 20, 75), (30, 32, 95), ("black", "blue", "purple")),
    Place("beach", "on a sandy beach", (45, 165, 205), (240, 210, 130), ("yellow", "orange")),
    Place("snow", "in the snow", (175, 190, 205), (236, 241, 248), ("white",)),
    Place("carpet", "on a pink carpet", (200, 225, 225), (240, 120, 175), ("red", "purple")),
)


class Thing(NamedTuple):
    """An object: its centre and half size in pixels."""

    colour: str
    shape: str
    x: int
    y: int
    r: int

    def __str__(self) -> str:
        return f"{'an' if self.colour == 'orange' else 'a'} {self.colour} {self.shape}"


class Scene(NamedTuple):
    """One to three things in a place, in order left to right (`across`) or top to bottom.

    Things of one scene are either all alike or differ in both colour and shape, so "the ball" is
    never ambiguous.
    """

    width: int
    height: int
    place: Place
    things: tuple[Thing, ...]
    across: bool

    @property
    def alike(self) -> bool:
        return len(self.things) > 1 and self.things[0][:2] == self.things[1][:2]


class Question(NamedTuple):
    """A question about a scene. `form` is VQA's question type, `about` the things it names."""

    form: str
    text: str
    answer: str
    full: str
    about: tuple[str, ...]


def compose(rng: random.Random) -> Scene:
    """Any scene: every place, colour, shape and count is as likely as its fellows."""
    width, height = rng.randrange(304, 337), rng.randrange(228, 253)
    if portrait := rng.random() < 0.12:
        width, height = height, width
    place, count = rng.choice(PLACES), rng.choice((1, 1, 2, 2, 3))
    colours = rng.sample([c for c in COLOURS if c not in place.hides], 3)
    shapes = rng.sample(sorted(PLURALS), 3)
    if rng.random() < 0.35:
        colours, shapes = colours[:1] * 3, shapes[:1] * 3
    across = not portrait and (count == 3 or rng.random() < 0.6)
    long, short = (width, height) if across else (height, width)
    things = []
    for i in range(count):
        r = int(min(short * 0.3, long * 0.46 / count) * rng.uniform(0.85, 1.0))
        along = int(long * (i + 0.5) / count + rng.uniform(-0.02, 0.02) * long)
        aside = int(short * rng.uniform(0.42, 0.6))
        x, y = (along, aside) if across else (aside, along)
        things.append(Thing(colours[i], shapes[i], x, y, r))
    return Scene(width, height, place, tuple(things), across)


def captions(scene: Scene) -> list[str]:
    """Everything that one would say of a scene, without repetition; at least five sentences."""
    things, where = scene.things, scene.place.phrase
    if scene.alike:
        many = f"{NUMBERS[len(things)]} {things[0].colour} {PLURALS[things[0].shape]}"
        said, verb = [many], "are"
    else:
        said, verb = [_listed([str(t) for t in order]) for order in (things, things[::-1])], "is"
        said = list(dict.fromkeys(said))
    forms = [f"{s} {where}." for s in said]
    forms += [f"there {verb} {s} {where}." for s in said]
    forms += [f"a picture of {s} {where}." for s in said] + [f"{where}, {s}." for s in said]
    forms.append(f"{said[0]} can be seen {where}.")
    if not scene.alike:
        for a, b in pairwise(things):
            ahead, behind = _relations(scene)
            forms += [f"{a} {ahead} {b} {where}.", f"{b} {behind} {a} {where}."]
        if len(things) == 1:
            forms.append(f"the {things[0].shape} {where} is {things[0].colour}.")
    return [form[0].upper() + form[1:] for form in forms]


def questions(scene: Scene, rng: random.Random) -> list[Question]:
    """Questions with true answers, in random order; as many yes as no on average."""
    things, first = scene.things, rng.choice(scene.things)
    c, s, n = first.colour, first.shape, 1 if not scene.alike else len(scene.things)
    many, be = (PLURALS[s], "are") if n > 1 else (s, "is")
    shown = {t.shape for t in things}
    absent = rng.choice(sorted(set(PLURALS) - shown))
    wrong = rng.choice(sorted(set(COLOURS) - {t.colour for t in things}))
    guess, claim = rng.choice((c, wrong)), rng.choice((s, absent))
    right, there = guess == c, claim == s
    asked = [
        Question(f"what color {be} the", f"What color {be} the {many}?", c,
                 f"The {many} {be} {c}.", (s,)),
        Question("how many", f"How many {PLURALS[s]} are there?", str(n),
                 f"There {be} {NUMBERS[n]} {many}.", (s,)),
        Question(f"{be} the", f"{be.title()} the {many} {guess}?", "yes" if right else "no",
                 f"{'Yes' if right else 'No'}, the {many} {be} {c}.", (s,)),
        Question("is there a", f"Is there a {claim} in the picture?", "yes" if there else "no",
                 f"Yes, there {be} {NUMBERS[n]} {many}." if there
                 else f"No, there is no {absent} in the picture.", (claim,)),
        Question("what is in the", "What is in the background?", scene.place.noun,
                 f"The background is a {scene.place.noun}.", ()),
    ]  # fmt: skip
    for a, b in () if scene.alike else pairwise(things):
        for one, other, relation in zip((a, b), (b, a), _relations(scene), strict=True):
            if len(things) == 3 and other is not things[1]:
                continue  # two things are to the left of the rightmost of three
            asked.append(Question("what is", f"What is {relation} the {other.shape}?", one.shape,
                                  f"The {one.shape} is {relation} the {other.shape}.",
                                  (one.shape, other.shape)))  # fmt: skip
    rng.shuffle(asked)
    return asked


def _relations(scene: Scene) -> tuple[str, str]:
    return ("to the left of", "to the right of") if scene.across else ("above", "below")


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def paint(scene: Scene, rng: random.Random) -> Image.Image:
    """The scene as RGB: colours jittered by up to 12 of 255, a soft grain over all of it."""
    w, h, place = scene.width, scene.height, scene.place
    horizon = int(h * rng.uniform(0.2, 0.34)) if place.noun != "sky" else int(h * 0.9)
    picture = Image.new("RGB", (w, h), _jitter(place.upper, rng))
    pen = ImageDraw.Draw(picture)
    ground = _jitter(place.lower, rng)
    pen.rectangle((0, horizon, w, h), ground)
    if place.noun == "floor":
        for y in range(horizon, h, 14):
            pen.line((0, y, w, y), _jitter((120, 70, 35), rng), 2)
    for _ in range(60 if place.noun != "floor" else 0):  # blades, grains, flakes or stars
        x, y = rng.randrange(w), rng.randrange(h if place.noun == "sky" else horizon, h + 1)
        y = rng.randrange(horizon) if place.noun == "sky" else y
        fleck = (250, 250, 220) if place.noun == "sky" else _jitter(ground, rng, 30)
        pen.line((x, y, x + 1, y + (1 if place.noun == "sky" else 4)), fleck, 2)
    for thing in scene.things:
        _paint_thing(pen, thing, _jitter(COLOURS[thing.colour], rng))
    grain = Image.frombytes("L", (w // 2, h // 2), rng.randbytes((w // 2) * (h // 2)))
    grain = grain.point([v // 16 for v in range(256)]).resize((w, h))
    return ImageChops.add(picture, Image.merge("RGB", (grain,) * 3), offset=-8)


def _jitter(colour: Rgb, rng: random.Random, by: int = 12) -> Rgb:
    r, g, b = (min(255, max(0, v + rng.randint(-by, by))) for v in colour)
    return r, g, b


def _paint_thing(pen: ImageDraw.ImageDraw, thing: Thing, fill: Rgb) -> None:
    """The thing fills its square well, and its own colour covers the centre."""
    _, shape, x, y, r = thing
    dark, h = (fill[0] // 2, fill[1] // 2, fill[2] // 2), r // 2

    def poly(*corners: tuple[float, float], colour: Rgb = fill) -> None:
        pen.polygon([(x + r * a, y + r * b) for a, b in corners], colour, dark)

    if shape == "ball":
        pen.ellipse((x - r, y - r, x + r, y + r), fill, dark, 2)
    elif shape == "box":
        pen.rectangle((x - r, y - r, x + r, y + r), fill, dark, 3)
        pen.line((x - r, y - h, x + r, y - h), dark, 3)
    elif shape == "star":
        tips = ((0, -1), (0.28, -0.3), (1, -0.3), (0.45, 0.15), (0.65, 0.9))
        poly(*tips, (0, 0.45), *((-a, b) for a, b in tips[:0:-1]))
    elif shape == "tree":
        pen.rectangle((x - r // 6, y + h, x + r // 6, y + r), (95, 60, 30))
        poly((-0.8, 0.6), (0.8, 0.6), (0.4, 0.1), (0.6, 0.1), (0, -1), (-0.6, 0.1), (-0.4, 0.1))
    elif shape == "tent":
        poly((-1, 0.9), (0, -0.9), (1, 0.9))
        poly((-0.22, 0.9), (0, 0.35), (0.22, 0.9), colour=dark)
    elif shape == "house":
        pen.rectangle((x - h * 1.6, y - r * 0.2, x + h * 1.6, y + r), fill, dark, 2)
        poly((-1, -0.2), (0, -1), (1, -0.2))
        pen.rectangle((x - r // 6, y + h, x + r // 6, y + r), dark)
    elif shape == "boat":
        poly((-1, 0.3), (1, 0.3), (0.6, 0.9), (-0.6, 0.9))
        poly((-0.1, 0.2), (-0.1, -1), (0.85, 0.2))
    else:  # a car
        poly((-0.6, -0.2), (-0.35, -0.6), (0.35, -0.6), (0.6, -0.2))
        pen.rectangle((x - r, y - r * 0.25, x + r, y + r * 0.45), fill, dark, 2)
        for wheel in (x - r * 0.55, x + r * 0.55):
            pen.ellipse((wheel - r * 0.25, y + r * 0.2, wheel + r * 0.25, y + r * 0.7), dark)


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
