"""Objectives against sums written out by hand, and their counts against those of real samples."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from embervlm import EmberVLM, Tokenizer
from embervlm.config import COMPONENTS
from embervlm.outputs import Outputs
from shards.slot import NO_LOSS, Slot
from train import stage as stages
from train.batches import Batch
from train.data import open_data, open_stream
from train.distributed import Place
from train.objectives import OBJECTIVES, Aids, Seen, reached
from train.site import SiteHead
from train.stage import RobotLoss, Stage
from train.step import Objectives

VOCABULARY, WIDTH = 7, 4
ALONE = Place(0, 1, torch.device("cpu"))


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
def seen(slot: Slot) -> Seen:
    """The slot, and what a model might have said of it."""
    torch.manual_seed(4)
    shapes = {"robot_logits": (4, 5), "hidden": (4, 5, WIDTH), "head": (VOCABULARY, WIDTH)}
    made: dict[str, Any] = dict.fromkeys(Outputs.__dataclass_fields__)
    outputs = Outputs(**{**made, **{name: torch.randn(shape) for name, shape in shapes.items()}})
    return Seen(Batch.of(slot, torch.device("cpu")), 4, outputs, outputs)


def surprise(scores: list[float], at: int) -> float:
    return math.log(sum(math.exp(s) for s in scores)) - scores[at]


def test_language_is_the_sum_over_targets_of_what_comes_before_them(seen: Seen) -> None:
    loss = OBJECTIVES["language"].loss(seen, Aids(ALONE))
    assert seen.said is not None
    rows = [0.0] * 4
    for row, at, token in ((0, 2, 2), (0, 3, 3), (1, 4, 6), (3, 1, 0)):
        rows[row] += surprise((seen.said.head @ seen.said.hidden[row, at - 1]).tolist(), token)
    assert loss.row_totals.tolist() == pytest.approx(rows, rel=1e-5)
    assert float(loss.total) == pytest.approx(sum(rows), rel=1e-5)
    assert loss.row_counts.tolist() == [2, 1, 0, 1]


def test_robots_is_a_choice_where_one_is_enough_and_yes_or_no_for_a_team(seen: Seen) -> None:
    loss = OBJECTIVES["robots"].loss(seen, Aids(ALONE))
    assert seen.decided is not None
    one, two, team, _ = seen.decided.robot_logits.tolist()
    rows = [surprise(one, 0), (surprise(two, 1) + surprise(two, 3)) / 2]
    wanted = zip(team, (-1, -1, 1, -1, 1), strict=True)
    rows += [sum(math.log(1 + math.exp(-sign * s)) for s, sign in wanted) / 5, 0.0]
    assert loss.row_totals.tolist() == pytest.approx(rows, rel=1e-5)
    assert float(loss.total) == pytest.approx(sum(rows), rel=1e-5)


def test_balance_and_smoothing_reach_the_loss(seen: Seen) -> None:
    weights = [0.5, 2.0, 1.0, 1.5, 0.25]
    aids = Aids(ALONE, RobotLoss(smoothing=0.1, balanced=True), torch.tensor(weights))
    rows = OBJECTIVES["robots"].loss(seen, aids).row_totals.tolist()
    assert seen.decided is not None
    one, two, team, _ = seen.decided.robot_logits.tolist()
    spread = sum(surprise(one, robot) for robot in range(5)) / 5
    assert rows[0] == pytest.approx(0.5 * (0.9 * surprise(one, 0) + 0.1 * spread), rel=1e-5)
    spread = sum(surprise(two, robot) for robot in range(5)) / 5
    both = (surprise(two, 1) + surprise(two, 3)) / 2
    assert rows[1] == pytest.approx((2 + 1.5) / 2 * (0.9 * both + 0.1 * spread), rel=1e-5)
    told = [
        weight * sum(share * math.log(1 + math.exp(-sign * score)) for sign, share in shares)
        for score, weight, yes in zip(team, weights, (0, 0, 1, 0, 1), strict=True)
        for shares in [((1, 0.95), (-1, 0.05)) if yes else ((1, 0.05), (-1, 0.95))]
    ]
    assert rows[2] == pytest.approx(sum(told) / 5, rel=1e-5)
    assert rows[3] == 0


def test_every_component_is_reached_and_language_not_by_what_decides_past_it() -> None:
    assert reached(OBJECTIVES, vision_only=False) == set(COMPONENTS)
    assert "language" in reached(["robots"], vision_only=False)
    assert reached(["robots", "plan"], vision_only=True) == {
        "encoder", "projection", "fusion", "reasoning", "robot_head", "plan_head"
    }  # fmt: skip
    assert "language" in reached(["robots", "language"], vision_only=True)
    assert reached(["site"], vision_only=False) == {"encoder"}


@pytest.fixture
def stage(stage_file: Callable[..., str]) -> Stage:
    """Every objective over every kind of row."""
    sources = {
        "captions": {"corpus": "coco", "turns": "rotate"},
        "questions": {"corpus": "vqav2", "turns": "pack"},
        "tasks": {"corpus": "robots", "turns": "one", "kinds": ["robot"]},
        "reasons": {"corpus": "robots", "turns": "one", "kinds": ["reasoning"]},
    }
    all_of_them = dict.fromkeys(OBJECTIVES, 1.0)
    path = stage_file(
        sources=sources, objectives=all_of_them, max_tokens=256, teacher={"model": "none"}
    )
    return stages.load(path)


@pytest.fixture
def model(stage: Stage) -> EmberVLM:
    torch.manual_seed(5)
    model = EmberVLM.build(stage.model.config)
    model.train_only([name for name in COMPONENTS if name != "encoder"])
    return model


@pytest.fixture
def samples(stage: Stage, data: Path) -> Callable[[str, int], Slot]:
    """Gives some samples of a source."""
    tokenizer, dataset = Tokenizer.load("builtin"), open_data(stage, data, ALONE)
    stream = open_stream(stage, dataset, tokenizer, ALONE, Console(quiet=True))

    def fill(name: str, count: int) -> Slot:
        slot = stream.slot(count)
        stream.fill_samples(slot, name, np.arange(count))
        return slot

    return fill


def counted(stage: Stage, model: EmberVLM, slot: Slot) -> dict[str, tuple[int, float, float]]:
    """Each objective's count before the forward pass, and count and sum of its loss. Descends."""
    aids = Aids(ALONE, teacher=model, site_head=SiteHead(model.encoder.width))
    learner = Objectives(model, stage, len(stage.sources), aids)
    before = [OBJECTIVES[name].count(slot, model.config) for name in stage.objectives]
    targets = OBJECTIVES["language"].count(slot, model.config)
    divisors = torch.tensor(before).clamp(min=1)
    total, shares, _ = learner(Batch.of(slot, ALONE.device), divisors, targets)
    total.backward()
    sums, after = shares.sum(1).unbind(1)
    each = zip(before, after.tolist(), sums.tolist(), strict=True)
    return dict(zip(stage.objectives, each, strict=True))


@pytest.mark.parametrize("source", ["captions", "questions", "tasks", "reasons"])
def test_counts_are_known_before_the_forward_pass(source: str, stage, model, samples) -> None:
    slot = samples(source, 4)
    slot.has_image[3] = False
    if source in ("tasks", "reasons"):
        assert slot.robots.any(1).all()
        slot.robots[1] = 0
    found = counted(stage, model, slot)
    assert {name: before for name, (before, _, _) in found.items()} == {
        name: after for name, (_, after, _) in found.items()
    }
    words = int((slot.labels != NO_LOSS).sum())
    robots = 3 if source in ("tasks", "reasons") else 0
    assert words > 4
    assert {name: before for name, (before, _, _) in found.items()} == {
        "language": words,
        "distil": words,
        "contrast": 3 if source == "captions" else 0,
        "robots": robots,
        "plan": robots,
        "consistency": robots if source == "reasons" else 0,
        "site": 3 if source in ("tasks", "reasons") else 0,
    }
    if source == "questions":
        assert slot.thread.max() > 1, "several threads share a row"


def test_a_reasoning_that_was_cut_counts_where_a_word_of_it_is_left(stage, model, samples) -> None:
    whole, places = samples("reasons", 1), np.arange(256)
    (start,) = np.flatnonzero(whole.tokens[0] == model.config.reasoning_start_id)
    (end,) = np.flatnonzero(whole.tokens[0] == model.config.reasoning_end_id)
    cuts = [0, 1, start, start + 1, start + 2, start + 9, end, end + 1, 256]
    slot = Slot(len(cuts) + 1, 256, 224)
    for name, array in slot.arrays():
        array[...] = getattr(whole, name)
    for row, cut in enumerate(cuts):
        lost = places >= cut
        slot.tokens[row, lost], slot.thread[row, lost] = model.config.pad_id, 0
        slot.labels[row, lost] = NO_LOSS
    slot.tokens[-1, start + 1] = model.config.reasoning_end_id  # over as soon as it has begun
    before, after, _ = counted(stage, model, slot)["consistency"]
    assert before == after == 1 + sum(cut > start + 1 for cut in cuts) == 6


def test_a_rank_without_samples_learns_nothing(stage, model, samples) -> None:
    found = counted(stage, model, samples("reasons", 1).part(0, 0))
    assert found == dict.fromkeys(OBJECTIVES, (0, 0.0, 0.0))
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert not any(gradient.any() for gradient in gradients)


def test_robots_decided_past_the_language_model_leave_it_alone(stage_file, model, samples) -> None:
    for past in (True, False):
        objectives = {"robots": 1.0, "plan": 1.0}
        stage = stages.load(stage_file(objectives=objectives, vision_only=past))
        model.zero_grad()
        slot = samples("tasks", 4)
        learner = Objectives(model, stage, 4, Aids(ALONE))
        loss, _, _ = learner(Batch.of(slot, ALONE.device), torch.tensor([4.0, 4.0]), 0)
        loss.backward()
        moved = {
            name.partition(".")[0]
            for name, parameter in model.named_parameters()
            if parameter.grad is not None and parameter.grad.any()
        }
        learnt = {"projection", "fusion", "reasoning", "robot_head", "plan_head"}
        assert moved == (learnt if past else learnt | {"language"})
