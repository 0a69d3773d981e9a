"""Files beside sealed shards that let other libraries open them: energon, wids, HF datasets.

    interop.write(folder)                             # what is missing or of an older seal
    for file, what in interop.stale(folder): ...      # what is there and wrong
    interop.tars(folder, "coco", "train")             # what webdataset wants

    <corpus>/<tar>.idx, .nv-meta/...    shards/energon.py
    .nv-meta/split-<corpus>.yaml        shards/blend.py
    wids-<split>.json                   the tars of all corpora, for wids.ShardListDataset
    README.md                           shards/card.py

All follow from the seal and what it lists, none is part of it: they may be removed at any time, and
`python -m shards sidecars DIR` makes them anew.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from manifests import disk, store
from manifests.schema import SPLITS
from manifests.seal import Seal, Shard
from shards import blend, card, energon
from shards.reader import DamageError
from shards.sequential import FileError, read_there

_NAMES = re.compile(
    r"README\.md|wids-(train|val|test)\.json|[^/]+/[^/]+\.tar\.idx"
    r"|\.nv-meta/(\.info\.json|split(-[^/]+)?\.yaml|dataset\.yaml|index\.(sqlite|sha256|uuid))"
)


def is_sidecar(relative: str) -> bool:
    """Whether a path, relative to a data set's folder, is one that `write` may make."""
    return _NAMES.fullmatch(relative) is not None


class NoTarsError(ValueError):
    """A data set has no tars of what was asked for, or their names cannot be told as asked."""


def tars(folder: Path, corpus: str | None = None, split: str | None = None) -> list[Path]:
    """The tars of a corpus, a split or all, in the order of the seal; none that holds no record.

    Raises SealError, or NoTarsError naming what there is.
    """
    shards = energon.filled(Seal.read(folder))
    if split is not None and split not in SPLITS:
        raise NoTarsError(f"there is no split {split}; splits are {', '.join(SPLITS)}")
    found = [s for s in shards if corpus in (None, s.corpus) and split in (None, s.split)]
    if not found:
        asked = f"{corpus or 'any corpus'}/{split or 'any split'}"
        there = ", ".join(sorted({f"{shard.corpus}/{shard.split}" for shard in shards}))
        raise NoTarsError(f"{folder} has no records of {asked}; it has {there or 'none at all'}")
    return [folder / shard.tar for shard in found]


def braces(folder: Path, tars: Sequence[Path]) -> str:
    """One brace expression for `tars`, as webdataset and the shell expand it. Raises NoTarsError
    if the folder's own name holds braces or a comma."""
    if set("{},") & set(str(folder)):
        raise NoTarsError(f"{folder} has a brace or comma in its name; list without --brace")
    names = ",".join(path.relative_to(folder).as_posix() for path in tars)
    return str(folder / (f"{{{names}}}" if len(tars) > 1 else names))


def write(
    folder: Path, anew: bool = False, progress: Callable[[Shard], None] = lambda shard: None
) -> None:
    """Make every sidecar that is missing or not of the seal in force; all of them if `anew`.

    What is fresh is told by size, content or the root that it names, and not written again. Left
    alone: a `dataset.yaml`, and a README.md that is not ours. `progress` is told each shard that is
    read. Raises SealError, DamageError, energon.KeyTwiceError or OSError.
    """
    sealed = Seal.read(folder)
    for shard in energon.filled(sealed):
        path = folder / f"{shard.tar}.idx"
        if anew or _size(path) != 8 * (shard.records + 1):
            store.write(path, energon.offsets(folder, shard))
    if anew or not energon.index_is_fresh(folder, sealed):
        energon.write_index(folder, sealed, progress)
    energon.write_dataset(folder)
    listings = _listings(sealed)
    for name, content in listings.items():
        if anew or not _holds(folder, name, content):
            store.write(folder / name, content)
    wids = {_wids_name(split) for split in SPLITS} - listings.keys()
    for name in (*wids, *blend.left_over(folder, sealed)):
        disk.remove(folder / name)  # of a split or corpus that has no records any more
    readme = folder / card.NAME
    if card.may_replace(readme):
        content = card.render(folder, sealed)  # of this template, too
        if anew or not _holds(folder, card.NAME, content):
            store.write(readme, content)


def stale(folder: Path) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) of each sidecar that is there and not what the seal gives.

    Reads every sidecar and manifest. A sidecar that is not there is none, and one that follows from
    a damaged manifest cannot be judged. Raises SealError.
    """
    sealed = Seal.read(folder)
    given: dict[str, Callable[[], bytes | None]] = {
        f"{shard.tar}.idx": partial(energon.offsets, folder, shard)
        for shard in energon.filled(sealed)
    }
    listings = _listings(sealed)
    names = {*listings, *map(_wids_name, SPLITS), *blend.left_over(folder, sealed)}
    for name in sorted(names):
        given[name] = partial(listings.get, name)
    given[card.NAME] = partial(_card, folder, sealed)
    for name, content in given.items():
        try:
            found = read_there(folder, name)
            with suppress(DamageError):  # of its manifest
                if found is not None and found != content():
                    index = name.endswith(".idx")
                    what = "the index of its tar" if index else "what the seal gives"
                    yield name, _told(f"not {what}", folder)
        except FileError as error:
            yield name, f"{error}; remove it, then: python -m shards sidecars {folder}"
    if problem := energon.index_problem(folder, sealed):
        yield problem[0], _told(problem[1], folder)


def _card(folder: Path, sealed: Seal) -> bytes | None:
    """What README.md should hold: anything, if it is not ours."""
    readme = folder / card.NAME
    return card.render(folder, sealed) if card.may_replace(readme) else readme.read_bytes()


def _listings(sealed: Seal) -> dict[str, bytes]:
    """Each sidecar that the seal alone gives: path and content."""
    return {**energon.listings(sealed), **blend.listings(sealed), **_wids(sealed)}


def _wids_name(split: str) -> str:
    return f"wids-{split}.json"


def _wids(sealed: Seal) -> dict[str, bytes]:
    """Indices for wids, one for each split that has records; its URLs are relative to the index."""
    found: dict[str, bytes] = {}
    for split in SPLITS:
        shards = [
            {"url": shard.tar, "nsamples": shard.records, "filesize": shard.nbytes}
            for shard in energon.filled(sealed)
            if shard.split == split
        ]
        if shards:
            index = {"wids_version": 1, "name": f"{sealed.root}-{split}", "shardlist": shards}
            found[_wids_name(split)] = msgspec.json.format(msgspec.json.encode(index)) + b"\n"
    return found


def _told(what: str, folder: Path) -> str:
    return f"{what}; it is made anew by: python -m shards sidecars {folder}"


def _size(path: Path) -> int | None:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return None


def _holds(folder: Path, name: str, content: bytes) -> bool:
    with suppress(FileError):
        return read_there(folder, name) == content
    return False
