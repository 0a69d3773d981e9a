"""What a sealed data set holds: its counts, its rows by a filter, and one record with its lineage.

    rows = select(folder, "corpus = 'coco' and width > 500")       # polars, lazy
    counts(rows, ["split", "kind"])
    for row in find(folder, "coco-000000000139"): show(folder, row)

Manifests answer all but what a record says; for that its own bytes are read, and verified.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from manifests import store
from manifests.schema import MANIFEST, Record, check, decode_meta
from manifests.seal import Seal
from shards import jpeg
from shards.reader import DamageError, parse
from shards.rows import extent
from shards.sequential import FileError, open_file

if TYPE_CHECKING:
    import polars as pl

BY = ("corpus", "split", "kind", "size", "licence")
_SIDES = (256, 512, 1024, 2048)  # pixels of the longer side, the last of each class
SIZES = ("to 256 px", "to 512 px", "to 1024 px", "to 2048 px", "over 2048 px")
_FIRST = 10  # rows shown of those that a filter finds
_NEAR = 2000  # keys with an equal beginning or end that are looked at for a likeness


def select(folder: Path | str, where: str | None = None) -> "pl.LazyFrame":
    """The manifest's rows for which the SQL expression `where` holds.

    Raises ValueError for an expression that polars does not take, naming the columns there are.
    """
    import polars as pl

    rows = store.scan(folder)
    if where is None:
        return rows
    columns = ", ".join(MANIFEST.names)
    try:
        condition = pl.sql_expr(where)
        none = pl.LazyFrame(pl.from_arrow(MANIFEST.empty_table())).select(condition).collect()
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"--where {where!r}: {_first(error)}. Expected SQL such as "
            f"\"corpus = 'coco' and width > 500\" over the columns {columns}"
        ) from None
    if none.dtypes != [pl.Boolean]:
        kinds = ", ".join(map(str, none.dtypes))
        raise ValueError(f"--where {where!r} gives {kinds}; expected true or false, of {columns}")
    return rows.filter(condition)


@contextmanager
def reading(*folders: Path | str, where: str | None = None) -> Iterator[None]:
    """While the block reads manifests of data sets by polars. Raises DamageError if one is not
    there, and ValueError if one makes no sense, or the filter `where` fails on it."""
    import polars as pl

    check = ", ".join(f"python -m shards validate {folder}" for folder in folders)
    try:
        yield
    except OSError as error:
        raise DamageError(
            f"a manifest cannot be read: {_first(error)}. Check with: {check}"
        ) from error
    except pl.exceptions.PolarsError as error:
        doubt = "Check" if where is None else f"If --where {where!r} is as you mean it, check"
        names = " and ".join(map(str, folders))
        raise ValueError(
            f"reading the manifests of {names} failed: {_first(error)}. {doubt} with: {check}"
        ) from error


def _first(error: Exception) -> str:
    """The line of a message of polars that says what is wrong."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.partition("; valid columns")[0]


def counts(rows: "pl.LazyFrame", by: Sequence[str]) -> list[dict[str, Any]]:
    """Records written, their turns and bytes, and rows not written, by some of `BY`, sorted.

    A record of two kinds counts in both; the size is that of the source image. ValueError: not BY.
    """
    import polars as pl

    if unknown := [name for name in by if name not in BY]:
        raise ValueError(f"--by {','.join(unknown)}: expected some of {','.join(BY)}")
    if "kind" in by:  # an image that nothing is said of has none, and still counts
        some = pl.col("kinds").list.len() > 0
        rows = rows.with_columns(pl.when(some).then("kinds").alias("kinds")).explode("kinds")
    side, sizes = pl.max_horizontal("width", "height"), pl.lit(SIZES[-1])
    for most, name in reversed([*zip(_SIDES, SIZES, strict=False)]):
        sizes = pl.when(side <= most).then(pl.lit(name)).otherwise(sizes)
    size = pl.when(side.is_not_null()).then(sizes).cast(pl.Enum(SIZES))
    written = pl.col("status") == "written"
    found = (
        rows.with_columns(size=size, kind="kinds")
        .group_by(*by)
        .agg(
            records=written.sum(),
            turns=pl.col("turns").filter(written).sum(),
            bytes=pl.col("nbytes").filter(written).sum(),
            not_written=(~written).sum(),
        )
    )
    return found.sort(*by, nulls_last=True).collect(engine="streaming").to_dicts()


def summary(
    folder: Path | str, where: str | None = None, by: Sequence[str] | None = None
) -> dict[str, Any]:
    """All that `inspect` says of a data set: what its seal states, and counts of its rows.

    With `where` only rows for which it holds are counted, and the first of them are there too.
    """
    sealed, rows = Seal.read(folder), select(folder, where)
    tables = [by] if by else [["corpus", "split"], ["kind"], ["size"], ["licence"]]
    with reading(folder, where=where):
        counted = [{"by": list(names), "rows": counts(rows, names)} for names in tables]
        first = rows.head(_FIRST).collect(engine="streaming").to_dicts() if where else []
    said: dict[str, Any] = {
        "folder": str(folder),
        "root": sealed.root,
        "config_digest": sealed.config_digest,
        "schema_version": sealed.schema_version,
        "image_policy": sealed.image_policy,
        "codecs": sealed.codecs,
        "shards": len(sealed.shards),
        "records": sum(shard.records for shard in sealed.shards),
        "turns": sum(shard.turns for shard in sealed.shards),
        "bytes": sum(shard.nbytes for shard in sealed.shards),
        "schema": {field.name: str(field.type) for field in MANIFEST},
        "ledger": [msgspec.to_builtins(count) for count in sealed.ledger],
        "counts": counted,
    }
    if where is not None:
        said |= {"where": where, "rows": first}
    return said


def find(folder: Path | str, key: str) -> list[dict[str, Any]]:
    """Every manifest row of a key, written or not, in any corpus and split.

    Raises ValueError if there is none, naming the keys that are most like it.
    """
    import polars as pl

    rows = store.scan(folder)
    with reading(folder):
        found = rows.filter(pl.col("key") == key).collect(engine="streaming").to_dicts()
        if found:
            return found
        keys = rows.select("key").unique().collect(engine="streaming")["key"]
    near = _nearest(keys, key)
    raise ValueError(f"{folder} has no record {key!r}; the keys most like it: {near}")


def _nearest(keys: "pl.Series", key: str) -> str:
    """The three keys most like `key`, of those with the longest beginning or end in common."""
    alike: set[str] = set()
    for test, part in (
        (keys.str.starts_with, lambda n: key[:n]),
        (keys.str.ends_with, lambda n: key[-n:]),
    ):
        for length in range(len(key), 0, -1):
            if len(some := keys.filter(test(part(length)))):
                alike.update(some.sort().head(_NEAR))
                break
    alike.update([] if alike else keys.sort().head(_NEAR))
    likeness = {one: SequenceMatcher(None, one, key).ratio() for one in alike}
    return ", ".join(sorted(alike, key=lambda one: (-likeness[one], one))[:3])


def read(folder: Path | str, row: Mapping[str, Any]) -> Record:
    """The record of a written manifest row. Raises DamageError if its bytes are not the sealed."""
    name = f"{row['corpus']}/{row['shard']}"
    try:
        descriptor = open_file(Path(folder), name)
    except FileError as error:
        raise DamageError(
            f"{name} cannot be read ({error}). Repair it with: python -m shards repair {folder}"
        ) from error
    try:
        record = parse(extent(Path(folder), name, descriptor, row))
    finally:
        os.close(descriptor)
    if record.key != row["key"]:  # which names files that are written
        raise DamageError(
            f"{name}: the manifest has {row['key']!r} where record {record.key!r} lies. "
            f"Repair it with: python -m shards repair {folder}"
        )
    check(record)
    try:
        decode_meta(record.meta)
    except ValueError as error:
        raise DamageError(f"{name}: record {record.key}: {error}") from error
    return record


def show(folder: Path | str, row: dict[str, Any]) -> dict[str, Any]:
    """A manifest row, its lineage, and all that its record says but the image.

    `record` and `image` are null if it was not written; then `status` and `error` in the row say
    why. Raises DamageError.
    """
    record = read(folder, row) if row["status"] == "written" else None
    return describe(row, record)


def describe(row: dict[str, Any], record: Record | None) -> dict[str, Any]:
    """`show` of a record that is read already."""
    said: dict[str, Any] = {"row": row, "lineage": lineage(row), "record": None, "image": None}
    if record is not None:
        header = jpeg.header(record.image)
        size = {"width": header.width, "height": header.height}
        said["image"] = {"bytes": len(record.image), **size}
        told = {"key": record.key, **msgspec.json.decode(record.encode())}
        said["record"] = {**told, "meta": msgspec.json.decode(record.meta)}
    return said


def lineage(row: Mapping[str, Any]) -> dict[str, Any]:
    """Where a row's image came from and where its record lies, as a person would say it."""
    written = row["status"] == "written"
    end = row["offset"] + row["nbytes"] if written else None
    return {
        "source": explain(row["locator"]) if row["locator"] else None,
        "source_digest": row["source_digest"],
        "tar": f"{row['corpus']}/{row['shard']}" if written else None,
        "first_byte": row["offset"],
        "end_byte": end,
        "digest": row["digest"],
    }


def explain(locator: str) -> str:
    """A locator in words: file, place in its container, or the task of a drawn scene."""
    kind, _, where = locator.partition(":")
    path, _, place = where.rpartition("@")
    if kind == "file":
        return f"the whole file {where}"
    if kind == "range":
        first, nbytes = map(int, place.split("+"))
        what = "tar member in" if path.endswith(".tar") else "value in"
        return f"{what} {path}, bytes {first:,} to {first + nbytes:,}"
    if kind == "parquet":
        group, row, column = place.split("/", 2)
        return f"row {row} of row group {group} in {path}, column {column}"
    if kind == "scene":
        return f"scene drawn from the site of task {where}; no source image"
    return f"unknown locator {locator}"
