"""Losses as sums and counts.

Nothing is averaged here: the caller adds sums and counts over micro-batches and ranks, and divides
by the counts of the whole global batch, so a loss does not depend on how the batch was cut up.
Half precision is widened to fp32 first.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    log_softmax,
    logsigmoid,
)

from embervlm.cross_entropy import IGNORE, linear_cross_entropy

_COLDEST = 0.01  # CLIP's bound on the temperature


class Loss(NamedTuple):
    """A loss: scalars `total` (with gradient) and `count`; and both again for each row."""

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
    rows are multiplied by the head (see embervlm.cross_entropy).

    `at_most`: a bound on the number of targets that the caller knows without asking the device
    (it made the labels). With it no shape depends on the data and nothing waits for the device. A
    bound below the number of targets would lose some; the loss is then NaN rather than wrong.
    """
    after = labels[:, 1:]
    target = after != IGNORE
    chosen = _chosen(target, at_most)
    states = hidden[:, :-1].flatten(0, 1).index_select(0, chosen)
    total, each = linear_cross_entropy(states, head_weight, after.flatten()[chosen])
    return _by_token(total, each, target, chosen, at_most)


def distil(
    hidden: Tensor,
    head_weight: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float = 1.0,
    at_most: int | None = None,
) -> Loss:
    """How far the next-token distributions are from a teacher's, on targets only; counts are of
    tokens. KL(teacher || student) at a temperature, times its square: Hinton, Vinyals and Dean 2015
    (arXiv:1503.02531).

    hidden, head_weight, labels, at_most: as for `next_token`. teacher [B,T,W]: its logits for the
    same tokens, unshifted, so that teacher[:, t] too predicts token t + 1. A teacher of a smaller
    vocabulary (W < V) is one without our special tokens: both are compared over its W ids, and
    targets that it cannot say do not count.
    """
    size = teacher.shape[2]
    target = (labels[:, 1:] != IGNORE) & (labels[:, 1:] < size)
    chosen = _chosen(target, at_most)
    states = hidden[:, :-1].flatten(0, 1).index_select(0, chosen)
    scores = _wide(states @ head_weight[:size].T.to(states.dtype)) / temperature
    theirs = _wide(teacher[:, :-1].flatten(0, 1).index_select(0, chosen)) / temperature
    student, taught = log_softmax(scores, dim=1), log_softmax(theirs, dim=1).detach()
    each = kl_div(student, taught, log_target=True, reduction="none").sum(1) * temperature**2
    each = each * target.flatten()[chosen]  # `at_most` may have chosen others too
    return _by_token(each.sum(), each, target, chosen, at_most)


def robot(
    logits: Tensor,
    robots: Tensor,
    single: Tensor,
    weights: Tensor | None = None,
    smoothing: float = 0.0,
) -> Loss:
    """How far the robots' logits are from the robots that suit; counts are of rows.

    logits [B,5], robots multi-hot float [B,5], single bool [B]. A row without any robot has no
    loss. A single row wants one robot: cross-entropy of the softmax, the target spread evenly over
    the robots that suit equally well. Any other row wants a team: binary cross-entropy, the mean
    over the robots.

    weights [5] (see `class_weights`): what a single row counts is the mean over the robots that
    suit, what a robot's part in a team counts is its own. smoothing: that much of the target is
    spread evenly over all robots, or over yes and no (Szegedy et al. 2016, arXiv:1512.00567).
    """
    logits, robots = _wide(logits), robots.to(_wide(logits).dtype)
    weights = torch.ones_like(logits[0]) if weights is None else weights.to(logits.dtype)
    spread = robots / robots.sum(1, keepdim=True).clamp(min=1)
    wanted = (1 - smoothing) * spread + smoothing / robots.shape[1]
    one = -(wanted * log_softmax(logits, dim=1)).sum(1) * (spread * weights).sum(1)
    smooth = (1 - smoothing) * robots + smoothing / 2
    each = binary_cross_entropy_with_logits(logits, smooth, reduction="none")
    team = (each * weights).mean(1)
    return _by_row(torch.where(single.bool(), one, team), robots.bool().any(1))


def class_weights(counts: Sequence[float], beta: float = 0.999) -> Tensor:
    """A weight for each class from how often it is wanted: the rarer, the heavier, by the effective
    number of samples (Cui et al. 2019, arXiv:1901.05555). The mean over all samples is 1."""
    count = torch.tensor(counts, dtype=torch.float64)
    weights = (1 - beta) / (1 - beta ** count.clamp(min=1))
    return (weights * count.sum() / (weights * count).sum()).float()


def plan(robots: Tensor, orders: Tensor, steps: Tensor, rows: Tensor) -> Loss:
    """How far a plan is from the one that is wanted; counts are of rows.

    robots [B,P,R + 1] (the last class is none), orders [B,P,P], steps int64 [B,P,2] (robot, order;
    -1 = none), rows bool [B]: which rows are to be learnt from, those without any step too: none is
    what they want. A row's loss is the mean over all P steps of the robots' cross-entropy, and over
    the steps that there are that of their ranks.
    """
    robots, orders = _wide(robots), _wide(orders)
    there = steps[:, :, 0] >= 0
    who = torch.where(there, steps[:, :, 0], robots.shape[2] - 1)
    named = cross_entropy(robots.transpose(1, 2), who, reduction="none").mean(1)
    when = ranks(steps[:, :, 1], there)
    ranked = cross_entropy(orders.transpose(1, 2), when, reduction="none") * there
    return _by_row(named + ranked.sum(1) / there.sum(1).clamp(min=1), rows)


def ranks(orders: Tensor, there: Tensor) -> Tensor:
    """orders int64 [B,P], there bool [B,P] -> int64 [B,P]: how many different orders of the row
    come before. Only who comes before whom matters: 1 1 2, 0 0 1 and 3 3 9 are one plan."""
    both = there[:, :, None] & there[:, None, :]
    same = both & (orders[:, :, None] == orders[:, None, :])
    first = there & ~same.tril(-1).any(2)  # an order's first step
    before = both & (orders[:, None, :] < orders[:, :, None])
    return (before & first[:, None, :]).sum(2)


def consistency(read: Tensor, decided: Tensor, single: Tensor, rows: Tensor) -> Loss:
    """How far two decisions are from each other, KL(read || decided); counts are of rows.

    read, decided: robots' logits [B,5], say `Outputs.read_logits` (what the written reasoning
    decides) and `robot_logits`. single bool [B]: there the softmax is compared, else each robot's
    yes or no, the mean over the robots. rows bool [B]: those that have both. The gradient flows
    into both; detach the one that is to stand still.
    """
    read, decided = _wide(read), _wide(decided)
    ours, theirs = log_softmax(read, dim=1), log_softmax(decided, dim=1)
    one = (ours.exp() * (ours - theirs)).sum(1)
    yes = read.sigmoid() * (logsigmoid(read) - logsigmoid(decided))
    no = (-read).sigmoid() * (logsigmoid(-read) - logsigmoid(-decided))
    return _by_row(torch.where(single.bool(), one, (yes + no).mean(1)), rows)


def contrastive(
    image: Tensor,
    text: Tensor,
    log_temperature: Tensor,
    group: Tensor,
    there: Tensor,
    offset: int = 0,
    rows: int | None = None,
) -> Loss:
    """How well pictures and their captions find each other in a pool, both ways; counts are of
    rows. Radford et al. 2021 (arXiv:2103.00020): symmetric cross-entropy, learned temperature.

    image, text [N,C], of length 1, group int64 [N] and there bool [N] (has both) are of the whole
    pool, gathered from all ranks with gradient; log_temperature is a scalar, and colder than 0.01
    counts as 0.01. The loss is that of the `rows` rows from `offset` on (None = to the end), which
    are this rank's, so that over ranks sums and counts are those of the pool. A row of the same
    group is no negative: what it says may be true. No autocast in here: bf16 would round a score of
    100 to the nearest half.
    """
    own = slice(offset, None if rows is None else offset + rows)
    held = log_temperature.clamp(min=math.log(_COLDEST)).detach()
    scale = torch.exp(log_temperature.detach() - held - log_temperature)  # its gradient stays
    names = torch.arange(len(group), device=group.device)
    itself = names[own, None] == names
    rival = there & (group[own, None] != group)
    total = torch.zeros_like(_wide(image[own, 0]))
    for query, key in ((image, text), (text, image)):
        with torch.autocast(image.device.type, enabled=False):
            scores = scale * (_wide(query[own]) @ _wide(key).T)
        scores = scores.masked_fill(~(itself | rival), -torch.inf)
        total = total + cross_entropy(scores, names[own], reduction="none") / 2
    return _by_row(total, there[own])


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _by_row(each: Tensor, rows: Tensor) -> Loss:
    """Losses [B] of the rows [B] that have one."""
    counts = rows.to(each.dtype)
    each = each.masked_fill(~rows.bool(), 0.0)
    return Loss(each.sum(), counts.sum(), each.detach(), counts)


def _chosen(target: Tensor, at_most: int | None) -> Tensor:
    """Places of the targets [B,T - 1], flattened; with `at_most` so many, the targets first."""
    flat = target.flatten()
    if at_most is None:
        return flat.nonzero()[:, 0]
    return flat.int().argsort(descending=True, stable=True)[:at_most]


def _by_token(
    total: Tensor, each: Tensor, target: Tensor, chosen: Tensor, at_most: int | None
) -> Loss:
    """Losses of the chosen places, `total` in all, summed by row."""
    counts = target.sum(1).to(each.dtype)
    row = chosen // max(target.shape[1], 1)
    if at_most is not None:
        total = total.masked_fill(target.sum() > at_most, torch.nan)
    totals = torch.zeros_like(counts).index_add(0, row, each.detach())
    return Loss(total, counts.sum(), totals, counts)
