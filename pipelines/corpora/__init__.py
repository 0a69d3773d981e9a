"""One file a corpus, the file's name is the corpus's name; there is no registry.

Each has `PATH`, its folder in the official layout; `SPLITS`, what its official splits become;
`LAYOUT`, how its records are placed in shards; and `survey(folders) -> Survey`, which looks at what
is there without reading an annotation; a Survey's `rows()` then reads them. One that looks outside
of its folder has `elsewhere(folders)`: these other folders, which are watched for changes too.
"""

import difflib
import importlib
import mmap
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, cast

import msgspec

from manifests.schema import Split
from pipelines.table import Row

T = TypeVar("T")
Layout = Literal["hash", "container"]
_PART = re.compile(r"-(\d+)-of-(\d+)")  # in the name of a file that is one of several
_IGNORED = re.compile(r"/(\.|__MACOSX/)|\.incomplete/")  # hidden, or being written by `datasets`


class CorpusError(ValueError):
    """A corpus is not there, or not in a layout that its reader knows."""


class EmptyCorpusError(CorpusError):
    """A corpus's folder is there and holds nothing to read."""


@dataclass(frozen=True)
class Folders:
    """Where a corpus lies, and what the config says of it.

    `corpus` is its name in the config, `root` what locators are relative to, `path` its own folder
    below, `coco` that of COCO, for the corpora that ask about its pictures. `splits` says what each
    official split becomes (None: it is not read); `fields` names the fields of a generic corpus.
    """

    corpus: str
    root: Path
    path: Path
    coco: Path
    splits: Mapping[str, Split | None]
    fields: Mapping[str, str] = field(default_factory=dict)

    def locator(self, path: Path) -> str:
        """The locator of a file below the root. Raises CorpusError for one outside."""
        return f"file:{self.relative(path)}"

    def relative(self, path: Path) -> str:
        """A file's path below the root. Raises CorpusError for one outside."""
        if not path.is_relative_to(self.root):
            raise CorpusError(f"{path} is outside of the root {self.root}; move root up or it down")
        return path.relative_to(self.root).as_posix()


@dataclass(frozen=True)
class Survey:
    """What was found of a corpus.

    `layout` in a few words, `files` its annotation files or containers, how many `images` are on
    disk, how to read the `rows`, and `notes`: sentences that a user should see in a plan.
    """

    layout: str
    files: tuple[Path, ...]
    images: int
    rows: Callable[[], Iterator[Row]]
    notes: tuple[str, ...] = ()


class Corpus(Protocol):
    """What a file in this folder provides."""

    PATH: str
    SPLITS: Mapping[str, Split | None]
    LAYOUT: Layout

    def survey(self, folders: Folders) -> Survey: ...


def names() -> list[str]:
    """The corpora that have a reader."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Corpus:
    """The reader of a corpus. Raises CorpusError with the nearest name for an unknown one."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names())}"
        raise CorpusError(f"no corpus is called {name!r}; {hint}")
    return cast(Corpus, importlib.import_module(f"pipelines.corpora.{name}"))


def elsewhere(corpus: Corpus, folders: Folders) -> tuple[Path, ...]:
    """The folders besides its own that a corpus's reader looks in, there or not."""
    told = getattr(corpus, "elsewhere", None)  # most readers have none
    return told(folders) if told else ()


def present(folder: Path, expected: dict[str, str]) -> dict[str, Path]:
    """The annotation files of `expected` (file name -> what it stands for) that are in `folder`.

    Raises CorpusError when none is, saying what was looked for and what is there, as an
    EmptyCorpusError when nothing is.
    """
    _check_folder(folder, " or ".join(expected))
    found = {what: folder / name for name, what in expected.items() if (folder / name).is_file()}
    if not found:
        there = first_names(folder)
        kind = CorpusError if there else EmptyCorpusError
        raise kind(f"{folder} has none of {', '.join(expected)}; it has {there or 'nothing'}")
    return found


def not_there(
    names: Mapping[str, str], splits: Mapping[str, Split | None], lost: str = "pictures"
) -> tuple[str, ...]:
    """The note on files that are not there, if any: `names` has the official split of each.

    `splits` says what these become, `lost` what of an evaluation split would have been protected;
    "" if it is all the same.
    """
    if not names:
        return ()
    official = list(dict.fromkeys(names.values()))
    unguarded = [name for name in official if lost and splits[name] != "train"]
    note = f"{are_not_there(names)}: nothing of {listed(official)} is read"
    if unguarded and unguarded == official:
        note += f", and {'its' if len(official) == 1 else 'their'} {lost} are not protected"
    elif unguarded:
        note += f", and the {lost} of {listed(unguarded)} are not protected"
    return (note,)


def are_not_there(names: Iterable[str]) -> str:
    """ "a is not there", "a and b are not there"."""
    several = list(names)
    return f"{listed(several)} {'is' if len(several) == 1 else 'are'} not there"


def listed(names: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def parts(files: Mapping[str, Iterable[Path]]) -> tuple[str, ...]:
    """A note on each split of whose files, named -00000-of-00002 and so on, not all are there."""
    notes: list[str] = []
    for split, paths in files.items():
        named = {match.groups() for path in paths if (match := _PART.search(path.name))}
        there = Counter(int(total) for _, total in named)
        notes += [f"{split} has {n} of {total} parts" for total, n in there.items() if n < total]
    return tuple(notes)


def find_files(folder: Path, pattern: str) -> list[Path]:
    """The files below a folder that match, sorted; none that is hidden or unfinished.

    Raises CorpusError for a folder that does not exist, or is a file.
    """
    _check_folder(folder, pattern)
    return sorted(
        path
        for path in folder.rglob(pattern)
        if path.is_file() and not _IGNORED.search(f"/{path.relative_to(folder).as_posix()}")
    )


def unknown_layout(corpus: str, folder: Path, expected: str) -> CorpusError:
    """The error of a folder without a file of a known layout; hidden ones count as none."""
    mend = f"Fetch it: python -m pipelines download --corpus {corpus}, or remove it from the config"
    if there := first_names(folder):
        return CorpusError(f"{folder} has {there}; expected {expected}. {mend}")
    return EmptyCorpusError(f"{folder} is empty; expected {expected}. {mend}")


def first_names(folder: Path) -> str:
    """The first five names in a folder that are not hidden, for a message; "" if none is."""
    there = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return ", ".join(there[:5])


def _check_folder(folder: Path, expected: str) -> None:
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise CorpusError(
            f"{folder} {found}; expected a folder with {expected}. Correct root or path in "
            f"the config, or remove the corpus from it"
        )


def refuse_pointer(path: Path, start: bytes) -> None:
    """Raises CorpusError if a file that begins with `start` is what git-lfs leaves in its place."""
    if start.startswith(b"version https://git-lfs."):
        raise CorpusError(f"{path} is a git-lfs pointer, not the file; run: git lfs pull")


def read_json(path: Path, kind: type[T]) -> T:
    """A whole JSON file as `kind`; parts of type msgspec.Raw stay on disk until they are read.

    Raises CorpusError naming the file and what is wrong in it.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    refuse_pointer(path, data[:24])
    try:
        return msgspec.json.decode(memoryview(data), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{path} ({size:,} bytes) cannot be read: {error}. Fetch it again"
        ) from error


def read_items(items: list[msgspec.Raw], kind: type[T]) -> Iterator[tuple[int, T | str]]:
    """Each item as `kind`, or the sentence that says why it is none; with its place in the file."""
    decoder = msgspec.json.Decoder(kind)
    for place, item in enumerate(items):
        try:
            yield place, decoder.decode(item)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield place, str(error)


def unreadable(corpus: str, path: Path, place: Any, split: Any, error: str) -> Row:
    """The row of an annotation that is not what its format says."""
    end = re.sub(r"[^A-Za-z0-9_-]+", "-", f"-{place}")[-40:]
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{corpus}-{path.stem}")[: 90 - len(end)]
    return Row(
        key=f"{stem}{end}",
        group=f"{corpus}:{path.name}:{place}",
        locator="",
        split=split,
        id=str(place),
        status="quarantined",
        error=f"malformed annotation: {place} in {path.name}: {error}",
    )
