"""What a picture shows of its site, as something to learn: the facts, read off the visual tokens.

The head is a teacher's aid. It is trained beside an encoder that learns to see (stage 0), and no
part of the model: nothing of it is needed to predict.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from embervlm.config import VISUAL_TOKENS
from embervlm.losses import Loss
from manifests.schema import SITE_FACTS, TERRAINS

# (scale, logarithmic): a fact's value, or the log of 1 + it, over the scale lies in 0..1; more
# counts as 1. The others are in 0..1 as they are. Scenes are drawn by such logarithms too.
_SCALES: dict[str, tuple[float, bool]] = {
    "water_depth_m": (40, True),
    "height_m": (60, True),
    "slope_deg": (40, False),
    "ceiling_m": (12, True),
    "wind_ms": (22, False),
    "distance_m": (20_000, True),
    "payload_kg": (190, True),
}
_GROUNDS = len(TERRAINS)  # SITE_FACTS begins with them


class SiteHead(nn.Module):
    """Visual tokens to the facts of the site: one linear layer on all tokens side by side."""

    def __init__(self, width: int, tokens: int = VISUAL_TOKENS) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(tokens * width, len(SITE_FACTS))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self._tokens = tokens

    def forward(self, features: Tensor) -> Tensor:
        """[B,tokens,width] of the encoder -> logits [B,facts] of the facts in 0..1.

        The mean over tokens, not their sum: a step of the optimiser changes a logit as little as
        if there were one token.
        """
        return self.linear(self.norm(features).flatten(1) / self._tokens)


def in_unit(site: Tensor) -> Tensor:
    """Facts [B,F] in their units -> in 0..1; NaN stays."""
    scaled = site.float().clone()
    for name, (scale, logarithmic) in _SCALES.items():
        at = SITE_FACTS.index(name)
        value, most = scaled[:, at].clamp(min=0), torch.tensor(float(scale), device=site.device)
        scaled[:, at] = value.log1p() / most.log1p() if logarithmic else value / most
    return scaled.clamp(0, 1)


def site_loss(logits: Tensor, site: Tensor) -> Loss:
    """How far the facts are from those that the pictures show; counts are of rows.

    logits [B,F], site float32 [B,F] in the units of SITE_FACTS, NaN = unknown: no loss. Grounds
    exclude each other: cross-entropy of their softmax. Every other fact is a share of its scale:
    binary cross-entropy, less the entropy of the target, so that 0 is exact. A row's loss is the
    mean over what is known of it; one of which nothing is known has none.
    """
    logits, wanted = logits.float(), in_unit(site)
    known = ~wanted.isnan()
    target = wanted.nan_to_num()[:, _GROUNDS:]
    each = binary_cross_entropy_with_logits(logits[:, _GROUNDS:], target, reduction="none")
    each = (each - _entropy(target)) * known[:, _GROUNDS:]
    ground = wanted[:, :_GROUNDS].nan_to_num()
    there = known[:, :_GROUNDS].all(1)
    kind = cross_entropy(logits[:, :_GROUNDS], ground.argmax(1), reduction="none") * there
    facts = known[:, _GROUNDS:].sum(1) + there
    rows = facts > 0
    row = (each.sum(1) + kind) / facts.clamp(min=1)
    counts = rows.to(row.dtype)
    return Loss(row.sum(), counts.sum(), row.detach(), counts)


def _entropy(share: Tensor) -> Tensor:
    return -(torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share))
