"""A stage: one YAML file in `train/mixtures/` that says what is trained on what, and how.

Stages differ in their objectives and in what is trainable, never in code.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from embervlm.config import EmberVLMConfig
from manifests import settings
from shards.mixing import Mixing, SourceSpec
from shards.reader import CACHE_BYTES
from shards.ring import Fill
from shards.stream import Batching

MIXTURES = Path(__file__).parent / "mixtures"
COMPONENTS = ("encoder", "projection", "language", "fusion", "reasoning", "robot_head")

Positive = Annotated[int, msgspec.Meta(ge=1)]
# What may change from one start of a run to the next: nothing that is computed follows from it.
INCIDENTAL = ("log_steps", "save_steps", "cache_gb", "cache", "fill")


class Optim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """AdamW with a linear warm-up of `warmup` steps, then a cosine down to `final` of `lr`."""

    lr: Annotated[float, msgspec.Meta(gt=0)] = 2e-4
    warmup: Annotated[int, msgspec.Meta(ge=0)] = 500
    final: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    weight_decay: Annotated[float, msgspec.Meta(ge=0)] = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A preset of the model, and the fields of EmberVLMConfig that a stage sets otherwise."""

    preset: str = "compact"
    set: dict[str, Any] = {}

    @property
    def config(self) -> EmberVLMConfig:
        preset = EmberVLMConfig.preset(self.preset)
        return EmberVLMConfig.from_dict({**preset.to_dict(), **self.set})


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a run is told. `objectives` are weights by name (see objectives.py).

    A run is as long as `steps` says, or `passes`: as many samples as all sources have, so many
    times over. `cache_gb`, 10^9 bytes: shards of a remote data set that are kept on this machine's
    disk, in the folder `cache` (none named: the user's cache folder); the windows of a new run's
    order follow from it. `fill`: who fills batches (see shards.ring); if it is not said, helper
    processes where a GPU trains, which would wait for Python's lock, and else threads.
    """

    name: str
    sources: dict[str, SourceSpec]
    objectives: dict[str, float]
    batch: Batching
    max_tokens: Annotated[int, msgspec.Meta(ge=8, le=65_536)]
    model: ModelSpec = ModelSpec()
    trainable: tuple[str, ...] = COMPONENTS
    optim: Optim = Optim()
    steps: Positive | None = None
    passes: Annotated[float, msgspec.Meta(gt=0)] | None = None
    mixing: Mixing = Mixing()
    seed: int = 1
    cache_gb: Annotated[float, msgspec.Meta(gt=0)] = CACHE_BYTES / 1e9
    cache: str | None = None
    fill: Fill | None = None
    log_steps: Positive = 50
    save_steps: Positive = 500

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources is empty; a mixture needs at least one")
        if unknown := set(self.trainable) - set(COMPONENTS):
            raise ValueError(
                f"trainable names {', '.join(sorted(unknown))}; the components are "
                f"{', '.join(COMPONENTS)}"
            )
        if not self.objectives:
            raise ValueError("objectives is empty; a stage needs at least one")
        if (self.steps is None) == (self.passes is None):
            raise ValueError(
                f"steps is {self.steps}, passes {self.passes}: a run is as long as one of them "
                f"says; leave the other out with --set {'steps' if self.steps else 'passes'}=null"
            )
        if self.steps is not None:
            self.check_warmup(self.steps)
        if "encoder" in self.trainable and self.model.config.encoder_frozen:
            raise ValueError(
                f"trainable lists the encoder, which is frozen: preset {self.model.preset} or "
                f"model.set has encoder_frozen true"
            )

    def length(self, samples: int, most: int | None) -> int:
        """Steps of the run over sources of so many samples in all, and at `most`.

        Raises ValueError for a warm-up that is not shorter.
        """
        steps = self.steps or math.ceil((self.passes or 0) * samples / self.batch.global_)
        steps = steps if most is None else min(steps, most)
        self.check_warmup(steps)
        return steps

    def check_warmup(self, steps: int) -> None:
        """Raise ValueError for a warm-up that is not shorter than a run of `steps`."""
        if self.optim.warmup >= steps:
            raise ValueError(
                f"optim.warmup {self.optim.warmup} is not shorter than the run of {steps} "
                f"steps: the learning rate would never reach its peak. Shorten it with "
                f"--set optim.warmup={steps // 10}"
            )

    @property
    def packs(self) -> bool:
        """Whether several threads can share a row, so that attention must keep them apart."""
        return any(source.turns == "pack" for source in self.sources.values())


def find(name: str) -> Path:
    """A mixture's file: `name` as a path, or a bare name in `train/mixtures/`."""
    path = Path(name)
    return path if path.exists() or len(path.parts) > 1 else MIXTURES / name


def load(name: str, overrides: Sequence[str] = ()) -> Stage:
    """A checked stage. Raises SettingsError with the place and the right spelling."""
    return settings.load(find(name), Stage, overrides)
