"""OCR-VQA: drawn book covers that say their title, author and genre, and five questions of each."""

import random
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from pipelines.samples.files import URL, encoded, put, put_json
from pipelines.samples.pictures import COLOURS, PLURALS, Rgb, Thing, paint_thing

GENRES = {  # the corpus's names, and how a question speaks of them
    "Children's Books": "children's", "Cookbooks, Food & Wine": "cookery", "History": "history",
    "Romance": "romance", "Science & Math": "science", "Travel": "travel",
    "Sports & Outdoors": "sports", "Mystery, Thriller & Suspense": "mystery",
}  # fmt: skip
_FIRST = ("Ada", "Boris", "Clara", "Dario", "Edith", "Farid", "Greta", "Hugo", "Ines", "Jonas")
_LAST = ("Ashdown", "Brook", "Castell", "Dunmore", "Eklund", "Farrow", "Grieg", "Holm", "Ito")
_TITLES = (
    *("The {colour} {shape}", "Secrets of the {colour} {shape}", "A {shape} for Everyone"),
    *("All about {shapes}", "My Life with {shapes}", "One Hundred {colour} {shapes}"),
)
_PAPER: tuple[Rgb, ...] = ((245, 240, 225), (205, 225, 240), (230, 215, 235), (215, 235, 210))
LICENCE = "Drawn covers in the layout of OCR-VQA. Free for any use.\n"


class Book(NamedTuple):
    """A book as its cover shows it: `thing` is drawn in the middle."""

    title: str
    author: str
    genre: str
    thing: Thing


def book(rng: random.Random) -> Book:
    colour, shape = rng.choice(sorted(set(COLOURS) - {"white"})), rng.choice(sorted(PLURALS))
    words = {"colour": colour.title(), "shape": shape.title(), "shapes": PLURALS[shape].title()}
    title = rng.choice(_TITLES).format(**words)
    author = f"{rng.choice(_FIRST)} {rng.choice(_LAST)}"
    return Book(title, author, rng.choice(sorted(GENRES)), Thing(colour, shape, 0, 0, 0))


def cover(shown: Book, rng: random.Random) -> Image.Image:
    """The cover as RGB: the title above, its thing in the middle, author and genre below."""
    width, height = rng.randrange(220, 261), rng.randrange(300, 341)
    picture = Image.new("RGB", (width, height), rng.choice(_PAPER))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((6, 6, width - 7, height - 7), outline=(60, 60, 60), width=2)
    middle = Thing(shown.thing.colour, shown.thing.shape, width // 2, height // 2, width // 5)
    paint_thing(pen, middle, COLOURS[shown.thing.colour])
    for text, centre, size, columns in (
        (shown.title, height // 6, 26, 15),
        (shown.author, height * 13 // 16, 20, 22),
        (shown.genre, height * 29 // 32, 14, 34),
    ):
        font = ImageFont.load_default(size=size)
        lines = "\n".join(textwrap.wrap(text, columns))
        pen.text((width // 2, centre), lines, (25, 25, 35), font, anchor="mm", align="center")
    return picture


def questions(shown: Book, rng: random.Random) -> list[tuple[str, str]]:
    """The five templates of the corpus, in its order."""
    other = rng.choice(sorted(set(GENRES) - {shown.genre}))
    claims = [(f"Is this a {GENRES[shown.genre]} book?", "Yes"),
              (f"Is this a {GENRES[other]} book?", "No")]  # fmt: skip
    if rng.random() < 0.5:
        claims.reverse()
    author = rng.choice(("Who wrote this book?", "Who is the author of this book?"))
    genre = rng.choice(("What type of book is this?", "What is the genre of this book?"))
    title = "What is the title of this book?"
    return [(author, shown.author), (title, shown.title), (genre, shown.genre), *claims]


def entry(
    shown: Book, key: str, split: int, rng: random.Random, kind: str = "jpg"
) -> dict[str, Any]:
    """A book's record in dataset.json; `split` 1, 2, 3 is train, val, test."""
    asked = questions(shown, rng)
    return {
        "imageURL": f"{URL}/covers/{key}.{kind}",
        "questions": [question for question, _ in asked],
        "answers": [answer for _, answer in asked],
        "title": shown.title,
        "authorName": shown.author,
        "genre": shown.genre,
        "split": split,
    }


def write_ocrvqa(out: Path, books: int, seed: int, pictures: bool, counts: dict[str, int]) -> None:
    """`books` records, and their covers if `pictures`; one cover in ten is a GIF."""
    keys = random.Random(f"ocrvqa {seed}").sample(range(100_000_000, 9_999_999_999), books)
    records = {}
    for i, key in enumerate(map(str, keys)):
        rng = random.Random(f"ocrvqa {seed} {key}")
        shown, kind = book(rng), "gif" if i % 10 == 4 else "jpg"
        picture = cover(shown, rng)
        records[key] = entry(shown, key, {7: 2, 3: 3}.get(i % 10, 1), rng, kind)
        if pictures:
            data = encoded(picture.quantize(64), "GIF") if kind == "gif" else encoded(picture)
            put(out / f"ocrvqa/images/{key}.{kind}", data)
    put_json(out / "ocrvqa/dataset.json", records)
    put(out / "ocrvqa/LICENCE.txt", LICENCE.encode())
    counts["ocrvqa_books"] += len(records)
    counts["ocrvqa_questions"] += 5 * len(records)
