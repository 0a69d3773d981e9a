"""What a build is told: a YAML file, checked before anything is read."""

import difflib
import fnmatch
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

import msgspec

from manifests import settings
from manifests.place import MAX_BITS
from manifests.schema import SPLITS, Split, canonical_json
from pipelines import corpora
from pipelines.corpora import Folders
from shards.images import ImagePolicy

Bits = Annotated[int, msgspec.Meta(ge=0, le=MAX_BITS)]


class CorpusConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One corpus. `path` is its folder: below `root`, or from here if it begins with ./ or /.

    `bits`: a split has 2**bits shards; with one bit more, each splits into two. One number for all
    splits, or one by split (those not named have 1 shard).
    """

    path: str | None = None
    bits: Bits | dict[Split, Bits] = 0

    def bits_of(self, split: Split) -> int:
        return self.bits.get(split, 0) if isinstance(self.bits, dict) else self.bits


class BuildConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A build. `protect` lists corpus/split patterns whose images no corpus trains on.

    `paraphrases` is how many times each robot-selection task of train is put in other words
    besides. `workers` (shards packed at a time) and `root` change nothing that is written.
    """

    root: str
    corpora: dict[str, CorpusConfig | None]  # `coco:` alone means its defaults
    image: ImagePolicy = ImagePolicy()
    protect: tuple[str, ...] = ()
    paraphrases: Annotated[int, msgspec.Meta(ge=0, le=8)] = 2
    workers: Annotated[int, msgspec.Meta(ge=1)] = 2

    def corpus(self, name: str) -> CorpusConfig:
        """The settings of a corpus of this build."""
        return self.corpora[name] or CorpusConfig()

    @property
    def bits(self) -> dict[str, int]:
        """The exponent of the number of shards by "corpus/split"."""
        return {
            f"{name}/{split}": self.corpus(name).bits_of(split)
            for name in self.corpora
            for split in get_args(Split)
        }

    def folders(self, corpus: str) -> Folders:
        """Where a corpus lies."""
        return Folders(Path(self.root).resolve(), self._path(corpus), self._path("coco"))

    def _path(self, corpus: str) -> Path:
        said = self.corpora.get(corpus) or CorpusConfig()
        path = said.path or corpora.load(corpus).PATH
        here = path.startswith(("./", "../", "/"))
        return Path(path).resolve() if here else Path(self.root).resolve() / path

    @property
    def digest(self) -> str:
        """sha256 of all that decides the bytes written."""
        decides = {
            "bits": self.bits,
            "image": self.image,
            "paraphrases": self.paraphrases,
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
