"""A plan for people, for a page and for machines: tables on a terminal, Markdown, JSON."""

from collections.abc import Iterator
from datetime import timedelta

import msgspec
from rich.console import Console
from rich.table import Table

from pipelines import ledger
from pipelines.plan import CorpusPlan, Plan

Rows = list[tuple[str, ...]]


def as_json(plan: Plan) -> str:
    """The plan as one JSON object."""
    said = {**msgspec.to_builtins(plan), "fits": plan.fits, "ready": plan.ready}
    return msgspec.json.format(msgspec.json.encode(said)).decode()


def show(plan: Plan, console: Console) -> None:
    """Print the plan."""
    for title, heads, rows in _tables(plan):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1))
        for number, head in enumerate(heads):
            right = number and all(row[number][:1].isdigit() for row in rows)
            wrap = head in ("layout", "by")
            justify = "right" if right else "left"
            table.add_column(head, justify=justify, overflow="fold", no_wrap=not wrap)
        for row in rows:
            table.add_row(*row)
        console.print(table, "")
    console.print("Not to be written" if plan.lines else "All of it is written", style="italic")
    for line in (*ledger.reasons(plan.lines), "", *_sentences(plan)):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def markdown(plan: Plan) -> str:
    """The plan for a page."""
    parts = []
    for title, heads, rows in _tables(plan):
        lines = [heads, ("---",) * len(heads), *rows]
        parts.append(f"### {title}\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    lost = "\n".join(("### Not to be written", "```", *ledger.reasons(plan.lines), "```"))
    return "\n\n".join([*parts, lost, *_sentences(plan)])


def _tables(plan: Plan) -> Iterator[tuple[str, tuple[str, ...], Rows]]:
    found = ("corpus", "layout", "size", "images", "annotations", "missing", "typical")
    yield "Found", found, [_found(corpus) for corpus in plan.corpora]
    heads = ("corpus", "annotations", "images", "shards", "size", "packing", "unreadable")
    yield "To be written", heads, [_written(corpus) for corpus in plan.corpora]
    if plan.protections:
        costs = [(p.by, f"{p.annotations:,}", f"{p.alone:,}") for p in plan.protections]
        yield "What protection holds back", ("by", "train annotations", "by it alone"), costs
    exposed = [
        (e.place, f"{e.images:,}", e.protected, f"{e.seen:,}", ", ".join(e.seen_by) or "-")
        for e in plan.exposures
    ]
    heads = ("evaluation split", "images", "protected", "also trained on", "by")
    if exposed:
        yield "Contamination", heads, exposed


def _found(corpus: CorpusPlan) -> tuple[str, ...]:
    size = "-" if corpus.width is None else f"{corpus.width:.0f} x {corpus.height:.0f}"
    return (
        corpus.corpus,
        corpus.layout,
        _bytes(corpus.source_bytes),
        f"{corpus.images:,}",
        f"{corpus.annotations:,}",
        f"{corpus.missing:,}",
        size,
    )


def _written(corpus: CorpusPlan) -> tuple[str, ...]:
    return (
        corpus.corpus,
        f"{corpus.usable:,}",
        f"{corpus.records:,}",
        f"{corpus.shards:,}",
        _bytes(corpus.nbytes),
        _time(corpus.seconds),
        f"{corpus.unreadable:.1%}" if corpus.records else "-",
    )


def _sentences(plan: Plan) -> Iterator[str]:
    shards = "1 shard" if plan.shards == 1 else f"{plan.shards:,} shards"
    yield f"In all {shards}, {_bytes(plan.nbytes)}; {_bytes(plan.free)} are free on the disk."
    yield f"About {_time(plan.seconds)} in all with the config's {plan.workers} workers."
    if not plan.fits:
        short = _bytes(plan.nbytes - plan.free)
        yield f"The disk is too small by {short}: free some, or name another folder with --out."
    if plan.images:
        left = f"has still to look, once, at {plan.unhashed:,} of them"
        run = left if plan.unhashed else "has run"
        yield f"{plan.images:,} images are compared by their pixels; fingerprint {run}."
    else:
        yield "No image is compared by its pixels."
    if plan.proposals:
        bits = ", ".join(f"{place} {bits}" for place, bits in sorted(plan.proposals.items()))
        yield f"Bits that give shards of 128 to 256 MB, where the config has others: {bits}."
    for corpus in plan.corpora:
        for note in corpus.notes:
            yield f"{corpus.corpus}: {note}"
    for warning in plan.warnings:
        yield f"Warning: {warning}"
    if plan.errors:
        yield "A build would fail:"
        yield from plan.errors


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return str(timedelta(seconds=round(seconds)))
