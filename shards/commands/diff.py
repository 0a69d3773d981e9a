"""`python -m shards diff A B`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from shards import tables
from shards.commands import failure_told
from shards.diff import Difference
from shards.diff import diff as compare

_MOST = 40  # lines of a table; --json has all


def diff(
    a: Annotated[Path, typer.Argument(help="A data set's folder, or its dataset.json alone.")],
    b: Annotated[Path, typer.Argument(help="Another folder, or its dataset.json alone.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what came, went and changed from A to B: places, shards, records, ledger, settings."""
    with failure_told("diff"):
        found = compare(a, b)
    if as_json:
        typer.echo(tables.as_json(found))
    else:
        with tables.printing() as console:
            _show(console, found)


def _show(console: Console, found: Difference) -> None:
    roots = "the same root: every shard is the same" if found.equal else "the roots differ"
    first, second = found.roots
    console.print(tables.pairs([("a", found.a), ("", first), ("b", found.b), ("", second)]))
    console.print(f"{roots}\n")
    for title, changes in (("Settings", found.settings), ("Ledger", found.ledger)):
        rows = [(change.name, change.a, change.b) for change in changes]
        _table(console, f"{title} that differ", ("", "a", "b"), rows)
    heads = ("place", "came", "went", "changed", "same", "records a", "b", "turns a", "b")
    rows = [
        (s.place, s.came, s.went, s.changed, s.same, *s.records, *s.turns) for s in found.shards
    ]
    _table(console, "Shards", heads, rows)
    if found.records is None:
        console.print("Records are not compared: that takes both folders, with their manifests.")
        return
    heads = ("place", "records", "how many", "in", "for example")
    rows = [(r.place, r.change, r.count, r.columns, r.keys) for r in found.records]
    _table(console, "Records that differ", heads, rows)
    if not found.records:
        console.print("No record came, went or changed.")


def _table(console: Console, title: str, heads: Sequence[str], rows: list[tuple]) -> None:
    """The table, unless it is empty; of a long one the beginning."""
    if not rows:
        return
    console.print(tables.table(title, heads, rows[:_MOST]))
    left = len(rows) - _MOST
    console.print(f"and {left:,} more: see --json\n" if left > 0 else "")
