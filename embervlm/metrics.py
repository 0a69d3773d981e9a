"""How good an answer about robots is, row by row.

Every function returns float [B], NaN where a row has no robots to compare with, so that a mean over
rows is `nanmean` and a forgotten one is seen.
"""

import torch
from torch import Tensor


def chosen(logits: Tensor, single: Tensor) -> Tensor:
    """logits [B,5], single bool [B] -> bool [B,5]: the robots that the model sends.

    The top robot always; in rows that want a team also each one more likely than not (logit > 0).
    """
    top = torch.zeros_like(logits, dtype=torch.bool).scatter(1, logits.argmax(1, keepdim=True), 1)
    return top | ((logits > 0) & ~single.bool()[:, None])


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


def _where_labelled(values: Tensor, robots: Tensor) -> Tensor:
    return values.float().masked_fill(~robots.bool().any(1), torch.nan)
