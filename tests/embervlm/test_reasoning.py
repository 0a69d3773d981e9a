"""Step states and their votes, plans, and what a written reasoning decides."""

import pytest
import torch

from embervlm import losses
from embervlm.context import last_reasoning

N = 49


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_four_step_states_vote_and_the_mean_of_their_votes_decides(model, ids_of, pictures) -> None:
    out = model(ids_of("I a b R", "I c d R"), pictures[:2], return_reasoning=True)
    assert out["steps"].shape == (2, 4, 48)
    assert out["step_logits"].shape == (2, 4, 5)
    close(out.robot_logits, out.step_logits.mean(1))
    close(out.step_logits, model.robot_head(out.steps))
    spread = (out.step_logits - out.robot_logits[:, None]).abs().amax((0, 2))
    assert spread.min() > 1e-3  # four states, not one four times


def test_steps_attend_to_text_and_picture(model, ids_of, pictures) -> None:
    steps = model(ids_of("I a b R"), pictures[:1]).steps
    assert (model(ids_of("I a c R"), pictures[:1]).steps - steps).abs().amax((0, 2)).min() > 1e-3
    assert (model(ids_of("I a b R"), pictures[1:2]).steps - steps).abs().amax((0, 2)).min() > 1e-4


def test_a_plan_has_a_robot_or_none_and_a_rank_a_step(model, ids_of, pictures) -> None:
    out = model(ids_of("I a b R", "I c d R"), pictures[:2])
    assert out.plan_robots.shape == (2, 5, 6) and out.plan_orders.shape == (2, 5, 5)
    assert (out.plan_robots[0] - out.plan_robots[1]).abs().max() > 1e-3
    assert (out.plan_robots[:, 0] - out.plan_robots[:, 1]).abs().max() > 1e-3
    decided = out.robot_logits
    kept = model.plan_head.slots.clone()
    model.plan_head.slots.mul_(-2)
    changed = model(ids_of("I a b R", "I c d R"), pictures[:2])
    model.plan_head.slots.copy_(kept)
    assert (changed.plan_robots - out.plan_robots).abs().max() > 1e-3
    close(changed.robot_logits, decided)  # with any plan or none


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("I a R S b c E d", "b c E"),
        ("I a R S b c", "b c"),  # it broke off
        ("I a R S b c . .", "b c"),
        ("I a R S b E S c d E e", "c d E"),  # the last of two
        ("I a R b", ""),
        ("I a R S", ""),
        ("I a R S . .", ""),
        ("I a E R b", ""),
    ],
)
@pytest.mark.parametrize("image", [True, False])
def test_the_words_of_the_last_reasoning(model, ids_of, pictures, row, words, image) -> None:
    ids = ids_of(row)
    sequence = model.read(ids, model.look(pictures[:1]) if image else None)
    mask, there = last_reasoning(ids, None, None, sequence, model.config)
    owners = sequence.layout.owner[0, mask[0]]
    assert bool(there) == bool(words)
    if words:
        assert ids[0, owners].tolist() == ids_of(words)[0].tolist()
    else:
        assert mask.all()


def test_words_that_a_mask_or_another_thread_hides_do_not_count(model, ids_of) -> None:
    ids = ids_of("a S b R S c d E")
    sequence = model.read(ids, None)
    hides = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0]])
    mask, _ = last_reasoning(ids, hides, None, sequence, model.config)
    assert mask[0].nonzero()[:, 0].tolist() == [2, 3]
    threads = torch.tensor([[0, 1, 1, 1, 2, 2, 3, 3]])
    mask, _ = last_reasoning(ids, None, threads, sequence, model.config)
    assert mask[0].nonzero()[:, 0].tolist() == [5]


def test_what_a_written_reasoning_decides_follows_from_its_words(model, ids_of, pictures) -> None:
    def both(*rows: str):
        return model(ids_of(*rows), pictures[: len(rows)], return_reasoning=True)

    out = both("I a b R S c d E f", "I a b R c d e f g")
    assert out.written.tolist() == [True, False]
    assert out.read_logits.shape == (2, 5) and out.read_logits.isfinite().all()
    other = both("I a b R S e d E f", "I a b R c d e f g")
    assert torch.equal(other.robot_logits, out.robot_logits)  # which never sees the words
    assert (other.read_logits[0] - out.read_logits[0]).abs().max() > 1e-3
    after = both("I a b R S c d E g", "I a b R c d e f g")
    close(after.read_logits[0], out.read_logits[0])  # what follows is no part of it
    fused = model.fusion(
        model.read(ids_of("I a b R S c d E"), model.look(pictures[:1])).hidden[:, -3:]
    )
    steps, _ = model.reasoning(fused, model.plan_head.slots)
    close(model.robot_head(steps).mean(1)[0], out.read_logits[0])
    short = model(ids_of("I a b R S c d E f"), pictures[:1])
    with pytest.raises(KeyError, match="read_logits"):
        short["read_logits"]


def test_two_decisions_can_be_brought_together(model, ids_of, pictures) -> None:
    out = model(ids_of("I a b R S c d E", "I a b R c d e f"), pictures[:2], return_reasoning=True)
    single = torch.tensor([True, True])
    loss = losses.consistency(out.read_logits, out.robot_logits, single, out.written)
    assert loss.row_counts.tolist() == [1, 0] and loss.total > 0 and loss.row_totals[1] == 0
