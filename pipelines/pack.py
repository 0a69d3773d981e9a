"""One shard's rows -> one tar and its manifest. Here, and only here, images are opened."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow.parquet as pq

from manifests.schema import Record, Step, Turn
from manifests.seal import Shard
from pipelines.gate import ShardPlan
from shards import writer
from shards.images import ImageError, ImagePolicy, store_image
from shards.writer import ShardWriter, Source


class Failure(NamedTuple):
    """Why annotations were not written, how many, and the locator of the first."""

    error: str
    annotations: int
    locator: str


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """A packed shard, how many annotations and images of it ended how, and why some failed."""

    shard: Shard
    fates: dict[str, int]  # annotations by status; images for "unannotated"
    failures: tuple[Failure, ...]


def pack(plan: ShardPlan, root: Path, out: Path, policy: ImagePolicy) -> Packed:
    """Write a shard of `plan` under `out`. What an image fails on becomes a row, never a gap.

    Raises OSError when `out` cannot be written; an image that cannot be read is quarantined.
    """
    rows = pq.read_table(plan.rows).to_pylist()
    scenes = pq.read_table(plan.scenes).to_pydict() if plan.scenes else {"key": [], "jpeg": []}
    drawn = dict(zip(scenes["key"], scenes["jpeg"], strict=True))
    failures = list(_failures(rows))
    with ShardWriter(out, plan.corpus, plan.split, plan.id) as shard:
        usable = (row for row in rows if row["status"] is None)
        for _, said in groupby(usable, key=itemgetter("key")):
            turns = list(said)
            try:
                data = drawn.get(turns[0]["key"]) or _read(turns[0], root)
                shard.add(*_record(turns, data, policy))
            except ImageError as error:
                failures.append(_failure(turns, "quarantined", str(error)))
        sealed = shard.close(failures)
    fates = Counter(written=sealed.turns)
    for row in failures:
        fates[row["status"]] += row["turns"] or 1
    return Packed(shard=sealed, fates=dict(fates), failures=_summary(failures))


def _summary(rows: list[dict[str, Any]]) -> tuple[Failure, ...]:
    """One Failure an error: the rows themselves are in the manifest, and may be millions."""
    told: dict[str, Failure] = {}
    for row in rows:
        if row["turns"]:
            before = told.get(row["error"], Failure(row["error"], 0, row["locator"]))
            count = before.annotations + row["turns"]
            told[row["error"]] = before._replace(annotations=count)
    return tuple(told.values())


def _record(rows: list[dict[str, Any]], data: bytes, policy: ImagePolicy) -> tuple[Record, Source]:
    first = rows[0]
    stored = store_image(data, policy)
    record = Record(
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
    source = Source(
        locator=first["locator"],
        digest=writer.digest(data),
        width=stored.width,
        height=stored.height,
    )
    return record, source


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
        box=msgspec.convert(row["box"], tuple[float, float, float, float] | None),
    )


def _read(row: dict[str, Any], root: Path) -> bytes:
    """The source image's bytes at a locator. Raises ImageError if they cannot be had."""
    _, _, where = row["locator"].partition(":")
    try:
        return (root / where).read_bytes()
    except OSError as error:
        raise ImageError(f"{where} cannot be read: {error.strerror}") from error


def _failures(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One manifest row for all annotations of a record that ended the same way."""
    fate = itemgetter("key", "status", "error")
    failed = sorted((row for row in rows if row["status"]), key=fate)
    for (_, status, error), same in groupby(failed, key=fate):
        yield _failure(list(same), status, error)


def _failure(rows: list[dict[str, Any]], status: str, error: str) -> dict[str, Any]:
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
