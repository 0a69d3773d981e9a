"""Writing on: greedy, a batch at a time, nothing read twice."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from embervlm import splice
from embervlm.config import EmberVLMConfig
from embervlm.language import Past

if TYPE_CHECKING:
    from embervlm.model import EmberVLM


def write(
    model: "EmberVLM",
    prompts: splice.Sequence,
    past: list[Past],
    most: int,
    stops: Sequence[int],
) -> Tensor:
    """What follows each prompt, int64 [B,N], `<pad>` after a row's end.

    `past` holds the keys and values of the prompts, padded on either side or both: a row's new
    tokens attend to what is real, and count their positions on from it. At most `most` tokens,
    fewer if the positions run out, and none from one of `stops` on.
    """
    config, language = model.config, model.language
    seen = prompts.real
    length = seen.sum(1)
    index = torch.arange(seen.shape[1], device=seen.device)
    last = torch.where(seen, index, 0).amax(1, keepdim=True)  # [B,1]
    hidden = prompts.at(last)
    done = torch.zeros_like(length, dtype=torch.bool)
    room = max(0, min(most, config.positions - int(length.max())))
    new: list[Tensor] = []
    for step in range(room):
        if step:
            seen = torch.cat([seen, ~done[:, None]], dim=1)
            tokens = language.wte(new[-1][:, None])
            hidden = language(tokens, (length + step - 1)[:, None], seen[:, None, None], past)
        scores = language.logits(hidden[:, 0])
        scores[:, [config.pad_id, config.image_id]] = -torch.inf  # neither can be read back
        best = scores.argmax(1)
        done = done | torch.isin(best, torch.tensor(stops, device=best.device))
        if bool(done.all()):
            break
        new.append(best.masked_fill(done, config.pad_id))
    return torch.stack(new, 1) if new else length.new_zeros(len(length), 0)


def open_reasoning(ids: Tensor, real: Tensor, config: EmberVLMConfig) -> tuple[Tensor, Tensor]:
    """Prompts [B,T] and what is real of them, `<robot>` and `<reasoning_start>` put at the end of
    the rows that lack them."""
    for token in (config.robot_id, config.reasoning_start_id):
        lacks = ~(real & (ids == token)).any(1, keepdim=True)
        if bool(lacks.any()):
            ids = torch.cat([ids, torch.where(lacks, token, config.pad_id)], dim=1)
            real = torch.cat([real, lacks], dim=1)
    return ids, real


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode while the block runs, then as it was."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)
