"""One file a corpus, the file's name is the corpus's name; there is no registry.

Each has `PATH`, its folder in the official layout, and `survey(folders) -> Survey`, which looks at
what is there without reading an annotation; a Survey's `rows()` then reads them.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import msgspec

from pipelines.table import Row

T = TypeVar("T")


class CorpusError(ValueError):
    """A corpus is not there, or not in a layout that its reader knows."""


@dataclass(frozen=True)
class Folders:
    """Where a corpus lies: `root` as locators see it, `path` its own folder below or beside it,
    `coco` that of COCO, for the corpora that ask about its pictures."""

    root: Path
    path: Path
    coco: Path

    def locator(self, path: Path) -> str:
        """The locator of a file below the root. Raises CorpusError for one outside."""
        if not path.is_relative_to(self.root):
            raise CorpusError(f"{path} is outside of the root {self.root}; move root up or it down")
        return f"file:{path.relative_to(self.root).as_posix()}"


@dataclass(frozen=True)
class Survey:
    """What was found of a corpus: its annotation files, how many images, and how to read them."""

    files: tuple[Path, ...]
    images: int
    rows: Callable[[], Iterator[Row]]


class Corpus(Protocol):
    """What a file in this folder provides."""

    PATH: str

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


def present(folder: Path, expected: dict[str, str]) -> dict[str, Path]:
    """The annotation files of `expected` (file name -> what it stands for) that are in `folder`.

    Raises CorpusError when none is, saying what was looked for and what is there.
    """
    if not folder.is_dir():
        raise CorpusError(
            f"{folder} does not exist; expected a folder with {' or '.join(expected)}. "
            f"Correct root or path in the config, or remove the corpus from it"
        )
    found = {what: folder / name for name, what in expected.items() if (folder / name).is_file()}
    if not found:
        there = sorted(path.name for path in folder.iterdir())[:5]
        raise CorpusError(
            f"{folder} has none of {', '.join(expected)}; it has {', '.join(there) or 'nothing'}"
        )
    return found


def read_json(path: Path, kind: type[T]) -> T:
    """A whole JSON file as `kind`. Raises CorpusError naming the file and what is wrong in it."""
    data = path.read_bytes()
    if data.startswith(b"version https://git-lfs"):
        raise CorpusError(f"{path} is a git-lfs pointer, not the file; run: git lfs pull")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{path} ({len(data):,} bytes) cannot be read: {error}. Fetch it again"
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
    key = f"{corpus}-{path.stem}-{place}".replace(".", "-")
    return Row(
        key=key[:90],
        group=f"{corpus}:{path.name}:{place}",
        locator="",
        split=split,
        id=str(place),
        status="quarantined",
        error=f"malformed annotation {place} in {path.name}: {error}",
    )
