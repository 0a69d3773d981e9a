"""Raw corpora -> a sealed data set: survey -> tabulate -> gate -> scenes -> pack -> seal.

Robot-selection tasks are checked, split, put in other words and reasoned between tabulate and gate
(`augment.py`). Plain functions on specs (names and paths, never rows), walked once, by `build`; an
Engine says how each node is run: on this process's threads, or as Prefect tasks (`flows.py`). One
build at a time writes to a folder.
"""

import platform
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import polars as pl
from rich.console import Console

from manifests import store
from manifests.schema import SCHEMA_VERSION, Split
from manifests.seal import FORMAT, Count, Seal, SealError, merkle_root
from pipelines import augment, corpora, pack
from pipelines.config import BuildConfig
from pipelines.corpora import CorpusError
from pipelines.engine import Engine, Walk
from pipelines.gate import ShardPlan, gate
from pipelines.pack import Failure, Packed
from pipelines.scenes import draw_scenes, helpers
from pipelines.table import write_rows
from shards.images import codecs

S = TypeVar("S")
R = TypeVar("R")
_OURS = re.compile(r"(?P<corpus>.+)-(train|val|test)-.+-[0-9a-f]{8}\.(tar|parquet)")


class BuildError(ValueError):
    """A build that must not be sealed: an empty corpus, or a ledger that does not balance."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a survey saw of a corpus: annotation files and their bytes, and images on disk."""

    corpus: str
    files: int
    nbytes: int
    images: int


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A corpus as rows: the Parquet file of them, and how many annotations were read."""

    corpus: str
    path: str
    read: int


def build(config: BuildConfig, out: Path, engine: Engine, console: Console) -> Seal:
    """Build `config` into `out` and seal it; what stood there before stays whole until then.

    Raises CorpusError, BuildError or OSError; nothing half-built has a final name.
    """
    out = out.resolve()
    if out.exists() and not out.is_dir():
        raise BuildError(f"--out {out} is a file; expected a folder, or a name for a new one")
    root = Path(config.root).resolve()
    below = [name for name in config.corpora if config.folders(name).path.is_relative_to(root)]
    if below and not root.is_dir():
        raise CorpusError(
            f"root {root} does not exist, so there is no {', '.join(below)}. Correct it in the "
            f"config or by --set root=DIR, or draw a small one: python -m pipelines samples --out "
            f"{root}"
        )
    with store.sole_writer(out):
        return _build(config, out, engine, console)


def _build(config: BuildConfig, out: Path, engine: Engine, console: Console) -> Seal:
    started, walk = datetime.now(UTC), Walk(console)
    work = out / f"{store.TEMPORARY}build"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)

    def each(
        node: str, function: Callable[[S], R], specs: Sequence[S], labels: Sequence[str]
    ) -> list[R]:
        with walk.node(node, len(specs)) as advance:
            return engine.each(node, function, specs, labels, advance)

    names = list(config.corpora)
    try:
        found = each("survey", partial(survey, config=config), names, names)
        tables = each("tabulate", partial(tabulate, config=config, work=work), names, names)
        if augment.CORPUS in names:
            at = names.index(augment.CORPUS)
            for node, function in augment.nodes(config.paraphrases).items():
                step = partial(augmented, node=node, function=function, work=work)
                tables[at : at + 1] = each(node, step, [tables[at]], [augment.CORPUS])
        (plans,) = each("gate", partial(place, config=config, work=work), [tables], ["all"])
        shards = [plan.name for plan in plans]
        with helpers(config.workers) as pool:
            drawn = partial(draw_scenes, folder=work, pool=pool)
            plans = each("scenes", drawn, plans, shards)
        packed = each("pack", partial(pack_one, config=config, out=out), plans, shards)
        results = list(zip(plans, packed, strict=True))
        (sealed,) = each("seal", partial(seal, config=config, out=out), [results], ["all"])
    finally:
        shutil.rmtree(work, ignore_errors=True)
        with suppress(SealError):  # a build that failed: back to what is sealed, if anything is
            _collect(out, Seal.read(out))
    _describe(out, config, started, walk, found)
    return sealed


def survey(corpus: str, config: BuildConfig) -> Found:
    """Look for a corpus's files. Raises CorpusError saying what is missing."""
    there = corpora.load(corpus).survey(config.folders(corpus))
    nbytes = sum(path.stat().st_size for path in there.files)
    return Found(corpus=corpus, files=len(there.files), nbytes=nbytes, images=there.images)


def tabulate(corpus: str, config: BuildConfig, work: Path) -> Table:
    """Read a corpus's annotations into rows. Raises CorpusError for a file that cannot be read."""
    there = corpora.load(corpus).survey(config.folders(corpus))
    path = work / f"{corpus}.rows"
    return Table(corpus=corpus, path=str(path), read=write_rows(path, corpus, there.rows()))


def augmented(table: Table, node: str, function: augment.Node, work: Path) -> Table:
    """The robots' table after one more node."""
    path = work / f"{table.corpus}-{node}.rows"
    read = augment.apply(function, Path(table.path), path)
    return Table(corpus=table.corpus, path=str(path), read=read)


def place(tables: list[Table], config: BuildConfig, work: Path) -> list[ShardPlan]:
    """Gate all rows and plan the shards. Raises BuildError if a corpus has nothing to write."""
    plans = gate([Path(table.path) for table in tables], config.bits, config.protect, work)
    for table in tables:
        of_corpus = [plan for plan in plans if plan.corpus == table.corpus]
        if (planned := sum(plan.annotations for plan in of_corpus)) != table.read:
            raise BuildError(f"{table.corpus}: {table.read} annotations read, {planned} placed")
        rows = [plan.rows for plan in of_corpus]
        failures: list[Failure] = []
        if rows:
            errors = pl.read_parquet(rows, columns=["error", "locator"], glob=False)
            if errors["error"].null_count():
                continue
            failures = [Failure(error, 1, locator) for error, locator in errors.iter_rows()]
        raise BuildError(_nothing(table.corpus, table.read, failures))
    return plans


def pack_one(plan: ShardPlan, config: BuildConfig, out: Path) -> Packed:
    """Write one shard and its manifest; nothing refers to them before the seal."""
    return pack.pack(plan, Path(config.root).resolve(), out, config.image)


def seal(results: list[tuple[ShardPlan, Packed]], config: BuildConfig, out: Path) -> Seal:
    """Check that the ledger balances and every file is there, then replace `dataset.json`."""
    shards = tuple(result.shard for _, result in results)
    for shard in shards:
        for name, size in ((shard.tar, shard.nbytes), (shard.manifest, shard.manifest_nbytes)):
            if (out / name).stat().st_size != size:
                raise BuildError(f"{out / name} is not the {size} bytes that were written")
    sealed = Seal(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        root=merkle_root(shards),
        config_digest=config.digest,
        image_policy=msgspec.structs.asdict(config.image),
        codecs=codecs(),
        bits=config.bits,
        ledger=tuple(_ledger(results)),
        shards=shards,
    )
    for corpus in config.corpora:
        of_corpus = [result for plan, result in results if plan.corpus == corpus]
        if not any(result.shard.records for result in of_corpus):
            failures = [failure for result in of_corpus for failure in result.failures]
            read = sum(failure.annotations for failure in failures)
            raise BuildError(_nothing(corpus, read, failures))
    store.commit(out, sealed)
    return sealed


def _ledger(results: Iterable[tuple[ShardPlan, Packed]]) -> Iterator[Count]:
    sums: dict[tuple[str, Split], Counter[str]] = {}
    for plan, result in results:
        count = sums.setdefault((plan.corpus, plan.split), Counter())
        count.update(result.fates)
        count.update(read=plan.annotations, records=result.shard.records)
    for (corpus, split), count in sorted(sums.items()):
        line = Count(
            corpus=corpus,
            split=split,
            read=count["read"],
            written=count["written"],
            quarantined=count["quarantined"],
            duplicate=count["duplicate"],
            held_back=count["held back"],
            records=count["records"],
            unannotated=count["unannotated"],
        )
        if not line.balances:
            raise BuildError(f"the ledger of {corpus}/{split} does not balance: {line}")
        yield line


def _nothing(corpus: str, read: int, failures: Iterable[Failure]) -> str:
    """The message for a corpus that is present but gives no sample."""
    reasons, first = Counter[str](), dict[str, str]()
    for failure in failures:
        reasons[failure.error] += failure.annotations
        first.setdefault(failure.error, failure.locator)
    lines = [f"{corpus}: {read} annotations read, none can be written; the commonest reasons:"]
    for reason, count in reasons.most_common(10):
        lines.append(f"  {count:>7,}  {reason}, as {first[reason] or 'in its annotation file'}")
    lines += [] if reasons else ["  its files hold no annotation"]
    return "\n".join([*lines, f"Mend the files, or remove {corpus} from the config"])


def _collect(out: Path, sealed: Seal) -> None:
    """Remove shards and manifests that no seal lists: an older build's, or a crash's.

    By their names: `out` may hold a user's own tars, which are nobody's to remove.
    """
    listed = {out / name for shard in sealed.shards for name in (shard.tar, shard.manifest)}
    for folder in (*out.glob("*"), *out.glob("manifests/*")):
        named = ((path, _OURS.fullmatch(path.name)) for path in folder.glob("*"))
        ours = [path for path, name in named if name and name["corpus"] == folder.name]
        if folder.name in {shard.corpus for shard in sealed.shards}:
            ours += (path for path in folder.glob(f"{store.TEMPORARY}*") if path.is_file())
        for path in ours:
            if path not in listed:
                path.unlink()


def _describe(
    out: Path, config: BuildConfig, started: datetime, walk: Walk, found: list[Found]
) -> None:
    """`build.json`: when, where and how fast; nothing that the data set depends on."""
    story = {
        "started": started.isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "python": platform.python_version(),
        "config": config,
        "nodes": walk.nodes,
        "found": found,
    }
    store.write(out / "build.json", msgspec.json.format(msgspec.json.encode(story)) + b"\n")
