"""EmberVLM: pictures and tokens in; next tokens, step states, robots and plans out.

pixels [B,3,224,224] -> Encoder -> Projection -> visual [B,49,D]
ids [B,T] -> embeddings, `<image>` replaced in place by visual -> Language -> hidden [B,L,D]
hidden up to `<robot>` -> Fusion [B,8,D] -> ReasoningModule [B,4,D] -> RobotHead [B,5]
                                                            slots [B,5,D] -> PlanHead
visual, caption alone -> Contrast [B,128] each
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from embervlm import splice
from embervlm.answers import Answers
from embervlm.config import EmberVLMConfig
from embervlm.context import last_reasoning, up_to_robot
from embervlm.contrast import Contrast
from embervlm.fusion import Fusion
from embervlm.generate import evaluating, open_reasoning, write
from embervlm.heads import PlanHead, RobotHead
from embervlm.language import Language, Past, initialise
from embervlm.outputs import Decision, Embeddings, Outputs, Text
from embervlm.pretrained import Pretrained
from embervlm.projection import Projection
from embervlm.reasoning import ReasoningModule
from embervlm.vision import Encoder


class EmberVLM(Pretrained):
    """The model. `EmberVLM(config)` has random weights and touches no network.

    `EmberVLM.build(config)` starts from the weights that the configuration names, and
    `EmberVLM.from_pretrained` reads a saved model; both bring the tokenizer along. The encoder of a
    configuration that has it frozen looks at nothing before it has weights (ValueError).
    """

    def __init__(self, config: EmberVLMConfig) -> None:
        super().__init__(config)
        width, robots = config.width, len(config.robots)
        self.encoder = Encoder(config.encoder)
        self.projection = Projection(self.encoder.width, width)
        self.language = Language(
            config.vocab_size, config.positions, config.layers, config.heads, width
        )
        self.fusion = Fusion(width, config.heads, config.queries)
        self.reasoning = ReasoningModule(
            width, config.heads, config.reasoning_blocks, config.reasoning_steps
        )
        self.robot_head = RobotHead(width, robots)
        for part in (self.projection, self.robot_head):
            initialise(part, blocks=1)
        self.plan_head = PlanHead(width, robots, config.plan_steps)
        self.contrast = Contrast(width, config.contrast_width)
        if config.encoder_frozen:
            self.encoder.hold()

    def forward(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_reasoning: bool = False,
        *,
        has_image: Tensor | None = None,
        thread: Tensor | None = None,
        caption_at: Tensor | None = None,
    ) -> Outputs:
        """ids int64 [B,T], pixels [B,3,224,224] uint8 or float in 0..1, mask [B,T] (1 = real),
        has_image bool [B] (None = every row has its picture), thread int64 [B,T], caption_at int64
        [B] -> Outputs.

        `<image>` stands at most once in a row. Without pixels, or where has_image is False, it is
        one zero embedding; a picture without an `<image>` to stand at is not seen.

        Threads: 0 = the shared prefix (and padding on the right), k = the k-th of the packed
        threads, each of which reads exactly as if it followed the prefix alone. None = one thread.

        Padding on the right needs no attention_mask, causality hides it; with neither mask nor
        thread attention takes its fastest path.

        The robots are decided from what the row's LAST `<robot>` attends to, itself included: never
        from the answer after it. A row without `<robot>` is decided from all its positions,
        those that attention_mask hides excepted. `return_reasoning` also reads what the row's last
        written reasoning decides: `read_logits`.

        caption_at says where each row's caption ends (-1 = none) and asks for `embeddings`.

        Raises ValueError if T + 48 exceeds the model's positions.
        """
        features = None if pixel_values is None else self.encoder(pixel_values)
        visual = None if features is None else self.projection(features)
        sequence = self.read(input_ids, visual, attention_mask, has_image, thread)
        context = up_to_robot(input_ids, attention_mask, sequence, self.config)
        read_logits = written = None
        if return_reasoning:
            words, written = last_reasoning(
                input_ids, attention_mask, thread, sequence, self.config
            )
            read_logits = self._decide(sequence.hidden, words).robot_logits
        return Outputs(
            **vars(self._decide(sequence.hidden, context)),
            hidden=sequence.at(sequence.layout.at),
            head=self.language.wte.weight,
            embeddings=self._embed(input_ids, visual, has_image, thread, caption_at),
            features=features,
            read_logits=read_logits,
            written=written,
        )

    def forward_language(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        has_image: Tensor | None = None,
        thread: Tensor | None = None,
        caption_at: Tensor | None = None,
    ) -> Text:
        """As forward, without the robots: for stages that only learn to see and to speak."""
        features = None if pixel_values is None else self.encoder(pixel_values)
        visual = None if features is None else self.projection(features)
        sequence = self.read(input_ids, visual, attention_mask, has_image, thread)
        return Text(
            hidden=sequence.at(sequence.layout.at),
            head=self.language.wte.weight,
            embeddings=self._embed(input_ids, visual, has_image, thread, caption_at),
            features=features,
        )

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
        attention_mask: Tensor | None = None,
        has_image: Tensor | None = None,
        thread: Tensor | None = None,
        past: list[Past] | None = None,
    ) -> splice.Sequence:
        """As forward, but from visual tokens [B,49,D], and no further than the hidden states.
        `past` keeps keys and values for what is written after (see Language)."""
        length = ids.shape[1]
        self._check_length(length, 0 if visual is None else visual.shape[1])
        is_image = ids == self.config.image_id
        tokens = self.language.wte(ids).masked_fill(is_image[..., None], 0.0)
        start = torch.where(is_image.any(1), is_image.int().argmax(1), length)
        if visual is None:  # an `<image>` as wide as any other token
            layout = splice.lay_out(torch.full_like(start, length), length, visual=1)
            embeddings = tokens
        else:
            if has_image is not None:
                start = torch.where(has_image, start, length)
            layout = splice.lay_out(start, length, visual.shape[1])
            embeddings = splice.fill(layout, tokens, visual)
        real = layout.filled
        if attention_mask is not None:
            real = real & attention_mask.bool().gather(1, layout.owner)
        if attention_mask is None and thread is None:
            return splice.Sequence(self.language(embeddings, past=past), layout, real, None)
        spread = None if thread is None else thread.gather(1, layout.owner)
        mask = splice.visibility(real, spread)
        hidden = self.language(embeddings, mask.sum(2) - 1, mask[:, None], past)
        return splice.Sequence(hidden, layout, real, mask)

    def _check_length(self, tokens: int, visual: int) -> None:
        wide = tokens + max(visual - 1, 0)
        if wide > (most := self.config.positions):
            beside = f", with {visual} visual tokens in place of <image>" if visual else ""
            raise ValueError(
                f"a sequence of {wide} tokens ({tokens} given{beside}); the model has {most} "
                f"positions, so at most {most - wide + tokens} fit"
            )

    def _decide(self, context: Tensor, mask: Tensor | None) -> Decision:
        fused = self.fusion(context, mask)
        steps, slots = self.reasoning(fused, self.plan_head.slots)
        votes = self.robot_head(steps)
        robots, orders = self.plan_head(slots)
        return Decision(votes.mean(1), votes, steps, robots, orders, fused)

    def _embed(
        self,
        ids: Tensor,
        visual: Tensor | None,
        has_image: Tensor | None,
        thread: Tensor | None,
        caption_at: Tensor | None,
    ) -> Embeddings | None:
        if caption_at is None:
            return None
        if visual is None:
            raise ValueError("caption_at asks to compare captions with pictures; none were given")
        alone = self.read(ids, None, thread=thread).at(caption_at.clamp(min=0)[:, None])[:, 0]
        there = caption_at >= 0
        return self.contrast(visual, alone, there if has_image is None else there & has_image)

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None,
        max_new_tokens: int,
        eos_id: int | Sequence[int],
        attention_mask: Tensor | None = None,
    ) -> list[list[int]]:
        """Greedy continuations of prompts [B,T], padded on either side: attention_mask [B,T] says
        what is real of them (None = all but `<pad>`).

        Each row's new ids, without `eos_id` (one, or several); a row ends there, after
        `max_new_tokens`, or when the positions run out. `<pad>` and `<image>` are never chosen.
        """
        real = input_ids != self.config.pad_id if attention_mask is None else attention_mask.bool()
        past = self.language.new_past()
        stops = [eos_id] if isinstance(eos_id, int) else eos_id
        with evaluating(self):
            visual = None if pixel_values is None else self.look(pixel_values)
            prompts = self.read(input_ids, visual, real, past=past)
            new = write(self, prompts, past, max_new_tokens, stops)
        return [[token for token in row if token != self.config.pad_id] for row in new.tolist()]

    @torch.no_grad()
    def generate_reasoning(
        self,
        pixel_values: Tensor | None,
        input_ids: Tensor,
        max_length: int = 200,
        attention_mask: Tensor | None = None,
    ) -> Answers:
        """Decide, then write why: at most `max_length` tokens, up to `<reasoning_end>` or the end
        of text. Prompts as in `generate`; `<robot>` and `<reasoning_start>` are put at the end of
        those that lack them."""
        real = input_ids != self.config.pad_id if attention_mask is None else attention_mask.bool()
        ids, real = open_reasoning(input_ids, real, self.config)
        past = self.language.new_past()
        stops = (self.config.reasoning_end_id, self.config.end_id)
        with evaluating(self):
            visual = None if pixel_values is None else self.look(pixel_values)
            prompts = self.read(ids, visual, real, past=past)
            decision = self._decide(prompts.hidden, up_to_robot(ids, real, prompts, self.config))
            new = write(self, prompts, past, max_length, stops)
        return Answers(new, decision, self.config.robots, lambda ids: self.tokenizer.decode(ids))
