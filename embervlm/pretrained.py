"""A model apart from its forward pass: where it starts from, what is trained of it, where it lies.

DIR/config.json         EmberVLMConfig
DIR/model.safetensors   weights and BatchNorm's statistics; the tied head once
DIR/tokenizer.json      with tokenizer_config.json, as transformers' AutoTokenizer reads them
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from safetensors.torch import save_file
from torch import Tensor, nn

from embervlm.config import COMPONENTS, EmberVLMConfig
from embervlm.hub import locate
from embervlm.language import Language
from embervlm.tokens import Tokenizer
from embervlm.vision import Encoder
from embervlm.weights import FILES, count, load_strict, read


class Pretrained(nn.Module):
    """What EmberVLM can do besides computing."""

    encoder: Encoder
    language: Language

    def __init__(self, config: EmberVLMConfig) -> None:
        super().__init__()
        self.config = config
        self._tokenizer: Tokenizer | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """The one that came with the model, else the one that its configuration names.

        Raises FileNotFoundError if that is not there, ValueError if it has another number of ids.
        """
        if self._tokenizer is None:
            self._use(Tokenizer.load(self.config.tokenizer))
        assert self._tokenizer is not None
        return self._tokenizer

    def _use(self, tokenizer: Tokenizer) -> None:
        if tokenizer.vocab_size != self.config.vocab_size:
            raise ValueError(
                f"the model has a vocabulary of {self.config.vocab_size}, its tokenizer of "
                f"{tokenizer.vocab_size}"
            )
        self._tokenizer = tokenizer

    def train_only(self, components: Iterable[str]) -> None:
        """Gradients for these of COMPONENTS and for no other part; an encoder that is not among
        them is frozen, BatchNorm too (ValueError for a random one, or an unknown name)."""
        chosen = set(components)
        if unknown := chosen - set(COMPONENTS):
            raise ValueError(
                f"no component {', '.join(sorted(unknown))}; there are {', '.join(COMPONENTS)}"
            )
        if "encoder" in chosen and self.encoder.frozen:
            raise ValueError(
                "the encoder is frozen for good; set encoder_frozen: false to train it"
            )
        for name, part in self.named_children():
            part.requires_grad_(name in chosen)
        if "encoder" not in chosen:
            self.encoder.freeze()

    def num_parameters(self) -> dict[str, int]:
        """Parameters by what they are for, counted, and their total; the head is tied and counts
        once."""
        parts = {name: count(part) for name, part in self.named_children()}
        embeddings, positions = count(self.language.wte), count(self.language.wpe)
        return {
            "vision encoder": parts["encoder"],
            "projection": parts["projection"],
            "token embeddings": embeddings,
            "positions": positions,
            "language layers": parts["language"] - embeddings - positions,
            "fusion": parts["fusion"],
            "robot head": parts["robot_head"],
            "reasoning": parts["reasoning"],
            "plan head": parts["plan_head"],
            "contrast": parts["contrast"],
            "total": sum(parts.values()),
        }

    @classmethod
    def build(cls, config: EmberVLMConfig) -> Self:
        """A model that starts from the weights that `config` names, with the tokenizer it names.

        Raises ValueError for a frozen encoder without weights, or for what does not fit.
        """
        model = cls(config.replace(encoder_frozen=False))
        if config.encoder_weights is not None:
            model.encoder.load(config.encoder_weights)
        if config.backbone != "scratch":
            model.language.load_gpt2(config.backbone)
        model._use(Tokenizer.load(config.tokenizer))
        return model._settle(config)

    @classmethod
    def from_state(
        cls, config: EmberVLMConfig, tensors: dict[str, Tensor], source: object = "the model"
    ) -> Self:
        """A model of `config` with the weights of `source`: ValueError naming what does not fit.

        A frozen encoder is checked after loading, so a trained one is fine, a random one refused.
        """
        model = cls(config.replace(encoder_frozen=False))
        load_strict(model, tensors, source)
        model._use(Tokenizer.load(config.tokenizer))
        return model._settle(config)

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], **overrides: Any) -> Self:
        """Read what `save_pretrained` wrote, from a directory or a hub id, some fields of its
        configuration replaced. Raises FileNotFoundError, or ValueError naming what does not fit."""
        folder = locate(source, (*FILES, "config.json", "tokenizer.json"))
        saved = EmberVLMConfig.from_pretrained(folder)
        config = saved.replace(**overrides)
        model = cls(config.replace(encoder_frozen=False))
        load_strict(model, read(folder), source)
        if saved.encoder_frozen:  # it was checked when it was frozen
            model.encoder.trust()
        if (folder / "tokenizer.json").is_file():
            model._use(Tokenizer.load(folder))
        return model._settle(config)

    def _settle(self, config: EmberVLMConfig) -> Self:
        if config.encoder_frozen:
            self.encoder.freeze()
        self.config = config
        return self

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write the directory, each file whole or not at all: with the tokenizer if the model has
        one, as all have that were built or read, or asked for theirs."""
        path = Path(directory) / "model.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".safetensors.part")
        save_file({n: t.contiguous() for n, t in self.state_dict().items()}, draft)
        draft.replace(path)
        if self._tokenizer is not None:
            self._tokenizer.save(directory)
        self.config.replace(encoder_frozen=self.encoder.frozen).save_pretrained(directory)
