"""Objectives against sums written out by hand."""

import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from embervlm.outputs import Outputs
from shards.slot import NO_LOSS, Slot
from train.batches import Batch
from train.objectives import COUNTS, OBJECTIVES, REACHES
from train.stage import COMPONENTS

VOCABULARY, WIDTH = 7, 4


@pytest.fixture
def slot() -> Slot:
    """Four rows: five targets (one at place 0, which nothing predicts), three rows of robots."""
    slot = Slot(4, 5, 8)
    slot.labels[...] = NO_LOSS
    slot.labels[0, [0, 2, 3]], slot.labels[1, 4], slot.labels[3, 1] = (1, 2, 3), 6, 0
    slot.robots[:3] = [[1, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 0, 1, 0, 1]]
    slot.single[:] = [True, True, False, True]
    return slot


@pytest.fixture
def outputs() -> Outputs:
    torch.manual_seed(4)
    shapes = {"robot_logits": (4, 5), "hidden": (4, 5, WIDTH), "head": (VOCABULARY, WIDTH)}
    made: dict[str, Any] = {f.name: torch.randn(shapes.get(f.name, (1,))) for f in fields(Outputs)}
    return Outputs(**made)


def test_language_is_the_sum_over_targets_of_what_comes_before_them(slot, outputs) -> None:
    loss = OBJECTIVES["language"](outputs, Batch.of(slot, torch.device("cpu")))
    rows = [0.0] * 4
    for row, at, token in ((0, 2, 2), (0, 3, 3), (1, 4, 6), (3, 1, 0)):
        scores = (outputs.head @ outputs.hidden[row, at - 1]).tolist()
        rows[row] += math.log(sum(math.exp(s) for s in scores)) - scores[token]
    assert loss.row_totals.tolist() == pytest.approx(rows, rel=1e-5)
    assert float(loss.total) == pytest.approx(sum(rows), rel=1e-5)
    assert loss.row_counts.tolist() == [2, 1, 0, 1]


def test_robots_is_a_choice_where_one_is_enough_and_yes_or_no_for_a_team(slot, outputs) -> None:
    loss = OBJECTIVES["robots"](outputs, Batch.of(slot, torch.device("cpu")))
    one, two, team, _ = outputs.robot_logits.tolist()

    def surprise(scores: list[float], robot: int) -> float:
        return math.log(sum(math.exp(s) for s in scores)) - scores[robot]

    rows = [surprise(one, 0), (surprise(two, 1) + surprise(two, 3)) / 2]
    wanted = zip(team, (-1, -1, 1, -1, 1), strict=True)
    rows += [sum(math.log(1 + math.exp(-sign * s)) for s, sign in wanted) / 5, 0.0]
    assert loss.row_totals.tolist() == pytest.approx(rows, rel=1e-5)
    assert float(loss.total) == pytest.approx(sum(rows), rel=1e-5)


def test_counts_are_known_before_the_forward_pass(slot, outputs) -> None:
    batch = Batch.of(slot, torch.device("cpu"))
    assert {name: count(slot) for name, count in COUNTS.items()} == {"language": 4, "robots": 3}
    for name, objective in OBJECTIVES.items():
        assert float(objective(outputs, batch).count) == COUNTS[name](slot), name
    slot.labels[...], slot.robots[...] = NO_LOSS, np.float32(0)
    assert [count(slot) for count in COUNTS.values()] == [0, 0]


def test_every_objective_says_what_it_reaches_and_counts() -> None:
    assert OBJECTIVES.keys() == REACHES.keys() == COUNTS.keys()
    assert all(reached <= set(COMPONENTS) for reached in REACHES.values())
