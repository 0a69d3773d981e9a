"""GQA 1.2: `gqa/{train,val,testdev}_balanced_questions.json` and `gqa/images/<imageId>.jpg`.

A file is a dict from question id to question; ids keep their leading zeros. The target is the short
answer; the full sentence is kept beside it. Balanced questions are a subset of all: only these are
read, so none counts twice.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from manifests.place import image_group
from manifests.schema import Split
from pipelines.corpora import Folders, Survey, present, read_items, read_json, unreadable
from pipelines.table import Row, clean

PATH = "gqa"
_SPLITS: dict[str, Split] = {"train": "train", "val": "val", "testdev": "test"}
_LICENCE = "CC BY 4.0"


class _Question(msgspec.Struct, rename="camel"):
    image_id: str
    question: str
    answer: str
    full_answer: str = ""


def survey(folders: Folders) -> Survey:
    files = present(folders.path, {f"{name}_balanced_questions.json": name for name in _SPLITS})
    folder = folders.path / "images"
    names = (e.name for e in os.scandir(folder)) if folder.is_dir() else ()
    images = {
        name.removesuffix(".jpg"): folders.locator(folder / name)
        for name in names
        if name.endswith(".jpg") and not name.startswith(".")  # AppleDouble files
    }
    return Survey(tuple(files.values()), len(images), lambda: _rows(files, images))


def _rows(files: dict[str, Path], images: dict[str, str]) -> Iterator[Row]:
    used: set[str] = set()
    for name, path in files.items():
        questions = read_json(path, dict[str, msgspec.Raw])
        ids = list(questions)
        for place, item in read_items(list(questions.values()), _Question):
            if isinstance(item, str):
                yield unreadable("gqa", path, ids[place], _SPLITS[name], item)
                continue
            used.add(item.image_id)
            yield _row(ids[place], item, images.get(item.image_id), _SPLITS[name])
    for image, locator in sorted(images.items()):
        if image not in used:
            yield Row(
                key=f"gqa-{image}",
                group=image_group("vg", image),
                locator=locator,
                split="train",
                status="unannotated",
                error="no question names this image",
            )


def _row(identity: str, question: _Question, locator: str | None, split: Split) -> Row:
    error = None
    if locator is None:
        error = "image is not in gqa/images"
    elif not clean(question.answer):
        error = "empty answer"
    full = clean(question.full_answer)
    return Row(
        key=f"gqa-{question.image_id}",
        group=image_group("vg", question.image_id),
        locator=locator or f"file:gqa/images/{question.image_id}.jpg",
        split=split,
        id=identity,
        thread=identity,
        kind="qa",
        prompt=clean(question.question),
        target=clean(question.answer),
        answers=tuple(text for text in (clean(question.answer), full) if text),
        licence=_LICENCE,
        status="quarantined" if error else None,
        error=error,
    )
