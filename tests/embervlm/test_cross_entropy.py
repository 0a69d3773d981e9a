"""Cross-entropy from hidden states: value and gradients are those of the logits written out."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from embervlm import cross_entropy as module
from embervlm.cross_entropy import IGNORE, linear_cross_entropy

ROWS, WIDTH = 13, 6


def case(vocabulary: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """States, head and targets; each third row has none."""
    torch.manual_seed(vocabulary)
    states, weight = torch.randn(ROWS, WIDTH), torch.randn(vocabulary, WIDTH)
    targets = torch.randint(0, vocabulary, (ROWS,))
    targets[0], targets[1], targets[2::3] = vocabulary - 1, 0, IGNORE
    return (
        states.to(dtype).requires_grad_(),
        weight.to(dtype).requires_grad_(),
        targets,
    )


def written_out(states: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    each = cross_entropy(states @ weight.T, targets, ignore_index=IGNORE, reduction="none")
    return each.sum(), each.detach()


@pytest.mark.parametrize("part", [1, 8 * 16 * 3, 2**30])
@pytest.mark.parametrize("vocabulary", [2, 8, 11, 16])
def test_value_and_gradients_in_double_precision(monkeypatch, vocabulary: int, part: int) -> None:
    """A row of logits at a time, some, and all; with rows that fill the head up, and without."""
    monkeypatch.setattr(module, "_PART", part)
    states, weight, targets = case(vocabulary, torch.float64)
    total, each = linear_cross_entropy(states, weight, targets)
    expected, rows = written_out(states, weight, targets)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(each, rows)
    assert not each.requires_grad
    ours = torch.autograd.grad(3 * total, (states, weight))
    theirs = torch.autograd.grad(3 * expected, (states, weight))
    torch.testing.assert_close(ours, theirs)
    assert not ours[0][targets == IGNORE].any()


def test_gradients_are_those_of_small_differences() -> None:
    states, weight, targets = case(11, torch.float64)
    assert torch.autograd.gradcheck(
        lambda x, head: linear_cross_entropy(x, head, targets)[0], (states, weight)
    )


def test_large_logits_do_not_overflow() -> None:
    states, weight, targets = case(11, torch.float32)
    total, _ = linear_cross_entropy(1000 * states, weight, targets)
    torch.testing.assert_close(total, written_out(1000 * states, weight, targets)[0])
    total.backward()
    assert states.grad is not None and weight.grad is not None
    assert states.grad.isfinite().all() and weight.grad.isfinite().all()


@pytest.mark.parametrize("learns", [(False, False), (True, False), (False, True)])
def test_what_wants_no_gradient_gets_none(learns: tuple[bool, bool]) -> None:
    states, weight, targets = case(11, torch.float64)
    expected = torch.autograd.grad(written_out(states, weight, targets)[0], (states, weight))
    given = [t.detach().requires_grad_(on) for t, on in zip((states, weight), learns, strict=True)]
    total, _ = linear_cross_entropy(given[0], given[1], targets)
    torch.testing.assert_close(total.detach(), written_out(states, weight, targets)[0].detach())
    assert total.requires_grad == any(learns)
    if any(learns):
        total.backward()
    for tensor, gradient, on in zip(given, expected, learns, strict=True):
        assert (tensor.grad is not None) == on
        if on:
            torch.testing.assert_close(tensor.grad, gradient)


def test_rows_without_a_target_and_no_rows_at_all() -> None:
    states, weight, targets = case(11, torch.float32)
    for count in (ROWS, 0):
        nothing = torch.full_like(targets, IGNORE)[:count]
        total, each = linear_cross_entropy(states[:count], weight, nothing)
        total.backward()
        assert total == 0 and each.tolist() == [0.0] * count
        assert weight.grad is not None and not weight.grad.any()


def test_half_precision_is_close_and_its_softmax_single(monkeypatch) -> None:
    monkeypatch.setattr(module, "_PART", 2 * 16 * 3)
    states, weight, targets = case(11, torch.float32)
    expected, rows = written_out(states, weight, targets)
    theirs = torch.autograd.grad(expected, (states, weight))
    with torch.autocast("cpu", torch.bfloat16):
        total, each = linear_cross_entropy(states, weight, targets)
    assert total.dtype == each.dtype == torch.float32
    torch.testing.assert_close(total, expected, rtol=1e-2, atol=0)
    torch.testing.assert_close(each, rows, rtol=0, atol=5e-2)
    ours = torch.autograd.grad(total, (states, weight))
    for our, their in zip(ours, theirs, strict=True):
        assert our.dtype == torch.float32
        assert (our - their).norm() < 1e-2 * their.norm()
    assert total != expected, "it was computed in bf16"
