"""LLaVA-Instruct: whole conversations about COCO's pictures; `llava/llava_instruct_150k.json`.

Also read are the 665k mix of LLaVA-1.5, whose pictures are those of five corpora by path below the
root, and the parts of the 150k; of files that hold the same conversations only the largest is.
Each answer of the assistant is a row, with what it was asked as the prompt; the turns of a
conversation share a thread, numbered among those of its picture, for the file's ids repeat.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from manifests.place import image_group
from manifests.schema import Split
from pipelines.corpora import Folders, Layout, Survey, present, read_items, read_json, unreadable
from pipelines.corpora.coco import CocoImages, picture_folders
from pipelines.layouts.pairs import record_key
from pipelines.table import Row, clean_lines

PATH = "llava"
SPLITS: dict[str, Split | None] = {"train": "train"}
LAYOUT: Layout = "hash"
elsewhere = picture_folders
_WHOLE = ("llava_v1_5_mix665k.json", "llava_instruct_150k.json")  # the first has the second's
_PARTS = ("conversation_58k.json", "detail_23k.json", "complex_reasoning_77k.json")
_SAMPLE = ("llava_instruct_80k.json",)
_LICENCE = "CC BY-NC 4.0; OpenAI terms of use"
_COCO = re.compile(
    r"(?:(?:coco/)?(?:train|val)20(?:14|17)/)?(?:COCO_(?:train|val)2014_)?(\d{12})\.jpg"
)
_TEST = re.compile(r"(?:.*/)?(?:test20\d\d/|COCO_test20\d\d_)(\d{12})\.jpg")  # another folder
_GENOME = re.compile(r"(?:gqa/images|vg/VG_100K(?:_2)?)/(n?\d+)\.(?:jpg|png)")


class _Turn(msgspec.Struct):
    speaker: str = msgspec.field(name="from")
    value: str


class _Conversation(msgspec.Struct):
    conversations: list[_Turn]
    id: str | int = ""
    image: str | None = None


class _Picture(msgspec.Struct, frozen=True):
    """An image as rows name it, and why it cannot be used (None: it is there)."""

    key: str
    group: str
    locator: str
    error: str | None


class _Pictures:
    """The pictures of conversations, by what a file calls them."""

    def __init__(self, folders: Folders) -> None:
        self.folders, self.coco = folders, CocoImages(folders)
        self._named: dict[str, _Picture] = {}
        self._first: dict[str, _Picture] = {}  # by key; gqa and vg share pictures

    def find(self, name: str) -> _Picture:
        """The picture that a file calls `name`."""
        if name not in self._named:
            picture = self._look(name)
            if picture.error is None:
                first = self._first.setdefault(picture.key, picture)
                if first.group == picture.group:  # else its key is doubled, and the gate says so
                    picture = first
            self._named[name] = picture
        return self._named[name]

    def _look(self, name: str) -> _Picture:
        corpus = self.folders.corpus
        if match := _COCO.fullmatch(name):
            number = int(match[1])
            group = image_group("coco", number)
            return _Picture(f"{corpus}-{number:012d}", group, *self.coco.locate(number))
        if match := _GENOME.fullmatch(name):
            key, group = f"{corpus}-vg-{match[1]}", image_group("vg", match[1])
        else:
            key = record_key(corpus, name)
            match = _TEST.fullmatch(name)
            group = image_group("coco", match[1]) if match else f"{corpus}:{name}"
        return _Picture(key, group, f"file:{name}", _unusable(self.folders.root, name))


def _unusable(root: Path, name: str) -> str | None:
    """Why the picture of this name below the root cannot be used; None: it is there."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return f"unsafe path: {name!r} leads out of the root"
    try:
        there = (root / path).is_file()
    except OSError as error:  # a name too long for the file system, say
        return f"image is missing: {name}: {error.strerror}"
    return None if there else f"image is missing: {name}"


def survey(folders: Folders) -> Survey:
    expected = (*_WHOLE, *_PARTS, *_SAMPLE)
    there = present(folders.path, {name: name for name in expected})
    files = _chosen(there)
    left = [name for name, path in there.items() if path not in files]
    note = f"reads {' and '.join(p.name for p in files)}; not {', '.join(left)}, a part of the same"
    pictures = _Pictures(folders)
    return Survey(
        "authors' JSON",
        files,
        len(pictures.coco.found),
        lambda: _rows(files, folders.splits["train"], pictures),
        ((note,) if left else ()) + pictures.coco.notes,
    )


def _chosen(there: dict[str, Path]) -> tuple[Path, ...]:
    """Of files that hold the same conversations, those that hold most."""
    for name in _WHOLE:
        if name in there:
            return (there[name],)
    sets = [tuple(there[name] for name in names if name in there) for names in (_PARTS, _SAMPLE)]
    return max(sets, key=lambda files: sum(path.stat().st_size for path in files))


def _rows(files: Sequence[Path], split: Split | None, pictures: _Pictures) -> Iterator[Row]:
    corpus = pictures.folders.corpus
    before = Counter[str]()  # conversations about a picture
    for path in files:
        for place, item in read_items(read_json(path, list[msgspec.Raw]), _Conversation):
            if isinstance(item, str):
                yield unreadable(corpus, path, place, split, item)
                continue
            error = _disorder(item.conversations)
            if error is not None:
                error = f"malformed annotation: {place} in {path.name}: {error}"
            if item.image:
                picture = pictures.find(item.image)
            else:
                key = f"{corpus}-text-{path.stem}-{place}"
                own = f"{corpus}:{path.name}:{place}"
                picture = _Picture(key, own, "", "no image: text-only conversation")
            thread = f"{item.id}-{before[picture.key]}"
            before[picture.key] += 1
            yield from _turns(item.conversations, thread, picture, split, error or picture.error)


def _disorder(turns: Sequence[_Turn]) -> str | None:
    """What is wrong with who speaks when; None if each question is followed by its answer."""
    for place, turn in enumerate(turns):
        expected = "gpt" if place % 2 else "human"
        if turn.speaker != expected:
            return f"turn {place} is from {turn.speaker!r}; expected {expected!r}"
    if not turns or len(turns) % 2:
        return f"{len(turns)} turns; expected questions, each with its answer"
    return None


def _turns(
    turns: Sequence[_Turn], thread: str, picture: _Picture, split: Split | None, error: str | None
) -> Iterator[Row]:
    """The rows of a conversation; a turn that cannot be used takes the others with it."""
    exchanges: list[tuple[str, str]] = []
    asked = ""
    for turn in turns:
        text = clean_lines(turn.value.replace("<image>", ""))
        if turn.speaker == "gpt":
            exchanges.append((asked, text))
        asked = text if turn.speaker == "human" else ""
    if error is None and not all(prompt for prompt, _ in exchanges):
        error = "empty question"
    if error is None and not all(target for _, target in exchanges):
        error = "empty answer"
    for place, (prompt, target) in enumerate(exchanges or [("", "")]):
        yield Row(
            key=picture.key,
            group=picture.group,
            locator=picture.locator,
            split=split,
            id=f"{thread}-{place}",
            thread=thread,
            kind="instruction",
            prompt=prompt,
            target=target,
            licence=_LICENCE,
            status="quarantined" if error else None,
            error=error,
        )
