"""How good an answer about robots is.

Row by row, float [B], NaN where a row has no robots to compare with, so that a mean over rows is
`nanmean` and a forgotten one is seen: `robot_accuracy`, `exact_set`, `jaccard`. Over all rows, each
of which has robots: `per_robot`, `confusion`, `calibration_error`.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class PerRobot(NamedTuple):
    """float64 [5] each, a macro average being its `nanmean`.

    NaN for a robot that is neither wanted nor chosen anywhere. One that is only wanted has a
    precision of 0, one that is only chosen a recall of 0.
    """

    precision: Tensor
    recall: Tensor
    f1: Tensor


def chosen(logits: Tensor, single: Tensor) -> Tensor:
    """logits [B,5], single bool [B] -> bool [B,5]: the robots that the model sends.

    The top robot always; in rows that want a team also each one more likely than not (logit > 0).
    """
    return _one(logits.argmax(1), logits) | ((logits > 0) & ~single.bool()[:, None])


def wanted(chosen: Tensor, robots: Tensor, single: Tensor) -> Tensor:
    """The set that `chosen`, bool [B,5], is held against: robots multi-hot [B,5], single bool [B].

    A team is wanted whole. Of several robots that suit a single row equally well one is wanted: the
    chosen one if it is among them, else the first.
    """
    label = robots.bool()
    right = label & chosen.bool()
    first = torch.where(right.any(1, keepdim=True), right, label).int().argmax(1)
    return torch.where(single.bool()[:, None], _one(first, label) & label, label)


def robot_accuracy(scores: Tensor, robots: Tensor) -> Tensor:
    """1 where the top robot suits. scores [B,5] are logits or probabilities, robots multi-hot."""
    hit = robots.bool().gather(1, scores.argmax(1, keepdim=True))[:, 0]
    return _where_labelled(hit, robots)


def exact_set(chosen: Tensor, robots: Tensor) -> Tensor:
    """1 where the chosen set, bool [B,5], is exactly the set that suits."""
    return _where_labelled((chosen.bool() == robots.bool()).all(1), robots)


def jaccard(chosen: Tensor, robots: Tensor) -> Tensor:
    """Robots in both sets over robots in either, 0..1."""
    ours, theirs = chosen.bool(), robots.bool()
    both, either = (ours & theirs).sum(1), (ours | theirs).sum(1)
    return _where_labelled(both / either.clamp(min=1), robots)


def per_robot(chosen: Tensor, wanted: Tensor) -> PerRobot:
    """Precision, recall and F1 of each robot over rows of sets, bool [B,5]."""
    ours, theirs = chosen.bool(), wanted.bool()
    right = (ours & theirs).sum(0).double()
    sent, needed = ours.sum(0).double(), theirs.sum(0).double()
    there = sent + needed > 0
    values = (right / sent.clamp(min=1), right / needed.clamp(min=1), 2 * right / (sent + needed))
    return PerRobot(*(value.where(there, torch.nan) for value in values))


def confusion(wanted: Tensor, chosen: Tensor) -> Tensor:
    """Rows of one robot each, bool [B,5] -> int64 [5,5]: how often [the wanted, the chosen] met."""
    return wanted.long().T @ chosen.long()


def calibration_error(confidence: Tensor, right: Tensor, bins: int = 15) -> Tensor:
    """The expected calibration error, float64, 0 (calibrated) to 1; NaN without rows.

    confidence [B] in 0..1, right [B] is 0 or 1: the mean over rows of how far the mean confidence
    of a row's bin is from the share of its rows that are right. Bins are of equal width, each with
    its upper end: Guo et al. 2017 (arXiv:1706.04599).
    """
    confidence, right = confidence.double(), right.double()
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64, device=confidence.device)
    return gap.index_add(0, place, confidence - right).abs().sum() / len(confidence)


def _one(index: Tensor, like: Tensor) -> Tensor:
    """bool, of the shape of `like` [B,5]: only index [B] of each row."""
    return torch.zeros_like(like, dtype=torch.bool).scatter(1, index[:, None], True)


def _where_labelled(values: Tensor, robots: Tensor) -> Tensor:
    return values.float().masked_fill(~robots.bool().any(1), torch.nan)
