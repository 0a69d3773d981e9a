from itertools import pairwise

import pytest
import torch
from torch import nn

from train.optim import learning_rate, optimiser
from train.stage import Optim

SETTINGS = Optim(lr=1.0, warmup=4, final=0.1, weight_decay=0.3)


def test_rate_rises_to_its_peak_and_falls_to_its_floor() -> None:
    rates = [learning_rate(step, 104, SETTINGS) for step in range(105)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[54] == pytest.approx(0.55)  # half-way down the cosine
    assert rates[104] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(rates[4:]))
    assert learning_rate(10_000, 104, SETTINGS) == pytest.approx(0.1)  # never up again


def test_only_matrices_decay_and_only_the_trainable_are_there() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 2), "wpe": nn.Embedding(4, 2), "off": nn.Linear(2, 2)})
    model["off"].requires_grad_(False)
    decays, stays = optimiser(model, SETTINGS).param_groups
    assert [decays["weight_decay"], stays["weight_decay"]] == [0.3, 0.0]
    assert [p.shape for p in decays["params"]] == [torch.Size([2, 3])]
    assert [p.shape for p in stays["params"]] == [torch.Size([2]), torch.Size([4, 2])]
