"""A stage: one YAML file in `train/mixtures/` that says what is trained on what, and how.

Stages differ in their objectives and in what is trainable, never in code.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from embervlm.config import COMPONENTS, EmberVLMConfig
from manifests import settings
from shards.mixing import Mixing, SourceSpec
from shards.reader import CACHE_BYTES
from shards.ring import Fill
from shards.stream import Batching

MIXTURES = Path(__file__).parent / "mixtures"

Positive = Annotated[int, msgspec.Meta(ge=1)]
# What may change from one start of a run to the next: nothing that is computed follows from it.
INCIDENTAL = (
    "cache_gb",
    "cache",
    "fill",
    "log_steps",
    "save_steps",
    "eval_steps",
    "eval_samples",
    "async_saves",
    "timeout_s",
    "wandb",
    "country",
)


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


class RobotLoss(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How `robots` counts: `smoothing` of a target is spread evenly; `balanced` weighs rarer robots
    more (see embervlm.losses.robot and class_weights)."""

    smoothing: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    balanced: bool = False


class Lora(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Low-rank adapters in the place of the language model's layers: Hu et al. 2021
    (arXiv:2106.09685). What they learn counts `alpha / rank` times."""

    rank: Positive = 8
    alpha: Positive = 16


class Teacher(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom `distil` learns from: a saved EmberVLM in the folder `model`, at a `temperature`."""

    model: str
    temperature: Annotated[float, msgspec.Meta(gt=0)] = 2.0


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a run is told.

    What is learnt: `objectives` are weights by name (see objectives.py) and `trainable` the
    components that move. `vision_only` decides robots from the picture alone, past the language
    model. With `lora` the language model learns in adapters, which are merged into what is saved.

    A run is as long as `steps` says, or `passes`: as many samples as all sources have, so many
    times over. Every `eval_steps` it is judged on `eval_samples` (0 = all) of each source's val
    split; null never does.

    How it is run: `precision` fp32 or bf16 (autocast over fp32 weights) and `compile` (kernels made
    for this model); if they are not said, bf16 and compiled on a GPU, and neither on a CPU.
    `cache_gb`, 10^9 bytes: shards of a remote data set that are kept on this machine's disk, in the
    folder `cache` (none named: the user's cache folder); the windows of a new run's order follow
    from it. `fill`: who fills batches (see shards.ring); if it is not said, helper processes where
    a GPU trains, which would wait for Python's lock, and else threads. `async_saves` writes
    checkpoints while training goes on. A rank that does not answer for `timeout_s` ends the run.
    `wandb` names a project of Weights & Biases (null: not logged there), `country` is where the
    machine stands, as three letters, for the carbon of its energy.
    """

    name: str
    sources: dict[str, SourceSpec]
    objectives: dict[str, float]
    batch: Batching
    max_tokens: Annotated[int, msgspec.Meta(ge=8, le=65_536)]
    model: ModelSpec = ModelSpec()
    trainable: tuple[str, ...]
    vision_only: bool = False
    robot_loss: RobotLoss = RobotLoss()
    lora: Lora | None = None
    teacher: Teacher | None = None
    optim: Optim = Optim()
    steps: Positive | None = None
    passes: Annotated[float, msgspec.Meta(gt=0)] | None = None
    mixing: Mixing = Mixing()
    seed: int = 1
    precision: Literal["fp32", "bf16"] | None = None
    compile: bool | None = None
    cache_gb: Annotated[float, msgspec.Meta(gt=0)] = CACHE_BYTES / 1e9
    cache: str | None = None
    fill: Fill | None = None
    log_steps: Positive = 50
    save_steps: Positive = 500
    eval_steps: Positive | None = 500
    eval_samples: Annotated[int, msgspec.Meta(ge=0)] = 2000
    async_saves: bool = False
    timeout_s: Positive = 600
    wandb: str | None = None
    country: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")] = "USA"

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
        if ("distil" in self.objectives) != (self.teacher is not None):
            raise ValueError(
                "distil is an objective that learns from a teacher: there are both or neither. Add "
                "--set teacher.model=FOLDER and --set objectives.distil=1, or leave both out with "
                "--set teacher=null and --set objectives.distil=null"
            )
        if self.lora and "language" not in self.trainable:
            raise ValueError(
                "lora is set, and trainable has no language for its adapters to learn in; add it, "
                "or leave lora out with --set lora=null"
            )
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
