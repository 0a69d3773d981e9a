"""Kernels for CUDA, in Triton, which comes with torch there."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 8192  # columns at a time


@triton.jit
def _to_gradient(scores, stride, targets, losses, rows, BLOCK: tl.constexpr):  # noqa: N803
    place = tl.program_id(0).to(tl.int64)
    scores += place * stride
    target = tl.load(targets + place)
    best = -float("inf")
    total = 0.0
    for begin in range(0, rows, BLOCK):
        column = begin + tl.arange(0, BLOCK)
        x = tl.load(scores + column, mask=column < rows, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(best, tl.max(x))
        total = total * tl.exp(best - higher) + tl.sum(tl.exp(x - higher))
        best = higher
    norm = best + tl.log(total)
    there = target >= 0
    own = tl.load(scores + tl.maximum(target, 0)).to(tl.float32)
    tl.store(losses + place, tl.where(there, norm - own, 0.0))
    for begin in range(0, stride, BLOCK):
        column = begin + tl.arange(0, BLOCK)
        x = tl.load(scores + column, mask=column < rows, other=-float("inf")).to(tl.float32)
        slope = tl.exp(x - norm) - tl.where(column == target, 1.0, 0.0)
        slope = tl.where(there, slope, 0.0)
        tl.store(scores + column, slope.to(scores.dtype.element_ty), mask=column < stride)


def to_gradient(scores: Tensor, targets: Tensor, rows: int) -> Tensor:
    """Each row's cross-entropy, fp32 [N]; contiguous scores [N,W], of which `rows` columns are
    real, become its gradient in place. targets int64 [N], negative = none.

    A row is read twice, the second time mostly from the cache, and written once.
    """
    losses = torch.empty(len(scores), dtype=torch.float32, device=scores.device)
    if len(scores):
        launch: Any = _to_gradient[(len(scores),)]
        launch(scores, scores.stride(0), targets, losses, rows, BLOCK=_BLOCK, num_warps=16)
    return losses
