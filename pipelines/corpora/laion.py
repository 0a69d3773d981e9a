"""LAION-COCO: several machine-written captions a picture, each a thread of its own.

    **/00000.tar + 00000.parquet    img2dataset shards of its addresses, with the columns below
    **/*.parquet                    its lists of addresses alone: URL, TEXT, top_caption,
                                    all_captions, NSFW or punsafe; no picture

Captions are the distinct ones of top_caption and all_captions; where both are absent, caption or
TEXT. What is marked unsafe (NSFW, or punsafe over 0.5) is quarantined. A list of addresses is read
only where there are no shards: each of its rows stands for a picture that is not there.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from manifests.place import url_group
from manifests.schema import Split
from pipelines.corpora import Folders, Layout, Survey, find_files, unknown_layout
from pipelines.layouts import pairs
from pipelines.layouts.pairs import Pair
from pipelines.table import Row, clean

PATH = "laion"
SPLITS: dict[str, Split | None] = {"train": "train"}
LAYOUT: Layout = "container"
_LICENCE = "LAION-COCO: CC BY 4.0 (captions); pictures are their owners'"
_FETCH = "python -m pipelines download --corpus laion --images"


class _Fields(msgspec.Struct):
    url: str | None = None
    caption: str | None = None
    text: str | None = None
    top_caption: str | None = None
    all_captions: list[str | None] | None = None
    nsfw: str | None = None
    punsafe: float | None = None


def survey(folders: Folders) -> Survey:
    tars = find_files(folders.path, "*.tar")
    beside = {path.with_suffix(".parquet") for path in tars}
    lists = [path for path in find_files(folders.path, "*.parquet") if path not in beside]
    if not tars and not lists:
        raise unknown_layout("laion", folders.path, "img2dataset shards, 00000.tar + 00000.parquet")
    notes = [*pairs.interrupted("laion", tars)]
    if tars and lists:
        notes.append(f"{len(lists)} lists of addresses ({lists[0].name}) are not read beside tars")
    elif lists:
        notes.append(
            f"{lists[0].name} has addresses and no pictures, so every row of it is quarantined; "
            f"fetch the pictures: {_FETCH}"
        )
    return Survey(
        layout="tars" if tars else "Parquet of addresses",
        files=tuple(tars or lists),
        images=pairs.pictures(tars),
        rows=partial(_rows, folders, tars or lists),
        notes=tuple(notes),
    )


def _rows(folders: Folders, files: list[Path]) -> Iterator[Row]:
    if folders.splits["train"] is None:
        return
    for path in files:
        relative = folders.relative(path)
        read = pairs.tar_pairs if path.suffix == ".tar" else pairs.address_pairs
        name = path.relative_to(folders.path).with_suffix("").as_posix()
        for pair in read(path, relative, _Fields.__struct_fields__):
            yield from _captions(folders, relative, f"{name}/{pair.name}", pair)


def _captions(folders: Folders, container: str, name: str, pair: Pair) -> Iterator[Row]:
    """A row for each caption of a picture, or one that says why there is none."""
    fields, error = pairs.fields_as(pair, _Fields)
    texts = _texts(fields)
    error = error or _unsafe(fields) or (None if texts else "empty caption")
    key = pairs.record_key(folders.corpus, name.replace("/", "-"))
    group = url_group(fields.url) if fields.url else f"{folders.corpus}:{name}"
    for number, text in enumerate(texts or [""]):
        yield Row(
            key=key,
            group=group,
            locator=pair.image or "",
            split=folders.splits["train"],
            id=f"{name}-{number}",
            thread=f"{name}-{number}",
            target=text,
            licence=_LICENCE,
            container=container,
            position=pair.position,
            status="quarantined" if error else None,
            error=error,
        )


def _texts(fields: _Fields) -> list[str]:
    """The distinct captions, in order; blank ones say nothing."""
    texts = [fields.top_caption, *(fields.all_captions or ())]
    if not any(texts):
        texts = [fields.caption or fields.text]
    return [text for text in dict.fromkeys(clean(text) for text in texts if text) if text]


def _unsafe(fields: _Fields) -> str | None:
    """Why a picture is not for training, as the list that named it says."""
    if fields.nsfw == "NSFW":
        return "marked unsafe: NSFW"
    if fields.punsafe is not None and fields.punsafe > 0.5:
        return f"marked unsafe: punsafe {fields.punsafe:.2f}"
    return None
