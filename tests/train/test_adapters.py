"""Adapters: they alone learn, what they learnt is merged into what is saved, and gone on from."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from embervlm import EmberVLM, EmberVLMConfig, Tokenizer, losses
from manifests.settings import SettingsError
from shards.mixing import Mixture, Part
from train import adapters, checkpoint, optim
from train.checkpoint import Saver, State
from train.stage import Lora, Optim

PART = Part(share=1, samples=9, tokens=90.0, window=2, asked=1.0)
MIXTURE = Mixture(parts={"a": PART}, exhausted="repeat")
SPEC = Lora(rank=2, alpha=6)


class Learner(nn.Module):
    def __init__(self, config: EmberVLMConfig, spec: Lora = SPEC) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.model = EmberVLM.build(config)
        self.model.encoder.trust()
        self.model.train_only(["projection", "language"])
        adapters.attach(self.model, spec)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EmberVLMConfig:
    """Of a tiny model."""
    folder = tmp_path_factory.mktemp("tokenizer")
    Tokenizer.train(["a"], vocab_size=262).save(folder)
    return EmberVLMConfig(
        vocab_size=262,
        layers=2,
        heads=2,
        width=16,
        positions=80,
        reasoning_blocks=1,
        encoder="test_efficientnet",
        tokenizer=str(folder),
    )


def state(step: int) -> State:
    return State(step=step, stage={}, root="r", tokenizer="t", mixture=MIXTURE)


def sample(step: int, config: EmberVLMConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [2,9], an `<image>` first, and pictures."""
    random = torch.Generator().manual_seed(step)
    ids = torch.randint(0, 250, (2, 9), generator=random)
    ids[:, 0] = config.image_id
    return ids, torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8, generator=random)


def descend(learner: Learner, optimiser: torch.optim.Optimizer, steps: range) -> list[float]:
    """Losses of some optimiser steps, each of a batch of its own."""
    seen = []
    for step in steps:
        ids, pictures = sample(step, learner.model.config)
        said = learner.model.forward_language(ids, pictures)
        loss = losses.next_token(said.hidden, said.head, ids).total
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        seen.append(loss.item())
    return seen


def learnt(config: EmberVLMConfig) -> Learner:
    """One whose adapters have learnt a little."""
    learner = Learner(config)
    descend(learner, optim.optimiser(learner, Optim(lr=0.01)), range(4))
    return learner.eval()


def test_only_adapters_and_other_components_move(config: EmberVLMConfig) -> None:
    learner = Learner(config)
    layers = [name for name, part in learner.named_modules() if hasattr(part, "lora_A")]
    assert len(layers) == 4 * config.layers
    before = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    descend(learner, optim.optimiser(learner, Optim(lr=0.01)), range(2))
    after = learner.state_dict()
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    adapted = {f"{name}.lora_{part}.default.weight" for name in layers for part in "AB"}
    assert moved == adapted | {n for n in after if n.startswith("model.projection.")}


def test_fresh_adapters_change_nothing(config: EmberVLMConfig) -> None:
    adapted = Learner(config).model
    bare = EmberVLM.from_state(config, adapters.merged_state(adapted))
    embeddings = torch.randn(2, 9, config.width)
    assert torch.equal(adapted.language(embeddings), bare.language(embeddings))


def test_merged_logits_are_the_adapted_ones(config: EmberVLMConfig) -> None:
    learner = learnt(config)
    merged = adapters.merged_state(learner.model)
    assert merged.keys() == EmberVLM(config).state_dict().keys()
    plain = EmberVLM.from_state(config, merged).eval()
    ids, pictures = sample(9, config)
    with torch.no_grad():
        adapted = learner.model.forward_language(ids, pictures).logits
        ours = plain.forward_language(ids, pictures).logits
    assert torch.allclose(ours, adapted, atol=1e-5)
    name = "language.h.1.mlp.c_fc"
    layer = learner.model.get_submodule(name)
    base = layer.get_parameter("base_layer.weight")
    a, b = (layer.get_parameter(f"lora_{part}.default.weight") for part in "AB")
    expected = base + SPEC.alpha / SPEC.rank * b @ a
    assert torch.allclose(merged[f"{name}.weight"], expected, atol=1e-7)
    assert not torch.allclose(merged[f"{name}.weight"], base, atol=1e-4)


def test_without_adapters_the_state_is_the_model_s(config: EmberVLMConfig) -> None:
    model = EmberVLM(config)
    state, merged = model.state_dict(), adapters.merged_state(model)
    assert list(merged) == list(state)
    assert all(torch.equal(merged[name], state[name]) for name in state)


def test_a_run_that_stopped_goes_on_to_the_bit(tmp_path: Path, config: EmberVLMConfig) -> None:
    whole = Learner(config)
    optimiser = optim.optimiser(whole, Optim(lr=0.01))
    descend(whole, optimiser, range(3))
    Saver(tmp_path).save(whole, optimiser, state(3))
    expected = descend(whole, optimiser, range(3, 6))
    stopped = Learner(config)
    torch.nn.init.ones_(stopped.model.language.wpe.weight)  # whatever it began with
    other = optim.optimiser(stopped, Optim(lr=0.01))
    checkpoint.resume(tmp_path / "checkpoint-000003", state(3), stopped, other)
    assert descend(stopped, other, range(3, 6)) == expected
    ours, theirs = whole.state_dict(), stopped.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_next_stage_reads_a_checkpoint_merged(tmp_path: Path, config: EmberVLMConfig) -> None:
    learner = learnt(config)
    Saver(tmp_path).save(learner, optim.optimiser(learner, Optim()), state(4))
    read = EmberVLM.from_pretrained(tmp_path / "checkpoint-000004")
    merged = adapters.merged_state(learner.model)
    assert all(torch.equal(merged[name], tensor) for name, tensor in read.state_dict().items())


@pytest.mark.parametrize("spec", [Lora(rank=3), None])
def test_other_adapters_are_not_gone_on_with(
    tmp_path: Path, config: EmberVLMConfig, spec: Lora | None
) -> None:
    learner = learnt(config)
    Saver(tmp_path).save(learner, optim.optimiser(learner, Optim()), state(4))
    other = Learner(config, spec or SPEC)
    if spec is None:
        other.model = EmberVLM(config)
    with pytest.raises(ValueError, match="lora_A.default.weight (has shape|is not part of)"):
        checkpoint.resume(
            tmp_path / "checkpoint-000004", state(4), other, optim.optimiser(other, Optim())
        )


def test_peft_that_is_missing_is_named(config: EmberVLMConfig, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(SettingsError, match="need peft.*pip install peft.*--set lora=null"):
        adapters.attach(EmberVLM(config), SPEC)
