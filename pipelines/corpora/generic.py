"""Any folder, or one file, of records that name a picture and a text (formats: `records.py`).

Nothing is taken for granted: a survey shows two records and the config line that would fit them,
and nothing is read before the config says what the fields are:

    corpora: {generic: {fields: {image: file_name, prompt: question, target: answers.answer}}}

`image` is a path, from the file's own folder, from the corpus's or from its `images/`; or bytes in
a container. Without `prompt`, each text of `target` is a caption; with it, they are the answers to
one question, of which the commonest is the target. `id` and `split` are optional: without `split`
the image's group decides. Names with dots lead into records: `answers.answer`.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from manifests.place import image_group, url_group
from manifests.schema import Kind, Split
from pipelines.corpora import CorpusError, EmptyCorpusError, Folders, Layout, Survey, first_names
from pipelines.layouts import columns, pairs, records
from pipelines.layouts.fields import MISSING, config_lines, dig, guess, names, shortened
from pipelines.layouts.records import Picture, Record
from pipelines.table import Row, clean, clean_lines

PATH = "generic"
SPLITS: dict[str, Split | None] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
LAYOUT: Layout = "hash"
_SAMPLE = 50  # records of each file that a survey looks at
_TEXTS = (str, int, float)  # an answer may be a number
# Names that say which picture it is: COCO's twelve digits, a number in Visual Genome's folder.
_COCO = re.compile(r"(?:^|[/: ]|COCO_(?:train|val|test)20\d\d_)(\d{12})(?:_\d+)?\.jpe?g")
_VISUAL_GENOME = re.compile(r"\bVG_100K(?:_2)?/(\d+)\.")
_ADDRESS = re.compile(r"https?://")
_IS_SPLIT = re.compile(r"(?:^|[/_.-])(train|training|val|valid|validation|dev|test)(?=[/_.-])")


def survey(folders: Folders) -> Survey:
    files = _files(folders)
    sampled, notes = _sampled(folders, files)
    unread = list(notes)
    find, parents = _Pictures(folders).find, {path.parent for path in files}
    found = guess(sampled, lambda name: any(not find(parent, name)[1] for parent in parents))
    notes += [f"record {n}: {shortened(fields)}" for n, fields in enumerate(sampled[:2], 1)]
    named = sorted({match[1] for path in files if (match := _IS_SPLIT.search(f"/{path.name}"))})
    if "split" not in folders.fields and "split" not in found and named:
        notes.append(
            f"files are called {', '.join(named)}, but without a field `split` in the records "
            f"every picture's group decides its split"
        )
    if not folders.fields:
        notes.append(_advice(folders, found, sampled))
    kinds = dict.fromkeys(records.FORMATS[path.suffix.lower()] for path in files)
    return Survey(
        layout=f"records in {', '.join(kinds)}",
        files=tuple(files),
        images=_count(folders, files),
        rows=partial(_rows, folders, files, found, sampled, unread),
        notes=tuple(notes),
    )


def _files(folders: Folders) -> list[Path]:
    files = records.find(folders.path)
    if not files:
        there = folders.path.name if folders.path.is_file() else first_names(folders.path)
        kind = CorpusError if there else EmptyCorpusError
        raise kind(
            f"{folders.path} has {there or 'nothing'}; expected records in "
            f"{', '.join(records.FORMATS)}. Correct path in the config, or remove "
            f"{folders.corpus} from it"
        )
    return files


def _sampled(folders: Folders, files: list[Path]) -> tuple[list[dict[str, Any]], list[str]]:
    """The first records of each file; and a note of each file that has none."""
    sampled: list[dict[str, Any]] = []
    notes: list[str] = []
    for path in files:
        try:
            some = list(islice(_records(folders, path), _SAMPLE))
        except CorpusError as error:
            notes.append(str(error))
            continue
        usable = [record.fields for record in some if not record.error]
        if not usable:
            wrong = some[0].error if some else "it is empty"
            notes.append(f"{path.name} has no record in its first {_SAMPLE}: {wrong}")
        sampled += usable
    return sampled, notes


def _records(folders: Folders, path: Path) -> Iterator[Record]:
    return records.records(path, folders.relative(path), folders.fields.get("image"))


def _advice(folders: Folders, found: dict[str, str], sampled: list[dict[str, Any]]) -> str:
    """What to write in the config, so that the records are read."""
    found = {**found, **folders.fields}
    lacking = [meaning for meaning in ("image", "target") if meaning not in found]
    if not lacking:
        line = config_lines(folders.corpus, found)
        return f"to read {folders.corpus}, put this in the config, corrected if need be: {line}"
    line = config_lines(folders.corpus, {"image": "...", "target": "...", **found})
    return (
        f"no field was recognised as {' or '.join(lacking)} among {_all_names(sampled)}; to read "
        f"{folders.corpus}, name the right ones in the config: {line}"
    )


def _all_names(sampled: list[dict[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(name for fields in sampled for name in names(fields))) or "none"


def _count(folders: Folders, files: list[Path]) -> int:
    """Pictures on disk and in containers; those in tars that img2dataset did not count, not."""
    tars = [path for path in files if path.suffix == ".tar"]
    count = pairs.pictures(tars)
    for path in files:
        try:
            if path.suffix in (".parquet", ".arrow") and records.pictured(path):
                count += columns.count(path)
        except CorpusError:
            continue  # a note says so
    if folders.path.is_dir():
        for _, _, inside in os.walk(folders.path):
            count += sum(name.lower().endswith(pairs.PICTURES) for name in inside)
    return count


def _rows(
    folders: Folders,
    files: list[Path],
    found: dict[str, str],
    sampled: list[dict[str, Any]],
    notes: list[str],
) -> Iterator[Row]:
    if not sampled:
        raise CorpusError(f"{folders.corpus} has no record to read: {'; '.join(notes)}")
    if not {"image", "target"} <= set(folders.fields):
        raise CorpusError(f"{folders.corpus}: {_advice(folders, found, sampled)}")
    for meaning, name in folders.fields.items():
        if sampled and all(dig(fields, name) is MISSING for fields in sampled):
            raise CorpusError(
                f"fields.{meaning} of {folders.corpus} is {name!r}, which no record has; they have "
                f"{_all_names(sampled)}"
            )
    return _read(folders, files)


def _read(folders: Folders, files: list[Path]) -> Iterator[Row]:
    pictures = _Pictures(folders)
    for path in files:
        inside = path.relative_to(pictures.home).as_posix()
        for record in _records(folders, path):
            yield from _of_record(pictures, path, f"{inside}/{record.position}", record)


class _Image(NamedTuple):
    identity: str
    group: str
    locator: str
    error: str | None


class _Pictures:
    """The pictures that records name: in their container, or by a path."""

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self.home = folders.path.parent if folders.path.is_file() else folders.path
        self._prefix = folders.locator(self.home / "x").removesuffix("x")  # of all its locators
        self.find = lru_cache(65_536)(self._find)

    def image(self, path: Path, own: str, values: dict[str, Any], url: str | None) -> _Image:
        """The image of the record `own` of a file, which is known by `url` if that is given."""
        value = values["image"]
        locator, name = value if isinstance(value, Picture) else (None, value)
        identity, error = own, None
        identified = own if values.get("id") is None else values["id"]
        if locator is None:
            if not isinstance(name, str) or not name:
                field = self.folders.fields["image"]
                error = f"image is missing: {own} has neither its path nor its bytes in {field}"
            elif _ADDRESS.match(name):
                error = f"image is missing: it is known by its address alone: {name}"
            else:
                locator, error = self.find(path.parent, name)
                if locator:
                    identity = identified = locator.removeprefix(self._prefix)
        group = url_group(url) if url else f"{self.folders.corpus}:{identified}"
        if match := _COCO.search(f"{locator} {name}"):
            group = image_group("coco", match[1])
        elif match := _VISUAL_GENOME.search(f"{locator} {name}"):
            group = image_group("vg", match[1])
        return _Image(identity, group, locator or "", error)

    def _find(self, parent: Path, name: str) -> tuple[str, str | None]:
        """The locator of a picture by its path, and why it cannot be used."""
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\0" in name:
            return "", f"unsafe path: {name!r} leads out of the folder"
        for base in (parent, self.home, self.home / "images"):
            if (base / pure).is_file():
                return self.folders.locator(base / pure), None
        expected = self.folders.locator(self.home / pure)
        return expected, f"image is missing: {expected.removeprefix('file:')}"


def _of_record(pictures: _Pictures, path: Path, own: str, record: Record) -> Iterator[Row]:
    """The rows of the record called `own`; if it cannot be used, one with the first reason."""
    folders = pictures.folders
    place = f"{record.position} in {path.name}"
    values = {meaning: dig(record.fields, name) for meaning, name in folders.fields.items()}
    lacking = [folders.fields[meaning] for meaning in values if values[meaning] is MISSING]
    without = f"malformed annotation: {place}: no field {', '.join(lacking)}" if lacking else None
    values = {meaning: None if value is MISSING else value for meaning, value in values.items()}
    split, unknown = _split(folders, values.get("split"))
    if "split" in values and split is None and not unknown:
        return  # the config leaves this split out
    urls = (record.fields.get(name) for name in ("url", "image_url"))
    url = next((url for url in urls if isinstance(url, str)), None)
    image = pictures.image(path, own, values, url)
    turn = _turn(folders, values, place)
    error = record.error or without or image.error or unknown or turn.error
    identity = f"{split or 'unknown'}-{image.identity}" if "split" in values else image.identity
    for number, target in enumerate(turn.targets or [""]):
        yield Row(
            key=pairs.record_key(folders.corpus, identity),
            group=image.group,
            locator=image.locator,
            split=split,
            id=own if values.get("id") is None else str(values["id"]),
            thread=f"{own}/{number}",
            kind=turn.kind,
            prompt=turn.prompt,
            target=target,
            answers=turn.answers,
            status="quarantined" if error else None,
            error=error,
        )


def _split(folders: Folders, value: Any) -> tuple[Split | None, str | None]:
    """Our split for what a record says, and what is wrong with that."""
    if "split" not in folders.fields:
        return None, None
    for name in (str(value), str(value).lower()):
        if name in folders.splits:
            return folders.splits[name], None
    line = f"corpora: {{{folders.corpus}: {{splits: {{{value}: train}}}}}}"
    return None, f"unknown split: {value!r}; say in the config what it is, as in {line}"


class _Turn(NamedTuple):
    kind: Kind
    prompt: str
    targets: list[str]
    answers: tuple[str, ...]
    error: str | None


def _turn(folders: Folders, values: dict[str, Any], place: str) -> _Turn:
    """What a record says of its image: captions, or one question and its answers."""
    field, asked, given = folders.fields.get("prompt"), values.get("prompt"), values["target"]
    kind: Kind = "caption"
    if field:
        kind = "instruction" if field.endswith("instruction") else "qa"
    tidy = clean_lines if kind == "instruction" else clean
    given = given if isinstance(given, list) else [given]
    for name, value in ((field, asked), *((folders.fields["target"], text) for text in given)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, _TEXTS)):
            error = f"malformed annotation: {place}: {name} is a {type(value).__name__}, no text"
            return _Turn(kind, "", [], (), error)
    texts = [text for text in (tidy(str(text)) for text in given if text is not None) if text]
    if not field:
        return _Turn(kind, "", texts, (), None if texts else "empty caption")
    prompt = "" if asked is None else tidy(str(asked))
    error = None if prompt and texts else "empty answer" if prompt else "empty question"
    commonest = [text for text, _ in Counter(texts).most_common(1)]
    return _Turn(kind, prompt, commonest, tuple(texts), error)
