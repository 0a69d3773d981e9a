"""EmberVLMConfig: everything that decides the shape of a model and where its weights start.

No torch here: a configuration is read, checked and written without it.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from embervlm.hub import locate

ROBOTS = ("Drone", "Underwater Robot", "Humanoid", "Robot with Wheels", "Robot with Legs")
STEPS = (  # of a reasoning, one a line, in this order
    "Task analysis",
    "Environment assessment",
    "Robot capability matching",
    "Decision justification",
)
# The model's parts by name, as `EmberVLM.train_only` and a stage's `trainable` list know them.
COMPONENTS = (
    "encoder",
    "projection",
    "language",
    "fusion",
    "reasoning",
    "robot_head",
    "plan_head",
    "contrast",
)
IMAGE_SIZE = 224  # pixels a side
VISUAL_TOKENS = 49  # 224 px at the encoder's stride of 32: a 7 x 7 grid


class EmberVLMConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of a model. Sizes count; `width` is the model's channels.

    `encoder_weights`: None = random; "timm" = timm's hub; else a directory (or file) in the layout
    of timm's hub. `backbone`: "scratch" = random; else a hub id or a directory in the layout of
    Hugging Face's GPT-2. `tokenizer`: "builtin", a hub id or a directory. These three say where
    `EmberVLM.build` finds things; `EmberVLM(config)` alone never reads them.

    Raises ValueError (msgspec.ValidationError from `from_dict`) for sizes that do not fit together.
    """

    vocab_size: int
    layers: int = 6
    heads: int = 6
    width: int = 384
    positions: int = 1024
    visual_tokens: int = VISUAL_TOKENS
    queries: int = 8
    reasoning_blocks: int = 2
    reasoning_steps: int = len(STEPS)
    plan_steps: int = 5  # steps of a plan at most
    contrast_width: int = 128  # channels in which pictures and texts are compared
    robots: tuple[str, ...] = ROBOTS
    encoder: str = "repvit_m0_9.dist_450e_in1k"
    encoder_weights: str | None = None
    encoder_frozen: bool = False
    backbone: str = "scratch"
    tokenizer: str = "builtin"

    def __post_init__(self) -> None:
        for name in _SIZES:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.vocab_size < 6:
            raise ValueError(f"vocab_size is {self.vocab_size}; six special tokens alone need 6")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.visual_tokens != VISUAL_TOKENS:
            raise ValueError(
                f"visual_tokens is {self.visual_tokens}; a {IMAGE_SIZE} px picture gives "
                f"{VISUAL_TOKENS}"
            )
        if self.positions <= self.visual_tokens:
            raise ValueError(
                f"positions {self.positions} leaves no room beside {self.visual_tokens} visual "
                "tokens"
            )
        if not self.robots or len(set(self.robots)) < len(self.robots):
            raise ValueError(f"robots {self.robots} are empty or repeat a name")

    # The end of text and the five special tokens are always the last ids of the vocabulary, in this
    # order, so that the model finds them without a tokenizer (tokens.py keeps the other end of the
    # promise).
    @property
    def end_id(self) -> int:
        return self.vocab_size - 6

    @property
    def pad_id(self) -> int:
        return self.vocab_size - 5

    @property
    def image_id(self) -> int:
        return self.vocab_size - 4

    @property
    def reasoning_start_id(self) -> int:
        return self.vocab_size - 3

    @property
    def robot_id(self) -> int:
        return self.vocab_size - 2

    @property
    def reasoning_end_id(self) -> int:
        return self.vocab_size - 1

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> "EmberVLMConfig":
        """The configuration called `name`, some fields replaced. ValueError for an unknown name."""
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}; the presets are {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **overrides})

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "EmberVLMConfig":
        """The inverse of `to_dict`. ValueError, naming the field, if it is wrong; an unknown one is
        named with the nearest that there is."""
        known = cls.__struct_fields__
        for name in fields:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                raise ValueError(f"unknown key {name!r} in a configuration; {hint}")
        return msgspec.convert(dict(fields), cls)

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, in the order of the fields."""
        return msgspec.to_builtins(self)

    def replace(self, **fields: Any) -> "EmberVLMConfig":
        """This configuration with some fields replaced, checked again."""
        return type(self)(**{**msgspec.structs.asdict(self), **fields})

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str]) -> "EmberVLMConfig":
        """Read `config.json` of a directory or a hub id. FileNotFoundError if there is none,
        ValueError, naming file and field, if it is no configuration."""
        path = locate(source, ("config.json",)) / "config.json"
        try:
            return cls.from_dict(msgspec.json.decode(path.read_bytes(), type=dict[str, Any]))
        except ValueError as error:  # msgspec's are ValueErrors too
            raise ValueError(f"{path}: {error}") from None

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write `directory/config.json` whole or not at all, making the directory."""
        path = Path(directory) / "config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".json.part")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
        draft.replace(path)


_SIZES = (
    "layers",
    "heads",
    "width",
    "queries",
    "reasoning_blocks",
    "reasoning_steps",
    "plan_steps",
    "contrast_width",
)

PRESETS: dict[str, dict[str, Any]] = {
    "compact": {"vocab_size": 4096},
    "flagship": {
        "vocab_size": 50262,
        "backbone": "tinyllm/30M-0.4",
        "tokenizer": "tinyllm/30M-0.4",
        "encoder_weights": "timm",
        "encoder_frozen": True,
    },
}
