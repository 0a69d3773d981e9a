"""Losses as sums and counts.

Nothing is averaged here: the caller adds sums and counts over micro-batches and ranks, and divides
by the counts of the whole global batch, so a loss does not depend on how the batch was cut up.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, log_softmax

IGNORE = -100  # the label of a token that is no target


class Loss(NamedTuple):
    """A loss: fp32 scalars `total` (with gradient) and `count`; and both again for each row."""

    total: Tensor
    count: Tensor
    row_totals: Tensor  # [B], without gradient: for logs by corpus
    row_counts: Tensor  # [B]


def next_token(
    hidden: Tensor,
    head_weight: Tensor,
    labels: Tensor,
    at_most: int | None = None,
) -> Loss:
    """Cross-entropy of each target token from the hidden state before it; counts are of tokens.

    hidden [B,T,D], head_weight [V,D], labels int64 [B,T], unshifted: labels[b, t] is token t's own
    id if it is a target, else IGNORE; hidden[:, t] predicts labels[:, t + 1]. Only the targets'
    rows are multiplied by the head; the softmax is in fp32.

    `at_most`: a bound on the number of targets that the caller knows without asking the device
    (it made the labels). With it no shape depends on the data and nothing waits for the device. A
    bound below the number of targets would lose some; the loss is then NaN rather than wrong.
    """
    after = labels[:, 1:].flatten()
    target = after != IGNORE
    if at_most is None:
        chosen = target.nonzero()[:, 0]
    else:
        chosen = target.int().argsort(descending=True, stable=True)[:at_most]
    row = chosen // max(labels.shape[1] - 1, 1)
    states = hidden[:, :-1].flatten(0, 1).index_select(0, chosen)
    scores = (states @ head_weight.T.to(states.dtype)).float()
    each = cross_entropy(scores, after[chosen], ignore_index=IGNORE, reduction="none")  # [targets]
    counts = target.view(len(labels), -1).sum(1).float()
    total = each.sum()
    if at_most is not None:
        total = total.masked_fill(target.sum() > at_most, torch.nan)
    return Loss(
        total=total,
        count=counts.sum(),
        row_totals=torch.zeros_like(counts).index_add(0, row, each.detach()),
        row_counts=counts,
    )


def robot(logits: Tensor, robots: Tensor, single: Tensor) -> Loss:
    """How far the robots' logits are from the robots that suit; counts are of rows.

    logits [B,5], robots multi-hot float [B,5], single bool [B]. A row without any robot has no
    loss. A single row wants one robot: cross-entropy of the softmax, the target spread evenly over
    the robots that suit equally well. Any other row wants a team: binary cross-entropy, the mean
    over the robots.
    """
    logits, robots = logits.float(), robots.float()
    counts = robots.any(1).float()
    spread = robots / robots.sum(1, keepdim=True).clamp(min=1)
    one = -(spread * log_softmax(logits, dim=1)).sum(1)
    team = binary_cross_entropy_with_logits(logits, robots, reduction="none").mean(1)
    each = torch.where(single.bool(), one, team) * counts
    return Loss(total=each.sum(), count=counts.sum(), row_totals=each.detach(), row_counts=counts)
