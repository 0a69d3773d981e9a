"""A slot's buffers become tensors of the documented shapes and types without a copy."""

import numpy as np
import torch

from shards.slot import NO_LOSS, Slot
from train.batches import Batch

SHAPES = {
    "images": ((2, 3, 8, 8), torch.uint8),
    "tokens": ((2, 6), torch.int64),
    "labels": ((2, 6), torch.int64),
    "thread": ((2, 6), torch.int64),
    "robots": ((2, 5), torch.float32),
    "single": ((2,), torch.bool),
    "plan": ((2, 5, 2), torch.int64),
    "caption_at": ((2,), torch.int64),
    "has_image": ((2,), torch.bool),
    "corpus": ((2,), torch.int64),
    "record": ((2,), torch.int64),
    "group": ((2,), torch.int64),
}


def test_shapes_types_and_values_are_the_slot_s() -> None:
    slot = Slot(2, 6, 8)
    for _, array in slot.arrays():
        array[...] = np.arange(array.size).reshape(array.shape) % 251
    batch = Batch.of(slot, torch.device("cpu"))
    found = {name: tensor for name, tensor in vars(batch).items() if name != "site"}
    assert {n: (tuple(t.shape), t.dtype) for n, t in found.items()} == SHAPES
    assert batch.site.dtype == torch.float32 and batch.site.shape == slot.site.shape
    for name in vars(batch).keys() - {"images"}:
        assert (vars(batch)[name].numpy() == getattr(slot, name)).all(), name
    assert batch.images[1, 2, 3, 4] == slot.images[1, 3, 4, 2] == (64 + 3 * 8 + 4) * 3 % 251 + 2


def test_on_the_cpu_the_memory_is_shared_and_pictures_are_channels_last() -> None:
    slot = Slot(2, 6, 8)
    batch = Batch.of(slot, torch.device("cpu"))
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert not batch.images.is_contiguous()
    for name, tensor in vars(batch).items():
        assert tensor.data_ptr() == getattr(slot, name).ctypes.data, name
    slot.images[0, 1, 2] = (7, 8, 9)
    assert batch.images[0, :, 1, 2].tolist() == [7, 8, 9]


def test_a_part_of_a_slot_is_that_part() -> None:
    slot = Slot(5, 6, 8)
    for _, array in slot.arrays():
        array[...] = np.arange(array.size).reshape(array.shape) % 251
    batch = Batch.of(slot.part(1, 4).part(1, 3), torch.device("cpu"))
    assert (batch.tokens.numpy() == slot.tokens[2:4]).all()
    assert (batch.record.numpy() == slot.record[2:4]).all()


def test_an_empty_slot_is_a_row_that_nothing_is_learnt_from() -> None:
    slot = Slot(2, 6, 8)
    for _, array in slot.arrays():
        array.fill(1)
    batch = Batch.of(slot.part(0, 0), torch.device("cpu"))
    assert {len(tensor) for tensor in vars(batch).values()} == {1}
    assert (batch.labels == NO_LOSS).all() and (batch.caption_at == -1).all()
    for name in ("tokens", "thread", "robots", "corpus", "has_image", "images"):
        assert not getattr(batch, name).any(), f"{name}: nothing of what the memory held"
    assert slot.labels.all(), "the memory is left as it is"
