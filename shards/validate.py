"""Is a data set what its seal says? Reads every byte, changes none.

for problem in validate(folder): ...      # none: whole
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from manifests import seal
from manifests.disk import TEMPORARY
from manifests.seal import Seal, SealError
from shards import interop, unlisted
from shards.damage import Checked, Problem, Rules, check_shard, not_as_sealed
from shards.pool import ordered_map
from shards.reader import Dataset
from shards.rows import DamageError
from shards.sequential import FileError, SequentialFile
from shards.totals import Totals


def validate(
    folder: Path | str,
    progress: Callable[[int], None] = lambda nbytes: None,
    *,
    quick: bool = False,
) -> Iterator[Problem]:
    """What is wrong, shard by shard in the order of the seal; nothing for a whole data set.

    `quick` compares only names and sizes with the seal. `progress` is told how many bytes of tars
    were read since it was told last. Raises ChildProcessError if a helper process is killed.
    """
    folder = Path(folder)
    try:
        sealed = Seal.read(folder)
    except SealError as error:
        yield Problem(file=seal.NAME, what=str(error))
        return
    policy = sealed.image_policy
    if policy.get("policy") not in ("squash", "keep") or not isinstance(policy.get("size"), int):
        what = f"image_policy is {policy}; expected a policy, squash or keep, and a size"
        yield Problem(file=seal.NAME, what=what)
        return
    yield from _seal(folder, sealed)
    yield from unlisted.problems(folder, sealed)
    if quick:
        yield from _sizes(folder, sealed)
        return
    try:
        reasons = sealed.reasons
        with SequentialFile(folder, reasons.path) as stream:
            found = stream.drain()
            problem = not_as_sealed(stream.nbytes, reasons.nbytes, found, reasons.sha256)
    except FileError as error:
        problem = str(error)
    if problem:
        yield Problem(file=reasons.path, what=problem)
    totals = Totals(folder, sealed)
    names = {shard.sha256: shard.tar for shard in sealed.shards}
    for shard, checked in zip(sealed.shards, check_shards(folder, sealed, progress), strict=True):
        yield from checked.problems
        other = names.get(checked.sha256 or "", shard.tar)
        if checked.sha256 != shard.sha256 and other != shard.tar:
            what = f"holds the bytes of {other}"
            yield Problem(file=shard.tar, what=what, place=shard.place)
        totals.add(shard, checked)
    yield from totals.problems()
    data = Dataset(folder)
    for corpus, split in totals.read:
        source = data.source(corpus, split)
        what = None
        with suppress(DamageError):  # of a manifest, named above
            try:
                what = "damaged" if source.index_damaged() else None
            except FileError as error:
                what = str(error)
        if what:
            what += "; remove it, it is made anew when read"
            yield Problem(file=f"index/{corpus}-{split}.idx", what=what)
    yield from (Problem(file=file, what=what) for file, what in interop.stale(folder))


def check_shards(
    folder: Path, sealed: Seal, progress: Callable[[int], None] = lambda nbytes: None
) -> Iterator[Checked]:
    """Each shard of the seal checked, in its order; see `validate`."""
    policy = sealed.image_policy
    side = int(policy["size"]) if policy["policy"] == "squash" else None
    items = [
        (shard, Rules(bits=sealed.bits.get(f"{shard.corpus}/{shard.split}"), side=side))
        for shard in sealed.shards
    ]
    nbytes = sum(shard.nbytes for shard in sealed.shards)
    return ordered_map(partial(check_shard, folder), items, nbytes, progress)


def unfinished(folder: Path | str) -> Iterator[str]:
    """What was left by who was killed or still runs, a line each: no fault of the data set."""
    folder = Path(folder)
    patterns = (f"{TEMPORARY}*", f"*/{TEMPORARY}*", f"manifests/*/{TEMPORARY}*")
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        name = path.relative_to(folder).as_posix()
        who, then = "build", "the next build removes it"
        if name.startswith(("index/", "tokens/")):  # which builds leave alone
            who, then = "reader", "remove it if none does"
        yield f"{name}: left by a {who} that was killed or still runs; {then}"


def _seal(folder: Path, sealed: Seal) -> Iterator[Problem]:
    """What the seal's root does not cover, and can be judged by the seal alone."""
    if (folder / seal.NAME).read_bytes() != sealed.encode():
        what = "its bytes are not as a seal is written, though what it says is the same"
        yield Problem(file=seal.NAME, what=what)
    for place, times in Counter(shard.place for shard in sealed.shards).items():
        if times > 1:
            yield Problem(file=seal.NAME, what=f"lists shard {'/'.join(place)} {times} times")


def _sizes(folder: Path, sealed: Seal) -> Iterator[Problem]:
    """Files that are missing or of another size or name than the seal says."""
    for shard in sealed.shards:
        for name, nbytes, digest in (
            (shard.tar, shard.nbytes, shard.sha256),
            (shard.manifest, shard.manifest_nbytes, shard.manifest_sha256),
        ):
            for what in _size(folder, name, nbytes, digest):
                yield Problem(file=name, what=what, place=shard.place)
    reasons = sealed.reasons
    for what in _size(folder, reasons.path, reasons.nbytes, reasons.sha256):
        yield Problem(file=reasons.path, what=what)


def _size(folder: Path, name: str, nbytes: int, sha256: str) -> Iterator[str]:
    try:
        with SequentialFile(folder, name) as stream:
            if stream.nbytes != nbytes:
                yield f"{stream.nbytes} bytes, sealed with {nbytes}"
    except FileError as error:
        yield str(error)
    if Path(name).stem.rpartition("-")[2] != sha256[:8]:
        yield f"its name does not end in {sha256[:8]}, as its content asks"
