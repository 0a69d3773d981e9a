from pathlib import Path

import pytest
import torch

from embervlm import EmberVLM, EmberVLMConfig
from manifests import store
from shards.mixing import Mixture, Part
from train import checkpoint, optim
from train.checkpoint import CheckpointError, State
from train.stage import Optim

CONFIG = EmberVLMConfig(vocab_size=64, layers=1, heads=2, width=16, positions=64)
PART = Part(share=1, samples=9, tokens=90.0, window=2, asked=1.0)
MIXTURE = Mixture(parts={"a": PART}, exhausted="repeat")
STATE = State(step=1, stage={"seed": 1}, root="r", tokenizer="t", mixture=MIXTURE)


def trained() -> tuple[EmberVLM, torch.optim.AdamW]:
    """A model with one optimiser step behind it."""
    torch.manual_seed(1)
    model = EmberVLM(CONFIG)
    optimiser = optim.optimiser(model, Optim())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    return model, optimiser


def state(step: int, **changed) -> State:
    return State(
        **{**{f: getattr(STATE, f) for f in STATE.__struct_fields__}, **changed, "step": step}
    )


def test_only_the_newest_two_are_kept(tmp_path: Path) -> None:
    model, optimiser = trained()
    for step in (5, 10, 15):
        checkpoint.save(tmp_path, model, optimiser, state(step))
    assert [p.name for p in checkpoint.found(tmp_path)] == [
        "checkpoint-000010",
        "checkpoint-000015",
    ]


def test_model_moments_and_step_come_back(tmp_path: Path) -> None:
    model, optimiser = trained()
    saved = checkpoint.save(tmp_path, model, optimiser, state(7))
    other = EmberVLM(CONFIG)
    fresh = optim.optimiser(other, Optim())
    checkpoint.resume(saved, checkpoint.read_state(saved), other, fresh)
    for (name, ours), (_, theirs) in zip(
        model.named_parameters(), other.named_parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name
        for moment in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(optimiser.state[ours][moment], fresh.state[theirs][moment]), name
        assert fresh.state[theirs]["step"] == 7


def test_a_crash_while_saving_leaves_no_checkpoint(tmp_path: Path, monkeypatch) -> None:
    model, optimiser = trained()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "publish", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, model, optimiser, state(3))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"root": "other"}, "another root: r, now other. Give this run another --out"),
        ({"stage": {"seed": 2}}, "another stage: seed was 1, is 2"),
        ({"tokenizer": "u"}, "another tokenizer: t, now u"),
    ],
)
def test_other_data_is_refused(tmp_path: Path, changed: dict, message: str) -> None:
    model, optimiser = trained()
    saved = checkpoint.save(tmp_path, model, optimiser, state(3))
    kept = checkpoint.read_state(saved)
    now = {"stage": kept.stage, "root": kept.root, "tokenizer": kept.tokenizer}
    checkpoint.check(saved, kept, **now)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.check(saved, kept, **{**now, **changed})


def test_the_mixture_comes_back_as_it_was_resolved(tmp_path: Path) -> None:
    model, optimiser = trained()
    saved = checkpoint.save(tmp_path, model, optimiser, state(3))
    assert checkpoint.read_state(saved).mixture == MIXTURE


def test_a_checkpoint_of_another_release_is_told_by_its_schema(tmp_path: Path) -> None:
    model, optimiser = trained()
    saved = checkpoint.save(tmp_path, model, optimiser, state(3, schema=1))
    with pytest.raises(CheckpointError, match="is of schema 1; this code reads 2. Train anew"):
        checkpoint.read_state(saved)


def test_what_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        checkpoint.read_state(tmp_path)


def test_checkpoints_sort_by_number_and_other_names_are_nobody_s(tmp_path: Path) -> None:
    for name in ("1000000", "999999", "best", "5-old", "000007"):
        (tmp_path / f"checkpoint-{name}").mkdir()
    assert [path.name for path in checkpoint.found(tmp_path)] == [
        "checkpoint-000007",
        "checkpoint-999999",
        "checkpoint-1000000",
    ]
    model, optimiser = trained()
    checkpoint.save(tmp_path, model, optimiser, state(1_000_001))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-1000000",
        "checkpoint-1000001",
        "checkpoint-5-old",
        "checkpoint-best",
    ]
