"""Cross-entropy straight from hidden states: the logits are never kept, nor written twice.

A vocabulary of 50,262 makes the logits the largest thing in a step. They are made for a part of the
rows at a time and turned, in place, into their own gradient, which is used at once: what is left
for the backward pass is as wide as the model. The idea is that of Liger Kernel (Hsu et al. 2024,
arXiv:2410.10989).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

IGNORE = -100  # the label of a row without a target
_PART = 2**30  # bytes of logits at a time
_WHOLE = 8  # rows of the head are made a multiple of: matrix units are half as quick otherwise


def linear_cross_entropy(states: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """states [N,D], weight [V,D], targets int64 [N] (IGNORE = none) -> the sum of the rows'
    cross-entropies, a scalar, and each of them [N], 0 without a target and without gradient.

    Products are in autocast's precision where that is on, the softmax in fp32 at least.
    """
    return _LinearCrossEntropy.apply(states, weight, targets)  # type: ignore[return-value]


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        device, rows = states.device.type, weight.shape[0]
        narrow = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        dtype = (
            torch.get_autocast_dtype(device)
            if narrow
            else torch.promote_types(states.dtype, weight.dtype)
        )
        head = pad(weight.to(dtype), (0, 0, 0, -rows % _WHOLE))
        x = states.to(dtype)
        learns = any(ctx.needs_input_grad)
        losses = torch.empty(
            len(x), dtype=torch.promote_types(dtype, torch.float32), device=x.device
        )
        d_states = torch.empty_like(x) if learns else None
        d_head = torch.zeros_like(head, dtype=losses.dtype) if learns else None
        step = max(1, _PART // (len(head) * head.element_size()))
        for begin in range(0, len(x), step):
            part = slice(begin, begin + step)
            scores = x[part] @ head.T
            losses[part] = _to_gradient(scores, targets[part], rows)
            if d_states is not None and d_head is not None:
                torch.mm(scores, head, out=d_states[part])
                d_head += scores.T @ x[part]
        if d_states is not None and d_head is not None:
            ctx.save_for_backward(d_states, d_head[:rows])
            ctx.dtypes = states.dtype, weight.dtype
        ctx.mark_non_differentiable(losses)
        return losses.sum(), losses

    @staticmethod
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
        d_states, d_weight = ctx.saved_tensors
        states, weight = ctx.dtypes
        return (d_states * scale.to(d_states.dtype)).to(states), (d_weight * scale).to(weight), None


def _to_gradient(scores: Tensor, targets: Tensor, rows: int) -> Tensor:
    """Each row's cross-entropy [N]; scores [N,W], of which `rows` columns are real, become its
    gradient."""
    if scores.is_cuda:
        from embervlm.kernels import to_gradient

        return to_gradient(scores, targets, rows)
    wide = scores if scores.dtype == torch.float64 else scores.float()
    wide[:, rows:] = -torch.inf
    there = targets >= 0
    index = targets.clamp(min=0)[:, None]
    norm = wide.logsumexp(1, keepdim=True)
    losses = (norm - wide.gather(1, index))[:, 0] * there
    gradient = (wide - norm).exp_()
    gradient.scatter_add_(1, index, -torch.ones_like(norm))
    scores.copy_(gradient * there[:, None])
    return losses
