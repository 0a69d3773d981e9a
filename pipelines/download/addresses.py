"""Lists of images by address, cut into the rows of one shard each.

A list is a TSV without header (caption, address), or a Parquet file with a column of each.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 10_000  # of one shard


class ListError(ValueError):
    """A list of addresses that cannot be read."""


class AddressList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said of a list of addresses: the folder that its images go to; and, of a Parquet
    file, its columns of address and caption and those that are kept besides."""

    to: str
    address: str = "url"
    caption: str = "caption"
    keep: tuple[str, ...] = ()


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one shard: `count` of the list at `path`, from row `first` of a Parquet file, or
    from byte `first` of a TSV. Its images go to the folder `to`."""

    path: str
    to: str
    shard: int
    first: int
    count: int
    images: AddressList


def chunks(path: Path, to: Path, images: AddressList, shard: int) -> list[Chunk]:
    """The shards of a list, numbered from `shard`. Raises ListError if it cannot be read."""
    parts = _parquet_parts(path, images) if path.suffix == ".parquet" else _tsv_parts(path)
    return [
        Chunk(path=str(path), to=str(to), shard=number, first=first, count=count, images=images)
        for number, (first, count) in enumerate(parts, start=shard)
    ]


def read(chunk: Chunk) -> Iterator[dict[str, Any]]:
    """A shard's rows in their order: url, caption, and the columns that are kept."""
    return _read_parquet(chunk) if chunk.path.endswith(".parquet") else _read_tsv(chunk)


def kept_fields(chunk: Chunk) -> list[pa.Field]:
    """The Arrow fields of the columns that are kept."""
    if not chunk.images.keep:
        return []
    schema = pq.read_schema(chunk.path)
    return [schema.field(name) for name in chunk.images.keep]


def _tsv_parts(path: Path) -> Iterator[tuple[int, int]]:
    with path.open("rb") as file:
        while True:
            offset = file.tell()
            if not (count := sum(1 for _ in islice(iter(file.readline, b""), ROWS))):
                return
            yield offset, count


def _read_tsv(chunk: Chunk) -> Iterator[dict[str, Any]]:
    with Path(chunk.path).open("rb") as file:
        file.seek(chunk.first)
        for line in islice(file, chunk.count):
            caption, _, url = line.decode(errors="replace").rstrip("\r\n").partition("\t")
            yield {"url": url.strip(), "caption": caption}


def _parquet_parts(path: Path, images: AddressList) -> Iterator[tuple[int, int]]:
    try:
        with pq.ParquetFile(path) as file:
            names, rows = file.schema_arrow.names, file.metadata.num_rows
    except pa.ArrowInvalid as error:
        raise ListError(f"{path} is not Parquet: {error}; remove it and fetch it again") from error
    if missing := {images.address, images.caption, *images.keep} - set(names):
        raise ListError(
            f"{path} has no column {', '.join(sorted(missing))}; it has {', '.join(names)}"
        )
    for first in range(0, rows, ROWS):
        yield first, min(ROWS, rows - first)


def _read_parquet(chunk: Chunk) -> Iterator[dict[str, Any]]:
    images, last = chunk.images, chunk.first + chunk.count
    with pq.ParquetFile(chunk.path) as file:
        groups, skip, at = [], 0, 0
        for group in range(file.num_row_groups):
            after = at + file.metadata.row_group(group).num_rows
            if at < last and after > chunk.first:
                skip = skip if groups else chunk.first - at
                groups.append(group)
            at = after
        columns = [images.address, images.caption, *images.keep]
        table = file.read_row_groups(groups, columns).slice(skip, chunk.count)
    for fields in table.to_pylist():
        url, caption = fields[images.address] or "", fields[images.caption] or ""
        yield {"url": url, "caption": caption, **{name: fields[name] for name in images.keep}}
