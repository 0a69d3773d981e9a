from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import typer
from rich.console import Console
from typer.testing import CliRunner

from shards.ring import NO_LOSS
from train import evaluate, report
from train import stage as stages
from train.checkpoint import CheckpointError
from train.distributed import Place
from train.loop import train

QUIET = Console(quiet=True)

PLACE = Place(0, 1, torch.device("cpu"))


@pytest.fixture
def run(stage_file, data: Path, tmp_path: Path) -> Path:
    train(stages.load(stage_file()), data, tmp_path / "run", PLACE, QUIET)
    return tmp_path / "run"


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
    assert result["robots"]["records"] == result["sources"]["robots"]["samples"]
    assert {example["source"] for example in result["examples"]} == set(result["sources"])
    assert judged(run, data, "--split", "train").exit_code == 1


def test_shuffled_pictures_are_never_the_right_ones(run: Path, data: Path) -> None:
    judge = evaluate.Judge(run / "checkpoint-000006", data, "val", limit=9)
    for name, samples in judge.chosen.items():
        right = [slot.images.copy() for slot in judge._slots(name, samples, 0)]
        for shuffle in (1, 2, 3):
            for ours, slot in zip(right, judge._slots(name, samples, shuffle), strict=True):
                assert all((a != b).any() for a, b in zip(ours, slot.images, strict=True)), name


def test_the_loss_is_that_of_the_targets_alone(run: Path, data: Path) -> None:
    judge = evaluate.Judge(run / "checkpoint-000006", data, "val", limit=4)
    samples = judge.chosen["coco"]
    total, count = judge._loss("coco", samples, 0, [])
    tokens = expected = 0.0
    for slot in judge._slots("coco", samples, 0):
        ids, labels = torch.from_numpy(slot.tokens), torch.from_numpy(slot.labels)
        pixels = torch.from_numpy(slot.images).permute(0, 3, 1, 2)
        with torch.no_grad():
            scores = judge.model(ids, pixels).logits[:, :-1].log_softmax(-1)
        for row, after in zip(scores, labels[:, 1:], strict=True):
            for step, label in zip(row, after.tolist(), strict=True):
                if label != NO_LOSS:
                    expected, tokens = expected - float(step[label]), tokens + 1
    assert count == tokens > 0
    assert total == pytest.approx(expected, rel=1e-4)


def test_another_tokenizer_is_refused(run: Path, data: Path, monkeypatch) -> None:
    monkeypatch.setattr(evaluate.Tokenizer, "digest", "0" * 64)
    with pytest.raises(CheckpointError, match="was trained with tokenizer"):
        evaluate.Judge(run / "checkpoint-000006", data, "val", limit=4)


def test_a_report_shows_what_was_measured(run: Path, data: Path) -> None:
    with pytest.raises(CheckpointError, match="make it with: python -m train.evaluate"):
        report.report(run, data, "val")
    assert judged(run, data).exit_code == 0
    result = msgspec.json.decode((run / "evaluation_val.json").read_bytes())
    page = report.report(run, data, "val").read_text()
    assert f"{result['loss']:.3f} vs" in page
    assert "coco/train" in page and "robot head" in page
    assert page.count("<img src=") == len(result["examples"])
    assert "http" not in page.replace("http://www.w3.org", "")  # nothing comes from elsewhere
