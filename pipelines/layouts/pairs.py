"""Pairs of a picture and what is written beside it, out of img2dataset and WebDataset tars.

    00000.tar            000000012.jpg, 000000012.txt, 000000012.json; more of the same
    00000.parquet        a row for each address: key, url, caption, status, error_message, ...
    00000_stats.json     written when the shard is finished

The Parquet file says what was asked for and what failed; where there is none, as in tars that were
only published, the tar's own .json and .txt are read. A shard without its `_stats.json` was
interrupted: what is whole in it is used like any other, because packing checks every picture, and
a note tells how to get the rest.
"""

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from pipelines.corpora import CorpusError, read_json
from pipelines.layouts import columns
from pipelines.layouts.tars import Member, Sample, Tar
from pipelines.locators import byte_range

T = TypeVar("T")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_TEXT = 1 << 20  # the most bytes of a .txt or .json
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_ASKED = ("key", "status", "error_message")  # what img2dataset says of each address


class Pair(NamedTuple):
    """One record of a container: `fields` are its texts, `image` the locator of its picture.

    `name` is its key in the container, `position` its place there. With an `error` it cannot be
    used; without, it has an image.
    """

    name: str
    fields: dict[str, Any]
    image: str | None
    position: int
    error: str | None


class _Stats(msgspec.Struct):
    successes: int


def record_key(corpus: str, name: str) -> str:
    """A key fit for a tar member; one that had to be changed for it keeps apart by a digest."""
    if _PLAIN.fullmatch(name) and len(corpus) + len(name) < 90:
        return f"{corpus}-{name}"
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[len(corpus) - 80 :].strip("-")
    digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:8]
    return f"{corpus}-{plain}-{digest}"


def pictures(tars: Sequence[Path]) -> int:
    """How many pictures finished img2dataset shards hold; other tars are counted when read."""
    stats = (_stats(path) for path in tars)
    return sum(read_json(path, _Stats).successes for path in stats if path)


def interrupted(corpus: str, tars: Sequence[Path]) -> Iterator[str]:
    """A note, where shards that img2dataset began are not finished."""
    begun = [path for path in tars if path.with_suffix(".parquet").is_file() and not _stats(path)]
    if begun:
        yield (
            f"{len(begun)} of {len(tars)} shards have no _stats.json ({begun[0].name} is the "
            f"first): their download was interrupted. What is in them is read; finish them by: "
            f"python -m pipelines download --corpus {corpus} --images"
        )


def tar_pairs(path: Path, relative: str, wanted: Collection[str] | None = None) -> Iterator[Pair]:
    """The pairs of a tar in its order, then the addresses that its Parquet file says failed.

    `relative` is the tar's path in locators, `wanted` the Parquet file's columns to be read, in
    lower case (None: all). Raises CorpusError for a file that is no tar, and for a damaged Parquet
    file of a finished shard.
    """
    asked = _asked(path, wanted)
    position = -1
    with Tar(path) as tar:
        for position, sample in enumerate(tar.samples()):
            name = sample.key.rpartition("/")[2]
            fields = asked.pop(name, None)
            fault = sample.fault
            if fields is None and not fault:
                fields, fault = _texts(tar, sample)
            image = _image(sample)
            if image is None and not fault:
                members = ", ".join(sample.members)
                fault = f"image is missing: {sample.key} in {relative} has only {members}"
            locator = byte_range(relative, image.offset, image.size) if image else None
            name = name or f"row-{position}"  # where the tar is cut off
            yield Pair(name, fields or {}, None if fault else locator, position, fault)
    for after, (name, fields) in enumerate(asked.items(), position + 1):
        if fields.get("status") == "success":
            error = f"image is missing: {name} is not in {relative}, though its download succeeded"
        else:
            why = fields.get("error_message") or fields.get("status") or "no reason is given"
            error = f"download failed: {why}"
        yield Pair(name, fields, None, after, error)


def fields_as(pair: Pair, kind: type[T]) -> tuple[T, str | None]:
    """A pair's fields as `kind`, whose names are in lower case, and why the pair cannot be used.

    Where they do not fit, `kind` without any is returned.
    """
    try:
        fields = {name.lower(): value for name, value in pair.fields.items()}
        return msgspec.convert(fields, kind), pair.error
    except msgspec.ValidationError as error:
        return kind(), pair.error or f"malformed annotation: {pair.name}: {error}"


def address_pairs(path: Path, relative: str, wanted: Collection[str]) -> Iterator[Pair]:
    """The rows of a Parquet file that has pictures' addresses and no picture."""
    names = [name for name in columns.schema(path).names if name.lower() in wanted]
    for item in columns.rows(path, relative, names):
        fields = dict(zip(names, item.values, strict=True))
        address = next((v for name, v in fields.items() if name.lower() == "url" and v), "none")
        error = f"image is missing: it is known by its address alone: {address}"
        yield Pair(str(item.position), fields, None, item.position, error)


def _stats(tar: Path) -> Path | None:
    path = tar.with_name(f"{tar.stem}_stats.json")
    return path if path.is_file() else None


def _asked(tar: Path, wanted: Collection[str] | None) -> dict[str, dict[str, Any]]:
    """The rows of the Parquet file beside a tar, by key; none if it has none."""
    path = tar.with_suffix(".parquet")
    if not path.is_file():
        return {}
    try:
        there = columns.schema(path).names
    except CorpusError:
        if _stats(tar):
            raise
        return {}  # an interrupted shard's: the tar says what is there
    if "key" not in there:
        return {}
    names = [name for name in there if wanted is None or name.lower() in (*wanted, *_ASKED)]
    rows = (item.values for item in columns.rows(path, path.name, names))
    key = names.index("key")
    return {str(values[key]): dict(zip(names, values, strict=True)) for values in rows}


def _image(sample: Sample) -> Member | None:
    """The member that is a picture by its last extension ("jpg", "v2.jpg")."""
    for extension, member in sample.members.items():
        if f".{extension}".endswith(PICTURES):
            return member
    return None


def _texts(tar: Tar, sample: Sample) -> tuple[dict[str, Any], str | None]:
    """The fields of a sample's .json, with its .txt as the caption if that has none."""
    fields: dict[str, Any] = {}
    for extension in ("json", "txt"):
        member = sample.members.get(extension)
        if member is None or (extension == "txt" and fields.get("caption")):
            continue
        wrong = f"malformed annotation: {member.name} in {tar.path.name}"
        if member.size > _TEXT:
            return fields, f"{wrong}: it has {member.size:,} bytes, over {_TEXT:,}"
        try:
            if extension == "json":
                fields = msgspec.json.decode(tar.read(member), type=dict[str, Any])
            else:
                fields["caption"] = tar.read(member).decode()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return fields, f"{wrong}: {error}"
    return fields, None
