"""A sealed data set without the one table: for machines that have neither polars nor Prefect.

What needs no joining (scenes that are drawn freely, the robot-selection set) is made part by part:
a part is a function that writes whole shards in a helper process and returns them. In the end they
are sealed as a build seals its own.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import Progress

from manifests import store
from manifests.schema import SCHEMA_VERSION, Split, canonical_json
from manifests.seal import FORMAT, Seal, SealError, merkle_root
from pipelines import ledger
from pipelines.engine import helpers
from pipelines.pack import ready
from pipelines.specs import Packed
from shards.images import ImagePolicy, codecs

Part = Callable[[], Sequence[Packed]]
POLICY = ImagePolicy()  # 224 pixels square, as scenes are drawn


def build(
    out: Path,
    parts: Mapping[str, Sequence[Part]],
    settings: dict[str, Any],
    bits: dict[str, int],
    workers: int,
    console: Console,
) -> Seal:
    """Make the `parts` of each corpus by `workers` processes, and seal them all.

    `settings` are what the data set follows from, `bits` as in a build's config. What stood in
    `out` stays whole until the end. Raises ValueError if that is a data set of other corpora,
    LedgerError, SealError or OSError.
    """
    out = out.resolve()
    with store.sole_writer(out):
        _refuse_others(out, parts)
        try:
            with helpers(workers) as pool:
                packed = _made([part for of in parts.values() for part in of], pool, console)
            sealed = _sealed(out, packed, settings, bits)
            store.commit(out, sealed)
        finally:
            store.collect(out)
    return sealed


def _refuse_others(out: Path, corpora: Iterable[str]) -> None:
    try:
        there = {shard.corpus for shard in Seal.read(out).shards}
    except SealError:  # none, or one that this replaces
        return
    if others := sorted(there - set(corpora)):
        raise ValueError(
            f"{out} is a data set of {', '.join(others)}, which would be lost; name another folder "
            f"with --out"
        )


def _made(parts: Sequence[Part], pool: Executor, console: Console) -> list[Packed]:
    """The shards of all parts, in their order."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("shards", total=len(parts))
        futures = [pool.submit(_run, part) for part in parts]
        for future in as_completed(futures):
            future.result()
            progress.advance(task)
    return [one for future in futures for one in future.result()]


def _run(part: Part) -> Sequence[Packed]:
    ready()
    return part()


def _sealed(
    out: Path, packed: Sequence[Packed], settings: dict[str, Any], bits: dict[str, int]
) -> Seal:
    shards = tuple(one.shard for one in sorted(packed, key=lambda one: one.shard.place))
    records: Counter[tuple[str, Split]] = Counter()
    for shard in shards:
        store.check_files(out, shard)
        records[shard.corpus, shard.split] += shard.records
    lines = ledger.merged(line for one in packed for line in one.lines)
    return Seal(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        root=merkle_root(shards),
        config_digest=hashlib.sha256(canonical_json(settings).encode()).hexdigest(),
        image_policy=msgspec.structs.asdict(POLICY),
        codecs=codecs(),
        bits=bits,
        ledger=tuple(ledger.counts(lines, records)),
        reasons=ledger.write(out, lines),
        shards=shards,
    )
