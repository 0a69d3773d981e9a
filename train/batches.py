"""A slot's buffers as the tensors that the model and the objectives read."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from shards.ring import Slot


@dataclass
class Batch:
    """images uint8 [B,3,H,W] (a channels-last view); tokens, labels, thread int64 [B,T] (label
    -100 = no loss, thread 0 = shared prefix and padding); robots float32 [B,5] multi-hot; single,
    has_image bool [B]; plan int64 [B,5,2] (robot, order; -1 = none); site float32 [B,F];
    caption_at, corpus, record, group int64 [B].
    """

    images: Tensor
    tokens: Tensor
    labels: Tensor
    thread: Tensor
    robots: Tensor
    single: Tensor
    plan: Tensor
    site: Tensor
    caption_at: Tensor
    has_image: Tensor
    corpus: Tensor
    record: Tensor
    group: Tensor

    @classmethod
    def of(cls, slot: Slot, device: torch.device) -> "Batch":
        """The slot's content on `device`; on the CPU it shares the slot's memory."""
        tensors = {}
        for field in fields(cls):
            tensor = torch.from_numpy(getattr(slot, field.name))
            if field.name == "images":
                tensor = tensor.permute(0, 3, 1, 2)
            tensors[field.name] = tensor.to(device, non_blocking=True)
        return cls(**tensors)
