"""Objects and what people called them, out of the files that RefCOCO and its kin come in.

    refs(unc).p, instances.json     the authors': a Python 2 pickle of refs, and COCO's boxes
    columns ann_id, bbox, ...       jxu124's Arrow or Parquet: a ref a row, with its box
    columns question_id, bbox, ...  lmms-lab's: an object of an evaluation split, with its picture

Each reader yields an `Object`, or an `Unreadable` for an entry that is none, in the file's order.
"""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

import msgspec

from pipelines.corpora import CorpusError, Folders, read_json, refuse_pointer
from pipelines.corpora.coco import ImageList, image_number
from pipelines.layouts import columns

Official = Literal["testA", "testB", "test", "val", "train"]
OFFICIAL: tuple[Official, ...] = get_args(Official)  # most protected first
JXU124_COLUMNS = ("ann_id", "image_id", "split", "bbox", "sentences")
LMMS_LAB_COLUMNS = ("question_id", "file_name", "bbox", "answer")
_SPLIT = re.compile(r"(?:.*-)?(train|val|testA|testB|test)(?:-\d{5}-of-\d{5}.*)?")
_MOST = 2 << 30  # bytes of a pickle; the largest there is has 30 MB


class Object(msgspec.Struct, frozen=True):
    """An object of a COCO image, by the image's number, and what it was called.

    `box` is x0, y0, x1, y1 in pixels if the file's box has four numbers, else as it was found.
    `sentences` are those it was called by, each with a number that is unique in the object.
    `picture` is the locator of the image in this corpus; None: look among COCO's.
    """

    id: str
    image: int
    split: str
    box: tuple[float, ...]
    sentences: tuple[tuple[int, str], ...]
    picture: str | None = None
    licence: str = ""


class Unreadable(msgspec.Struct, frozen=True):
    """Entry `place` of a file, and why it is no object."""

    path: Path
    place: int
    split: str
    error: str


class _Sentence(msgspec.Struct):
    sent_id: int
    sent: str


class _Ref(msgspec.Struct):
    ann_id: int
    image_id: int
    split: Official
    sentences: list[_Sentence]
    bbox: list[float] = []  # jxu124's, as corners

    def object(self, box: tuple[float, ...], licence: str = "") -> Object:
        sentences = tuple((sentence.sent_id, sentence.sent) for sentence in self.sentences)
        return Object(str(self.ann_id), self.image_id, self.split, box, sentences, None, licence)


class _Evaluated(msgspec.Struct):
    question_id: str
    file_name: str
    bbox: list[float]
    answer: list[str]


class _Annotation(msgspec.Struct):
    id: int
    image_id: int
    bbox: list[float]


class _Instances(ImageList, kw_only=True):
    annotations: list[_Annotation]


def named_split(path: Path) -> str:
    """The official split that a file of Hugging Face is named after, or its folder if it is
    called data-00000-of-00001 and so on; "" if neither is."""
    name = path.parent.name if path.stem.startswith("data-") else path.stem
    named = _SPLIT.fullmatch(name.replace("validation", "val"))
    return named[1] if named else ""


def authors(refs: Path) -> Iterator[Object | Unreadable]:
    """The objects of a pickle of refs; their boxes are in instances.json beside it.

    Raises CorpusError if one of the two is not what it should be.
    """
    path = refs.with_name("instances.json")
    instances = read_json(path, _Instances)
    boxes = {annotation.id: annotation for annotation in instances.annotations}
    licence_of = instances.licence_of()
    items = read_pickle(refs)
    if not isinstance(items, list):
        raise CorpusError(f"{refs} holds a {type(items).__name__}; expected a list of refs")
    for place, item in enumerate(items):
        try:
            ref = msgspec.convert(item, _Ref)
        except msgspec.ValidationError as error:
            yield Unreadable(refs, place, "", str(error))
            continue
        box = boxes.get(ref.ann_id)
        if box is None or box.image_id != ref.image_id:
            error = f"{path.name} has no annotation {ref.ann_id} of image {ref.image_id}"
            yield Unreadable(refs, place, ref.split, error)
            continue
        yield ref.object(_corners(box.bbox), licence_of.get(ref.image_id, ""))


def jxu124(path: Path, folders: Folders) -> Iterator[Object | Unreadable]:
    """The objects of a file of jxu124's."""
    for item in columns.rows(path, folders.relative(path), JXU124_COLUMNS):
        fields = dict(zip(JXU124_COLUMNS, item.values, strict=True))
        try:
            ref = msgspec.convert(fields, _Ref)
        except msgspec.ValidationError as error:
            yield Unreadable(path, item.position, named_split(path), str(error))
            continue
        yield ref.object(tuple(round(side, 2) for side in ref.bbox))


def lmms_lab(path: Path, folders: Folders) -> Iterator[Object | Unreadable]:
    """The objects of a file of lmms-lab's, with the locators of their pictures."""
    split = named_split(path)
    for item in columns.rows(path, folders.relative(path), LMMS_LAB_COLUMNS, "image"):
        fields = dict(zip(LMMS_LAB_COLUMNS, item.values, strict=True))
        try:
            row = msgspec.convert(fields, _Evaluated)
        except msgspec.ValidationError as error:
            yield Unreadable(path, item.position, split, str(error))
            continue
        number = image_number(row.file_name)
        if number is None:
            error = f"file_name is {row.file_name!r}; expected COCO_train2014_<12 digits>_<n>.jpg"
            yield Unreadable(path, item.position, split, error)
            continue
        sentences = tuple(enumerate(row.answer))
        box = _corners(row.bbox)
        yield Object(row.question_id, number, split, box, sentences, item.image)


def _corners(box: list[float]) -> tuple[float, ...]:
    """x, y, width, height as corners, to a hundredth: COCO's have no more, float32 less."""
    if len(box) != 4:
        return tuple(box)
    x, y, width, height = box
    return round(x, 2), round(y, 2), round(x + width, 2), round(y + height, 2)


class _Plain(pickle.Unpickler):
    """Builds lists, dicts, strings and numbers, and nothing that would run code."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it would build {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it refers to an object outside of it")


def read_pickle(path: Path) -> Any:
    """A pickle of plain data, as Python 2 wrote it or any later one; no code of it ever runs.

    Raises CorpusError for one that would build anything else, is cut off, or is too large.
    """
    size = path.stat().st_size
    if size > _MOST:
        raise CorpusError(f"{path} has {size:,} bytes; expected a refs file, under {_MOST:,}")
    with path.open("rb") as file:
        refuse_pointer(path, file.read(24))
        file.seek(0)
        try:
            return _Plain(file, encoding="latin1").load()
        except Exception as error:  # a damaged pickle can fail in any way
            raise CorpusError(
                f"{path} ({size:,} bytes) cannot be read: {error}. A refs file holds only lists, "
                f"dicts, strings and numbers; fetch it again from the authors"
            ) from error
