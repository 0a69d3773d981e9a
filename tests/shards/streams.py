"""A small stream of four sources over the data set `whole`, and how its slots are compared."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from shards.mixing import SourceSpec
from shards.reader import Dataset
from shards.slot import Slot
from shards.stream import Batching, Stream
from shards.tokens import Encoder

SOURCES = {
    "coco": SourceSpec(weight=0.4, turns="rotate"),
    "vqa": SourceSpec(weight=0.3, turns="pack"),
    "talk": SourceSpec(corpus="llava", weight=0.2, turns="whole"),
    "robots": SourceSpec(weight=0.1, turns="one"),
}


def open_stream(
    folder: Path,
    encoder: Encoder,
    *,
    sources: dict[str, SourceSpec] = SOURCES,
    total: int = 20,
    pool: int = 10,
    **given: Any,
) -> Stream:
    """A stream of steps of `total` samples, whose windows are of a few shards."""
    batching = Batching(global_=total, pool=pool)
    small = {"seed": 1, "max_tokens": 64, "cache_bytes": 150_000, **given}
    return Stream(Dataset(folder), sources, encoder, batching=batching, **small)


def arrays(slots: Iterable[Slot]) -> dict[str, np.ndarray]:
    """Copies of all rows of slots, one after another."""
    named = [dict(slot.arrays()) for slot in slots]
    return {name: np.concatenate([one[name] for one in named]) for name in named[0]}


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    assert one.keys() == other.keys()
    return all(np.array_equal(one[n], other[n], equal_nan=n == "site") for n in one)
