"""Writing on: greedy, a batch at a time."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from embervlm.model import EmberVLM


def extend(
    model: "EmberVLM", prompts: Tensor, visual: Tensor | None, most: int, eos_id: int
) -> list[list[int]]:
    """What follows each prompt [B,T] (`<pad>` on the right), its visual tokens being [B,49,D].

    At most `most` ids a row, fewer if the positions run out, and none from `eos_id` on. Each step
    reads the whole sequence again; the picture is looked at once, before.
    """
    pad, image = model.config.pad_id, model.config.image_id
    wider = 0 if visual is None else visual.shape[1] - 1
    room = max(0, min(most, model.config.positions - wider - prompts.shape[1]))
    ids = torch.cat([prompts, prompts.new_full((len(prompts), room), pad)], dim=1)
    length = (prompts != pad).sum(1, keepdim=True)  # [B,1]: where a row's next token goes
    done = torch.zeros_like(length, dtype=torch.bool)
    new: list[list[int]] = [[] for _ in prompts]
    for _ in range(room):
        sequence = model.read(ids[:, : int(length.max())], visual, None, None, None)
        final = sequence.at(sequence.layout.at.gather(1, length - 1))
        scores = model.language.logits(final[:, 0])
        scores[:, [pad, image]] = -torch.inf  # neither can be read back as text
        best = scores.argmax(1, keepdim=True)
        done |= best == eos_id
        if bool(done.all()):
            break
        ids.scatter_(1, length, best.masked_fill(done, pad))
        length = torch.where(done, length, length + 1)
        for row, token, ended in zip(new, best[:, 0].tolist(), done[:, 0].tolist(), strict=True):
            if not ended:
                row.append(token)
    return new
