"""`python -m shards stats DIR`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from shards import tables
from shards.commands import Folder, failure_told
from shards.duplicates import Shared
from shards.reader import Dataset
from shards.stats import Place, Spread, Stats, Text
from shards.stats import stats as measure

_BARS = " ▁▂▃▄▅▆▇█"
_SPREAD = ("mean", "p50", "p95", "max")
_MOST = 20  # pairs of places printed; --json has all


def stats(
    folder: Folder,
    corpus: Annotated[list[str] | None, typer.Option(help="Only this; repeat for more.")] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Count tokens by this tokenizer.json, without templates.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Measure texts, pictures, duplicates and leaks between splits; reads and verifies all."""
    console, corpora = Console(stderr=True), corpus or []
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = not console.is_terminal
    with failure_told("stats"):
        shards = Dataset(folder).seal.shards
        total = sum(shard.records for shard in shards if not corpora or shard.corpus in corpora)
        with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
            task = progress.add_task("records", total=total)
            found = measure(
                folder, corpora, tokenizer, lambda records: progress.advance(task, records)
            )
    if as_json:
        typer.echo(tables.as_json(found))
    else:
        with tables.printing() as printed:
            _show(printed, found)


def _show(console: Console, found: Stats) -> None:
    places = [place for place in found.places if place.records]
    heads = ("place", "records", "turns", "threads", "MB", "bytes each: mean", *_SPREAD[1:])
    rows: list[tuple[Any, ...]] = [
        (p.name, p.records, p.turns, p.threads, p.nbytes.total / 1e6, *_each(p.nbytes))
        for p in places
    ]
    console.print(tables.table("Records", heads, rows), "")
    heads = ("place", "stored", "source width: p50", "p95", "max", "height: p50", "p95", "max")
    rows = [(p.name, _stored(p), *_each(p.width)[1:], *_each(p.height)[1:]) for p in places]
    console.print(tables.table("Pictures, in pixels", heads, rows), "")
    heads = ("place", "of", "words", "a turn: mean", *_SPREAD[1:], "0 1 2 4 8 16 ... words")
    rows = [
        (p.name, of, text.words.total, *_each(text.words), _bars(text.histogram))
        for p, of, text in _texts(places)
    ]
    console.print(tables.table("Words", heads, rows), "")
    heads = ("place", "of", "characters", "a turn: mean", *_SPREAD[1:])
    rows = [
        (p.name, of, text.characters.total, *_each(text.characters))
        for p, of, text in _texts(places)
    ]
    console.print(tables.table("Characters", heads, rows), "")
    heads = ("place", "of", "tokenizer", "tokens", "a turn: mean", *_SPREAD[1:])
    rows = [
        (p.name, of, name, tokens.total, *_each(tokens))
        for p, of, text in _texts(places)
        for name, tokens in text.tokens.items()
    ]
    if rows:
        console.print(tables.table("Tokens", heads, rows), "")
    heads = ("place", "targets", "distinct", "% repeated", "records", "with another's picture")
    rows = [
        (p.name, p.turns, p.distinct, 100 * (1 - p.distinct / p.turns), p.records, p.repeated)
        for p in places
    ]
    console.print(tables.table("Duplicates", heads, rows), "")
    _pairs(console, "Pictures in two corpora", found.shared)
    _pairs(console, "LEAKS: pictures or groups in two splits", found.leaks)
    leaked = len(found.leaks)
    end = f"[bold red]{leaked} leak(s)[/]: what is in two splits was seen before it is asked"
    console.print(end if leaked else "No picture and no group is in two splits.")


def _each(spread: Spread) -> tuple[Any, ...]:
    return (spread.mean, spread.p50, spread.p95, spread.max)


def _texts(places: list[Place]) -> Iterator[tuple[Place, str, Text]]:
    for place in places:
        yield place, "prompts", place.prompts
        yield place, "targets", place.targets


def _stored(place: Place) -> str:
    """The commonest size, and how many more there are."""
    (size, *others) = place.stored
    return f"{size} and {len(others):,} more" if others else size


def _bars(histogram: list[int]) -> str:
    """A bar a class, its height the share of the largest; one that is not empty can be seen."""
    most = max(histogram)
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] for count in histogram)


def _pairs(console: Console, title: str, found: list[Shared]) -> None:
    if not found:
        return
    heads = ("what", "in", "and in", "how many", "for example")
    rows = [(one.what, *one.places, one.count, one.keys) for one in found[:_MOST]]
    console.print(tables.table(title, heads, rows))
    left = len(found) - _MOST
    console.print(f"and {left:,} more pairs: see --json\n" if left > 0 else "")
