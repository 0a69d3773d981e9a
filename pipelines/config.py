"""What a build is told: a YAML file, checked before anything is read."""

import difflib
import fnmatch
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from manifests import settings
from manifests.place import MAX_BITS
from manifests.schema import SPLITS, canonical_json
from pipelines import corpora
from pipelines.corpora import Folders
from shards.images import ImagePolicy


class CorpusConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One corpus. `path` is its folder: below `root`, or from here if it begins with ./ or /.

    `bits`: the corpus has 2**bits shards a split; with one bit more, each splits into two.
    """

    path: str | None = None
    bits: Annotated[int, msgspec.Meta(ge=0, le=MAX_BITS)] = 0


class BuildConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A build. `protect` lists corpus/split patterns whose images no corpus trains on.

    `workers` (shards packed at a time) and `root` change nothing that is written.
    """

    root: str
    corpora: dict[str, CorpusConfig]
    image: ImagePolicy = ImagePolicy()
    protect: tuple[str, ...] = ()
    workers: Annotated[int, msgspec.Meta(ge=1)] = 2

    def folders(self, corpus: str) -> Folders:
        """Where a corpus lies."""
        root = Path(self.root).resolve()
        path = self.corpora[corpus].path or corpora.load(corpus).PATH
        here = path.startswith(("./", "../", "/"))
        return Folders(root, Path(path).resolve() if here else root / path)

    @property
    def digest(self) -> str:
        """sha256 of all that decides the bytes written."""
        decides = {
            "corpora": {name: {"bits": corpus.bits} for name, corpus in self.corpora.items()},
            "image": self.image,
            "protect": sorted(self.protect),
        }
        return hashlib.sha256(canonical_json(decides).encode()).hexdigest()


def load(path: Path | str, overrides: Sequence[str] = ()) -> BuildConfig:
    """A checked config. Raises SettingsError or CorpusError, with the right spelling."""
    config = settings.load(path, BuildConfig, overrides)
    if not config.corpora:
        raise settings.SettingsError(f"{path}: corpora is empty; name at least one")
    for name in config.corpora:
        corpora.load(name)
    places = [f"{name}/{split}" for name in corpora.names() for split in SPLITS]
    for pattern in config.protect:
        if not fnmatch.filter(places, pattern):  # misspelt, it would protect nothing in silence
            near = difflib.get_close_matches(pattern, places, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(places)}"
            raise settings.SettingsError(f"{path}: protect {pattern!r} names no split; {hint}")
    return config
