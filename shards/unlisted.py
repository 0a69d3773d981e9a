"""What lies in a data set's folder that its seal does not list.

Known are the files that the seal lists, sidecars, build reports, caches and what was left
unfinished. Of the rest, a tar, a program, a pickle, a link or what is no file is a problem wherever
it lies, and so is anything in a folder that readers take files from; other files are told of.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from manifests import seal
from manifests.disk import TEMPORARY
from manifests.seal import Seal, SealError
from shards import blend, card, energon, hazards, interop
from shards.damage import Problem

_CACHES = ("index", "tokens", "fingerprints")
# `.gitattributes` comes with a copy from the Hugging Face hub.
_KNOWN = re.compile(r"dataset\.json|build(-[^/]+)?\.json|\.gitattributes")
_UNFINISHED = re.compile(rf"{re.escape(TEMPORARY)}([0-9a-f]{{16}}|build)")
_TARS = (".tar", ".tgz", ".tar.gz")
_NAMED = 3  # files of the user's own that are named


def problems(folder: Path, sealed: Seal) -> Iterator[Problem]:
    """Files that do not belong in the folder, in the order of their names."""
    for name, what in _judged(folder, sealed):
        if what:
            yield Problem(file=name, what=what)


def notes(folder: Path | str) -> Iterator[str]:
    """What is the user's own and not checked, a line each; nothing without a seal."""
    folder = Path(folder)
    try:
        own = [name for name, what in _judged(folder, Seal.read(folder)) if not what]
    except SealError:
        return
    if own:
        more = f" and {len(own) - _NAMED} more" if len(own) > _NAMED else ""
        named = ", ".join(map(_printable, own[:_NAMED]))
        yield f"{named}{more}: no part of the data set, not checked"
    if energon.dataset_is_own(folder):
        yield f"{energon.DATASET}: not as it was made; Energon imports what it names"
    if not card.may_replace(folder / card.NAME):
        yield f"{card.NAME}: not made by `python -m shards sidecars`, not checked"


def _judged(folder: Path, sealed: Seal) -> Iterator[tuple[str, str]]:
    """The name of each file that is not known, and what is wrong with it, if anything is."""
    listed = {name for shard in sealed.shards for name in (shard.tar, shard.manifest)}
    listed |= {sealed.reasons.path}
    beside = {f"{shard.tar}.idx" for shard in sealed.shards}
    beside |= {*blend.listings(sealed), *blend.left_over(folder, sealed)}
    read = {"manifests", energon.META, *(shard.corpus for shard in sealed.shards)}
    for path in _files(folder, read | {*_CACHES}):
        name = path.relative_to(folder).as_posix()
        if name in listed or _KNOWN.fullmatch(name):
            continue
        of_seal = name.endswith(".idx") or name.startswith(f"{energon.META}/split-")
        if name in beside or (interop.is_sidecar(name) and not of_seal):
            continue
        top = name.partition("/")[0]
        out_of_place = path.name.lower().endswith(_TARS) or top in read
        wrong = [f"not listed in {seal.NAME}"] if out_of_place else []
        wrong += hazards.in_name(name)
        if path.is_symlink():
            wrong.append("is a symbolic link")
        elif top not in _CACHES and not path.is_file():
            wrong.append("is not a regular file")
        if wrong or top not in _CACHES:
            yield name, ", ".join(wrong)


def _files(folder: Path, followed: set[str], top: bool = True) -> Iterator[Path]:
    """All that is not a folder, in order. Links to folders are entered only where readers do."""
    try:
        found = sorted(folder.iterdir())
    except OSError:  # such as a folder that may not be read: it is one of the files
        yield folder
        return
    for path in found:
        if _UNFINISHED.fullmatch(path.name):
            continue
        if path.is_dir() and (not path.is_symlink() or (top and path.name in followed)):
            yield from _files(path, followed, top=False)
        else:
            yield path


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
