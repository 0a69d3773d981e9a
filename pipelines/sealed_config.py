"""The config that a sealed data set was built with: from its `build.json`, checked by its seal."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec

from manifests.schema import Split
from manifests.seal import Seal
from manifests.settings import SettingsError
from pipelines import config as configs
from pipelines.config import BuildConfig, CorpusConfig


def config_of(folder: Path, overrides: Sequence[str] | None = None) -> BuildConfig:
    """The config that a data set was built with, from its `build.json`.

    `overrides` are those of `config.load`. Raises SettingsError if it is not there, or for a wrong
    override.
    """
    story = folder / "build.json"
    try:
        said = msgspec.json.decode(story.read_bytes(), type=dict[str, msgspec.Raw])["config"]
    except (OSError, KeyError, ValueError) as error:
        raise SettingsError(
            f"{story} does not say what config {folder} was built with ({error}). Name it: "
            f"python -m shards repair {folder} --config C"
        ) from None
    with tempfile.TemporaryDirectory(prefix="repair-") as temporary:
        path = Path(temporary) / "build.yaml"  # JSON is YAML
        path.write_bytes(bytes(said))
        try:
            return configs.load(path, overrides or [])
        except ValueError as error:
            raise SettingsError(str(error).replace(str(path), f"the config in {story}")) from None


def as_sealed(config: BuildConfig, sealed: Seal, folder: Path) -> BuildConfig:
    """The config with the shards that the seal has: they may have been divided since the build.

    Raises SettingsError if a data set sealed so cannot have been built with it.
    """
    if config.digest != sealed.config_digest:
        raise SettingsError(
            f"{folder} was sealed with config {sealed.config_digest[:16]}, this one is "
            f"{config.digest[:16]}: its corpora, fields, splits, image policy, paraphrases or "
            f"protected lists (their content, too) are others. Name the one that it was built "
            f"with: python -m shards repair {folder} --config C"
        )

    def divided(name: str) -> CorpusConfig:
        places = {split: f"{name}/{split}" for split in get_args(Split)}
        bits = {
            split: sealed.bits[place] for split, place in places.items() if place in sealed.bits
        }
        return msgspec.structs.replace(config.corpus(name), bits=bits)

    by_hash = {name: divided(name) for name in config.corpora if not config.by_container(name)}
    return msgspec.structs.replace(config, corpora={**config.corpora, **by_hash})
