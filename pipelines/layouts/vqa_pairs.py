"""Questions in one file and ten annotators' answers in another, joined by question_id, about COCO's
pictures: what VQA v2 and OK-VQA share.

A reader names the two files of a split ("{}" stands for it) and the Struct of an annotation, which
knows its answers and which of them is the target. All ten answers are kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from manifests.place import image_group
from manifests.schema import Split
from pipelines.corpora import (
    Folders,
    Survey,
    not_there,
    present,
    read_items,
    read_json,
    unreadable,
)
from pipelines.corpora.coco import CocoImages
from pipelines.table import Row, clean

_clean_answer = lru_cache(1 << 16)(clean)  # few answers, given over and over


class Annotation(msgspec.Struct):
    """What was answered to a question."""

    question_id: int
    image_id: int

    def given(self) -> list[str]:
        """Each annotator's answer."""
        raise NotImplementedError

    def target(self, answers: tuple[str, ...]) -> str:
        """The one to learn; `answers` are those given, cleaned."""
        raise NotImplementedError


A = TypeVar("A", bound=Annotation)


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


class _Answered(msgspec.Struct, gc=False):
    image_id: int
    target: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Pairs(Generic[A]):
    """The names of a corpus's two files, and the Struct of an annotation."""

    questions: str
    annotations: str
    kind: type[A]

    def survey(self, folders: Folders) -> Survey:
        """As a reader's `survey`."""
        chosen = [name for name, split in folders.splits.items() if split]
        names = {self.questions.format(name): name for name in chosen}
        files = present(folders.path, names)
        answers = {name: folders.path / self.annotations.format(name) for name in files}
        images = CocoImages(folders)

        def rows() -> Iterator[Row]:
            for name, path in files.items():
                yield from self._split(path, answers[name], folders.splits[name], images)

        there = [path for path in answers.values() if path.is_file()]
        absent = {file: name for file, name in names.items() if name not in files}
        notes = [*not_there(absent, folders.splits, "questions"), *images.notes]
        notes += [
            f"{path.name} is not in {path.parent}, so the questions of {name} have no answer"
            for name, path in answers.items()
            if path not in there
        ]
        found = (*files.values(), *there)
        return Survey("authors' JSON", found, len(images.found), rows, tuple(notes))

    def _split(
        self, questions: Path, annotations: Path, split: Split | None, images: CocoImages
    ) -> Iterator[Row]:
        """Every question, and what is answered without one."""
        corpus = images.folders.corpus
        answered: dict[int, _Answered] = {}
        if annotations.is_file():
            yield from self._answers(annotations, corpus, split, answered)
        file = read_json(questions, _Questions)
        licence = file.license.name
        asked: set[int] = set()
        for place, item in read_items(file.questions, _Question):
            if isinstance(item, str):
                yield unreadable(corpus, questions, place, split, item)
                continue
            if item.question_id in asked:
                error = f"question {item.question_id} is asked a second time"
                yield unreadable(corpus, questions, place, split, error)
                continue
            asked.add(item.question_id)
            locator, error = images.locate(item.image_id)
            answer = answered.pop(item.question_id, None)
            item.question = clean(item.question)
            if answer is None:
                missing = f"question {item.question_id} has none in {annotations.name}"
                error = error or f"no answer: {missing}"
            elif not item.question:
                error = error or "empty question"
            elif not answer.target:
                error = error or "empty answer"
            yield _row(corpus, item, answer, locator, split, licence, error)
        for identity, answer in answered.items():
            locator, _ = images.locate(answer.image_id)
            question = _Question(identity, answer.image_id, "")
            error = f"no question: answers to {identity}, which {questions.name} does not have"
            yield _row(corpus, question, answer, locator, split, licence, error)

    def _answers(
        self, path: Path, corpus: str, split: Split | None, answered: dict[int, _Answered]
    ) -> Iterator[Row]:
        """Put the answers of a file into `answered`, by question; a row for each that cannot be."""
        for place, item in read_items(read_json(path, _Annotations).annotations, self.kind):
            if isinstance(item, str):
                yield unreadable(corpus, path, place, split, item)
            elif item.question_id in answered:
                error = f"question {item.question_id} is answered a second time"
                yield unreadable(corpus, path, place, split, error)
            else:
                given = tuple(map(_clean_answer, item.given()))
                target = item.target(given)
                answered[item.question_id] = _Answered(item.image_id, target, given)


def _row(
    corpus: str,
    question: _Question,
    answer: _Answered | None,
    locator: str,
    split: Split | None,
    licence: str,
    error: str | None,
) -> Row:
    return Row(
        key=f"{corpus}-{question.image_id:012d}",
        group=image_group("coco", question.image_id),
        locator=locator,
        split=split,
        id=str(question.question_id),
        thread=str(question.question_id),
        kind="qa",
        prompt=question.question,
        target=answer.target if answer else "",
        answers=answer.answers if answer else (),
        licence=licence,
        status="quarantined" if error else None,
        error=error,
    )
