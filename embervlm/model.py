"""EmberVLM: pictures and tokens in; next tokens, step states and robots out.

pixels [B,3,224,224] -> Encoder -> Projection -> visual [B,49,D]
ids [B,T] -> embeddings, `<image>` replaced in place by visual -> Language -> hidden [B,L,D]
hidden up to `<robot>` -> Fusion [B,8,D] -> ReasoningModule [B,4,D] -> RobotHead [B,5]
"""

import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from embervlm.config import EmberVLMConfig
from embervlm.fusion import Fusion
from embervlm.generate import extend
from embervlm.heads import RobotHead
from embervlm.language import Language, initialise
from embervlm.outputs import Decision, Outputs
from embervlm.projection import Projection
from embervlm.reasoning import ReasoningModule
from embervlm.splice import Sequence, fill, lay_out, visibility
from embervlm.vision import Encoder
from embervlm.weights import load_strict, read


class EmberVLM(nn.Module):
    """The model. `EmberVLM(config)` has random weights and touches no network.

    `EmberVLM.build(config)` starts from the weights that the configuration names, and
    `EmberVLM.from_pretrained` reads a saved model. A configuration with a frozen encoder is
    refused (ValueError) by `EmberVLM(config)`, because its encoder would be random.
    """

    def __init__(self, config: EmberVLMConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.encoder)
        self.projection = Projection(self.encoder.width, config.width)
        self.language = Language(
            config.vocab_size, config.positions, config.layers, config.heads, config.width
        )
        self.fusion = Fusion(config.width, config.heads, config.queries)
        self.reasoning = ReasoningModule(
            config.width, config.heads, config.reasoning_blocks, config.reasoning_steps
        )
        self.robot_head = RobotHead(config.width, len(config.robots))
        initialise(self.projection, blocks=1)
        initialise(self.robot_head, blocks=1)
        if config.encoder_frozen:
            self.encoder.freeze()

    def forward(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        has_image: Tensor | None = None,
        thread: Tensor | None = None,
    ) -> Outputs:
        """ids int64 [B,T], pixels [B,3,224,224] uint8 or float in 0..1, mask [B,T] (1 = real),
        has_image bool [B] (None = every row has its picture), thread int64 [B,T] -> Outputs.

        `<image>` stands at most once in a row. Without pixels, or where has_image is False, it is
        one zero embedding; a picture without an `<image>` to stand at is not seen.

        Threads: 0 = the shared prefix (and padding on the right), k = the k-th of the packed
        threads, each of which reads exactly as if it followed the prefix alone. None = one thread.

        Padding on the right needs no attention_mask, causality hides it; with neither mask nor
        thread attention takes its fastest path.

        The robots are decided from what the row's LAST `<robot>` attends to, itself included: never
        from the answer after it. A row without `<robot>` is decided from all its positions,
        those that attention_mask hides excepted.

        Raises ValueError if T + 48 exceeds the model's positions.
        """
        visual = None if pixel_values is None else self.look(pixel_values)
        sequence = self.read(input_ids, visual, attention_mask, has_image, thread)
        hidden = sequence.at(sequence.layout.at)
        context = self._context(input_ids, attention_mask, sequence)
        decision = self._decide(sequence.hidden, context)
        return Outputs(**vars(decision), hidden=hidden, head=self.language.wte.weight)

    def forward_vision_only(self, pixel_values: Tensor) -> Decision:
        """Pixels [B,3,224,224] -> Decision from the picture alone, past the language model."""
        return self._decide(self.look(pixel_values), None)

    def look(self, pixel_values: Tensor) -> Tensor:
        """Pixels [B,3,224,224] -> visual tokens [B,49,D]."""
        return self.projection(self.encoder(pixel_values))

    def read(
        self,
        ids: Tensor,
        visual: Tensor | None,
        attention_mask: Tensor | None,
        has_image: Tensor | None,
        thread: Tensor | None,
    ) -> Sequence:
        """As forward, but from visual tokens [B,49,D], and no further than the hidden states."""
        length = ids.shape[1]
        is_image = ids == self.config.image_id
        tokens = self.language.wte(ids).masked_fill(is_image[..., None], 0.0)
        start = torch.where(is_image.any(1), is_image.int().argmax(1), length)
        if visual is None:  # an `<image>` as wide as any other token
            layout = lay_out(torch.full_like(start, length), length, visual=1)
            embeddings = tokens
        else:
            if has_image is not None:
                start = torch.where(has_image, start, length)
            layout = lay_out(start, length, visual.shape[1])
            embeddings = fill(layout, tokens, visual)
        real = layout.filled
        if attention_mask is not None:
            real = real & attention_mask.bool().gather(1, layout.owner)
        if attention_mask is None and thread is None:
            return Sequence(self.language(embeddings), layout, real, None)
        spread = None if thread is None else thread.gather(1, layout.owner)
        mask = visibility(real, spread)
        hidden = self.language(embeddings, mask.sum(2) - 1, mask[:, None])
        return Sequence(hidden, layout, real, mask)

    def _context(self, ids: Tensor, attention_mask: Tensor | None, sequence: Sequence) -> Tensor:
        """bool [B,L]: the positions that the robots are decided from."""
        is_robot = ids == self.config.robot_id
        if attention_mask is not None:
            is_robot = is_robot & attention_mask.bool()
        index = torch.arange(ids.shape[1], device=ids.device)
        last = torch.where(is_robot, index, -1).amax(1, keepdim=True)  # [B,1]; -1 = none
        end = sequence.layout.at.gather(1, last.clamp(min=0))
        if sequence.mask is None:
            seen = torch.arange(sequence.real.shape[1], device=ids.device) <= end
        else:
            seen = torch.take_along_dim(sequence.mask, end[..., None], dim=1)[:, 0]
        return torch.where(last >= 0, seen, sequence.real)

    def _decide(self, context: Tensor, mask: Tensor | None) -> Decision:
        fused = self.fusion(context, mask)
        steps = self.reasoning(fused)
        return Decision(robot_logits=self.robot_head(steps), steps=steps, fused=fused)

    @torch.no_grad()
    def generate(
        self, input_ids: Tensor, pixel_values: Tensor | None, max_new_tokens: int, eos_id: int
    ) -> list[list[int]]:
        """Greedy continuations of prompts [B,T], padded on the right with `<pad>`.

        Each row's new ids, without `eos_id`; a row ends there, after `max_new_tokens`, or when the
        positions run out. `<pad>` and `<image>` are never chosen.
        """
        was_training = self.training
        self.eval()
        try:
            visual = None if pixel_values is None else self.look(pixel_values)
            return extend(self, input_ids, visual, max_new_tokens, eos_id)
        finally:
            self.train(was_training)

    def num_parameters(self) -> dict[str, int]:
        """Parameters of each component, counted; the head is tied and counts once."""

        def count(module: nn.Module) -> int:
            return sum(p.numel() for p in module.parameters())

        language = self.language
        return {
            "vision encoder": count(self.encoder),
            "projection": count(self.projection),
            "token embeddings": count(language.wte),
            "positions": count(language.wpe),
            "language layers": count(language.h) + count(language.ln_f),
            "fusion": count(self.fusion),
            "reasoning": count(self.reasoning),
            "robot head": count(self.robot_head),
            "total": count(self),
        }

    @classmethod
    def build(cls, config: EmberVLMConfig) -> "EmberVLM":
        """A model that starts from the weights that `config` names.

        Raises ValueError for a frozen encoder without weights, or for weights that do not fit.
        """
        if config.encoder_frozen and config.encoder_weights is None:
            return cls(config)  # refused there
        model = cls(config.replace(encoder_frozen=False))
        if config.encoder_weights is not None:
            model.encoder.load(config.encoder_weights)
        if config.backbone != "scratch":
            model.language.load_gpt2(config.backbone)
        return model._settle(config)

    @classmethod
    def from_state(cls, config: EmberVLMConfig, tensors: dict[str, Tensor]) -> "EmberVLM":
        """A model of `config` with these weights, strictly: ValueError naming what does not fit.

        A frozen encoder is checked after loading, so a trained one is fine, a random one refused.
        """
        model = cls(config.replace(encoder_frozen=False))
        load_strict(model, tensors, "the model")
        return model._settle(config)

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike[str], **overrides: Any) -> "EmberVLM":
        """Read what `save_pretrained` wrote, some fields of its configuration replaced.

        Raises FileNotFoundError, or ValueError naming the tensors that do not fit.
        """
        saved = EmberVLMConfig.from_pretrained(directory)
        config = saved.replace(**overrides)
        model = cls(config.replace(encoder_frozen=False))
        load_strict(model, read(Path(directory) / "model.safetensors"), directory)
        if saved.encoder_frozen:  # it was checked when it was frozen
            model.encoder.trust()
        return model._settle(config)

    def _settle(self, config: EmberVLMConfig) -> "EmberVLM":
        if config.encoder_frozen:
            self.encoder.freeze()
        self.config = config
        return self

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors, each whole or not at all; the tied head once."""
        path = Path(directory) / "model.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".safetensors.part")
        save_file({n: t.contiguous() for n, t in self.state_dict().items()}, draft)
        draft.replace(path)
        self.config.replace(encoder_frozen=self.encoder.frozen).save_pretrained(directory)
