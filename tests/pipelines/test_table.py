"""The one table: rows of every corpus in one Arrow schema, streamed, their texts cleaned."""

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.schema import Step
from pipelines.table import SCHEMA, Row, clean, read_rows, write_rows

FULL = Row(
    key="robots-a",
    group="mow the lawn",
    locator="scene:robots-a",
    split=None,
    id="a",
    thread="t",
    kind="robot",
    prompt="Mow the lawn",
    target="Drone",
    answers=("x", "y"),
    choices=("c",),
    rationales=("because",),
    box=(0.0, 0.25, 0.5, 1.0),
    robots=("Drone",),
    plan=(Step(text="fly", robot="Drone", order=1),),
    licence="MIT",
    meta='{"site":{"terrain":"grass"}}',
    status="quarantined",
    error="why",
)


def bare(number, status=None):
    return Row(key=f"k{number}", group="g", locator="l", split="train", status=status)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("as it is", "as it is"),
        ("  blanks at\tboth  ends \r\n", "blanks at both ends"),
        ("two\nlines\r\nand a third", "two lines and a third"),
        ("a\0b", "a b"),
        ("\0", ""),
        (" \u00a0\u2003\n", ""),
        ("line\u2028and\u2029paragraph\x85next", "line and paragraph next"),
        ("the building\u2019s caf\u00e9", "the building\u2019s caf\u00e9"),
        ("", ""),
    ],
)
def test_a_text_becomes_one_clean_line(text, cleaned):
    assert clean(text) == cleaned
    assert clean(cleaned) == cleaned


def test_every_field_of_a_row_is_a_column_and_comes_back(tmp_path: Path):
    path = tmp_path / "robots.rows"
    assert write_rows(path, "robots", [FULL]) == 1
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    assert set(SCHEMA.names) == {"corpus", *Row.__struct_fields__}
    (row,) = table.to_pylist()
    assert row == {
        "corpus": "robots",
        "key": "robots-a",
        "group": "mow the lawn",
        "locator": "scene:robots-a",
        "split": None,
        "id": "a",
        "thread": "t",
        "kind": "robot",
        "prompt": "Mow the lawn",
        "target": "Drone",
        "answers": ["x", "y"],
        "choices": ["c"],
        "rationales": ["because"],
        "box": [0.0, 0.25, 0.5, 1.0],
        "robots": ["Drone"],
        "plan": '[{"order":1,"robot":"Drone","text":"fly"}]',
        "licence": "MIT",
        "meta": '{"site":{"terrain":"grass"}}',
        "container": "",
        "position": 0,
        "status": "quarantined",
        "error": "why",
    }


def test_what_a_row_does_not_say_is_empty_not_missing(tmp_path: Path):
    write_rows(tmp_path / "rows", "coco", [bare(0)])
    (row,) = pq.read_table(tmp_path / "rows").to_pylist()
    assert {name for name, value in row.items() if value is None} == {"box", "status", "error"}
    assert (row["plan"], row["meta"], row["kind"], row["answers"]) == ("[]", "{}", "caption", [])


def test_images_without_annotations_are_rows_but_not_annotations(tmp_path: Path):
    rows = [bare(0), bare(1, "unannotated"), bare(2, "quarantined"), bare(3, "unannotated")]
    assert write_rows(tmp_path / "rows", "coco", rows) == 2
    assert pq.read_table(tmp_path / "rows")["key"].to_pylist() == ["k0", "k1", "k2", "k3"]


def test_no_rows_are_a_table_too(tmp_path: Path):
    assert write_rows(tmp_path / "rows", "coco", []) == 0
    table = pq.read_table(tmp_path / "rows")
    assert (table.num_rows, table.schema.equals(SCHEMA)) == (0, True)


@pytest.mark.parametrize("count", [8191, 8192, 8193, 20_000])
def test_rows_are_streamed_in_batches_and_none_is_lost(tmp_path: Path, count):
    def endless():
        for number in range(count):
            yield bare(number)

    assert write_rows(tmp_path / "rows", "coco", endless()) == count
    file = pq.ParquetFile(tmp_path / "rows")
    keys = file.read(columns=["key"])["key"].to_pylist()
    assert keys == [f"k{number}" for number in range(count)]
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert max(groups) <= 8192, "more than one batch was held"


def test_rows_are_read_back_as_they_were_written_in_their_order(tmp_path: Path):
    two_steps = (*FULL.plan, Step(text="land", robot="Drone", order=2))
    other = Row(
        key="b", group="caf\u00e9 \u2014 42", locator="file:b.jpg", split="val", plan=two_steps
    )
    rows = [FULL, bare(0), other, bare(1, "unannotated"), bare(0)]
    write_rows(tmp_path / "rows", "robots", rows)
    assert list(read_rows(tmp_path / "rows")) == rows


def test_what_a_row_does_not_say_is_read_back_as_the_default(tmp_path: Path):
    write_rows(tmp_path / "rows", "coco", [bare(0)])
    (row,) = read_rows(tmp_path / "rows")
    assert (row.box, row.status, row.error, row.plan, row.answers) == (None, None, None, (), ())
    assert (row.meta, row.kind, row.thread, row.licence) == ("{}", "caption", "", "")


def test_rows_of_several_batches_are_read_one_after_another(tmp_path: Path):
    write_rows(tmp_path / "rows", "coco", (bare(number) for number in range(8200)))
    keys = [row.key for row in read_rows(tmp_path / "rows")]
    assert keys == [f"k{number}" for number in range(8200)]


def test_no_rows_are_read_from_an_empty_table(tmp_path: Path):
    write_rows(tmp_path / "rows", "coco", [])
    assert list(read_rows(tmp_path / "rows")) == []


def test_what_was_read_is_written_again_byte_for_byte(tmp_path: Path):
    write_rows(tmp_path / "one", "robots", [FULL, bare(0)])
    write_rows(tmp_path / "two", "robots", read_rows(tmp_path / "one"))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_row_of_an_unknown_kind_is_refused(tmp_path: Path):
    write_rows(tmp_path / "rows", "robots", [bare(0)])
    table = pq.read_table(tmp_path / "rows")
    place = SCHEMA.get_field_index("kind")
    pq.write_table(table.set_column(place, "kind", pa.array(["poem"])), tmp_path / "rows")
    with pytest.raises(msgspec.ValidationError, match="kind"):
        list(read_rows(tmp_path / "rows"))
