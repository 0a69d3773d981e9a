"""One shard's rows -> one tar and its manifest. Here, and only here, images are opened."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from manifests.schema import Record, Status, Step, Turn
from manifests.seal import Shard
from pipelines.locators import Images
from pipelines.specs import Line, ShardPlan
from pipelines.table import BOX, reason
from shards import writer
from shards.images import ImageError, ImagePolicy, Stored, codecs, oriented, store_image
from shards.writer import ShardWriter, Source

Rows = list[dict[str, Any]]
_COLUMNS = ["key", "corpus", "group", "split", "locator", "id", "thread", "kind", "prompt"]
_COLUMNS += ["target", "answers", "choices", "rationales", "box", "robots", "plan", "licence"]
_COLUMNS += ["meta", "status", "error"]
_GRID = 1000  # a box in a text is in thousandths of the image's sides


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """A packed shard, and the ledger's lines for what was written and what failed in packing."""

    shard: Shard
    lines: tuple[Line, ...]


def ready() -> None:
    """Load the codecs, so that the first picture does not wait for them."""
    codecs()


def pack(plan: ShardPlan, root: Path, out: Path, policy: ImagePolicy) -> Packed:
    """Write a shard of `plan` under `out`. What an image fails on becomes a row, never a gap.

    Raises OSError when `out` cannot be written; an image that cannot be read is quarantined.
    """
    rows = pq.read_table(plan.rows, columns=_COLUMNS).to_pylist()
    scenes = pq.read_table(plan.scenes).to_pydict() if plan.scenes else {"key": [], "jpeg": []}
    drawn = dict(zip(scenes["key"], scenes["jpeg"], strict=True))
    failed: list[tuple[Rows, Status, str]] = []
    with Images(root) as images, ShardWriter(out, plan.corpus, plan.split, plan.id) as shard:
        usable = (row for row in rows if row["status"] is None)
        for key, said in groupby(usable, key=itemgetter("key")):
            turns = list(said)
            try:
                data = drawn.get(key) or images.read(turns[0]["locator"])
                stored = store_image(data, policy)
            except ImageError as error:
                failed.append((turns, "quarantined", str(error)))
                continue
            turns = list(_boxed(turns, stored, failed))
            if turns:
                shard.add(_record(turns, stored), _source(turns[0], data, stored))
        before = [*_gated(rows)]
        sealed = shard.close(_failure(*fate) for fate in (*before, *failed))
    return Packed(shard=sealed, lines=tuple(_lines(plan, sealed.turns, failed)))


def _boxed(turns: Rows, stored: Stored, failed: list[tuple[Rows, Status, str]]) -> Iterator[dict]:
    """The turns with their boxes in 0..1 of the upright image, and in their texts."""
    for turn in turns:
        if turn["box"] is not None:
            try:
                box = oriented(turn["box"], *stored.raw)
            except ImageError as error:
                failed.append(([turn], "quarantined", str(error)))
                continue
            said = "[" + ", ".join(str(round(side * _GRID)) for side in box) + "]"
            texts = {name: turn[name].replace(BOX, said) for name in ("prompt", "target")}
            turn = {**turn, **texts, "box": box}
        yield turn


def _record(rows: Rows, stored: Stored) -> Record:
    first = rows[0]
    return Record(
        key=first["key"],
        corpus=first["corpus"],
        group=first["group"],
        split=first["split"],
        image=stored.jpeg,
        turns=tuple(_turn(row) for row in rows),
        robots=tuple(first["robots"]),
        plan=msgspec.json.decode(first["plan"], type=tuple[Step, ...]),
        licence=first["licence"],
        meta=first["meta"],
    )


def _turn(row: dict[str, Any]) -> Turn:
    return Turn(
        thread=row["thread"],
        id=row["id"],
        prompt=row["prompt"],
        target=row["target"],
        kind=row["kind"],
        answers=tuple(row["answers"]),
        choices=tuple(row["choices"]),
        rationales=tuple(row["rationales"]),
        box=row["box"],
    )


def _source(row: dict[str, Any], data: bytes, stored: Stored) -> Source:
    return Source(
        locator=row["locator"],
        digest=writer.digest(data),
        width=stored.width,
        height=stored.height,
    )


def _gated(rows: Rows) -> Iterator[tuple[Rows, Status, str]]:
    """All annotations of a record that ended the same way before packing."""
    fate = itemgetter("key", "status", "error")
    failed = sorted((row for row in rows if row["status"]), key=fate)
    for (_, status, error), same in groupby(failed, key=fate):
        yield list(same), status, error


def _failure(rows: Rows, status: Status, error: str) -> dict[str, Any]:
    """One manifest row for them."""
    first, said = rows[0], status != "unannotated"
    return writer.row(
        key=first["key"],
        group=first["group"],
        turns=len(rows) if said else 0,
        kinds=sorted({row["kind"] for row in rows}) if said else [],
        licence=first["licence"],
        locator=first["locator"],
        status=status,
        error=error,
    )


def _lines(plan: ShardPlan, written: int, failed: list[tuple[Rows, Status, str]]) -> Iterator[Line]:
    def line(status: Status, why: str, count: int, example: str) -> Line:
        return Line(
            corpus=plan.corpus,
            split=plan.split,
            status=status,
            reason=why,
            annotations=count,
            example=example,
        )

    if written:
        yield line("written", "", written, "")
    counts, examples = Counter[tuple[Status, str]](), dict[tuple[Status, str], str]()
    for rows, status, error in failed:
        fate = (status, reason(error))
        counts[fate] += len(rows)
        examples.setdefault(fate, f"{error} ({rows[0]['id']} {rows[0]['locator']})")
    for fate, count in counts.items():
        yield line(*fate, count, examples[fate])
