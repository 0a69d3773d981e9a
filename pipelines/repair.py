"""A damaged data set -> the same one, whole: only what is damaged is made anew, from the sources.

    repaired = repair(folder, config, Threads(2), console)

A damaged shard is packed again in a temporary folder of the data set, and its files take the places
of the damaged ones only if they are what was sealed. So sources that have changed since change
nothing here, a file that is whole is not touched, and the root stays what it is.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from manifests import disk, store
from manifests.schema import canonical_json
from manifests.seal import NAME, Seal, Shard, merkle_root
from pipelines import alike, pack
from pipelines.build import full_disk_named
from pipelines.config import BuildConfig
from pipelines.engine import Engine, Walk, helpers
from pipelines.prepare import Prepared, prepare
from pipelines.scenes import draw_scenes
from pipelines.sealed_config import as_sealed
from pipelines.specs import ShardPlan
from pipelines.state import new_work
from shards import interop
from shards.damage import Problem
from shards.images import codecs
from shards.validate import check_shards, validate

_TOLD = 3  # problems of a shard, and records that differ


class RepairError(ValueError):
    """A data set that cannot be repaired with what was given."""


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a data set, a line each: shards `mended` (and what was wrong), derived files
    `remade`, shards that `failed` (and why), and what was `left` as it is."""

    sealed: Seal
    mended: tuple[str, ...]
    remade: tuple[str, ...]
    failed: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def whole(self) -> bool:
        return not self.failed and not self.left

    def __str__(self) -> str:
        """What was done; what could not be is apart."""
        count, damaged = len(self.sealed.shards), len(self.mended) + len(self.failed)
        said = [
            f"repaired {len(self.mended)} of {count} shards" if damaged else "no shard is damaged"
        ]
        said[0] += f": {', '.join(self.mended)}" if self.mended else ""
        said += [f"made anew: {', '.join(self.remade)}"] if self.remade else []
        root = f"root {self.sealed.root}"
        return "; ".join([*said, f"{root}, unchanged" if self.mended else root])


class _Damaged(msgspec.Struct, frozen=True, kw_only=True):
    """A damaged shard, and what is wrong with its files."""

    shard: Shard
    problems: list[Problem]

    @property
    def name(self) -> str:
        return "-".join(self.shard.place)

    @property
    def files(self) -> set[str]:
        return {problem.file for problem in self.problems}

    def __str__(self) -> str:
        said = [str(one).removeprefix(f"{self.shard.tar}: ") for one in self.problems]
        more = [f"{len(said) - _TOLD} more"] if len(said) > _TOLD else []
        return f"{self.shard.tar} ({'; '.join(said[:_TOLD] + more)})"


def repair(folder: Path, config: BuildConfig, engine: Engine, console: Console) -> Repaired:
    """Make the damaged shards of a data set anew from the sources of `config`, and damaged derived
    files from the shards. What is whole is not written, nor is any image read for it.

    A shard that the sources do not give any more is left as it is. Raises SealError, RepairError,
    CorpusError or OSError. A repair that is killed leaves each file as it was, or mended.
    """
    folder = folder.resolve()
    Seal.read(folder)  # before a lock makes a folder
    with store.sole_writer(folder), full_disk_named(folder):
        sealed = Seal.read(folder)
        config = as_sealed(config, sealed, folder)
        found = _validated(folder, sealed, console)
        damaged = list(_damaged(sealed, found))
        results = _mend_all(damaged, sealed, folder, config, Walk(console, engine))
        sealed = _commit(folder, sealed, [now for now in results if isinstance(now, Shard)])
        of_shards = {file for one in damaged for file in one.files}
        others = [problem for problem in found if problem.file not in of_shards]
        failed = [now for now in results if isinstance(now, str)]
        remade = _make_derived(folder, damaged, others, whole=not failed)
    return Repaired(
        sealed=sealed,
        mended=tuple(
            str(one) for one, now in zip(damaged, results, strict=True) if isinstance(now, Shard)
        ),
        remade=tuple(remade),
        failed=tuple(failed),
        left=tuple(_advised(p, sealed, folder) for p in others if p.file not in remade),
    )


def _validated(folder: Path, sealed: Seal, console: Console) -> list[Problem]:
    """All that is wrong, with a bar of the bytes that are read."""
    columns = (TextColumn("{task.description:>10}"), BarColumn(), DownloadColumn())
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task("validate", total=sum(shard.nbytes for shard in sealed.shards))
        return list(validate(folder, partial(progress.advance, task)))


def _damaged(sealed: Seal, found: Iterable[Problem]) -> Iterator[_Damaged]:
    """The shards that have a problem in their own files, in the seal's order."""
    of_file: defaultdict[str, list[Problem]] = defaultdict(list)
    for problem in found:
        of_file[problem.file].append(problem)
    for shard in sealed.shards:
        if problems := [*of_file[shard.tar], *of_file[shard.manifest]]:
            yield _Damaged(shard=shard, problems=problems)


def _mend_all(
    damaged: Sequence[_Damaged], sealed: Seal, folder: Path, config: BuildConfig, walk: Walk
) -> list[Shard | str]:
    """For each damaged shard, how the seal is to list it now, or why it is damaged still."""
    if not damaged:
        return []
    of_place = {one.shard.place: one for one in damaged}
    work = new_work(folder)  # the next build removes what a killed repair left
    try:
        prepared = prepare(config, work, walk.each, cache=folder / alike.FOLDER, look=False)
        plans = [p for p in prepared.plans if (p.corpus, p.split, p.id) in of_place]
        labels = [plan.name for plan in plans]
        with helpers(config.workers) as pool:
            drawn = partial(draw_scenes, folder=work, pool=pool)
            plans = walk.each("scenes", drawn, plans, labels)

        def mend(plan: ShardPlan) -> Shard | str:
            one = of_place[plan.corpus, plan.split, plan.id]
            try:
                with full_disk_named(folder):
                    return _mend(one, plan, folder, work, config)
            except OSError as error:  # of this shard; others can be mended, and are told
                return str(error)

        mended = dict(zip(labels, walk.each("pack", mend, plans, labels), strict=True))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    hints = " ".join(_hints(prepared, sealed, config, folder))
    results = [mended.get(one.name, "the sources have no row of it") for one in damaged]
    return [
        f"{one.shard.tar} is damaged still: {now}. {hints}" if isinstance(now, str) else now
        for one, now in zip(damaged, results, strict=True)
    ]


def _mend(
    one: _Damaged, plan: ShardPlan, folder: Path, work: Path, config: BuildConfig
) -> Shard | str:
    """Pack a shard into `work`; if it is the sealed one, put its files where damaged ones are.

    Returns how the seal is to list it, or how it differs from what was sealed.
    """
    old = one.shard
    new = pack.pack(plan, config.root_folder, work, config.image).shard
    listed = msgspec.structs.replace(  # but for the Parquet file, whose writer may be another
        old,
        manifest=new.manifest,
        manifest_nbytes=new.manifest_nbytes,
        manifest_sha256=new.manifest_sha256,
    )
    if new != listed:
        return _difference(one, new, folder, work)
    if old.tar in one.files:
        _place(work, folder, old.tar)
    if old.manifest not in one.files:
        return old
    _place(work, folder, new.manifest)
    return new


def _place(work: Path, folder: Path, file: str) -> None:
    """Replace a file by the one made anew, at once; who has it open reads on in the old one."""
    if (folder / file).is_dir() and not (folder / file).is_symlink():
        raise IsADirectoryError(f"{folder / file} is a folder; move it away and repair again")
    disk.make_folder((folder / file).parent)
    store.publish(work / file, folder / file)


def _difference(one: _Damaged, new: Shard, folder: Path, work: Path) -> str:
    """What the sources give, beside what was sealed; and of which records, if that is known."""
    old = one.shard
    names = ("records", "turns", "nbytes", "sha256", "rows_digest")
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in names]
    said = [f"{n} {str(was)[:16]}, now {str(now)[:16]}" for n, was, now in pairs if was != now]
    told = f"the sources have changed since it was sealed with {'; '.join(said)}"
    if old.manifest in one.files:
        return told
    before, after = _records(folder / old.manifest), _records(work / new.manifest)
    keys = {key for key, *_ in before ^ after}
    shown = ", ".join(sorted(keys)[:_TOLD]) + (", ..." if len(keys) > _TOLD else "")
    return f"{told}; {len(keys)} of its records: {shown}"


def _records(manifest: Path) -> set[tuple]:
    """Every row of a manifest without what depends on the rows before it."""
    rows = pq.read_table(manifest).drop_columns(["shard", "offset"]).to_pylist()
    return {(row["key"], canonical_json(row)) for row in rows}


def _hints(prepared: Prepared, sealed: Seal, config: BuildConfig, folder: Path) -> Iterator[str]:
    """What may be why a shard comes out as another, and what to type then."""
    now = codecs() | alike.codecs(config)
    for name, version in sealed.codecs.items():
        if now.get(name) != version:
            yield f"It was made with {name} {version}; here is {now.get(name)}."
    if prepared.unhashed:
        count = f"{len(prepared.unhashed):,} of {prepared.images:,}"
        yield f"{count} images have no fingerprint in {folder / alike.FOLDER}, to tell look-alikes."
    for error in prepared.errors:
        yield f"{error.splitlines()[0].rstrip('.')}."
    yield (
        f"If the sources are as they should be: python -m pipelines build --config C --out {folder}"
    )


def _commit(folder: Path, sealed: Seal, mended: Sequence[Shard]) -> Seal:
    """The seal with the mended shards, in force if a manifest of theirs has another name now.

    Raises RepairError if one of them, read again, is not what it says.
    """
    mended_only = msgspec.structs.replace(sealed, shards=tuple(mended))
    if wrong := [str(p) for one in check_shards(folder, mended_only) for p in one.problems]:
        raise RepairError(f"written, and read back otherwise; is the disk sound? {wrong[0]}")
    now = {shard.place: shard for shard in mended}
    shards = tuple(now.get(shard.place, shard) for shard in sealed.shards)
    assert merkle_root(shards) == sealed.root, "each is what was sealed"
    if shards != sealed.shards:
        store.commit(folder, msgspec.structs.replace(sealed, shards=shards))
        for manifest in {s.manifest for s in sealed.shards} - {s.manifest for s in shards}:
            disk.remove(folder / manifest)
    return msgspec.structs.replace(sealed, shards=shards)


def _make_derived(
    folder: Path, damaged: Sequence[_Damaged], others: Sequence[Problem], *, whole: bool
) -> list[str]:
    """Remove indices that are damaged or follow from a manifest that was: the next reader makes
    them. If all shards are whole, make stale sidecars anew. Returns the files meant."""
    indices = {p.file for p in others if p.file.startswith("index/")}
    for one in damaged:
        if one.shard.manifest in one.files:
            disk.remove(folder / "index" / f"{one.shard.corpus}-{one.shard.split}.idx")
    sidecars = {file for file, _ in interop.stale(folder)} if whole else set()
    for file in indices | sidecars:
        disk.remove(folder / file)
    if sidecars or (damaged and whole):
        interop.write(folder)
    return sorted(indices | sidecars)


def _advised(problem: Problem, sealed: Seal, folder: Path) -> str:
    """A problem that is no shard's, and what to do about it."""
    if problem.file in (NAME, sealed.reasons.path):
        return (
            f"{problem}. Write it anew: python -m pipelines build --deep --config C --out {folder}"
        )
    return f"{problem}; left as it is"
