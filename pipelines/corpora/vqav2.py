"""VQA v2: questions and ten answers each, joined by question_id; the pictures are COCO's.

`vqa/v2_OpenEnded_mscoco_{train,val}2014_questions.json` and `v2_mscoco_{..}_annotations.json`, with
the pictures where the corpus coco has them. The target is the consensus; all ten answers are kept.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from manifests.place import image_group
from manifests.schema import Split
from pipelines.corpora import Folders, Survey, present, read_items, read_json, unreadable
from pipelines.corpora.coco import CocoImages
from pipelines.table import Row, clean

PATH = "vqa"
_SPLITS: dict[str, Split] = {"train2014": "train", "val2014": "val"}


class _Licence(msgspec.Struct, frozen=True):
    name: str = ""


class _Questions(msgspec.Struct):
    questions: list[msgspec.Raw]
    license: _Licence = _Licence()


class _Question(msgspec.Struct):
    question_id: int
    image_id: int
    question: str


class _Annotations(msgspec.Struct):
    annotations: list[msgspec.Raw]


class _Answer(msgspec.Struct):
    answer: str


class _Annotation(msgspec.Struct):
    question_id: int
    image_id: int
    multiple_choice_answer: str
    answers: list[_Answer]


def survey(folders: Folders) -> Survey:
    questions = {f"v2_OpenEnded_mscoco_{name}_questions.json": name for name in _SPLITS}
    files = present(folders.path, questions)
    images = CocoImages(replace(folders, path=folders.coco))
    answers = {
        name: path.parent / f"v2_mscoco_{name}_annotations.json" for name, path in files.items()
    }
    there = tuple(path for path in (*files.values(), *answers.values()) if path.is_file())
    return Survey(there, len(images.found), lambda: _rows(files, answers, images))


def _rows(
    questions: dict[str, Path], answers: dict[str, Path], images: CocoImages
) -> Iterator[Row]:
    for name, path in questions.items():
        yield from _split(path, answers[name], _SPLITS[name], images)


def _split(questions: Path, answers: Path, split: Split, images: CocoImages) -> Iterator[Row]:
    answered: dict[int, _Annotation] = {}
    if answers.is_file():
        for place, item in read_items(read_json(answers, _Annotations).annotations, _Annotation):
            if isinstance(item, str):
                yield unreadable("vqav2", answers, place, split, item)
            elif item.question_id in answered:
                error = f"question {item.question_id} is answered a second time"
                yield unreadable("vqav2", answers, place, split, error)
            else:
                answered[item.question_id] = item
    file = read_json(questions, _Questions)
    asked: set[int] = set()
    for place, item in read_items(file.questions, _Question):
        if isinstance(item, str):
            yield unreadable("vqav2", questions, place, split, item)
            continue
        if item.question_id in asked:
            error = f"question {item.question_id} is asked a second time"
            yield unreadable("vqav2", questions, place, split, error)
            continue
        asked.add(item.question_id)
        locator, error = images.locate(item.image_id)
        answer = answered.pop(item.question_id, None)
        if answer is None:
            error = error or f"question {item.question_id} has no answer in {answers.name}"
        elif not clean(answer.multiple_choice_answer):
            error = error or "empty consensus answer"
        yield _row(item, answer, locator, split, file.license.name, error)
    for orphan in answered.values():
        question = _Question(orphan.question_id, orphan.image_id, "")
        error = f"answers to question {orphan.question_id}, which {questions.name} does not have"
        locator, _ = images.locate(orphan.image_id)
        yield _row(question, orphan, locator, split, file.license.name, error)


def _row(
    question: _Question,
    answer: _Annotation | None,
    locator: str,
    split: Split,
    licence: str,
    error: str | None,
) -> Row:
    return Row(
        key=f"vqav2-{question.image_id:012d}",
        group=image_group("coco", question.image_id),
        locator=locator,
        split=split,
        id=str(question.question_id),
        thread=str(question.question_id),
        kind="qa",
        prompt=clean(question.question),
        target=clean(answer.multiple_choice_answer) if answer else "",
        answers=tuple(clean(given.answer) for given in answer.answers) if answer else (),
        licence=licence,
        status="quarantined" if error else None,
        error=error,
    )
