"""OCR-VQA: what is printed on the covers of books; `ocrvqa/dataset.json` and `ocrvqa/images/`.

The authors' file is a dict from a book's number to its questions and answers (parallel lists), the
address of its cover, and its split (1, 2, 3). A cover is `images/<number>` with the extension of
its address, or any other (many a .gif is stored as .jpg). Where `ocrvqa/data/*.parquet` is there,
howard-hou/OCR-VQA of Hugging Face, that is read instead: it holds the same books and the covers.
"""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath

import msgspec

from manifests.place import url_group
from manifests.schema import Split
from pipelines.corpora import (
    Folders,
    Layout,
    Survey,
    not_there,
    parts,
    present,
    read_items,
    read_json,
    unreadable,
)
from pipelines.layouts import columns
from pipelines.table import Row, clean

PATH = "ocrvqa"
SPLITS: dict[str, Split | None] = {"train": "train", "val": "val", "test": "test"}
LAYOUT: Layout = "hash"
_NUMBERED = {1: "train", 2: "val", 3: "test"}
_OFFICIAL = {"train": "train", "validation": "val", "test": "test"}  # by how a Parquet file begins
_COLUMNS = ("image_id", "image_url", "questions", "answers")
_EXTENSIONS = (".jpg", ".gif", ".png", ".jpeg")
_LICENCE = "OCR-VQA (research use)"


class _Book(msgspec.Struct):
    image_url: str = msgspec.field(name="imageURL")
    questions: list[str]
    answers: list[str]
    split: int = 0


def survey(folders: Folders) -> Survey:
    exported = sorted(folders.path.glob("data/*.parquet"))
    if files := tuple(path for path in exported if path.is_file() and _split(folders, path)):
        note = "dataset.json is not read: data/*.parquet has its books, with their covers"
        shadowed = (note,) if (folders.path / "dataset.json").is_file() else ()
        return Survey(
            "Hugging Face Parquet",
            files,
            sum(map(columns.count, files)),
            lambda: chain.from_iterable(_exported(folders, path) for path in files),
            shadowed + _absent(folders, files),
        )
    expected = {name: name for name in ("dataset.json", "data/*.parquet")}
    (path,) = present(folders.path, expected).values()
    images = folders.path / "images"
    names = frozenset(
        entry.name
        for entry in (os.scandir(images) if images.is_dir() else ())
        if entry.name.endswith(_EXTENSIONS) and not entry.name.startswith(".")  # AppleDouble files
    )
    note = (
        f"{images} has no pictures, so no question can be used; fetch them: "
        "python -m pipelines download --corpus ocrvqa"
    )
    return Survey(
        "authors' JSON",
        (path,),
        len(names),
        lambda: _books(folders, path, names),
        () if names else (note,),
    )


def _absent(folders: Folders, files: Sequence[Path]) -> tuple[str, ...]:
    """The notes on Parquet files that are not there."""
    found = {name: [p for p in files if p.name.partition("-")[0] == name] for name in _OFFICIAL}
    absent = {
        f"data/{name}-*.parquet": official
        for name, official in _OFFICIAL.items()
        if folders.splits[official] and not found[name]
    }
    return not_there(absent, folders.splits) + parts(found)


def _split(folders: Folders, path: Path) -> Split | None:
    """What a Parquet file is to us, by its name; None for one that is not read."""
    official = _OFFICIAL.get(path.name.partition("-")[0])
    return folders.splits[official] if official else None


def _books(folders: Folders, path: Path, names: frozenset[str]) -> Iterator[Row]:
    books = read_json(path, dict[str, msgspec.Raw])
    images = folders.relative(folders.path / "images")
    for number, (_, book) in zip(books, read_items(list(books.values()), _Book), strict=True):
        if isinstance(book, str):
            yield unreadable(folders.corpus, path, number, None, book)
            continue
        if (official := _NUMBERED.get(book.split)) is None:
            error = f"Expected 1, 2 or 3, got {book.split} - at `$.split`"
            yield unreadable(folders.corpus, path, number, None, error)
            continue
        if (split := folders.splits[official]) is None:
            continue
        suffix = PurePosixPath(book.image_url).suffix or ".jpg"
        wanted = (f"{number}{extension}" for extension in (suffix, *_EXTENSIONS))
        found = next((name for name in wanted if name in names), None)
        place = f"{images}/{found or number + suffix}"
        error = None if found else f"image is missing: {place}"
        yield from _rows(folders.corpus, path, number, book, split, f"file:{place}", error)


def _exported(folders: Folders, path: Path) -> Iterator[Row]:
    relative, split = folders.relative(path), _split(folders, path)
    for item in columns.rows(path, relative, _COLUMNS, "image"):
        number, url, questions, answers = item.values
        try:
            fields = {"imageURL": url, "questions": questions, "answers": answers}
            book = msgspec.convert(fields, _Book)
        except msgspec.ValidationError as malformed:
            yield unreadable(folders.corpus, path, item.position, split, str(malformed))
            continue
        place = f"row {item.position} of {relative}"
        error = None if item.image else f"image is missing: {place} has no bytes"
        yield from _rows(folders.corpus, path, str(number), book, split, item.image or "", error)


def _rows(
    corpus: str,
    path: Path,
    number: str,
    book: _Book,
    split: Split | None,
    locator: str,
    missing: str | None,
) -> Iterator[Row]:
    """A row for each question about a book; one row if its lists are not parallel."""
    if len(book.questions) != len(book.answers):
        error = f"{len(book.questions)} questions, {len(book.answers)} answers; expected as many"
        yield unreadable(corpus, path, number, split, error)
        return
    key = f"{corpus}-{re.sub('[^A-Za-z0-9_-]', '-', number)}"
    group = url_group(book.image_url)
    for place, (question, answer) in enumerate(zip(book.questions, book.answers, strict=True)):
        prompt, target = clean(question), clean(answer)
        error = missing
        if not prompt:
            error = error or "empty question"
        elif not target:
            error = error or "empty answer"
        identity = f"{number}-{place}"
        yield Row(
            key=key,
            group=group,
            locator=locator,
            split=split,
            id=identity,
            thread=identity,
            kind="qa",
            prompt=prompt,
            target=target,
            licence=_LICENCE,
            status="quarantined" if error else None,
            error=error,
        )
