"""Metrics are those of scikit-learn, and say what they make of a robot that never comes."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from embervlm import metrics

N = 400
scores: Any = precision_recall_fscore_support  # its types know no number for zero_division


def sets(seed: int, chance: float = 0.4) -> torch.Tensor:
    return torch.rand(N, 5, generator=torch.Generator().manual_seed(seed)) < chance


def of_sklearn(chosen: torch.Tensor, wanted: torch.Tensor, average: str | None = None):
    return scores(wanted, chosen, average=average, zero_division=0)[:3]


def test_scores_of_sets_are_scikit_learn_s() -> None:
    chosen, wanted = sets(1), sets(2) | sets(3, 0.1)
    ours = metrics.per_robot(chosen, wanted)
    for mine, theirs in zip(ours, of_sklearn(chosen, wanted), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    for mine, theirs in zip(ours, of_sklearn(chosen, wanted, "macro"), strict=True):
        assert float(mine.nanmean()) == pytest.approx(theirs)


def test_rows_of_one_robot_score_as_classes_do() -> None:
    # Robot 4 never comes, robot 3 is chosen and never wanted, robot 2 wanted and never chosen.
    generator = torch.Generator().manual_seed(4)
    wanted = torch.randint(0, 3, (N,), generator=generator)
    chosen = torch.tensor([0, 1, 3])[torch.randint(0, 3, (N,), generator=generator)]
    hot = [torch.nn.functional.one_hot(rows, 5).bool() for rows in (chosen, wanted)]
    ours = metrics.per_robot(*hot)
    theirs = scores(wanted, chosen, labels=range(4), zero_division=0)
    for mine, expected in zip(ours, theirs, strict=False):
        np.testing.assert_allclose(mine[:4], expected, rtol=1e-12)
        assert mine[2:4].tolist() == [0, 0]
        assert math.isnan(float(mine[4]))
    macro = scores(wanted, chosen, average="macro", zero_division=0)
    assert float(ours.f1.nanmean()) == pytest.approx(macro[2])  # robot 4 is not averaged over
    matrix = metrics.confusion(hot[1], hot[0])
    assert matrix.tolist() == confusion_matrix(wanted, chosen, labels=range(5)).tolist()


def test_of_robots_that_suit_equally_well_one_is_wanted() -> None:
    robots = torch.tensor([[1, 0, 0, 1, 0]] * 4).float()
    chosen = torch.eye(5).bool()[[3, 0, 1, 1]]
    single = torch.tensor([True, True, True, False])
    assert metrics.wanted(chosen, robots, single).int().tolist() == [
        [0, 0, 0, 1, 0],
        [1, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],  # a wrong one is wrong once, against the first
        [1, 0, 0, 1, 0],
    ]
    nothing = torch.zeros(1, 5)
    assert not metrics.wanted(chosen[:1], nothing, single[:1]).any()


def test_a_sure_and_right_model_is_calibrated_and_a_sure_and_wrong_one_is_not() -> None:
    sure = torch.ones(8)
    assert metrics.calibration_error(sure, torch.ones(8)) == 0
    assert metrics.calibration_error(sure, torch.zeros(8)) == 1
    assert metrics.calibration_error(torch.full((8,), 0.75), torch.tensor([1, 1, 1, 0] * 2)) == 0
    assert metrics.calibration_error(sure[:0], sure[:0]).isnan()


def test_calibration_is_counted_bin_by_bin() -> None:
    generator = torch.Generator().manual_seed(5)
    confidence = torch.rand(N, generator=generator).double()
    confidence[:3] = torch.tensor([0.0, 1 / 15, 1.0])  # an upper end is its bin's
    right = torch.rand(N, generator=generator) < 0.6
    expected, edges = 0.0, np.linspace(0, 1, 16)
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if low == 0:
            inside |= confidence == 0
        if inside.any():
            gap = abs(confidence[inside].mean() - right[inside].double().mean())
            expected += float(inside.double().mean() * gap)
    assert float(metrics.calibration_error(confidence, right)) == pytest.approx(expected)
