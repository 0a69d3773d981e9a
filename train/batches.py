"""A slot's buffers as the tensors that the model and the objectives read."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shards.slot import NO_LOSS, Slot

_TYPES = {
    np.dtype(np.uint8): torch.uint8,
    np.dtype(np.bool_): torch.bool,
    np.dtype(np.int64): torch.int64,
    np.dtype(np.float32): torch.float32,
}


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
        """The slot's content on `device`; on the CPU it shares the slot's memory.

        A slot without rows, of a rank that has no part of the last samples, becomes one row that
        nothing is learnt from, so that every rank takes the same steps.
        """
        empty = len(slot) == 0
        memory = torch.from_numpy(slot.memory).to(device, non_blocking=True)  # all at once
        tensors = {}
        for field in fields(cls):
            begin, kind, shape = slot.fields[field.name]
            nbytes = kind.itemsize * math.prod(shape)
            whole = memory[begin : begin + nbytes].view(_TYPES[kind]).view(shape)
            tensor = whole[slot.first : slot.first + max(1, len(slot))]
            tensors[field.name] = tensor.permute(0, 3, 1, 2) if field.name == "images" else tensor
        if empty:  # whatever the memory holds
            tensors = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
            for name, nothing in (("labels", NO_LOSS), ("caption_at", -1), ("plan", -1)):
                tensors[name] = torch.full_like(tensors[name], nothing)
        return cls(**tensors)


@contextmanager
def pinned(memory: np.ndarray, device: torch.device) -> Iterator[None]:
    """Pin host memory while the block runs, so that a GPU copies from it without the CPU."""
    if device.type != "cuda":
        yield
        return
    runtime: Any = torch.cuda.cudart()
    torch.cuda.check_error(runtime.cudaHostRegister(memory.ctypes.data, memory.nbytes, 0))
    try:
        yield
    finally:
        torch.cuda.synchronize(device)
        torch.cuda.check_error(runtime.cudaHostUnregister(memory.ctypes.data))


class Feed:
    """Batches of slots on the device; a GPU gets them while it still computes the step before.

    Keeps a trainer at most a step ahead of its GPU, which may still copy from a step's slots.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._before: torch.cuda.Event | None = None

    def batches(self, slots: list[Slot]) -> list[Batch]:
        """The slots' content, copied beside what the device computes."""
        if self._copies is None:
            return [Batch.of(slot, self._device) for slot in slots]
        with torch.cuda.stream(self._copies):
            batches = [Batch.of(slot, self._device) for slot in slots]
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._copies)
        for batch in batches:  # their memory is not given away before it is done with them
            batch.images.record_stream(computing)
        return batches

    def issued(self) -> None:
        """All of a step was given to the GPU: return when it has done the one before."""
        if self._copies is not None:
            now = torch.cuda.Event()
            now.record()
            if self._before:
                self._before.synchronize()
            self._before = now
