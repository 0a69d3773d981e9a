"""The contrastive loss and distillation against sums written out by hand, in double precision."""

import math

import pytest
import torch

from embervlm.losses import contrastive, distil, next_token

N, C = 7, 4
GROUP = torch.tensor([10, 11, 10, 12, 13, 13, 14])
THERE = torch.tensor([True, True, True, True, True, True, False])
LOG_T = torch.tensor(math.log(0.2), dtype=torch.float64)


IMAGE, TEXT = torch.nn.functional.normalize(
    torch.randn(2, N, C, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=2
)


def by_hand() -> list[float]:
    rows = [0.0] * N
    for i in range(N):
        if not THERE[i]:
            continue
        rivals = [j for j in range(N) if j == i or (THERE[j] and GROUP[j] != GROUP[i])]
        for query, key in ((IMAGE, TEXT), (TEXT, IMAGE)):
            scores = {j: float(query[i] @ key[j]) / 0.2 for j in rivals}
            total = sum(math.exp(s) for s in scores.values())
            rows[i] += (math.log(total) - scores[i]) / 2
    return rows


def test_contrastive() -> None:
    found = contrastive(IMAGE, TEXT, LOG_T, GROUP, THERE)
    rows = by_hand()
    assert found.row_totals.tolist() == pytest.approx(rows, rel=1e-12)
    assert found.total.item() == pytest.approx(sum(rows), rel=1e-12)
    assert found.row_counts.tolist() == THERE.tolist() and found.count == 6


def test_ranks_share_a_pool_and_its_gradient() -> None:
    def grads(*parts: tuple[int, int | None]) -> list[torch.Tensor | None]:
        image, text, cold = (part.clone().requires_grad_() for part in (IMAGE, TEXT, LOG_T))
        losses = [contrastive(image, text, cold, GROUP, THERE, at, rows) for at, rows in parts]
        assert sum(int(loss.count) for loss in losses) == 6
        torch.stack([loss.total for loss in losses]).sum().backward()
        return [image.grad, text.grad, cold.grad]

    whole = contrastive(IMAGE, TEXT, LOG_T, GROUP, THERE)
    part = contrastive(IMAGE, TEXT, LOG_T, GROUP, THERE, offset=2, rows=3)
    torch.testing.assert_close(part.row_totals, whole.row_totals[2:5])
    for one, other in zip(grads((0, None)), grads((0, 2), (2, 3), (5, 2)), strict=True):
        torch.testing.assert_close(one, other)
        assert one is not None and one.any()


def test_a_pair_of_the_same_group_is_no_negative() -> None:
    image, text = (part.clone().requires_grad_() for part in (IMAGE, TEXT))
    contrastive(image, text, LOG_T, GROUP, THERE, offset=0, rows=1).total.backward()
    assert image.grad is not None and text.grad is not None
    for grad in (image.grad, text.grad):  # row 2 is of row 0's group, row 6 has no caption
        assert grad.any(1).tolist() == [True, True, False, True, True, True, False]


def test_the_temperature_is_held_from_below() -> None:
    cold = torch.tensor(math.log(0.001)).requires_grad_()
    held = contrastive(IMAGE, TEXT, cold, GROUP, THERE)
    bound = contrastive(IMAGE, TEXT, torch.tensor(math.log(0.01)), GROUP, THERE)
    torch.testing.assert_close(held.total, bound.total, atol=1e-4, rtol=1e-4)
    held.total.backward()
    assert cold.grad is not None and cold.grad.abs() > 0  # so that it can come back


def test_scores_are_not_rounded_to_half_precision() -> None:
    image, text = IMAGE.float(), TEXT.float()
    cold = torch.tensor(math.log(0.01))
    full = contrastive(image, text, cold, GROUP, THERE)
    with torch.autocast("cpu", torch.bfloat16):
        half = contrastive(image, text, cold, GROUP, THERE)
    assert torch.equal(half.row_totals, full.row_totals)


def test_contrastive_is_one_graph() -> None:
    compiled = torch.compile(contrastive, backend="eager", fullgraph=True)
    expected = contrastive(IMAGE, TEXT, LOG_T, GROUP, THERE, 2, 3)
    found = compiled(IMAGE, TEXT, LOG_T, GROUP, THERE, 2, 3)
    assert torch.equal(found.row_totals, expected.row_totals)


def test_a_pool_of_one_has_nothing_to_learn() -> None:
    image, text = IMAGE[:1], TEXT[:1]
    found = contrastive(image, text, LOG_T, GROUP[:1], THERE[:1])
    assert found.total == 0 and found.count == 1
    none = contrastive(image, text, LOG_T, GROUP[:1], torch.tensor([False]))
    assert none.total == 0 and none.count == 0


B, T, D, V = 3, 8, 6, 11


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    hidden, head = (
        torch.randn(*shape, dtype=torch.float64, generator=generator)
        for shape in ((B, T, D), (V, D))
    )
    labels = torch.randint(0, V, (B, T), generator=generator)
    labels[:, :3] = -100
    labels[0, 5], labels[1, 4] = V - 1, V - 2  # which a teacher of V - 2 ids cannot say
    labels[2] = -100
    return hidden, head, labels


@pytest.mark.parametrize("size", [V, V - 2])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("at_most", [None, 12, B * T])
def test_distillation(case, size: int, temperature: float, at_most: int | None) -> None:
    hidden, head, labels = case
    generator = torch.Generator().manual_seed(1)
    teacher = torch.randn(B, T, size, dtype=torch.float64, generator=generator)
    found = distil(hidden, head, teacher, labels, temperature, at_most)
    rows, counts = [0.0] * B, [0] * B
    for b in range(B):
        for t in range(1, T):
            if not 0 <= labels[b, t] < size:
                continue
            counts[b] += 1
            ours = [float(head[v] @ hidden[b, t - 1]) / temperature for v in range(size)]
            theirs = [x / temperature for x in teacher[b, t - 1].tolist()]
            norm, norms = (math.log(sum(map(math.exp, x))) for x in (ours, theirs))
            for x, y in zip(ours, theirs, strict=True):
                kl = math.exp(y - norms) * ((y - norms) - (x - norm))
                rows[b] += temperature**2 * kl
    assert counts[0] >= 3 and counts[1] >= 3
    assert found.row_totals.tolist() == pytest.approx(rows, rel=1e-12)
    assert found.total.item() == pytest.approx(sum(rows), rel=1e-12)
    assert found.row_counts.tolist() == counts and found.count == sum(counts)


def test_a_teacher_that_agrees_teaches_nothing_and_is_not_taught(case) -> None:
    hidden, head, labels = case
    assert abs(distil(hidden, head, hidden @ head.T, labels).total) < 1e-12
    hidden, teacher = hidden.requires_grad_(), torch.zeros(B, T, V).double().requires_grad_()
    distil(hidden, head, teacher, labels).total.backward()
    assert teacher.grad is None
    assert torch.equal(hidden.grad.any(2)[:, :-1], labels[:, 1:] != -100)
    assert distil(hidden, head, teacher, labels, at_most=3).total.isnan()


def test_next_token_in_double_precision(case) -> None:
    hidden, head, labels = case
    loss, expected = next_token(hidden, head, labels), 0.0
    for b, t in (labels[:, 1:] != -100).nonzero().tolist():
        scores = (head @ hidden[b, t]).tolist()
        expected += math.log(sum(map(math.exp, scores))) - scores[labels[b, t + 1]]
    assert loss.total.item() == pytest.approx(expected, rel=1e-12)
