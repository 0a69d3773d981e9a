"""Rows out of Arrow and Parquet files: the bytes at a locator are the value, in every layout."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpora import CorpusError
from pipelines.layouts import columns
from pipelines.layouts.columns import Item
from pipelines.locators import Images

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FEATURES = {"info": {"features": {"image": {"_type": "Image"}}}}
SIX = [
    {"bytes": b"first", "path": "1.jpg"},
    None,
    {"bytes": None, "path": "3.jpg"},
    {"bytes": b"", "path": None},
    {"bytes": b"the fifth", "path": None},
    {"bytes": b"6", "path": "6.jpg"},
]
BYTES = [b"first", None, None, None, b"the fifth", b"6"]
NAMES = ["1.jpg", None, "3.jpg", None, None, "6.jpg"]
TEXTS = ["a", None, "c", "d", "e", "f"]


def six(image: Any = IMAGE, values: Any = SIX) -> pa.Table:
    metadata = {"huggingface": json.dumps(FEATURES)}
    schema = pa.schema([("text", pa.string()), ("image", image), ("n", pa.int64())], metadata)
    table = {"text": TEXTS, "image": values, "n": [0, 1, 2, 3, 4, 5]}
    return pa.Table.from_pydict(table, schema=schema)


def stream(path: Path, table: pa.Table, rows: int = 1000, **options: Any) -> Path:
    """As the datasets library writes its caches: record batches of so many rows."""
    writing = pa.ipc.IpcWriteOptions(**options)
    with pa.ipc.new_stream(path, table.schema, options=writing) as writer:
        writer.write_table(table, max_chunksize=rows)
    return path


def read(path: Path, *names: str, image: str | None = "image") -> list[Item]:
    return list(columns.rows(path, path.name, names, image))


def at(path: Path, items: list[Item]) -> list[bytes | None]:
    """What is found at the items' locators."""
    with Images(path.parent) as images:
        return [images.read(item.image) if item.image else None for item in items]


@pytest.mark.parametrize("rows", [1, 2, 4, 1000])
def test_the_bytes_at_the_locators_of_a_stream_are_the_values(tmp_path: Path, rows: int) -> None:
    path = stream(tmp_path / "x.arrow", six(), rows)
    items = read(path, "text", "n")
    assert at(path, items) == BYTES
    assert [item.name for item in items] == NAMES
    assert [item.values for item in items] == list(zip(TEXTS, range(6), strict=True))
    assert [item.position for item in items] == [0, 1, 2, 3, 4, 5]
    assert columns.count(path) == 6


def test_a_slice_written_to_a_stream_is_found_where_it_lies(tmp_path: Path) -> None:
    path = stream(tmp_path / "x.arrow", six().slice(4, 2))
    assert at(path, read(path, "text")) == [b"the fifth", b"6"]


def test_rows_beyond_the_first_thousands_of_one_batch_keep_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "_ROWS", 2)
    path = stream(tmp_path / "x.arrow", six())
    items = read(path, "text")
    assert at(path, items) == BYTES
    assert [item.position for item in items] == [0, 1, 2, 3, 4, 5]
    assert [item.name for item in items] == NAMES


@pytest.mark.parametrize(
    "image",
    [
        pa.struct([("path", pa.string()), ("bytes", pa.large_binary())]),
        pa.struct([("bytes", pa.binary()), ("path", pa.large_string())]),
    ],
)
def test_large_types_and_any_order_of_fields_are_read(tmp_path: Path, image: Any) -> None:
    path = stream(tmp_path / "x.arrow", six(image), 4)
    items = read(path)
    assert at(path, items) == BYTES
    assert [item.name for item in items] == NAMES
    assert [item.values for item in items] == [()] * 6


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_an_image_may_be_plain_binary_without_a_path(tmp_path: Path, kind: Any) -> None:
    path = stream(tmp_path / "x.arrow", six(kind, BYTES), 4)
    items = read(path, "text")
    assert at(path, items) == BYTES
    assert [item.name for item in items] == [None] * 6


def test_an_arrow_file_is_read_as_its_magic_says_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with pa.ipc.new_file(path, six().schema) as writer:
        writer.write_table(six(), max_chunksize=4)
    items = read(path, "text")
    assert at(path, items) == BYTES
    assert [item.values for item in items] == [(text,) for text in TEXTS]
    assert columns.count(path) == 6


def test_a_parquet_value_is_found_by_group_and_row(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(six(), path, row_group_size=4)
    items = read(path, "text")
    assert [item.image for item in items] == [
        "parquet:x.parquet@0/0/image.bytes",
        "parquet:x.parquet@0/1/image.bytes",
        "parquet:x.parquet@0/2/image.bytes",
        "parquet:x.parquet@0/3/image.bytes",
        "parquet:x.parquet@1/0/image.bytes",
        "parquet:x.parquet@1/1/image.bytes",
    ]
    assert at(path, [items[0], *items[4:]]) == [b"first", b"the fifth", b"6"]
    assert [item.values for item in items] == [(text,) for text in TEXTS]
    assert [item.name for item in items] == NAMES
    assert [item.position for item in items] == [0, 1, 2, 3, 4, 5]
    assert columns.count(path) == 6


def test_a_row_group_whose_images_are_all_null_has_no_locators(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(six(pa.binary(), [None, None, b"3", None, None, None]), path, row_group_size=2)
    assert [item.image for item in read(path)] == [
        None,
        None,
        "parquet:x.parquet@1/0/image",
        "parquet:x.parquet@1/1/image",
        None,
        None,
    ]


def test_without_an_image_column_only_the_values_are_read(tmp_path: Path) -> None:
    path = stream(tmp_path / "x.arrow", six(), compression="zstd")
    items = read(path, "n", image=None)
    assert items[1] == Item((1,), None, None, 1)
    pq.write_table(six(), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet", "n", image=None) == items


def test_no_image_byte_is_touched(tmp_path: Path) -> None:
    """Only pages that were looked at are resident in a mapping that nobody else has open."""
    nbytes, path = 64 << 20, tmp_path / "x.arrow"
    table = pa.table({"image": [b"\xff" * nbytes], "text": ["the end"]})
    stream(path, table)
    (item,) = columns.rows(path, path.name, ["text"], "image")
    assert item.values == ("the end",)
    smaps = Path("/proc/self/smaps").read_text()
    assert str(path) not in smaps  # what was mapped is let go with the rows
    reading = columns.rows(path, path.name, ["text"], "image")
    next(reading)
    mine = Path("/proc/self/smaps").read_text().partition(str(path))[2]
    resident = int(mine.partition("Rss:")[2].split()[0]) * 1024
    assert resident < nbytes // 8


def test_a_compressed_stream_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    table = pa.table({"image": [b"a" * 5000, b"b" * 5000]})
    path = stream(tmp_path / "x.arrow", table, compression="zstd")
    with pytest.raises(CorpusError, match="batches of .*x.arrow are compressed") as error:
        read(path)
    _, _, program = str(error.value).partition("python -c ")
    exec(program.strip('"'), {})
    new = tmp_path / "x.arrow.new"
    assert at(new, read(new)) == [b"a" * 5000, b"b" * 5000]


@pytest.mark.parametrize("cut", [1, 8, 9, 200, 700])
def test_a_stream_that_is_cut_off_is_refused_before_its_rows(tmp_path: Path, cut: int) -> None:
    path = stream(tmp_path / "x.arrow", six(), 2)
    size = path.stat().st_size - cut
    path.write_bytes(path.read_bytes()[:size])
    message = rf"x.arrow \({size:,} bytes\) is cut off, or still being written.* Fetch it again"
    for look in (columns.schema, columns.count, read):
        with pytest.raises(CorpusError, match=message):
            look(path)


@pytest.mark.parametrize(("start", "end"), [(900, 1000), (500, 540), (1376, 1476)])
def test_a_stream_with_a_hole_is_refused(tmp_path: Path, start: int, end: int) -> None:
    """Zeros where a message should begin are taken by Arrow for the stream's end."""
    path = stream(tmp_path / "x.arrow", six(), 2)
    data = path.read_bytes()
    path.write_bytes(data[:start] + data[end:])
    message = r"x.arrow \([\d,]+ bytes\) cannot be read: .*an Arrow stream as the Hugging Face"
    with pytest.raises(CorpusError, match=message):
        read(path, "text")


def test_a_parquet_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(six(), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorpusError, match=r"x.parquet \([\d,]+ bytes\) cannot be read: Parquet"):
        read(path, "text")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x.arrow is empty; expected an Arrow stream as the Hugging Face"),
        (b"<!DOCTYPE html>", r"x.arrow \(15 bytes\) begins with b'<!DOCTYP'; expected an Arrow"),
        (b"version https://git-lfs.github.com/spec/v1\n", "x.arrow is a git-lfs .*: git lfs pull"),
    ],
)
def test_what_is_no_arrow_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.arrow"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=message):
        read(path, "text")


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = stream(tmp_path / "x.arrow", six())
    with pytest.raises(CorpusError, match="has no column caption or jpg; it has text, image, n"):
        read(path, "caption", image="jpg")
    with pytest.raises(CorpusError, match="column text of .* is string; expected struct<bytes"):
        read(path, "n", image="text")
    assert columns.schema(path).names == ["text", "image", "n"]
