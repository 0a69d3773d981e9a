"""Contrast: pictures and captions as directions in one small space.

Radford et al. 2021 (CLIP, arXiv:2103.00020): two linear projections and a learned temperature. As
in BLIP (Li et al. 2022, arXiv:2201.12086) the text is read a second time, without the picture: a
caption's state after the picture would know it, and there would be nothing to learn.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from embervlm.language import initialise
from embervlm.outputs import Embeddings


class Contrast(nn.Module):
    """Projections of pictures and texts, and the temperature of their comparison."""

    def __init__(self, width: int, common: int) -> None:
        super().__init__()
        self.image = nn.Linear(width, common)
        self.text = nn.Linear(width, common)
        initialise(self, blocks=1)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.07)))

    def forward(self, visual: Tensor, text: Tensor, there: Tensor) -> Embeddings:
        """visual [B,49,D], the text's last state [B,D], there bool [B] -> Embeddings."""
        return Embeddings(
            image=normalize(self.image(visual.mean(1)).float(), dim=-1),
            text=normalize(self.text(text).float(), dim=-1),
            there=there,
            log_temperature=self.log_temperature,
        )
