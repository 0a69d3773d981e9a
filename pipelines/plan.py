"""What a build would do, before an image is opened: what is there, what will be written, how many
bytes and hours, and which evaluation sets training would see.

Annotations are read and gated as in a build, so counts are exact. Bytes, sizes and time come from a
probe: a few dozen records of each corpus, packed as they would be on this machine.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from math import ceil, log2
from pathlib import Path
from statistics import median

import msgspec
import polars as pl
from rich.console import Console

from manifests.schema import SPLITS
from pipelines import alike, pack
from pipelines.build import check_apart, full_disk_named
from pipelines.config import BuildConfig
from pipelines.engine import Engine, Walk, helpers
from pipelines.fingerprint import fingerprint
from pipelines.locators import Images
from pipelines.prepare import Found, Prepared, prepare
from pipelines.scenes import draw_scenes
from pipelines.specs import Line, ShardPlan
from shards.images import ImageError

_PROBE = 48  # records of a corpus that are packed to see what packing costs
_SHARD = 256_000_000  # bytes that a shard should not be over


class CorpusPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A corpus: what was found, and what will be written. Sizes are of a sample's source images,
    `nbytes` and `seconds` (of one worker) what its records would take, from the probe."""

    corpus: str
    layout: str
    notes: tuple[str, ...]
    source_files: int
    source_bytes: int
    images: int
    annotations: int
    usable: int
    missing: int
    records: int
    shards: int
    width: float | None
    height: float | None
    unreadable: float
    nbytes: int
    seconds: float


class Protection(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry of `protect` holds back from training, and what it does that no other does."""

    by: str
    annotations: int
    alone: int


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation split: its images, and how many of them are trained on, by which corpora."""

    place: str
    images: int
    protected: str
    seen: int
    seen_by: tuple[str, ...]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The whole build. `seconds` is wall time with the config's workers, preparation included."""

    corpora: tuple[CorpusPlan, ...]
    lines: tuple[Line, ...]
    protections: tuple[Protection, ...]
    exposures: tuple[Exposure, ...]
    proposals: dict[str, int]  # better bits by "corpus/split"
    images: int  # compared by their pixels with protected ones
    unhashed: int  # of which the build has to look at these first
    errors: tuple[str, ...]  # for which the build would fail
    warnings: tuple[str, ...]
    shards: int
    nbytes: int
    seconds: float
    workers: int
    free: int

    @property
    def fits(self) -> bool:
        return self.nbytes < self.free

    @property
    def ready(self) -> bool:
        return self.fits and not self.errors


def plan(config: BuildConfig, out: Path, engine: Engine, console: Console) -> Plan:
    """Plan a build of `config` into `out`; nothing is written there.

    Raises CorpusError for a file that cannot be read, SettingsError, OSError.
    """
    check_apart(config, out.resolve())
    walk, begun = Walk(console, engine), time.monotonic()

    temporary = tempfile.TemporaryDirectory(prefix="plan-")
    with temporary as folder, full_disk_named(Path(folder)):
        work = Path(folder)
        prepared = prepare(config, work, walk.each, out / alike.FOLDER, look=False)
        prepared_in = time.monotonic() - begun
        step = partial(_corpus, prepared=prepared, config=config, work=work)
        names = [found.corpus for found in prepared.found]
        corpora = walk.each("probe", step, prepared.found, names)
        looking = _looking(prepared.unhashed, config.root_folder)
        exposures = tuple(_exposures(prepared, config)) if prepared.plans else ()
    return Plan(
        corpora=tuple(corpora),
        lines=prepared.lines,
        protections=tuple(_protections(prepared.lines)),
        exposures=exposures,
        proposals=dict(_proposals(prepared.plans, corpora, config)),
        images=prepared.images,
        unhashed=len(prepared.unhashed),
        errors=prepared.errors,
        warnings=(*prepared.warnings, *_too_many_unreadable(corpora, config)),
        shards=len(prepared.plans),
        nbytes=sum(corpus.nbytes for corpus in corpora),
        seconds=prepared_in + (looking + sum(one.seconds for one in corpora)) / config.workers,
        workers=config.workers,
        free=shutil.disk_usage(next(p for p in (out, *out.resolve().parents) if p.is_dir())).free,
    )


def _corpus(found: Found, prepared: Prepared, config: BuildConfig, work: Path) -> CorpusPlan:
    plans = [plan for plan in prepared.plans if plan.corpus == found.corpus]
    own = [line for line in prepared.lines if line.corpus == found.corpus]
    annotations = sum(plan.annotations for plan in plans)
    lost = sum(line.annotations for line in own if line.status != "unannotated")
    records = sum(plan.records for plan in plans)
    probe = _probe(plans, config, work) if records else _Probe(0, 1, 0, 0, [])
    return CorpusPlan(
        corpus=found.corpus,
        layout=found.layout,
        notes=found.notes,
        source_files=found.files,
        source_bytes=found.nbytes,
        images=found.images,
        annotations=annotations,
        usable=annotations - lost,
        missing=sum(line.annotations for line in own if line.reason == "image is missing"),
        records=records,
        shards=len(plans),
        width=median(width for width, _ in probe.sizes) if probe.sizes else None,
        height=median(height for _, height in probe.sizes) if probe.sizes else None,
        unreadable=1 - probe.written / probe.records,
        nbytes=round(records * probe.nbytes / probe.records),
        seconds=records * probe.seconds / probe.records,
    )


class _Probe(msgspec.Struct, frozen=True):
    """What packing `records` records took, and how many of them could be read."""

    written: int
    records: int
    nbytes: int
    seconds: float
    sizes: list[tuple[int, int]]


def _probe(plans: Sequence[ShardPlan], config: BuildConfig, work: Path) -> _Probe:
    """Pack a sample of a corpus's records as a shard of its own."""
    files = [plan for plan in plans if plan.records]
    chosen = files[:: max(1, len(files) // 8)][:8]
    parts = []
    for one in chosen:
        rows = pl.read_parquet(one.rows, glob=False).filter(pl.col("status").is_null())
        keys = rows["key"].unique(maintain_order=True)
        keys = keys.gather_every(max(1, len(keys) * len(chosen) // _PROBE))[
            : _PROBE // len(chosen) + 1
        ]
        parts.append(rows.filter(pl.col("key").is_in(keys.implode())))
    sample = pl.concat(parts).with_columns(split=pl.lit(chosen[0].split))
    sample = sample.with_columns(at=pl.col("key").rank("dense")).sort("at", maintain_order=True)
    folder = work / f"probe-{chosen[0].corpus}"
    folder.mkdir()
    path = folder / "rows.parquet"
    sample.drop("at").write_parquet(path)
    spec = msgspec.structs.replace(chosen[0], rows=str(path))
    begun = time.perf_counter()
    with helpers(1) as pool:
        spec = draw_scenes(spec, folder, pool)
    packed = pack.pack(spec, config.root_folder, folder, config.image)
    seconds = time.perf_counter() - begun
    sizes = pl.read_parquet(
        folder / packed.shard.manifest, columns=["width", "height"]
    ).drop_nulls()
    shutil.rmtree(folder)
    return _Probe(
        packed.shard.records,
        sample["key"].n_unique(),
        packed.shard.nbytes + packed.shard.manifest_nbytes,
        seconds,
        list(sizes.iter_rows()),
    )


def _too_many_unreadable(corpora: Sequence[CorpusPlan], config: BuildConfig) -> Iterator[str]:
    for one in corpora:
        if one.records and one.unreadable > (most := config.quarantine(one.corpus)):
            yield (
                f"{one.corpus}: {one.unreadable:.0%} of the images sampled cannot be read; a build "
                f"fails above max_quarantined ({most:g})"
            )


def _looking(locators: Sequence[str], root: Path) -> float:
    """Seconds that a worker needs for the fingerprints of images, from those of a few."""
    few = locators[:: max(1, len(locators) // _PROBE)][:_PROBE]
    begun = time.perf_counter()
    with Images(root) as images:
        for locator in few:
            with suppress(ImageError):
                fingerprint(images.read(locator))
    return (time.perf_counter() - begun) * len(locators) / max(1, len(few))


def _protections(lines: Sequence[Line]) -> Iterator[Protection]:
    """What each entry of `protect` costs, dearest first."""
    costs: dict[str, list[int]] = {}
    for line in lines:
        _, said, names = line.reason.partition(" is protected by ")
        if line.status != "held back" or not said:
            continue
        all_names = names.split(" and ")
        for name in all_names:
            cost = costs.setdefault(name, [0, 0])
            cost[0] += line.annotations
            cost[1] += line.annotations * (len(all_names) == 1)
    for by, (annotations, alone) in sorted(costs.items(), key=lambda item: -item[1][0]):
        yield Protection(by=by, annotations=annotations, alone=alone)


def _exposures(prepared: Prepared, config: BuildConfig) -> Iterator[Exposure]:
    """Each evaluation split, and which of its images some corpus would train on."""
    rows = pl.concat(
        [
            pl.scan_parquet(plan.rows, glob=False)
            .filter(~pl.col("error").fill_null("").str.starts_with("malformed annotation: "))
            .select("corpus", "split", "group", "status")
            for plan in prepared.plans
        ]
    )
    usable = pl.col("status").is_null() & (pl.col("split") == "train")
    trained = rows.filter(usable).select("group", by="corpus").unique().collect()
    judged = rows.filter(pl.col("split") != "train").select("corpus", "split", "group").unique()
    by_place = judged.collect().partition_by("corpus", "split", as_dict=True)
    for (corpus, split), groups in sorted(
        by_place.items(), key=lambda item: _place_order(*item[0])
    ):
        seen = trained.join(groups.select("group"), on="group", how="semi")
        image, text = config.protect.guards(str(corpus), str(split))
        yield Exposure(
            place=f"{corpus}/{split}",
            images=groups.height,
            protected="image" if image else "text" if text else "no",
            seen=seen["group"].n_unique(),
            seen_by=tuple(sorted(seen["by"].unique())),
        )


def _place_order(corpus: object, split: object) -> tuple[str, int]:
    return str(corpus), SPLITS.index(str(split))


def _proposals(
    plans: Sequence[ShardPlan], corpora: Sequence[CorpusPlan], config: BuildConfig
) -> Iterator[tuple[str, int]]:
    """Bits that give shards of 128 to 256 MB, for places that the config gives others."""
    by_corpus = {corpus.corpus: corpus.nbytes / max(1, corpus.records) for corpus in corpora}
    records: dict[str, int] = {}
    for one in plans:
        place = f"{one.corpus}/{one.split}"
        records[place] = records.get(place, 0) + round(by_corpus[one.corpus] * one.records)
    for place, nbytes in records.items():
        better = max(0, ceil(log2(nbytes / _SHARD))) if nbytes else 0
        if place in config.bits and config.bits[place] != better:
            yield place, better
