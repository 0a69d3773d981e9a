import math

import pytest
import torch

from embervlm.losses import next_token, robot
from embervlm.metrics import chosen, exact_set, jaccard, robot_accuracy

B, T, D, V = 4, 9, 6, 11


@pytest.fixture
def case():
    torch.manual_seed(0)
    hidden, head = torch.randn(B, T, D), torch.randn(V, D)
    labels = torch.randint(0, V, (B, T))
    labels[torch.rand(B, T) < 0.5] = -100
    labels[2] = -100  # a row with nothing to learn
    labels[0, 0] = 3  # the first token has nothing before it to be predicted from
    return hidden, head, labels


def naive(hidden, head, labels):
    sums, counts = torch.zeros(B), torch.zeros(B)
    for b in range(B):
        for t in range(1, T):
            if labels[b, t] != -100:
                scores = head @ hidden[b, t - 1]
                sums[b] += scores.exp().sum().log() - scores[labels[b, t]]
                counts[b] += 1
    return sums, counts


@pytest.mark.parametrize("at_most", [None, 16, 32, 1000])
def test_next_token(case, at_most) -> None:
    hidden, head, labels = case
    sums, counts = naive(hidden, head, labels)
    assert counts[2] == 0 and 10 < counts.sum() <= 16
    loss = next_token(hidden, head, labels, at_most=at_most)
    torch.testing.assert_close(loss.row_totals, sums)
    torch.testing.assert_close(loss.row_counts, counts)
    torch.testing.assert_close(loss.total, sums.sum())
    assert loss.count == counts.sum()


def test_next_token_bound_too_small_is_not_silent(case) -> None:
    assert next_token(*case, at_most=5).total.isnan()


def test_next_token_does_not_depend_on_the_cut(case) -> None:
    hidden, head, labels = case
    whole = next_token(hidden, head, labels)
    parts = [next_token(hidden[i : i + 1], head, labels[i : i + 1]) for i in range(B)]
    torch.testing.assert_close(sum(p.total for p in parts), whole.total)
    assert sum(p.count for p in parts) == whole.count


def test_next_token_gradient_in_half_precision(case) -> None:
    hidden, head, labels = case
    hidden = hidden.bfloat16().requires_grad_()
    loss = next_token(hidden, head, labels)
    assert loss.total.dtype == torch.float32
    loss.total.backward()
    assert hidden.grad is not None
    moved = hidden.grad.abs().sum(2) > 0
    assert torch.equal(moved[:, :-1], labels[:, 1:] != -100) and not moved[:, -1].any()
    assert next_token(hidden, head, torch.full_like(labels, -100)).total == 0


def test_robot() -> None:
    logits = torch.tensor([[2.0, -1, 0.5, 0, 1]] * 4)
    robots = torch.tensor([[1.0, 0, 0, 0, 0], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [0, 0, 0, 0, 0]])
    loss = robot(logits, robots, torch.tensor([True, True, False, True]))
    row = logits[0].tolist()
    norm = math.log(sum(math.exp(x) for x in row))
    binary = [
        math.log1p(math.exp(-x if y else x)) for x, y in zip(row, [1, 0, 0, 0, 1], strict=True)
    ]
    expected = [norm - 2, norm - (2 + 1) / 2, sum(binary) / 5, 0.0]
    torch.testing.assert_close(loss.row_totals, torch.tensor(expected))
    assert loss.row_counts.tolist() == [1, 1, 1, 0] and loss.count == 3
    torch.testing.assert_close(loss.total, torch.tensor(sum(expected)))


def test_robot_gradient_skips_unlabelled_rows() -> None:
    logits = torch.randn(3, 5, requires_grad=True)
    robots = torch.tensor([[0.0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 1, 0]])
    robot(logits, robots, torch.tensor([True, False, False])).total.backward()
    assert logits.grad is not None
    assert logits.grad.any(1).tolist() == [True, False, True]


def test_metrics() -> None:
    logits = torch.tensor([[3.0, 1, -1, -2, -2], [-3, -1, -2, -4, -5], [1, 2, -1, -1, -1]] * 2)
    single = torch.tensor([True, True, True, False, False, False])
    robots = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 1, 0, 0]] * 2)
    sent = chosen(logits, single)
    assert sent.int().tolist() == [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 1, 0, 0, 0],  # nobody is likely, yet somebody goes
        [1, 1, 0, 0, 0],
    ]
    assert robot_accuracy(logits, robots).tolist() == [1, 1, 0, 1, 1, 0]
    assert robot_accuracy(logits.softmax(1), robots).tolist() == [1, 1, 0, 1, 1, 0]
    assert exact_set(sent, robots).tolist() == [0, 1, 0, 1, 1, 0]
    torch.testing.assert_close(jaccard(sent, robots), torch.tensor([1 / 2, 1, 0, 1, 1, 1 / 3]))
    none = torch.zeros(6, 5)
    for values in (robot_accuracy(logits, none), exact_set(sent, none), jaccard(sent, none)):
        assert values.isnan().all()
