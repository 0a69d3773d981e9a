"""What a build is told: a YAML file, checked before anything is read."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from manifests import settings
from manifests.place import MAX_BITS
from manifests.schema import Split, canonical_json
from manifests.settings import SettingsError
from pipelines import corpora
from pipelines.corpora import Corpus, CorpusError, Folders
from pipelines.protect import Protect
from shards.images import ImagePolicy

Bits = Annotated[int, msgspec.Meta(ge=0, le=MAX_BITS)]
Field = Literal["image", "prompt", "target", "id", "split"]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class CorpusConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One corpus. `path` is its folder: below `root`, or from here if it begins with ./ or /.

    `reader` is the corpus whose files it is like, if that is not its own name: `generic`, say.
    `bits`: a split has 2**bits shards; with one bit more, each splits into two. One number for all
    splits, or one by split (those not named have 1 shard). `splits` changes what official splits
    become, `{val: train}`, or leaves one out, `{val: null}`. `on_empty: report` turns a corpus that
    gives no record into a warning. `max_quarantined` replaces the build's. `fields` says what the
    fields of a generic corpus mean.
    """

    path: str | None = None
    reader: str | None = None
    bits: Bits | dict[Split, Bits] = 0
    splits: dict[str, Split | None] = {}
    on_empty: Literal["fail", "report"] = "fail"
    max_quarantined: Share | None = None
    fields: dict[Field, str] = {}

    def bits_of(self, split: Split) -> int:
        return self.bits.get(split, 0) if isinstance(self.bits, dict) else self.bits


class BuildConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A build. `protect` says what no corpus trains on (`protect.py`).

    `max_quarantined` is the share of a corpus's annotations that may be unusable. `paraphrases` is
    how many times each robot-selection task of train is put in other words besides. `workers`
    (shards packed at a time) and `root` change nothing that is written.
    """

    root: str
    corpora: dict[str, CorpusConfig | None]  # `coco:` alone means its defaults
    image: ImagePolicy = ImagePolicy()
    protect: Protect = Protect()
    max_quarantined: Share = 0.05
    paraphrases: Annotated[int, msgspec.Meta(ge=0, le=8)] = 2
    workers: Annotated[int, msgspec.Meta(ge=1)] = 2

    @property
    def root_folder(self) -> Path:
        """What locators are relative to."""
        return Path(self.root).expanduser().resolve()

    def corpus(self, name: str) -> CorpusConfig:
        """The settings of a corpus of this build."""
        return self.corpora[name] or CorpusConfig()

    def reader(self, name: str) -> Corpus:
        """What reads a corpus of this build. Raises CorpusError for an unknown name."""
        return corpora.load(self.corpus(name).reader or name)

    def by_container(self, name: str) -> bool:
        """Whether a corpus is placed by its containers, not by its groups."""
        return self.reader(name).LAYOUT == "container"

    @property
    def bits(self) -> dict[str, int]:
        """The exponent of the number of shards by "corpus/split", where groups decide the shard."""
        return {
            f"{name}/{split}": self.corpus(name).bits_of(split)
            for name in self.corpora
            if not self.by_container(name)
            for split in get_args(Split)
        }

    def quarantine(self, name: str) -> float:
        """The share of a corpus's annotations that may be unusable."""
        own = self.corpus(name).max_quarantined
        return self.max_quarantined if own is None else own

    def folders(self, name: str) -> Folders:
        """Where a corpus of this build lies, and what is said of it."""
        said = self.corpus(name)
        return Folders(
            corpus=name,
            root=self.root_folder,
            path=self._path(name),
            coco=self._path("coco"),
            splits={**self.reader(name).SPLITS, **said.splits},
            fields={str(name): field for name, field in said.fields.items()},
        )

    def watched(self, name: str) -> Iterator[Path]:
        """All that a corpus's reader looks in besides the pictures that its rows name, there or
        not."""
        folders = self.folders(name)
        yield folders.path
        yield from corpora.elsewhere(self.reader(name), folders)

    def _path(self, name: str) -> Path:
        said = self.corpora.get(name) or CorpusConfig()
        path = said.path or (name if said.reader else corpora.load(name).PATH)
        here = path.startswith(("./", "../", "/", "~"))
        return Path(path).expanduser().resolve() if here else self.root_folder / path

    @property
    def digest(self) -> str:
        """sha256 of all that decides the bytes of records; `bits` only says where they go."""
        decides = {
            "fields": {name: self.corpus(name).fields for name in self.corpora},
            "image": self.image,
            "paraphrases": self.paraphrases,
            "protect": self.protect.digest,
            "splits": {name: self.folders(name).splits for name in self.corpora},
        }
        return hashlib.sha256(canonical_json(decides).encode()).hexdigest()


def load(path: Path | str, overrides: Sequence[str] = ()) -> BuildConfig:
    """A checked config. Raises SettingsError or CorpusError, with the right spelling."""
    config = settings.load(path, BuildConfig, overrides)
    try:
        _check(config)
    except (SettingsError, CorpusError) as error:
        raise type(error)(f"{path}: {error}") from error
    return config


def _check(config: BuildConfig) -> None:
    if not config.root.strip():
        raise SettingsError("root is empty; name the folder that holds the corpora: --set root=DIR")
    if not config.corpora:
        raise SettingsError("corpora is empty; name at least one")
    for name in config.corpora:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
            raise SettingsError(f"corpus {name!r}: a name is of a-z, 0-9 and _, a letter first")
        try:
            official = config.reader(name).SPLITS
        except CorpusError as error:
            if config.corpus(name).reader:
                raise CorpusError(f"corpora.{name}.reader: {error}") from None
            end = "" if str(error).endswith("?") else "."
            raise CorpusError(
                f"{error}{end} For one of your own: {name}: {{reader: generic, path: ...}}"
            ) from None
        invented = config.corpus(name).splits.keys() - official.keys()
        generic = (config.corpus(name).reader or name) == "generic"  # its records name any
        for split in sorted(invented) if official and not generic else ():
            known = ", ".join(official)
            raise SettingsError(f"{name} has no official split {split!r}; it has {known}")
        if official and not any(config.folders(name).splits.values()):
            raise SettingsError(f"{name}: splits leaves none to read; remove {name} instead")
        if config.corpus(name).fields and not generic:
            raise SettingsError(
                f"{name}: fields are for reader: generic; what {name}'s mean is known. Remove them"
            )
        if config.by_container(name) and config.corpus(name).bits:
            raise SettingsError(f"{name} has a shard for each of its containers; remove its bits")
    config.protect.check([*config.corpora, *corpora.names()])
