"""What a shipped stage says it trains has a gradient and moves, by name, and nothing else does."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from rich.console import Console

from embervlm import Tokenizer
from train import optim, start
from train import stage as stages
from train.batches import Batch
from train.data import open_data, open_stream
from train.distributed import Place
from train.step import Objectives, Step

ALONE = Place(0, 1, torch.device("cpu"))
LEARNS = {  # as their YAML's first lines and the README tell it
    "stage0.yaml": ("encoder", "projection", "language", "site_head"),
    "stage1.yaml": ("projection", "language", "contrast"),
    "stage2.yaml": ("projection", "language"),
    "stage3.yaml": ("projection", "language", "fusion", "reasoning", "robot_head"),
    "stage4.yaml": (
        "projection",
        "language",
        "fusion",
        "reasoning",
        "robot_head",
        "plan_head",
    ),
    "demo.yaml": ("encoder", "projection", "language", "fusion", "reasoning", "robot_head"),
}
CASES = [(name, "") for name in LEARNS]
CASES += [("stage1.yaml", "lora=null"), ("stage3.yaml", "vision_only=true")]
# A constant added to a channel right before BatchNorm, which takes the mean away: its gradient is
# zero but for rounding.
IDLE = (".token_mixer.conv1.bias", ".token_mixer.conv.bn.bias")


class Learnt(NamedTuple):
    """Names of a learner's parameters: all, told to learn, with a gradient that is not zero,
    changed; and of its buffers, changed."""

    parameters: set[str]
    asked: set[str]
    reached: set[str]
    moved: set[str]
    buffers: set[str]


def learn(stage: stages.Stage, data: Path) -> Learnt:
    """Two steps: what is multiplied by zeros at first (adapters' A by their B, the LayerNorm of the
    site's head by its layer) has a gradient from the second on."""
    start.check(stage)
    tokenizer = Tokenizer.load(stage.model.config.tokenizer)
    dataset = open_data(stage, data, ALONE)
    stream = open_stream(stage, dataset, tokenizer, ALONE, Console(quiet=True))
    model = start.model_of(stage, tokenizer, None, ALONE)
    aids = start.aids_of(stage, stream, model, ALONE)
    learner = Objectives(model, stage, len(stream.names), aids).train()
    optimiser = optim.optimiser(learner, stage.optim)
    step = Step(learner, optimiser, stage, model, ALONE)
    parameters, reached = dict(learner.named_parameters()), set[str]()

    def look(*_: object) -> None:
        for name, parameter in parameters.items():
            if parameter.grad is not None and parameter.grad.any():
                reached.add(name)

    optimiser.register_step_pre_hook(look)
    before = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    for number in range(2):
        slots = []
        for positions in stream.positions(number, 0, 1):
            slots.append(stream.slot(len(positions)))
            stream.fill(slots[-1], positions)
        counts = step.counts(slots)
        assert all(counts), "something to learn for every objective"
        step(slots, [Batch.of(slot, ALONE.device) for slot in slots], counts, 1e-3)
    after = learner.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    asked = {name for name, parameter in parameters.items() if parameter.requires_grad}
    every = set(parameters)
    return Learnt(every, asked, reached, changed & every, changed - every)


@pytest.mark.parametrize(("name", "override"), CASES)
def test_what_is_named_learns_and_nothing_else(
    name: str, override: str, scenes: Path, every: Path, encoder: Path
) -> None:
    size = {"layers": 2, "heads": 2, "width": 32, "reasoning_blocks": 2}
    batch = ["batch.global=8", "batch.pool=4"]
    if "encoder" not in LEARNS[name]:
        size |= {"encoder_weights": str(encoder), "encoder_frozen": True}
        batch = ["batch.global=16", "batch.pool=8"]  # some captions in each pool, to be compared
    overrides = [
        "model.preset=compact",
        f"model.set={size}",
        *batch,
        *([override] * bool(override)),
    ]
    stage = stages.load(name, overrides)
    learnt = learn(stage, scenes if name == "stage0.yaml" else every)

    def promised(parameter: str) -> bool:
        if _component(parameter) == "language" and stage.lora:
            return ".lora_" in parameter
        return _component(parameter) in LEARNS[name]

    assert learnt.asked == {parameter for parameter in learnt.parameters if promised(parameter)}
    assert {_component(parameter) for parameter in learnt.asked} == set(LEARNS[name])
    assert _moving(learnt.reached) == _moving(learnt.moved) == _moving(learnt.asked)
    assert learnt.moved <= learnt.asked
    assert {_component(buffer) for buffer in learnt.buffers} == {"encoder"} & set(LEARNS[name]), (
        "BatchNorm's statistics stand still with the encoder"
    )
    if "contrast" in LEARNS[name]:
        assert "model.contrast.log_temperature" in learnt.moved


def _component(name: str) -> str:
    return name.removeprefix("model.").partition(".")[0]


def _moving(names: set[str]) -> set[str]:
    return {name for name in names if not name.endswith(IDLE)}
