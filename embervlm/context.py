"""Which of a row's positions a decision is read from."""

import torch
from torch import Tensor

from embervlm.config import EmberVLMConfig
from embervlm.splice import Sequence


def up_to_robot(
    ids: Tensor, attention_mask: Tensor | None, sequence: Sequence, config: EmberVLMConfig
) -> Tensor:
    """bool [B,L]: what the row's last `<robot>` attends to, itself included; all that is real in a
    row without one."""
    is_robot = ids == config.robot_id
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


def last_reasoning(
    ids: Tensor,
    attention_mask: Tensor | None,
    thread: Tensor | None,
    sequence: Sequence,
    config: EmberVLMConfig,
) -> tuple[Tensor, Tensor]:
    """bool [B,L]: the words of the row's last reasoning, from after `<reasoning_start>` up to
    `<reasoning_end>` or as far as it goes; bool [B]: there are any. Without, all that is real."""
    real = ids != config.pad_id
    if attention_mask is not None:
        real = real & attention_mask.bool()
    index = torch.arange(ids.shape[1], device=ids.device)
    starts = real & (ids == config.reasoning_start_id)
    start = torch.where(starts, index, -1).amax(1, keepdim=True)  # [B,1]; -1 = none
    after = index > start
    ends = (ids == config.reasoning_end_id) & after
    inside = real & after & (start >= 0) & (ends.cumsum(1) - ends.long() == 0)
    if thread is not None:
        inside = inside & (thread == thread.gather(1, start.clamp(min=0)))
    there = inside.any(1)
    words = inside.gather(1, sequence.layout.owner) & sequence.real
    return torch.where(there[:, None], words, sequence.real), there
