"""All of a build that needs no image: survey -> tabulate -> place -> gate.

What `build` packs and what `plan` tells of. Plain functions on specs (names and paths, never rows).
Robot-selection tasks are checked, split, put in other words and reasoned between tabulate and place
(`augment.py`).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from manifests.schema import Split
from pipelines import alike, augment, ledger
from pipelines.buckets import Placed, guard, place
from pipelines.config import BuildConfig
from pipelines.corpora import CorpusError, EmptyCorpusError
from pipelines.gate import Gated, gate
from pipelines.specs import Line, ShardPlan
from pipelines.table import write_rows

S = TypeVar("S")
R = TypeVar("R")


class Each(Protocol):
    """Runs a node: `function` on each of `specs`, named by `labels`."""

    def __call__(
        self, node: str, function: Callable[[S], R], specs: Sequence[S], labels: Sequence[str]
    ) -> list[R]: ...


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a survey saw of a corpus: its layout, its annotation files (or containers) and their
    bytes, the images on disk, and what a user should know. `error` says why it cannot be read;
    `empty` that there is nothing to read."""

    corpus: str
    layout: str
    files: int
    nbytes: int
    images: int
    notes: tuple[str, ...]
    empty: bool = False
    error: str | None = None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A corpus as rows: the Parquet file of them, and how many annotations were read."""

    corpus: str
    path: str
    read: int


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What a build is about to pack, and the ledger's lines of what will not be.

    `groups` is the Parquet file of all protected images. With `errors` it must not be packed;
    `warnings` are what a user should know of it besides. `images` are compared by their pixels, of
    which those at `unhashed` had no fingerprint before.
    """

    found: tuple[Found, ...]
    plans: tuple[ShardPlan, ...]
    lines: tuple[Line, ...]
    groups: str
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    images: int
    unhashed: tuple[str, ...]


def prepare(
    config: BuildConfig, work: Path, each: Each, cache: Path, look: bool = True
) -> Prepared:
    """Walk the nodes; their files go to `work`, fingerprints of images to the folder `cache`.

    Without `look` no image is opened: look-alikes are those that the cache knows of.

    Raises CorpusError for a file that cannot be read, LedgerError for sums that do not balance.
    """
    names = list(config.corpora)
    _check_root(config)
    found = each("survey", partial(survey, config=config), names, names)
    if look and (absent := list(_absent(found))):  # before hours of reading the rest
        raise CorpusError("\n".join(absent))
    tables = each("tabulate", partial(tabulate, config=config, work=work), found, names)
    if augment.CORPUS in names:
        at = names.index(augment.CORPUS)
        for node, function in augment.nodes(config.paraphrases).items():
            step = partial(augmented, node=node, function=function, work=work)
            tables[at : at + 1] = each(node, step, [tables[at]], [augment.CORPUS])
    placed = each("place", partial(placed_in, config=config, work=work), tables, names)
    guards = guard(placed, config.protect, work)
    twins, images, unhashed = None, 0, []
    if config.protect.near_duplicates != "off":
        compared = alike.compared(config, placed, guards[0])
        images, unhashed = len(compared.all), alike.unhashed(config, compared, cache)
        looking = partial(each, "fingerprint") if look else _nothing_read
        twins = work / "near.parquet"
        alike.look_alikes(config, compared, cache, looking, twins)
    buckets = [(bucket, one.disputed) for one in placed for bucket in one.buckets]
    labels = [Path(bucket).stem for bucket, _ in buckets]
    gated = each("gate", partial(gated_in, guards=guards, near=twins, work=work), buckets, labels)
    plans = sorted((p for one in gated for p in one.plans), key=lambda p: (p.corpus, p.split, p.id))
    lines = ledger.merged(line for one in gated for line in one.lines)
    _check_sums(tables, plans)
    told = [*lines, *_to_come(plans, lines)]
    absent = {one.corpus for one in found if one.error}
    there = msgspec.structs.replace(
        config, corpora={n: of for n, of in config.corpora.items() if n not in absent}
    )
    return Prepared(
        found=tuple(found),
        plans=tuple(plans),
        lines=tuple(lines),
        groups=str(guards[0]),
        errors=(*_absent(found), *ledger.errors(told, there)),
        warnings=(*ledger.warnings(told, there), *_unprotected(config, placed)),
        images=images,
        unhashed=tuple(unhashed),
    )


def _unprotected(config: BuildConfig, placed: Sequence[Placed]) -> Iterator[str]:
    """What is to be protected, and cannot be: nobody has said which images it is."""
    places = [place for one in placed for place in one.places]
    if patterns := config.protect.without_effect(places):
        yield (
            f"nothing was read of {', '.join(patterns)}: their pictures and questions are not "
            f"known, and not kept out of training by protect"
        )


def _nothing_read(function: object, specs: Sequence[object], labels: Sequence[str]) -> None:
    """Leaves images without a fingerprint that have none."""


def _absent(found: Sequence[Found]) -> Iterator[str]:
    """All that is missing at once, with what to type to do without it."""
    yield from (one.error for one in found if one.error)
    if names := [one.corpus for one in found if one.error]:
        without = " ".join(f"--set corpora.{name}=null" for name in names)
        yield f"Without {', '.join(names)}: {without}"


def survey(corpus: str, config: BuildConfig) -> Found:
    """Look for a corpus's files."""
    nothing = {"corpus": corpus, "files": 0, "nbytes": 0, "images": 0}
    try:
        there = config.reader(corpus).survey(config.folders(corpus))
    except CorpusError as error:
        empty = isinstance(error, EmptyCorpusError)
        if not empty or config.corpus(corpus).on_empty == "fail":
            return Found(layout="not found", notes=(), empty=True, error=str(error), **nothing)
        return Found(layout="empty", notes=(str(error),), empty=True, **nothing)
    return Found(
        corpus=corpus,
        layout=there.layout,
        files=len(there.files),
        nbytes=sum(path.stat().st_size for path in there.files),
        images=there.images,
        notes=there.notes,
    )


def tabulate(found: Found, config: BuildConfig, work: Path) -> Table:
    """Read a corpus's annotations into rows. Raises CorpusError for a file that cannot be read."""
    corpus = found.corpus
    path = work / f"{corpus}.rows"
    rows = iter(())
    if not found.empty:
        rows = config.reader(corpus).survey(config.folders(corpus)).rows()
    return Table(corpus=corpus, path=str(path), read=write_rows(path, corpus, rows))


def augmented(table: Table, node: str, function: augment.Node, work: Path) -> Table:
    """The robots' table after one more node."""
    path = work / f"{table.corpus}-{node}.rows"
    read = augment.apply(function, Path(table.path), path)
    return Table(corpus=table.corpus, path=str(path), read=read)


def placed_in(table: Table, config: BuildConfig, work: Path) -> Placed:
    """A corpus's rows in buckets of whole shards."""
    return place(Path(table.path), table.corpus, config.bits, config.protect, work)


def gated_in(
    bucket: tuple[str, str], guards: tuple[Path, Path], near: Path | None, work: Path
) -> Gated:
    """The plans of a bucket's shards."""
    rows, disputed = map(Path, bucket)
    return gate(rows, disputed, guards, near, work)


def _check_root(config: BuildConfig) -> None:
    root = config.root_folder
    below = [name for name in config.corpora if config.folders(name).path.is_relative_to(root)]
    if below and not root.is_dir():
        raise CorpusError(
            f"root {root} does not exist, so there is no {', '.join(below)}. Correct it in the "
            f"config or by --set root=DIR, or draw a small one: python -m pipelines samples --out "
            f"{root}"
        )


def _check_sums(tables: Sequence[Table], plans: Sequence[ShardPlan]) -> None:
    for table in tables:
        planned = sum(plan.annotations for plan in plans if plan.corpus == table.corpus)
        if planned != table.read:
            what = f"{table.corpus}: {table.read} annotations read, {planned} placed"
            raise ledger.LedgerError(what)


def _to_come(plans: Sequence[ShardPlan], lines: Sequence[Line]) -> list[Line]:
    """What is not lost so far, as if it were written."""
    left: dict[tuple[str, Split], int] = {(plan.corpus, plan.split): 0 for plan in plans}
    for plan in plans:
        left[plan.corpus, plan.split] += plan.annotations
    for line in lines:
        if line.status != "unannotated":
            left[line.corpus, line.split] -= line.annotations
    return [
        Line(corpus=corpus, split=split, status="written", reason="", annotations=n, example="")
        for (corpus, split), n in left.items()
        if n
    ]
