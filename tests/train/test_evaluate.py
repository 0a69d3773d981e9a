from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from manifests.settings import SettingsError
from shards.slot import NO_LOSS
from train import checkpoint as checkpoints
from train import evaluate
from train.checkpoint import CheckpointError
from train.held_out import Shown


def judged(run: Path, data: Path, *more: str):
    app = typer.Typer()
    app.command()(evaluate.main)
    arguments = ["--checkpoint", str(run), "--data", str(data), "--limit", "6", *more]
    return CliRunner().invoke(app, arguments)


def test_it_judges_what_was_never_trained_on(run: Path, data: Path) -> None:
    assert judged(run, data).exit_code == 0
    result = msgspec.json.decode((run / "evaluation_val.json").read_bytes())
    assert set(result["sources"]) == {"coco", "gqa", "robots", "vqav2"}  # gqa was not trained on
    for source in result["sources"].values():
        assert 0 < source["samples"] <= 6
        assert len(source["shuffled"]) == 3
    assert result["gain"] == pytest.approx(np.mean(result["shuffled"]) - result["loss"])
    robots = result["robots"]
    assert 0 < robots["records"] <= result["sources"]["robots"]["samples"]
    assert 0 <= robots["picture_decided"]["records"] <= robots["records"]
    assert sum(map(sum, robots["confusion"])) <= robots["records"]
    assert {example["source"] for example in result["examples"]} == set(result["sources"])
    assert judged(run, data, "--split", "train").exit_code == 1


def test_of_a_run_the_newest_whole_checkpoint_is_judged(run: Path, data: Path) -> None:
    with (run / "checkpoint-000006" / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    done = judged(run, data)
    assert done.exit_code == 0
    assert msgspec.json.decode((run / "evaluation_val.json").read_bytes())["step"] == 3
    assert "checkpoint-000006/model.safetensors is damaged" in done.output


def test_shuffled_pictures_are_never_the_right_ones(run: Path, data: Path) -> None:
    judge = evaluate.Judge(run / "checkpoint-000006", data, "val", limit=9)
    for name, samples in judge.held.chosen.items():
        right = [slot.images for slot in judge.held.slots(Shown(name, samples).batches())]
        for shuffle in (1, 2, 3):
            wrong = Shown(name, samples, judge.others(shuffle)[name]).batches()
            for ours, slot in zip(right, judge.held.slots(wrong), strict=True):
                assert all((a != b).any() for a, b in zip(ours, slot.images, strict=True)), name


def test_shuffled_pictures_are_what_is_judged(run: Path, data: Path, monkeypatch) -> None:
    judge = evaluate.Judge(run / "checkpoint-000006", data, "val", limit=5)
    right = judge.judge()
    assert right["spread"] > 0
    own = {
        name: judge.held.stream.records_of(name, samples)
        for name, samples in judge.held.chosen.items()
    }
    monkeypatch.setattr(evaluate.Judge, "others", lambda self, shuffle: own)
    again = judge.judge()
    assert again["shuffled"] == [pytest.approx(right["loss"])] * 3
    assert again["loss"] == right["loss"]


def test_the_loss_is_that_of_the_targets_alone(run: Path, data: Path) -> None:
    judge = evaluate.Judge(run / "checkpoint-000006", data, "val", limit=4)
    judged = judge.judge()["sources"]["coco"]
    tokens = expected = 0.0
    for slot in judge.held.slots(Shown("coco", judge.held.chosen["coco"]).batches()):
        ids, labels = torch.from_numpy(slot.tokens), torch.from_numpy(slot.labels)
        pixels = torch.from_numpy(slot.images).permute(0, 3, 1, 2)
        with torch.no_grad():
            scores = judge.model(ids, pixels).logits[:, :-1].log_softmax(-1)
        for row, after in zip(scores, labels[:, 1:], strict=True):
            for step, label in zip(row, after.tolist(), strict=True):
                if label != NO_LOSS:
                    expected, tokens = expected - float(step[label]), tokens + 1
    assert judged["loss"] == pytest.approx(expected / tokens, rel=1e-4)


def test_another_tokenizer_is_refused(run: Path, data: Path, monkeypatch) -> None:
    monkeypatch.setattr(evaluate.Tokenizer, "digest", "0" * 64)
    with pytest.raises(CheckpointError, match="was trained with tokenizer"):
        evaluate.Judge(run / "checkpoint-000006", data, "val", limit=4)


def restaged(checkpoint: Path, **changed) -> Path:
    """The checkpoint as if its stage had said something else."""
    state = checkpoints.read_state(checkpoint)
    stage = state.stage | changed
    checkpoints.rewrite_state(checkpoint, msgspec.structs.replace(state, stage=stage))
    return checkpoint


def test_a_source_whose_prompts_never_fit_is_left_out(run: Path, data: Path) -> None:
    judge = evaluate.Judge(restaged(run / "checkpoint-000006", max_tokens=9), data, "val", limit=5)
    result = judge.judge()
    assert set(judge.held.chosen) == {"coco", "gqa", "robots", "vqav2"}
    assert set(result["sources"]) == {"coco"}
    assert result["loss"] == result["sources"]["coco"]["loss"]
    assert result["robots"] is None  # no task is read to its end


def test_a_split_of_which_nothing_fits_is_refused(run: Path, data: Path) -> None:
    judge = evaluate.Judge(restaged(run / "checkpoint-000006", max_tokens=9), data, "val", limit=5)
    judge.held.chosen["coco"] = judge.held.chosen["coco"][:0]
    with pytest.raises(SettingsError, match="no prompt is shorter than 9 tokens"):
        judge.judge()


def test_no_answer_is_asked_for_half_a_prompt(run: Path, data: Path) -> None:
    judge = evaluate.Judge(restaged(run / "checkpoint-000006", max_tokens=9), data, "val", limit=5)
    assert {example["source"] for example in judge.examples()} == {"coco"}


def test_what_was_trained_on_is_not_judged(run: Path, data: Path) -> None:
    trained_on = {"pictures": {"corpus": "coco", "split": "val"}}
    checkpoint = restaged(run / "checkpoint-000006", sources=trained_on)
    with pytest.raises(SettingsError, match="checkpoint-000006 was trained on coco/val"):
        evaluate.Judge(checkpoint, data, "val", limit=4)
    assert evaluate.Judge(checkpoint, data, "test", limit=4).held.chosen.keys() == {"gqa", "robots"}
