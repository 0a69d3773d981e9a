"""Raw corpora -> a sealed data set: prepare -> compare -> scenes -> pack -> seal.

Plain functions on specs, walked once, by `build`; an Engine says how each node is run: on this
process's threads, or as Prefect tasks (`flows.py`). One build at a time writes to a folder. Shards
that the last build made of the same are not packed again (`reuse.py`); the bytes are the same.
"""

import errno
import platform
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import msgspec
import polars as pl
from rich.console import Console
from rich.text import Text

from manifests import store
from manifests.schema import SCHEMA_VERSION, Split
from manifests.seal import FORMAT, Seal, SealError, Shard, merkle_root
from pipelines import alike, ledger, pack, state
from pipelines.config import BuildConfig
from pipelines.engine import Engine, Walk, helpers
from pipelines.pack import Packed
from pipelines.prepare import Prepared, prepare
from pipelines.reuse import Made, Reuse
from pipelines.scenes import draw_scenes
from pipelines.specs import Line, ShardPlan
from shards import interop
from shards.images import codecs

_FEW = 1000  # records that are packed as soon as helper processes would have started


class BuildError(ValueError):
    """A build that cannot begin, or must not be sealed: too much is missing or lost."""


def build(
    config: BuildConfig, out: Path, engine: Engine, console: Console, deep: bool = False
) -> Seal:
    """Build `config` into `out` and seal it; what stood there before stays whole until then.

    With `deep` nothing is taken from the last build: all is read and packed again, so that what is
    damaged in `out` is replaced.

    Raises BuildError, CorpusError, LedgerError or OSError; nothing half-built has a final name.
    """
    out = out.resolve()
    if out.exists() and not out.is_dir():
        raise BuildError(f"--out {out} is a file; expected a folder, or a name for a new one")
    check_apart(config, out)
    with store.sole_writer(out), full_disk_named(out):
        return _build(config, out, engine, console, deep)


def check_apart(config: BuildConfig, out: Path) -> None:
    """Refuse to write to the current folder, or where something is read from: a build's shards
    would be the next one's sources, and a user's file called like an old shard would be removed.
    """
    if out == Path.cwd():
        raise BuildError("--out is the current folder; name one for the data set: data/shards")
    for name in config.corpora:
        source = config.folders(name).path
        for written in (out / other for other in (*config.corpora, "manifests")):
            if written.is_relative_to(source) or source.is_relative_to(written):
                raise BuildError(
                    f"--out {out} would write to {written}, but {name} is read from {source}; name "
                    f"a folder apart from the sources"
                )


@contextmanager
def full_disk_named(out: Path) -> Iterator[None]:
    """Say which disk is full, whichever library noticed. Raises OSError for what it raises."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        full = full or "No space left" in str(error)
        if not full:
            raise
        raise OSError(
            f"the disk of {out} is full; what was sealed there stays whole. Free some, or name "
            f"another folder; python -m pipelines plan says how much is needed",
        ) from error


def _build(config: BuildConfig, out: Path, engine: Engine, console: Console, deep: bool) -> Seal:
    started, walk = datetime.now(UTC), Walk(console, engine)
    for told in _placed_anew(config, out):
        console.print(Text(told, style="yellow"), soft_wrap=True)
    reuse = Reuse(config, out, deep)
    if deep:
        shutil.rmtree(out / alike.FOLDER, ignore_errors=True)  # known by sizes and times, too
    work = state.new_work(out)

    try:
        prepared = prepare(config, work, walk.each, cache=out / alike.FOLDER)
        if prepared.errors:
            raise BuildError("\n".join(prepared.errors))
        plans = list(prepared.plans)
        made = _compared(plans, reuse, walk)
        known = [reuse.packed(*both) for both in zip(plans, made, strict=True)]
        left = [plan for plan, before in zip(plans, known, strict=True) if before is None]
        shards = [plan.name for plan in left]
        with helpers(config.workers) as pool:
            drawn = partial(draw_scenes, folder=work, pool=pool)
            left = walk.each("scenes", drawn, left, shards)
            few = sum(plan.records for plan in left) <= _FEW
            if not few:  # told apart: it takes as long for a thousand records as for a million
                workers = range(config.workers)
                walk.each("start", partial(start, pool=pool), workers, list(map(str, workers)))
            step = partial(pack_one, config=config, out=out, pool=None if few else pool)
            anew = iter(walk.each("pack", step, left, shards))
        packed = [before or next(anew) for before in known]
        lines = ledger.merged([*prepared.lines, *(ln for one in packed for ln in one.lines)])
        if errors := list(ledger.errors(lines, config)):
            raise BuildError("\n".join(errors))
        finished = [(lines, plans, packed)]
        (sealed,) = walk.each("seal", partial(seal, config=config, out=out), finished, ["all"])
        _write_sidecars(out, sealed)  # before what they might still name is removed
    finally:
        store.collect(out)
        shutil.rmtree(work, ignore_errors=True)  # last: it tells that there may be more to remove
    for found in prepared.found:
        for note in found.notes:
            console.print(Text(f"note: {found.corpus}: {note}", style="dim"), soft_wrap=True)
    for warning in prepared.warnings:
        told = Text(f"warning: {warning}", style="yellow")
        console.print(told, soft_wrap=True)
    if len(left) < len(plans):
        console.print(_reused(plans, left), highlight=False, soft_wrap=True)
    _describe(out, config, started, walk, prepared)
    reuse.remember(sealed, made, packed)
    return sealed


def _placed_anew(config: BuildConfig, out: Path) -> Iterator[str]:
    """What the config gives other bits than the seal in force has: it may have been resharded."""
    try:
        sealed = Seal.read(out)
    except (SealError, OSError):  # none, or one that this build replaces
        return
    for place in sorted({f"{shard.corpus}/{shard.split}" for shard in sealed.shards}):
        now, then = config.bits.get(place), sealed.bits.get(place)
        if None not in (now, then) and now != then:
            yield f"note: {place} has bits {then} in the seal, {now} in the config: placed anew"


def _write_sidecars(out: Path, sealed: Seal) -> None:
    try:
        interop.write(out)
    except ValueError as error:  # of a damaged shard that was not packed again, or a key in two
        raise BuildError(
            f"{out} is sealed with root {sealed.root}, but its files for other libraries are not "
            f"made: {error}"
        ) from error


def _compared(plans: Sequence[ShardPlan], reuse: Reuse, walk: Walk) -> list[Made]:
    """What each shard is made of. A spec is a corpus and split: a shard takes milliseconds."""
    places = [list(of) for _, of in groupby(plans, key=attrgetter("corpus", "split"))]
    labels = [f"{of[0].corpus}-{of[0].split}" for of in places]
    found = walk.each("compare", lambda of: [reuse.made_of(plan) for plan in of], places, labels)
    return [made for of in found for made in of]


def _reused(plans: Sequence[ShardPlan], packed: Sequence[ShardPlan]) -> str:
    """ "shards reused: 5 of 7; packed: 2 of coco"."""
    counts = Counter(plan.corpus for plan in packed)
    told = ", ".join(f"{count:,} of {corpus}" for corpus, count in counts.items()) or "none"
    return f"shards reused: {len(plans) - len(packed):,} of {len(plans):,}; packed: {told}"


def start(number: int, pool: Executor) -> None:
    """Have a process of `pool` import what packing needs."""
    pool.submit(pack.ready).result()


def pack_one(plan: ShardPlan, config: BuildConfig, out: Path, pool: Executor | None) -> Packed:
    """Write one shard and its manifest, in a process of `pool` if there is one; nothing refers to
    them before the seal."""
    told = (plan, config.root_folder, out, config.image)
    return pool.submit(pack.pack, *told).result() if pool else pack.pack(*told)


def seal(
    finished: tuple[list[Line], list[ShardPlan], list[Packed]], config: BuildConfig, out: Path
) -> Seal:
    """Check that every shard is the planned one, its files are there and the ledger balances, then
    replace `dataset.json`. Raises BuildError or SealError."""
    lines, plans, packed = finished
    shards = tuple(one.shard for one in packed)
    for plan, shard in zip(plans, shards, strict=True):
        if (came := "-".join(shard.place)) != plan.name:
            raise BuildError(f"{plan.name} was to be packed, {came} came of it; nothing is sealed")
        store.check_files(out, shard)
    counts = ledger.counts(lines, _records(shards))
    for count in counts:
        of_place = [p for p in plans if (p.corpus, p.split) == (count.corpus, count.split)]
        planned = sum(plan.annotations for plan in of_place)
        if not count.balances or count.read != planned:
            place = f"{count.corpus}/{count.split}"
            raise BuildError(f"the ledger of {place} does not balance: {planned} planned, {count}")
    sealed = Seal(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        root=merkle_root(shards),
        config_digest=config.digest,
        image_policy=msgspec.structs.asdict(config.image),
        codecs=codecs() | alike.codecs(config),
        bits=config.bits,
        ledger=tuple(counts),
        reasons=ledger.write(out, lines),
        shards=shards,
    )
    store.commit(out, sealed)
    return sealed


def _records(shards: Sequence[Shard]) -> dict[tuple[str, Split], int]:
    records: dict[tuple[str, Split], int] = {}
    for shard in shards:
        place = (shard.corpus, shard.split)
        records[place] = records.get(place, 0) + shard.records
    return records


def _describe(
    out: Path, config: BuildConfig, started: datetime, walk: Walk, prepared: Prepared
) -> None:
    """`build.json`: when, where and how fast; nothing that the data set depends on."""
    story = {
        "started": started.isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "python": platform.python_version(),
        "config": config,
        "nodes": walk.nodes,
        "found": prepared.found,
    }
    store.write(out / "build.json", msgspec.json.format(msgspec.json.encode(story)) + b"\n")
