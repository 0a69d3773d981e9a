"""Drawn pictures: a scene, what is true to say and ask of it, and the painter.

Scenes are few words wide (eight shapes, eight colours, six places): what is said can only be known
by looking, and little has to be learnt to say it.
"""

import random
from itertools import pairwise
from typing import NamedTuple

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
        paint_thing(pen, thing, _jitter(COLOURS[thing.colour], rng))
    grain = Image.frombytes("L", (w // 2, h // 2), rng.randbytes((w // 2) * (h // 2)))
    grain = grain.point([v // 16 for v in range(256)]).resize((w, h))
    return ImageChops.add(picture, Image.merge("RGB", (grain,) * 3), offset=-8)


def box(scene: Scene, thing: Thing) -> tuple[int, int, int, int]:
    """The pixels that a thing covers: left, top, right, bottom, the last two not of it."""
    canvas = Image.new("RGB", (scene.width, scene.height))
    paint_thing(ImageDraw.Draw(canvas), thing, (255, 255, 255))
    covered = canvas.getbbox()
    assert covered is not None  # its centre lies in the picture
    return covered


def _jitter(colour: Rgb, rng: random.Random, by: int = 12) -> Rgb:
    r, g, b = (min(255, max(0, v + rng.randint(-by, by))) for v in colour)
    return r, g, b


def paint_thing(pen: ImageDraw.ImageDraw, thing: Thing, fill: Rgb) -> None:
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
