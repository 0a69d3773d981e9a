"""Records, dicts of named fields, out of the usual files; pictures in containers by their locators.

    .json            a list of records, a dict of them, or a dict with one list of them inside
    .jsonl .ndjson   a record a line
    .csv .tsv        a record a line under a header; a TSV has no quotes, as IANA registers it
    .parquet .arrow  a record a row; of its binary columns one is the picture
    .tar             img2dataset or WebDataset samples (`pairs.py`); the picture is called "image"

A record of a dict, and of a tar, has its key in the field "__key__".
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pipelines.corpora import CorpusError, find_files, read_items, read_json
from pipelines.layouts import columns, pairs

FORMATS = {
    ".json": "JSON",
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".parquet": "Parquet",
    ".arrow": "Arrow",
    ".tar": "tars",
}
_ABOUT = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")


class Picture(NamedTuple):
    """A value that is a picture: the locator of its bytes, and the path beside them, if any."""

    locator: str | None
    name: str | None


class Record(NamedTuple):
    """One record: its place in the file from 0, its fields, or why it cannot be used."""

    position: int
    fields: dict[str, Any]
    error: str | None


def find(folder: Path) -> list[Path]:
    """The files of records below a folder, or the one file that was named instead of it."""
    if folder.is_file():
        return [folder] if folder.suffix.lower() in FORMATS else []
    found = [p for p in find_files(folder, "*") if p.suffix.lower() in FORMATS]
    beside = {path.with_suffix("") for path in found if path.suffix == ".tar"}
    return [path for path in found if not _describes(path, beside)]


def _describes(path: Path, tars: set[Path]) -> bool:
    """Whether a file is about others: a tar's list and counts, what `datasets` knows of a cache."""
    stem = path.with_suffix("")
    if path.suffix == ".arrow":
        return path.name.startswith("cache-")
    if path.suffix == ".parquet":
        return stem in tars
    return path.name in _ABOUT or stem.with_name(stem.name.removesuffix("_stats")) in tars - {stem}


def records(path: Path, relative: str, image: str | None) -> Iterator[Record]:
    """The records of a file in order.

    `relative` is the file's path in locators, `image` the field that is the picture: it chooses
    among several binary columns (None: the first). Raises CorpusError for a file that is none.
    """
    match path.suffix.lower():
        case ".json":
            return _json(path)
        case ".jsonl" | ".ndjson":
            return _lines(path)
        case ".csv":
            return _table(path, csv.excel)
        case ".tsv":
            return _table(path, _Tabs)
        case ".tar":
            return _tar(path, relative)
        case _:
            return _rows(path, relative, image)


class _Tabs(csv.excel_tab):
    quoting = csv.QUOTE_NONE


def _json(path: Path) -> Iterator[Record]:
    keys: list[str] = []
    with path.open("rb") as file:
        listed = file.read(4096).lstrip().startswith(b"[")
    if listed:
        items = read_json(path, list[msgspec.Raw])
    else:
        inside = read_json(path, dict[str, msgspec.Raw])
        starts = {name: bytes(memoryview(value)[:1]) for name, value in inside.items()}
        lists = [name for name, start in starts.items() if start == b"["]
        if len(lists) == 1:
            items = msgspec.json.decode(inside[lists[0]], type=list[msgspec.Raw])
        elif not lists and set(starts.values()) == {b"{"}:
            keys, items = list(inside), list(inside.values())
        else:
            raise CorpusError(
                f"{path} has {', '.join(list(inside)[:8]) or 'nothing'}, of which "
                f"{', '.join(lists) or 'none'} is a list; expected a list of records, a dict of "
                f"them, or a dict with one list of them. Move it out of the folder if it has none"
            )
    for position, item in read_items(items, dict[str, Any]):
        if isinstance(item, str):
            yield _malformed(path, position, item)
        else:
            yield Record(position, {"__key__": keys[position], **item} if keys else item, None)


def _lines(path: Path) -> Iterator[Record]:
    decoder = msgspec.json.Decoder(dict[str, Any])
    with path.open("rb") as file:
        for position, line in enumerate(file):
            if not line.isspace():
                try:
                    yield Record(position, decoder.decode(line), None)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    yield _malformed(path, position, error)


def _table(path: Path, dialect: type[csv.Dialect]) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, dialect, strict=True)
        position = -1
        try:
            header = next(reader, [])
            while True:
                position += 1
                try:
                    values = next(reader)
                except csv.Error as error:
                    yield _malformed(path, position, error)
                    continue
                if len(values) == len(header):
                    yield Record(position, dict(zip(header, values, strict=True)), None)
                elif values:
                    wrong = f"it has {len(values)} values under {len(header)} columns"
                    yield _malformed(path, position, wrong)
        except StopIteration:
            return
        except UnicodeDecodeError as error:
            raise CorpusError(f"{path} is not UTF-8: {error}. Convert it") from error


def _malformed(path: Path, position: int, error: object) -> Record:
    return Record(position, {}, f"malformed annotation: {position} in {path.name}: {error}")


def pictured(path: Path) -> list[str]:
    """The columns of an Arrow or Parquet file that hold pictures."""
    return [field.name for field in columns.schema(path) if columns.holds_pictures(field)]


def _rows(path: Path, relative: str, image: str | None) -> Iterator[Record]:
    pictures = pictured(path)
    chosen = image if image in pictures else pictures[0] if pictures and not image else None
    names = [name for name in columns.schema(path).names if name not in pictures]
    for item in columns.rows(path, relative, names, chosen):
        fields = dict(zip(names, item.values, strict=True))
        if chosen:
            fields[chosen] = Picture(item.image, item.name)
        yield Record(item.position, fields, None)


def _tar(path: Path, relative: str) -> Iterator[Record]:
    for pair in pairs.tar_pairs(path, relative):
        own = {"__key__": pair.name, "image": Picture(pair.image, None)}
        yield Record(pair.position, {**pair.fields, **own}, pair.error)
