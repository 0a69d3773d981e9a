"""One shard's rows -> one tar and its manifest. Here, and only here, images are opened."""

import errno
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, repeat
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.schema import Kind, Record, Status, Step, Turn
from pipelines.locators import Images
from pipelines.specs import Line, Packed, ShardPlan
from pipelines.table import BOX, reason
from shards import writer
from shards.images import ImageError, ImagePolicy, Stored, codecs, oriented, store_image
from shards.writer import ShardWriter, Source

_PLAN = msgspec.json.Decoder(tuple[Step, ...])
# Of a file that is not there, or no file: all others may pass, a right or a disk's error.
_LASTING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR}
_GRID = 1000  # a box in a text is in thousandths of the image's sides


class Row(NamedTuple):
    """An annotation of a shard's plan: what the gate made of a `table.Row`."""

    key: str
    group: str
    locator: str
    id: str
    thread: int
    kind: Kind
    prompt: str
    target: str
    answers: Sequence[str]
    choices: Sequence[str]
    rationales: Sequence[str]
    box: tuple[float, float, float, float] | None
    robots: Sequence[str]
    plan: str
    licence: str
    meta: str
    status: Status | None
    error: str | None


Rows = list[Row]


def ready() -> None:
    """Load the codecs, and all of pyarrow, so that the first picture does not wait for them."""
    codecs()
    pa.array([""])  # its first array loads pandas, where that is installed


def pack(plan: ShardPlan, root: Path, out: Path, policy: ImagePolicy) -> Packed:
    """Write a shard of `plan` under `out`. What an image fails on becomes a row, never a gap.

    Raises OSError when `out` cannot be written; an image that cannot be read is quarantined.
    """
    rows = [*map(Row._make, _columns(plan.rows, *Row._fields))]
    drawn = dict(_columns(plan.scenes, "key", "jpeg")) if plan.scenes else {}
    failed: list[tuple[Rows, Status, str]] = []
    again = False
    with Images(root) as images, ShardWriter(out, plan.corpus, plan.split, plan.id) as shard:
        usable = (row for row in rows if row.status is None)
        for key, said in groupby(usable, key=attrgetter("key")):
            turns = list(said)
            try:
                data = drawn.get(key) or images.read(turns[0].locator)
                stored = store_image(data, policy)
            except ImageError as error:
                failed.append((turns, "quarantined", str(error)))
                again = again or _may_pass(error)
                continue
            turns = list(_boxed(turns, stored, failed))
            if turns:
                shard.add(_record(plan, turns, stored), _source(turns[0], data, stored))
        before = [*_gated(rows)]
        sealed = shard.close(_failure(*fate) for fate in (*before, *failed))
    return Packed(shard=sealed, lines=tuple(_lines(plan, sealed.turns, failed)), again=again)


def _may_pass(error: ImageError) -> bool:
    """Whether the same image file may be readable tomorrow."""
    cause = error.__cause__  # without a number it is of a decoder: the file's own fault
    return isinstance(cause, OSError) and cause.errno is not None and cause.errno not in _LASTING


def _columns(path: str, *names: str) -> Iterator[tuple]:
    """The rows of a Parquet file, as tuples of these columns."""
    with pq.ParquetFile(path) as file:  # read_table would load pyarrow's data sets first: 50 ms
        table = file.read(columns=list(names))
    return zip(*(_values(table[name]) for name in names), strict=True)


def _values(column: pa.ChunkedArray) -> Iterable:
    empty = pa.types.is_list(column.type) and not column.null_count
    if empty and not any(len(chunk.flatten()) for chunk in column.chunks):
        return repeat((), len(column))  # as most are: answers, choices, robots
    return column.to_pylist()


def _boxed(turns: Rows, stored: Stored, failed: list[tuple[Rows, Status, str]]) -> Iterator[Row]:
    """The turns with their boxes in 0..1 of the upright image, and in their texts."""
    for turn in turns:
        if turn.box is not None:
            try:
                box = oriented(turn.box, *stored.raw)
            except ImageError as error:
                failed.append(([turn], "quarantined", str(error)))
                continue
            said = "[" + ", ".join(str(round(side * _GRID)) for side in box) + "]"
            prompt, target = turn.prompt.replace(BOX, said), turn.target.replace(BOX, said)
            turn = turn._replace(prompt=prompt, target=target, box=box)
        yield turn


def _record(plan: ShardPlan, rows: Rows, stored: Stored) -> Record:
    first = rows[0]
    return Record(
        key=first.key,
        corpus=plan.corpus,
        group=first.group,
        split=plan.split,
        image=stored.jpeg,
        turns=tuple(map(_turn, rows)),
        robots=tuple(first.robots),
        plan=_PLAN.decode(first.plan),
        licence=first.licence,
        meta=first.meta,
    )


def _turn(row: Row) -> Turn:
    return Turn(
        thread=row.thread,
        id=row.id,
        prompt=row.prompt,
        target=row.target,
        kind=row.kind,
        answers=tuple(row.answers),
        choices=tuple(row.choices),
        rationales=tuple(row.rationales),
        box=row.box,
    )


def _source(row: Row, data: bytes, stored: Stored) -> Source:
    return Source(
        locator=row.locator,
        digest=writer.digest(data),
        width=stored.width,
        height=stored.height,
    )


def _gated(rows: Rows) -> Iterator[tuple[Rows, Status, str]]:
    """All annotations of a record that ended the same way before packing."""
    fate = attrgetter("key", "status", "error")
    failed = sorted((row for row in rows if row.status), key=fate)
    for (_, status, error), same in groupby(failed, key=fate):
        yield list(same), status, error


def _failure(rows: Rows, status: Status, error: str) -> dict[str, Any]:
    """One manifest row for them."""
    first, said = rows[0], status != "unannotated"
    return writer.row(
        key=first.key,
        group=first.group,
        turns=len(rows) if said else 0,
        kinds=sorted({row.kind for row in rows}) if said else [],
        licence=first.licence,
        locator=first.locator,
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
        examples.setdefault(fate, f"{error} ({rows[0].id} {rows[0].locator})")
    for fate, count in counts.items():
        yield line(*fate, count, examples[fate])
