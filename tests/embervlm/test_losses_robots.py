"""Losses about robots and plans against sums written out by hand, in double precision."""

import math

import pytest
import torch

from embervlm.losses import class_weights, consistency, plan, ranks, robot

R, P = 5, 5


def doubles(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def softmax(row: list[float]) -> list[float]:
    exps = [math.exp(x) for x in row]
    return [x / sum(exps) for x in exps]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


ROBOTS = torch.tensor([[1, 0, 0, 0, 0], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]]).double()
SINGLE = torch.tensor([True, True, False, True])
WEIGHTS = [0.5, 2.0, 1.0, 0.25, 3.0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_robot(smoothing: float, weights: list[float] | None) -> None:
    logits, w = doubles(4, R), weights or [1.0] * R
    given = None if weights is None else torch.tensor(weights)
    found = robot(logits, ROBOTS, SINGLE, given, smoothing)
    rows = []
    for row, wanted, single in zip(logits.tolist(), ROBOTS.tolist(), SINGLE.tolist(), strict=True):
        n, loss = sum(wanted), 0.0
        for r, (p, x, y) in enumerate(zip(softmax(row), row, wanted, strict=True)):
            if n and single:
                target = (1 - smoothing) * y / n + smoothing / R
                weight = sum(w[i] * wanted[i] for i in range(R)) / n
                loss -= weight * target * math.log(p)
            elif n:
                target = (1 - smoothing) * y + smoothing / 2
                loss -= w[r] * target * math.log(sigmoid(x)) / R
                loss -= w[r] * (1 - target) * math.log(sigmoid(-x)) / R
        rows.append(loss)
    assert found.row_totals.tolist() == pytest.approx(rows, rel=1e-12)
    assert found.total.item() == pytest.approx(sum(rows), rel=1e-12)
    assert found.row_counts.tolist() == [1, 1, 1, 0] and found.count == 3


def test_rare_robots_weigh_more_and_the_mean_over_samples_is_one() -> None:
    counts = [1000, 10, 200, 0, 40]
    weights = class_weights(counts, beta=0.99).tolist()
    assert weights[3] == max(weights) and sorted(weights[:3]) == [
        weights[0],
        weights[2],
        weights[1],
    ]
    mean = sum(n * w for n, w in zip(counts, weights, strict=True)) / sum(counts)
    assert mean == pytest.approx(1, rel=1e-6)
    ratio = (1 - 0.99**1000) / (1 - 0.99**10)
    assert weights[1] / weights[0] == pytest.approx(ratio, rel=1e-5)
    assert class_weights([7] * 5).tolist() == pytest.approx([1.0] * 5)


STEPS = torch.tensor(
    [
        [[1, 1], [3, 1], [0, 2], [-1, -1], [-1, -1]],
        [[4, 9], [4, 3], [2, 9], [1, 3], [0, 20]],
        [[-1, -1]] * 5,  # one robot is enough: none is what is wanted
        [[-1, -1]] * 5,  # not about robots at all
    ]
)
RANKS = [[0, 0, 1], [1, 0, 1, 0, 2], [], []]
ROWS = torch.tensor([True, True, True, False])


def test_ranks_say_only_who_comes_before_whom() -> None:
    there = STEPS[:, :, 0] >= 0
    found = ranks(STEPS[:, :, 1], there)
    assert [row[mask].tolist() for row, mask in zip(found, there, strict=True)] == RANKS
    moved = torch.where(there, STEPS[:, :, 1] * 3 - 7, 99)
    assert torch.equal(ranks(moved, there)[there], found[there])
    assert int(found.min()) >= 0 and int(found.max()) < P


def test_plan() -> None:
    robots, orders = doubles(4, P, R + 1), doubles(4, P, P, seed=1)
    found = plan(robots, orders, STEPS, ROWS)
    rows = [0.0] * 4
    for b in range(3):
        steps = [robot for robot, _ in STEPS[b].tolist() if robot >= 0]
        for i in range(P):
            want = steps[i] if i < len(steps) else R
            rows[b] -= math.log(softmax(robots[b, i].tolist())[want]) / P
        for i, rank in enumerate(RANKS[b]):
            rows[b] -= math.log(softmax(orders[b, i].tolist())[rank]) / len(steps)
    assert found.row_totals.tolist() == pytest.approx(rows, rel=1e-12)
    assert found.total.item() == pytest.approx(sum(rows), rel=1e-12)
    assert found.row_counts.tolist() == [1, 1, 1, 0] and found.count == 3


def test_plan_gradient_is_of_steps_that_there_are() -> None:
    robots = doubles(4, P, R + 1).requires_grad_()
    orders = doubles(4, P, P, seed=1).requires_grad_()
    plan(robots, orders, STEPS, ROWS).total.backward()
    assert robots.grad is not None and orders.grad is not None
    assert robots.grad.abs().sum(2).gt(0).all(1).tolist() == [True, True, True, False]
    assert torch.equal(orders.grad.any(2), STEPS[:, :, 0] >= 0)


def test_consistency() -> None:
    read, decided = doubles(4, R), doubles(4, R, seed=1)
    single, rows = torch.tensor([True, False, True, True]), torch.tensor([True, True, False, True])
    found = consistency(read, decided, single, rows)
    expected = [0.0] * 4
    for b in (0, 3):
        p, q = softmax(read[b].tolist()), softmax(decided[b].tolist())
        expected[b] = sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
    for x, y in zip(read[1].tolist(), decided[1].tolist(), strict=True):
        p, q = sigmoid(x), sigmoid(y)
        expected[1] += (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))) / R
    assert found.row_totals.tolist() == pytest.approx(expected, rel=1e-12)
    assert found.total.item() == pytest.approx(sum(expected), rel=1e-12)
    assert found.row_counts.tolist() == [1, 1, 0, 1] and found.count == 3
    same = consistency(read, read, single, rows)
    assert same.total.item() == pytest.approx(0, abs=1e-12)


def test_consistency_moves_both_decisions_and_no_other_row() -> None:
    read, decided = doubles(3, R).requires_grad_(), doubles(3, R, seed=1).requires_grad_()
    rows = torch.tensor([True, True, False])
    consistency(read, decided, torch.tensor([True, False, True]), rows).total.backward()
    for part in (read, decided):
        assert part.grad is not None and part.grad.any(1).tolist() == rows.tolist()


def test_extreme_logits_stay_finite() -> None:
    sure, wrong = torch.full((2, R), -200.0), torch.full((2, R), -200.0)
    sure[:, 0], wrong[:, 1] = 200.0, 200.0
    sure.requires_grad_()
    single, rows = torch.tensor([True, False]), torch.tensor([True, True])
    loss = consistency(sure, wrong, single, rows)
    loss.total.backward()
    assert loss.total.isfinite() and sure.grad is not None and sure.grad.isfinite().all()
