"""What the last build saw, so that the next one does only what has changed.

`OUT/build-state.json` is of this machine, no part of the seal, and may be removed at any time: then
every shard is packed again. It knows files by size and times alone, and answers

    compare(config, out)       is there anything to do? before Prefect and polars are imported
    read(out).shards           what a shard was made of, and what came of it (see `reuse.py`)

What changed while the build ran, or in the last tick before, may have been read before or after:
then a state is `unsure`, and the next build walks through all of it again.
"""

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import msgspec
from xxhash import xxh3_128, xxh3_128_hexdigest

from manifests import disk, store
from manifests.schema import canonical_json
from pipelines.config import BuildConfig
from pipelines.specs import Packed
from shards.images import codecs

NAME = "build-state.json"
WORK = f"{disk.TEMPORARY}build"  # the folder of a build that runs, or was killed
_FORMAT = 1
_ROOT = Path(__file__).resolve().parents[1]
_ROOMS = ("manifests", "shards", "pipelines")
_SUFFIXES = (".py", ".yaml", ".json", ".jinja", ".html")
_LIBRARIES = ("imagehash", "msgspec", "numpy", "pillow", "polars", "pyarrow", "pywavelets")
_LIBRARIES += ("pyyaml", "scipy", "xxhash")
_TICK = 50_000_000  # ns: file systems take times from a clock that goes in steps of up to 10 ms
_COARSE = 2_000_000_000  # and some of seconds, or two (ext3, HFS+, FAT)

Stamp = tuple[int, int]  # of a file: its bytes, and when it changed, in ns


class Remembered(msgspec.Struct, frozen=True):
    """A shard: the digest of all that it was made of, and what came of it."""

    inputs: str
    packed: Packed


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a build saw and left behind.

    `code` and `config` are digests, `sources` too: of the names, sizes and times below a folder.
    `files` are the data set's own, `shards` by their names. `unsure`: why it may be out of date.
    """

    root: str
    code: str
    config: str
    sources: dict[str, str]
    files: dict[str, Stamp]
    shards: dict[str, Remembered]
    unsure: str | None


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    digest: str
    state: msgspec.Raw


class Answer(NamedTuple):
    """Whether a build would find all as the last one left it, and that as a sentence ("" if there
    was none)."""

    same: bool
    said: str


def read(out: Path) -> State | None:
    """The state of a data set; None if it has none, or one that is damaged or of other code."""
    try:
        file = msgspec.json.decode((out / NAME).read_bytes(), type=_File)
        if file.format == _FORMAT and file.digest == xxh3_128_hexdigest(file.state):
            return msgspec.json.decode(file.state, type=State)
    except (OSError, ValueError):
        pass  # as if it had been removed; `compare` says so
    return None


def write(out: Path, state: State) -> None:
    """Put the state beside the seal that it is of."""
    told = msgspec.json.encode(state)
    file = _File(format=_FORMAT, digest=xxh3_128_hexdigest(told), state=msgspec.Raw(told))
    store.write(out / NAME, msgspec.json.encode(file))


def compare(config: BuildConfig, out: Path) -> Answer:
    """Look whether anything has changed since the last build into `out`, by sizes and times."""
    begun, out = time.monotonic(), out.resolve()
    last = read(out)
    if last is None:
        there = (out / NAME).exists()
        return Answer(False, f"{out / NAME} cannot be read: all is packed again" if there else "")
    if os.path.lexists(out / WORK):
        return Answer(False, f"another build into {out} runs, or was killed")
    if last.unsure:
        return Answer(False, last.unsure)
    if last.code != code():
        return Answer(False, "the code, or a library that it uses, is not that of the last build")
    if last.config != decided(config):
        return Answer(False, "the config is not that of the last build")
    for name, stamp in last.files.items():
        if stamp_of(out / name) != stamp:
            return Answer(False, f"{out / name} is not as the last build left it")
    files = 0
    for folder, digest in last.sources.items():
        tree = look(Path(folder))
        if tree.digest != digest:
            return Answer(False, f"{folder} has changed since the last build")
        files += tree.files
    told = f"{files:,} source files and {len(last.shards):,} shards by size and time"
    seconds = time.monotonic() - begun
    return Answer(
        True,
        f"nothing to do: {out} is sealed with root {last.root} (checked {told} in {seconds:.1f} s; "
        f"--deep re-reads)",
    )


def tidy(out: Path) -> None:
    """Remove shards that the seal does not list, as a build does that has something to do. Left to
    whoever else writes to `out` now."""
    with suppress(BlockingIOError), store.sole_writer(out):
        store.collect(out)


def new_work(out: Path) -> Path:
    """The folder of a build that begins, empty. What a killed one left is removed; of a link the
    link itself, not what it leads to. Call it as the folder's sole writer."""
    work = out / WORK
    if work.is_symlink() or not work.is_dir():
        disk.remove(work)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    return work


def code(parts: Sequence[str] = _ROOMS) -> str:
    """A digest of our own code and its data, in folders or files of the repository, and of the
    libraries that bytes depend on."""
    digest = xxh3_128()
    for part in parts:
        whole = _ROOT / part
        paths = sorted(whole.rglob("*")) if whole.is_dir() else [whole]
        for path in paths:
            if path.suffix in _SUFFIXES:
                digest.update(f"{path.relative_to(_ROOT)}\n".encode() + path.read_bytes())
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    digest.update(canonical_json({**versions, **codecs()}).encode())
    return digest.hexdigest()


def decided(config: BuildConfig) -> str:
    """A digest of all that a config says, the content of its lists and its folders' places too."""
    said = msgspec.to_builtins(config)
    del said["workers"]  # which change nothing
    places = {name: str(config.folders(name).path) for name in config.corpora}
    told = [said, config.digest, str(config.root_folder), places]
    return xxh3_128_hexdigest(canonical_json(told).encode())


def stamp_of(path: Path) -> Stamp | None:
    """The size and time of a file or folder; None if there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # a NUL in its name
        return None
    return found.st_size, found.st_mtime_ns


class Tree(NamedTuple):
    """A folder: a digest of its files' names, sizes and times, how many they are, and one that
    changed late."""

    digest: str
    files: int
    late: str | None


def look(folder: Path, since: int | None = None) -> Tree:
    """All that lies below a folder, hidden files too; links are followed, each folder once.

    `late` is a file or folder that changed after `since` (ns), or in the tick before.
    """
    digest, files, late = xxh3_128(), 0, None
    limit = float("inf") if since is None else since - _COARSE
    waiting, known = [str(folder)], set()
    while waiting:
        path = waiting.pop()
        entries: list[tuple[str, int, int, int]] = []
        inside: list[str] = []
        try:
            itself = Path(path).stat()
            if (itself.st_dev, itself.st_ino) in known:
                continue
            known.add((itself.st_dev, itself.st_ino))
            if max(itself.st_mtime_ns, itself.st_ctime_ns) > limit and is_late(itself, since):
                late = late or path
            with os.scandir(path) as listed:
                for entry in listed:
                    try:
                        if entry.is_dir():
                            inside.append(entry.path)
                            continue
                        found = entry.stat()
                    except OSError as error:  # a link to nowhere, or to itself
                        entries.append((entry.name, -1, error.errno or 0, 0))
                        continue
                    entries.append((entry.name, *source_stamp(found)))
                    if max(found.st_mtime_ns, found.st_ctime_ns) > limit and is_late(found, since):
                        late = late or entry.path
        except OSError as error:  # not there, or not for us to read
            entries.append(("", -1, error.errno or 0, 0))
        files += len(entries)
        inside.sort(reverse=True)
        waiting += inside
        digest.update(repr((os.path.relpath(path, folder), sorted(entries))).encode())
    return Tree(digest.hexdigest(), files, late)


def source_stamp(found: os.stat_result) -> tuple[int, int, int]:
    """How a source is known: by its size, and when its content and its entry changed (ns). The
    latter changes when two files swap names, and nobody can set it."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def is_late(found: os.stat_result, since: int | None) -> bool:
    """Whether a file may have changed after `since` (ns): its time may be as old as a tick."""
    changed = max(found.st_mtime_ns, found.st_ctime_ns)
    tick = _TICK if changed % 1_000_000_000 else _COARSE
    return since is not None and changed >= since - tick
