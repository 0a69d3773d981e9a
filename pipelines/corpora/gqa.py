"""GQA 1.2: `gqa/<split>_questions.json` and `gqa/images/<imageId>.jpg` (or .png).

A file is a dict from question id to question (ids keep their leading zeros), or, as LAVIS exports
it, a list; `train_all` comes in ten parts below `train_all_questions/`. The target is the short
answer; the full sentence is kept beside it. Balanced questions are a subset of all, so of these two
only one is read. Test, challenge and submission files have no answers: an image of theirs that
nothing else is said of is a row "unannotated", which keeps it out of training.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from manifests.place import image_group
from manifests.schema import Split
from pipelines.corpora import (
    CorpusError,
    EmptyCorpusError,
    Folders,
    Layout,
    Survey,
    are_not_there,
    listed,
    not_there,
    present,
    read_items,
    read_json,
    unreadable,
)
from pipelines.table import Row, clean

PATH = "gqa"
SPLITS: dict[str, Split | None] = {
    "train_balanced": "train",
    "val_balanced": "val",
    "testdev_balanced": "test",
    "test_balanced": "test",
    "test_all": "test",
    "challenge_balanced": "test",
    "challenge_all": "test",
    "train_all": None,
    "val_all": None,
    "testdev_all": None,
    "submission_all": None,
}
LAYOUT: Layout = "hash"
_UNANSWERED = ("test_", "challenge_", "submission_")
_PARTS = [f"train_all_questions/train_all_questions_{part}.json" for part in range(10)]
_FILE: Any = dict[str, msgspec.Raw] | list[msgspec.Raw]
_PAIRED = {f"{name}_all": f"{name}_balanced" for name in ("train", "val", "testdev")}
_LICENCE = "CC BY 4.0"


class _Asked(msgspec.Struct, rename="camel"):
    image_id: str


class _Question(msgspec.Struct, rename="camel"):
    image_id: str
    question: str
    answer: str
    full_answer: str = ""


class _Exported(msgspec.Struct):
    """A question as LAVIS has it; `image` is the name of a file."""

    image: str
    question_id: str | int
    question: str
    answer: str = ""


@dataclass(frozen=True)
class _Images:
    """The pictures of `gqa/images`, by name without extension; a .jpg before a .png."""

    folders: Folders

    @cached_property
    def found(self) -> dict[str, str]:
        """Locator by image id."""
        folder = self.folders.path / "images"
        names = [entry.name for entry in os.scandir(folder)] if folder.is_dir() else []
        return {
            name.removesuffix(suffix): f"{self.folder}/{name}"
            for suffix in (".png", ".jpg")
            for name in names
            if name.endswith(suffix) and not name.startswith(".")  # AppleDouble files
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What to say if there is no folder of pictures."""
        folder = self.folders.path / "images"
        if folder.is_dir():
            return ()
        absent = are_not_there([self.folders.relative(folder)])
        fetch = "python -m pipelines download --corpus gqa"
        return (f"{absent}: no question can be used; fetch it: {fetch}",)

    @cached_property
    def folder(self) -> str:
        return self.folders.locator(self.folders.path / "images")

    def locate(self, image: str) -> tuple[str, str | None]:
        """The locator of an image, and why it cannot be used (None: it is there)."""
        if locator := self.found.get(image):
            return locator, None
        expected = f"{self.folder}/{image}.jpg"
        return expected, f"image is missing: {expected.removeprefix('file:')}"


def survey(folders: Folders) -> Survey:
    names = _names(name for name, split in folders.splits.items() if split)
    try:
        files = present(folders.path, {file: file for file in names})
    except EmptyCorpusError:
        raise
    except CorpusError as error:
        raise CorpusError(f"{error}{_advice(folders)}") from None
    official = {path: names[file] for file, path in files.items()}
    there = set(official.values())
    for name in _PAIRED:
        if {name, _PAIRED[name]} <= there:
            raise CorpusError(
                f"{folders.corpus} reads both {name} and {_PAIRED[name]}, which is a part of it; "
                f"leave one out in the config: {folders.corpus}: "
                f"{{splits: {{{_PAIRED[name]}: null}}}}"
            )
    images = _Images(folders)
    return Survey(
        "authors' JSON",
        tuple(official),
        len(images.found),
        lambda: _rows(official, images),
        (*_notes(folders, official), *images.notes),
    )


def _names(chosen: Iterable[str]) -> dict[str, str]:
    """The official split of each file that may be there of those chosen."""
    names = {f"{name}_questions.json": name for name in chosen}
    if "train_all" in names.values():
        names |= dict.fromkeys(_PARTS, "train_all")
    return names


def _advice(folders: Folders) -> str:
    """What to write in the config where all questions are there and the balanced ones are not."""
    files = _names(_PAIRED).items()
    found = {name for file, name in files if (folders.path / file).is_file()}
    there = [name for name in _PAIRED if name in found]
    if not there:
        return ""
    said = ", ".join(f"{name}: {SPLITS[_PAIRED[name]]}, {_PAIRED[name]}: null" for name in there)
    return f". To read all questions, write in the config {folders.corpus}: {{splits: {{{said}}}}}"


def _notes(folders: Folders, official: dict[Path, str]) -> Iterator[str]:
    """What to say of files that are expected and not there."""
    there = set(official.values())
    beside = {_PAIRED.get(name) for name in there} | {n for n in _PAIRED if _PAIRED[n] in there}
    absent = {
        f"{name}_questions.json": name
        for name, split in folders.splits.items()
        if split and not name.startswith(_UNANSWERED) and name not in there | beside
    }
    yield from not_there(absent, folders.splits)
    missing = [part for part, file in enumerate(_PARTS) if folders.path / file not in official]
    whole = folders.path / "train_all_questions.json"
    if "train_all" in there and whole not in official and missing:
        numbers = f"{listed(map(str, missing))} {'is' if len(missing) == 1 else 'are'} not"
        yield f"{10 - len(missing)} of 10 parts of train_all are there ({numbers})"


def _rows(files: dict[Path, str], images: _Images) -> Iterator[Row]:
    corpus, splits = images.folders.corpus, images.folders.splits
    answered: defaultdict[Split | None, set[str]] = defaultdict(set)  # images by split
    unanswered: dict[tuple[str, Split | None], None] = {}  # images and splits, in order
    for path, name in files.items():
        split = splits[name]
        for place, item in _items(path, _Asked if name.startswith(_UNANSWERED) else _Question):
            if isinstance(item, str):
                yield unreadable(corpus, path, place, split, item)
            elif isinstance(item, _Question):
                answered[split].add(item.image_id)
                yield _row(corpus, place, item, split, images)
            else:
                unanswered[item.image_id, split] = None
    for image, split in unanswered:
        if image not in answered[split]:
            locator, _ = images.locate(image)
            error = "test question without a public answer"
            yield _unannotated(corpus, image, locator, split, error)
    named = set().union(*answered.values(), (image for image, _ in unanswered))
    for image, locator in sorted(images.found.items()):
        if image not in named:
            error = "no question names this image"
            yield _unannotated(corpus, image, locator, "train", error)


def _items(
    path: Path, kind: type[_Asked] | type[_Question]
) -> Iterator[tuple[str, _Asked | _Question | str]]:
    """Each question of a file with its id, or with why it is none."""
    questions = read_json(path, _FILE)
    if isinstance(questions, dict):
        items = read_items(list(questions.values()), kind)
        for identity, (_, item) in zip(questions, items, strict=True):
            yield identity, item
        return
    for place, item in read_items(questions, _Exported):
        if isinstance(item, str):
            yield str(place), item
            continue
        image = PurePosixPath(item.image).stem
        known = _Asked(image) if kind is _Asked else _Question(image, item.question, item.answer)
        yield str(item.question_id), known


def _row(
    corpus: str, identity: str, question: _Question, split: Split | None, images: _Images
) -> Row:
    locator, error = images.locate(question.image_id)
    prompt, answer = clean(question.question), clean(question.answer)
    if not prompt:
        error = error or "empty question"
    elif not answer:
        error = error or "empty answer"
    full = clean(question.full_answer)
    return Row(
        key=f"{corpus}-{question.image_id}",
        group=image_group("vg", question.image_id),
        locator=locator,
        split=split,
        id=identity,
        thread=identity,
        kind="qa",
        prompt=prompt,
        target=answer,
        answers=tuple(text for text in (answer, full) if text),
        licence=_LICENCE,
        status="quarantined" if error else None,
        error=error,
    )


def _unannotated(corpus: str, image: str, locator: str, split: Split | None, error: str) -> Row:
    return Row(
        key=f"{corpus}-{image}",
        group=image_group("vg", image),
        locator=locator,
        split=split,
        status="unannotated",
        error=error,
    )
