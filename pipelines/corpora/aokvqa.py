"""A-OKVQA v1.0: questions with four choices, ten direct answers and three rationales; the pictures
are those of COCO 2017.

`aokvqa/aokvqa_v1p0_{train,val,test}.json`, a list each. The target is the correct choice. The test
file has no answers, so an image of it is a row "unannotated", which keeps it out of training.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from manifests.place import image_group
from manifests.schema import Split, canonical_json
from pipelines.corpora import (
    Folders,
    Layout,
    Survey,
    not_there,
    present,
    read_items,
    read_json,
    unreadable,
)
from pipelines.corpora.coco import CocoImages, picture_folders
from pipelines.table import Row, clean

PATH = "aokvqa"
SPLITS: dict[str, Split | None] = {"train": "train", "val": "val", "test": "test"}
LAYOUT: Layout = "hash"
elsewhere = picture_folders
_LICENCE = "Apache 2.0"
_UNANSWERED = "test"


class _Asked(msgspec.Struct):
    image_id: int


class _Question(msgspec.Struct):
    image_id: int
    question_id: str
    question: str
    choices: list[str]
    correct_choice_idx: int
    direct_answers: list[str]
    difficult_direct_answer: bool = False
    rationales: list[str] = []


def survey(folders: Folders) -> Survey:
    names = {f"aokvqa_v1p0_{name}.json": name for name, split in folders.splits.items() if split}
    files = present(folders.path, names)
    images = CocoImages(folders)
    absent = {file: name for file, name in names.items() if name not in files}
    return Survey(
        "authors' JSON",
        tuple(files.values()),
        len(images.found),
        lambda: _rows(files, images),
        not_there(absent, folders.splits) + images.notes,
    )


def _rows(files: dict[str, Path], images: CocoImages) -> Iterator[Row]:
    for name, path in files.items():
        read = _unanswered if name == _UNANSWERED else _answered
        yield from read(path, images.folders.splits[name], images)


def _unanswered(path: Path, split: Split | None, images: CocoImages) -> Iterator[Row]:
    corpus = images.folders.corpus
    asked: set[int] = set()
    for place, item in read_items(read_json(path, list[msgspec.Raw]), _Asked):
        if isinstance(item, str):
            yield unreadable(corpus, path, place, split, item)
        elif item.image_id not in asked:
            asked.add(item.image_id)
            yield Row(
                key=f"{corpus}-{item.image_id:012d}",
                group=image_group("coco", item.image_id),
                locator=images.locate(item.image_id, "test2017")[0],
                split=split,
                status="unannotated",
                error="test question without a public answer",
            )


def _answered(path: Path, split: Split | None, images: CocoImages) -> Iterator[Row]:
    corpus = images.folders.corpus
    items = list(read_items(read_json(path, list[msgspec.Raw]), _Question))
    difficult: defaultdict[int, list[str]] = defaultdict(list)
    for _, item in items:
        if not isinstance(item, str) and item.difficult_direct_answer:
            difficult[item.image_id].append(item.question_id)
    # All questions of an image are one record and share its meta, so that names the difficult ones.
    meta = {
        image: canonical_json({"difficult_direct_answer": sorted(q)})
        for image, q in difficult.items()
    }
    for place, item in items:
        if isinstance(item, str):
            yield unreadable(corpus, path, place, split, item)
        else:
            yield _row(item, path, split, images, meta.get(item.image_id, "{}"))


def _row(
    question: _Question, path: Path, split: Split | None, images: CocoImages, meta: str
) -> Row:
    choices = tuple(map(clean, question.choices))
    correct, prompt = question.correct_choice_idx, clean(question.question)
    locator, error = images.locate(question.image_id)
    target = choices[correct] if 0 <= correct < len(choices) else None
    if target is None:
        error = (
            f"malformed annotation: {question.question_id} in {path.name}: correct_choice_idx is "
            f"{correct}; expected 0 to {len(choices) - 1}, the places of its choices"
        )
    elif not prompt:
        error = error or "empty question"
    elif not target:
        error = error or "empty answer"
    return Row(
        key=f"{images.folders.corpus}-{question.image_id:012d}",
        group=image_group("coco", question.image_id),
        locator=locator,
        split=split,
        id=question.question_id,
        thread=question.question_id,
        kind="qa",
        prompt=prompt,
        target=target or "",
        answers=tuple(map(clean, question.direct_answers)),
        choices=choices,
        rationales=tuple(map(clean, question.rationales)),
        licence=_LICENCE,
        meta=meta,
        status="quarantined" if error else None,
        error=error,
    )
