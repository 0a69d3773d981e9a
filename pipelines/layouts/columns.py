"""Rows out of Arrow and Parquet files, image bytes named by locators and never touched.

    for item in rows(path, "cc3m/x.arrow", ["txt", "__url__"], image="jpg"):
        caption, url = item.values      # of the asked columns, in their order
        item.image                      # locator of the bytes; None: the row has none
        item.name                       # the path beside the bytes, if the column has one
        item.position                   # the row in its file, from 0

What a file is, its first bytes say: an Arrow stream (the caches of the Hugging Face datasets
library), an Arrow file, or Parquet. An image column is struct<bytes, path> or plain binary. Of an
Arrow file a value's byte range is known; a Parquet value is found by (row group, row, column).
Only the asked columns are read, at most one record batch or a few thousand rows at a time.
"""

import itertools
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpora import CorpusError, refuse_pointer
from pipelines.locators import byte_range, parquet_value

_ROWS = 8192  # as Python objects at a time
_END = b"\xff\xff\xff\xff\0\0\0\0"  # the last bytes of an Arrow stream that was closed
_ARROW = "an Arrow stream as the Hugging Face datasets library writes it"
_COPY = (
    'python -c "import pyarrow as pa; '
    "r = pa.ipc.open_stream(pa.memory_map('{path}')); "
    "w = pa.ipc.new_stream('{path}.new', r.schema); "
    '[w.write_batch(b) for b in r]; w.close()"'
)
_OPEN = {_END[:4]: pa.ipc.open_stream, b"ARRO": pa.ipc.open_file, b"PAR1": pq.ParquetFile}
_Reader: TypeAlias = pa.RecordBatchStreamReader | pa.RecordBatchFileReader | pq.ParquetFile


class _Mapped:
    """A file as one buffer that is read where it is looked at, and a stream over it.

    Not pa.memory_map, which asks the kernel for every batch ahead, images and all; nor the kernel's
    own guess, which reads up to megabytes around a page. What is looked at, `fetch` names.
    """

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self.buffer = data, pa.py_buffer(data)
        self.source = pa.BufferReader(self.buffer)
        if data[:4] == b"PAR1":  # there each column is read from end to end
            data.madvise(mmap.MADV_NORMAL)

    def fetch(self, column: Any, but: pa.Buffer | None) -> None:
        """Ask for a column's buffers ahead, all but one."""
        for buffer in column.buffers():
            if buffer and not (but and buffer.address == but.address):
                start = buffer.address - self.buffer.address
                page = start - start % mmap.PAGESIZE
                if 0 <= start < start + buffer.size <= self.buffer.size:  # not one decompressed
                    self._data.madvise(mmap.MADV_WILLNEED, page, start + buffer.size - page)


class Item(msgspec.Struct, frozen=True):
    """One row: the asked columns' `values`, and where its image is (see the module)."""

    values: tuple[Any, ...]
    image: str | None
    name: str | None
    position: int


def schema(path: Path) -> pa.Schema:
    """The columns of a file. Raises CorpusError for one that is cut off or of another kind."""
    with _opened(path) as (reader, _):
        return reader.schema_arrow if isinstance(reader, pq.ParquetFile) else reader.schema


def count(path: Path) -> int:
    """How many rows a file has; no value is read. Raises CorpusError as `schema` does."""
    with _opened(path) as (reader, mapped):
        if isinstance(reader, pq.ParquetFile):
            return reader.metadata.num_rows
        return sum(batch.num_rows for batch in _batches(reader, mapped))


def holds_pictures(field: pa.Field) -> bool:
    """Whether a column is binary, alone or as `bytes` of a struct."""
    kind = field.type.field("bytes").type if _has(field.type, "bytes") else field.type
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def rows(
    path: Path, relative: str, columns: Sequence[str], image: str | None = None
) -> Iterator[Item]:
    """The rows of a file in order: top-level `columns`, and the locators of the column `image`.

    `relative` is the file's path in locators. A row whose bytes are null or empty has no locator;
    in a Parquet file that is known if a whole row group has none, else found when the image is
    read. Raises CorpusError for a file that is cut off, of another kind, compressed (an Arrow
    file's image column only), or without one of the columns.
    """
    with _opened(path) as (reader, mapped):
        if isinstance(reader, pq.ParquetFile):
            _check(path, reader.schema_arrow, columns, image)
            yield from _parquet(reader, relative, columns, image)
        else:
            _check(path, reader.schema, columns, image)
            yield from _arrow(path, reader, mapped, relative, columns, image)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[_Reader, _Mapped]]:
    """A reader of what the file is; what pyarrow says of a damaged file becomes a CorpusError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise CorpusError(f"{path} is empty; expected {_ARROW}, or Parquet. Fetch it again")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        data.madvise(mmap.MADV_RANDOM)
    refuse_pointer(path, data[:24])
    if data[:4] not in _OPEN:
        raise CorpusError(
            f"{path} ({size:,} bytes) begins with {data[:8]!r}; expected {_ARROW}, an Arrow file "
            f"or Parquet. Fetch it again"
        )
    if data[:4] == _END[:4] and data[-8:] != _END:
        raise CorpusError(
            f"{path} ({size:,} bytes) is cut off, or still being written: it has no end-of-stream "
            f"mark; expected {_ARROW}. Fetch it again"
        )
    mapped = _Mapped(data)
    try:
        yield _OPEN[data[:4]](mapped.source), mapped
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(
            f"{path} ({size:,} bytes) cannot be read: {error}; expected {_ARROW}, an Arrow file or "
            f"Parquet. Fetch it again"
        ) from error


def _check(path: Path, found: pa.Schema, columns: Sequence[str], image: str | None) -> None:
    wanted = [*columns, image] if image else columns
    if missing := [name for name in wanted if name not in found.names]:
        raise CorpusError(
            f"{path} has no column {' or '.join(missing)}; it has {', '.join(found.names)}"
        )
    if image and not holds_pictures(found.field(image)):
        raise CorpusError(
            f"column {image} of {path} is {found.field(image).type}; expected struct<bytes: "
            f"binary, path: string>, as a datasets.Image is stored, or binary"
        )


def _has(kind: pa.DataType, name: str) -> bool:
    return pa.types.is_struct(kind) and kind.get_field_index(name) >= 0


def _field(column: Any, name: str) -> Any:
    """A field of a struct column, null where the struct is; its buffers are the column's."""
    return column.flatten()[column.type.get_field_index(name)]


def _bytes(column: Any) -> Any:
    """The binary array of an image column."""
    return _field(column, "bytes") if _has(column.type, "bytes") else column


def _batches(reader: Any, mapped: _Mapped) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.RecordBatchFileReader):
        yield from map(reader.get_batch, range(reader.num_record_batches))
        return
    yield from reader
    if (end := mapped.source.tell()) != mapped.buffer.size:  # zeros in a hole look like its end
        raise pa.ArrowInvalid(f"the stream ends at byte {end:,}")


def _values(batch: pa.RecordBatch, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    if not columns:
        return repeat((), batch.num_rows)
    return zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


def _arrow(
    path: Path,
    reader: Any,
    mapped: _Mapped,
    relative: str,
    columns: Sequence[str],
    image: str | None,
) -> Iterator[Item]:
    position = 0
    for whole in _batches(reader, mapped):
        batch = whole.select([*columns, image] if image else columns)
        pictures = _bytes(batch.column(image)).buffers()[2] if image else None
        for column in batch.columns:
            mapped.fetch(column, but=pictures)
        batch.validate(full=True)  # offsets lie in their buffers; looks at no image
        for start in range(0, batch.num_rows, _ROWS):
            part = batch.slice(start, _ROWS)
            locators, names = repeat(None), repeat(None)
            if image:
                locators, names = _images(path, part.column(image), mapped, relative)
            yield from map(Item, _values(part, columns), locators, names, itertools.count(position))
            position += part.num_rows


def _images(
    path: Path, column: Any, mapped: _Mapped, relative: str
) -> tuple[Iterable[str | None], Iterable[str | None]]:
    """Locators and paths of the values of an image column."""
    names: Iterable[str | None] = repeat(None)
    if _has(column.type, "path"):
        names = _field(column, "path").to_pylist()
    column = _bytes(column)
    starts, sizes = _ranges(path, column, mapped)
    there = column.is_valid().to_numpy(zero_copy_only=False) & (sizes > 0)
    ranges = zip(there.tolist(), starts.tolist(), sizes.tolist(), strict=True)
    locators = (byte_range(relative, at, size) if here else None for here, at, size in ranges)
    return locators, names


def _ranges(path: Path, column: Any, mapped: _Mapped) -> tuple[np.ndarray, np.ndarray]:
    """Where each value of a binary array starts in the mapped file, and its size."""
    _, offsets, data = column.buffers()
    kind = np.int64 if pa.types.is_large_binary(column.type) else np.int32
    if not len(column) or offsets is None:
        return np.zeros(len(column), np.int64), np.zeros(len(column), np.int64)
    ends = np.frombuffer(offsets, kind)[column.offset : column.offset + len(column) + 1]
    ends = ends.astype(np.int64)
    begin = data.address - mapped.buffer.address if data is not None else 0
    if ends[-1] > ends[0] and not 0 <= begin + ends[0] <= begin + ends[-1] <= mapped.buffer.size:
        raise CorpusError(
            f"the record batches of {path} are compressed, so its images are no byte ranges of it. "
            f"Rewrite it, and put the new file in its place: {_COPY.format(path=path)}"
        )
    return begin + ends[:-1], np.diff(ends)


def _parquet(
    file: pq.ParquetFile, relative: str, columns: Sequence[str], image: str | None
) -> Iterator[Item]:
    kind = file.schema_arrow.field(image).type if image else None
    leaf = f"{image}.bytes" if image and kind and pa.types.is_struct(kind) else image
    named = [f"{image}.path"] if kind and _has(kind, "path") else []
    position = 0
    for group in range(file.num_row_groups):
        row = 0
        there = leaf is not None and not _all_null(file.metadata.row_group(group), leaf)
        for batch in file.iter_batches(_ROWS, row_groups=[group], columns=[*columns, *named]):
            locators, names = repeat(None), repeat(None)
            if leaf and there:
                places = range(row, row + batch.num_rows)
                locators = (parquet_value(relative, group, place, leaf) for place in places)
            if image and named:
                names = _field(batch.column(image), "path").to_pylist()
            yield from map(
                Item, _values(batch, columns), locators, names, itertools.count(position + row)
            )
            row += batch.num_rows
        position += row


def _all_null(group: Any, leaf: str) -> bool:
    """Whether a row group's statistics say that a column has no value."""
    chunks = (group.column(index) for index in range(group.num_columns))
    (chunk,) = (chunk for chunk in chunks if chunk.path_in_schema == leaf)
    found = chunk.statistics
    return found is not None and found.has_null_count and found.null_count == group.num_rows
