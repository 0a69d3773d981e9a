"""How fast batches come, how soon the first one, and how much memory that takes: the same for all.

`tests/bench/stream.py` starts one process a measured configuration, in whatever environment has the
library; importing this module imports torch first, and notes when that was done.
"""

import time

import torch

IMPORTED = time.time()

import itertools  # noqa: E402 - torch is imported first, so that it is timed alone
import json  # noqa: E402
import os  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterable, Iterator  # noqa: E402
from typing import NoReturn  # noqa: E402

import psutil  # noqa: E402
from machine import Others, pss  # noqa: E402
from sizes import BATCH, SIDE, TOKENS  # noqa: E402

_WARM_UP, _WINDOWS = 16, 3  # batches, windows of `seconds`
_BEGUN = psutil.Process().create_time()

Batch = tuple[torch.Tensor, torch.Tensor]  # uint8, channels first or last, int64 [BATCH, TOKENS]


def measure(batches: Iterable[Batch], seconds: float) -> NoReturn:
    """Take batches for a while, print what was measured as JSON, and end the process."""
    iterator = iter(batches)
    images, tokens = next(iterator)
    first = time.time()
    shapes = tuple(images.shape), tuple(tokens.shape)
    pictures = (BATCH, 3, SIDE, SIDE), (BATCH, SIDE, SIDE, 3)
    expected = [(picture, (BATCH, TOKENS)) for picture in pictures]
    if shapes not in expected or images.dtype != torch.uint8 or tokens.dtype != torch.int64:
        raise ValueError(
            f"a batch is {shapes}, {images.dtype}, {tokens.dtype}; not uint8, int64 of {expected}"
        )
    if len(torch.unique(images[:, ::3, ::16])) < SIDE // 2 or not tokens.any():
        raise ValueError("a batch is empty")
    for _ in range(_WARM_UP):
        next(iterator)
    others = Others()
    rates = [_window(iterator, seconds) for _ in range(_WINDOWS)]
    found = {
        "others": others.cores(),
        "rate": statistics.median(rates),
        "imported": IMPORTED - _BEGUN,
        "first": first - _BEGUN,
        "pss": pss(),
    }
    print(json.dumps(found))
    end()


def _window(iterator: Iterator[Batch], seconds: float) -> float:
    """Samples a second, over at least `seconds`."""
    begun, taken = time.perf_counter(), 0
    while True:
        next(iterator)
        taken += BATCH
        if (passed := time.perf_counter() - begun) > seconds:
            return taken / passed


def forever(loader: Iterable[Batch]) -> Iterator[Batch]:
    """The batches of a loader, pass after pass."""
    return itertools.chain.from_iterable(itertools.repeat(loader))


def end() -> NoReturn:
    """End at once: what a library does at its end is not measured, and may hang."""
    sys.stdout.flush()
    os._exit(0)
