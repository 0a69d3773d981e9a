"""Conceptual Captions 3M: one caption a picture, in whichever form each split is there.

    **/cc3m-wds-train-00000-of-00524.arrow    caches of pixparse/cc3m-wds by the datasets library
    **/cc3m-train-0000.tar                    the same as it is published
    train/00000.tar, validation/00000.tar     img2dataset shards; directly in the folder: train
    Train-GCC-training.tsv, Validation_GCC-1.1.0-Validation.tsv
                                              the authors': caption, tab, address; no picture

Of each split the first of these that is there is read, and a note names the others: they hold the
same pairs. Keys begin anew in every tar, so a record is named by split, tar and key. The rows of
the authors' files stand for pictures that are not there; each is quarantined.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import msgspec

from manifests.place import url_group
from manifests.schema import Split
from pipelines.corpora import (
    CorpusError,
    Folders,
    Layout,
    Survey,
    find_files,
    parts,
    unknown_layout,
)
from pipelines.layouts import columns, pairs
from pipelines.table import Row, clean

PATH = "cc3m"
SPLITS: dict[str, Split | None] = {"train": "train", "validation": "val"}
LAYOUT: Layout = "container"
_LICENCE = "CC3M terms (Google)"
_TSV = {
    "Train-GCC-training.tsv": "train",
    "Train_GCC-training.tsv": "train",
    "Validation_GCC-1.1.0-Validation.tsv": "validation",
}
_ARROW = re.compile(r".+-(train|validation)(?:-\d+-of-\d+)?\.arrow")
_VALIDATION = re.compile(r"(^|[/_-])(val(id(ation)?)?|dev)[/_.-]", re.IGNORECASE)
_PREFIX = re.compile(r"^((cc3m|wds|train|val|validation)[/_-])+")
_FETCH = "python -m pipelines download --corpus cc3m --images"


class _Fields(msgspec.Struct):
    caption: str | None = None
    url: str | None = None


_Found = dict[str, list[Path]]  # files by official split


def survey(folders: Folders) -> Survey:
    found: dict[str, _Found] = {"Hugging Face Arrow": {}, "tars": {}, "authors' TSV": {}}
    arrow, tars, tsv = found.values()
    for path in find_files(folders.path, "*.arrow"):
        if match := _ARROW.fullmatch(path.name):
            arrow.setdefault(match[1], []).append(path)
    for path in find_files(folders.path, "*.tar"):
        tars.setdefault(_split_of(path.relative_to(folders.path).as_posix()), []).append(path)
    for name, split in _TSV.items():
        if (path := folders.path / name).is_file():
            tsv.setdefault(split, []).append(path)
    if not any(found.values()):
        expected = "cc3m-wds-train-*.arrow, 00000.tar or Train-GCC-training.tsv"
        raise unknown_layout("cc3m", folders.path, expected)
    chosen = {
        split: next((layout for layout, files in found.items() if files.get(split)), None)
        for split, ours in folders.splits.items()
        if ours
    }
    read = {split: (layout, found[layout][split]) for split, layout in chosen.items() if layout}
    for split, (_, paths) in read.items():
        caches = sorted({str(path.parent) for path in paths if path.suffix == ".arrow"})
        if len(caches) > 1:
            raise CorpusError(
                f"{split} of cc3m is there more than once, in {' and '.join(caches)}; expected one "
                f"cache. Move the others out of {folders.path}"
            )
    files = [path for _, paths in read.values() for path in paths]
    in_tars = [path for path in files if path.suffix == ".tar"]
    count = sum(columns.count(path) for path in files if path.suffix == ".arrow")
    return Survey(
        layout=" and ".join(dict.fromkeys(layout for layout, _ in read.values())),
        files=tuple(files),
        images=count + pairs.pictures(in_tars),
        rows=partial(_rows, folders, read),
        notes=(*_notes(found, read), *pairs.interrupted("cc3m", in_tars)),
    )


def _split_of(relative: str) -> str:
    return "validation" if _VALIDATION.search(relative) else "train"


def _notes(found: dict[str, _Found], read: dict[str, tuple[str, list[Path]]]) -> Iterator[str]:
    for split, (layout, paths) in read.items():
        for other, files in found.items():
            if other != layout and (same := files.get(split)):
                yield (
                    f"{same[0].name}{' and others' * (len(same) > 1)} ({other}) is not read: "
                    f"{split} is read from {layout}, with the same pairs"
                )
        if layout == "authors' TSV":
            yield (
                f"{paths[0].name} has addresses and no pictures, so every row of {split} is "
                f"quarantined; fetch the pictures: {_FETCH}"
            )
        yield from parts({split: paths})


def _rows(folders: Folders, read: dict[str, tuple[str, list[Path]]]) -> Iterator[Row]:
    readers: dict[str, Callable[[Folders, str, Path], Iterator[Row]]] = {
        ".arrow": _arrow,
        ".tar": _tar,
        ".tsv": _tsv,
    }
    for split, (_, paths) in read.items():
        for path in paths:
            yield from readers[path.suffix](folders, split, path)


def _arrow(folders: Folders, split: str, path: Path) -> Iterator[Row]:
    file = _File(folders, split, path)
    names, absent = ["txt", "__key__", "__url__"], (None,)
    if "json" in columns.schema(path).names:  # validation has none
        names, absent = [*names, "json"], ()
    for item in columns.rows(path, file.relative, names, image="jpg"):
        caption, key, address, json = (*item.values, *absent)
        error = None if item.image else f"image is missing: {key} of {file.relative} has no bytes"
        try:
            url = _url(json)
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            url, error = None, f"malformed annotation: {key} of {file.relative}: {wrong}"
        name = f"{_tar_number((address or path.stem).rpartition('/')[2])}/{key}"
        yield file.row(name, caption, url, item.image, item.position, error)


def _tar(folders: Folders, split: str, path: Path) -> Iterator[Row]:
    file = _File(folders, split, path)
    tar = _tar_number(path.relative_to(folders.path).as_posix())
    for pair in pairs.tar_pairs(path, file.relative, _Fields.__struct_fields__):
        fields, error = pairs.fields_as(pair, _Fields)
        name = f"{tar}/{pair.name}"
        yield file.row(name, fields.caption, fields.url, pair.image, pair.position, error)


def _tsv(folders: Folders, split: str, path: Path) -> Iterator[Row]:
    file = _File(folders, split, path)
    with path.open("rb") as lines:
        for position, line in enumerate(lines):
            caption, url, error = "", None, None
            try:
                caption, url = line.decode().rstrip("\r\n").split("\t")
                error = f"image is missing: it is known by its address alone: {url}"
            except ValueError as wrong:
                place = f"line {position + 1} of {path.name}"
                error = f"malformed annotation: {place}: {wrong}; expected caption, tab, address"
            yield file.row(f"{position:08d}", caption, url, None, position, error)


class _File:
    """A file of an official split, and what its rows have in common."""

    def __init__(self, folders: Folders, split: str, path: Path) -> None:
        self.relative = folders.relative(path)
        self._corpus, self._official = folders.corpus, split
        self._split: Split | None = folders.splits[split]

    def row(
        self,
        name: str,
        caption: str | None,
        url: str | None,
        image: str | None,
        position: int,
        error: str | None,
    ) -> Row:
        """The row of a pair; `name` is its own in the split, `image` its picture's locator."""
        text = clean(caption or "")
        if not text and not error:
            error = "empty caption"
        identity = f"{self._official}/{name}"
        return Row(
            key=pairs.record_key(self._corpus, identity.replace("/", "-")),
            group=url_group(url) if url else f"{self._corpus}:{identity}",
            locator=image or "",
            split=self._split,
            id=identity,
            thread=identity,
            target=text,
            licence=_LICENCE,
            container=self.relative,
            position=position,
            status="quarantined" if error else None,
            error=error,
        )


@lru_cache(64)
def _tar_number(name: str) -> str:
    """A tar's name without that of its split: "0003", "part/00003"."""
    return _PREFIX.sub("", name).removesuffix(".tar")


def _url(json: dict[str, Any] | str | None) -> str | None:
    """The address in a value of the column json: a struct, or text. Raises msgspec.DecodeError."""
    if json is None or isinstance(json, dict):
        return (json or {}).get("url")
    return msgspec.json.decode(json, type=_Fields).url
