"""What is printed: numbers to the right, and no text that a terminal would obey."""

import pytest
from rich.console import Console

from shards import tables


def _printed(what) -> list[str]:
    console = Console(width=60)
    with console.capture() as capture:
        console.print(what)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_numbers_stand_to_the_right_and_what_is_unknown_is_a_dash():
    rows = [("a", 1234, 0.26), ("bb", 7, None)]
    assert _printed(tables.table("Title", ("name", "count", "mean"), rows)) == [
        "Title",
        "name  count  mean",
        "a     1,234   0.3",
        "bb        7     -",
    ]


def test_a_table_without_rows_has_its_heads():
    assert _printed(tables.table("None", ("name", "count"), [])) == ["None", "name  count"]


def test_a_narrow_terminal_folds_texts_but_no_number_and_no_place():
    rows = [("coco/train-of-2017", 123_456_789.0, "one two three four five six", 12_345_678)]
    assert _printed(tables.table("T", ("place", "MB", "text", "records"), rows)) == [
        "T",
        "place                          MB  text              records",
        "coco/train-of-2017  123,456,789.0  one two three  12,345,678",
        "                                   four five six",
    ]


@pytest.mark.parametrize(("columns", "width"), [(60, 80), (90, 90), (200, 100)])
def test_lines_have_80_to_100_columns_and_are_printed_when_the_block_ends(
    monkeypatch, capsys, columns, width
):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("COLUMNS", str(columns))
    with tables.printing() as console:
        console.print("x")
        assert console.width == width
        assert capsys.readouterr().out == ""
    assert capsys.readouterr().out == "x\n"


def test_pairs_leave_out_what_is_empty():
    rows = [("a", "x"), ("b", None), ("c", ""), ("d", 0), ("e", []), ("f", ["y", "z"])]
    assert _printed(tables.pairs(rows)) == ["a  x", "d  0", "f  y, z"]


def test_what_a_terminal_would_obey_is_spelled_out():
    text = "red \x1b[31m and \u202eback\nnext [bold]line[/]"
    assert tables.printable(text) == r"red \x1b[31m and \u202eback" + "\nnext [bold]line[/]"
    assert _printed(tables.pairs([("a", "[bold]x[/]\x1b[2J")])) == [r"a  [bold]x[/]\x1b[2J"]
