"""How commands print: tables of 80 to 100 columns, one JSON object, text that cannot do harm."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_LEAST, _WIDTH = 80, 100  # columns: a terminal of fewer folds the lines, and no number is cut


@contextmanager
def printing() -> Iterator[Console]:
    """What the block prints goes to stdout when it ends, at once: `| head -1` takes it and is no
    failure, as of a command that prints plain lines."""
    there = Console(highlight=False)
    width = min(max(there.width, _LEAST), _WIDTH) if there.is_terminal else _WIDTH
    console = Console(highlight=False, width=width)
    with console.capture() as captured:
        yield console
    typer.echo(captured.get(), nl=False)


def as_json(value: object) -> str:
    """One JSON object, indented."""
    return msgspec.json.format(msgspec.json.encode(value)).decode()


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Numbers to the right with their thousands apart, text to the left, `-` for what is unknown.

    Text that is too long is folded, but no number, and nothing in the first column.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    printed = Table(title=title, title_justify="left", title_style="bold", box=None)
    printed.pad_edge, printed.padding = False, (0, 2, 0, 0)
    numbers = [
        bool(cells) and all(right for _, right in column) for column in zip(*cells, strict=True)
    ]
    natural = sum(
        max([len(head), *(row[place][0].cell_len for row in cells)])
        for place, head in enumerate(heads)
    )
    narrow = natural + 2 * (len(heads) - 1) > _LEAST
    for place, head in enumerate(heads):
        number = bool(numbers) and numbers[place]
        kept = number or place == 0  # other columns give way to it, and then its head does
        printed.add_column(
            "\n".join(head.split()) if kept and narrow else head,
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=kept,
        )
    for row in cells:
        printed.add_row(*(text for text, _ in row))
    return printed


def pairs(rows: Iterable[tuple[str, Any]]) -> Table:
    """Names and what they stand for, a line each; what is empty is left out."""
    printed = Table.grid(padding=(0, 2, 0, 0))
    printed.add_column(no_wrap=True)
    printed.add_column(overflow="fold")
    for name, value in rows:
        if value not in (None, "", (), []):
            printed.add_row(Text(name), _cell(value)[0])
    return printed


def _cell(value: Any) -> tuple[Text, bool]:
    """A cell, and whether it may stand to the right. Rather folded than cut, if nothing helps."""
    if value is None or value == "":
        return Text("-"), True
    if isinstance(value, float):
        return Text(f"{value:,.1f}", no_wrap=False), True
    if isinstance(value, int) and not isinstance(value, bool):
        return Text(f"{value:,}", no_wrap=False), True
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return Text(printable(text), no_wrap=False), False


def printable(text: str) -> str:
    """`text` with what a terminal would obey (escapes, direction marks) spelled out instead."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
