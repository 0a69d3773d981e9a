"""Weights & Biases: SEED's keys, offline without a key, nothing private, never in the way."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from train import stage as stages
from train import wandb_run
from train.stage import Stage
from train.wandb_run import WandbRun, config, judged, logged

wandb = pytest.importorskip("wandb")
SECRET = "planted-secret-5f2e"
SCORES = {"precision": 0.5, "recall": 0.25, "f1": 1 / 3}
RESULT = {
    "loss": 2.0,
    "score": 0.7,
    "score_of": "macro F1",
    "samples": 7,
    "sources": {"coco": {"samples": 7, "loss": 2.0}, "robots": {"samples": 9, "loss": None}},
    "robots": {
        "records": 9,
        "accuracy": 0.8,
        "macro_f1": 0.7,
        "macro_precision": 0.6,
        "macro_recall": 0.5,
        "expected_calibration_error": 0.1,
        "multi_robot_exact_match": None,
        "multi_robot_jaccard": 0.4,
        "always_the_commonest": 0.3,
        "per_robot": {"Drone": SCORES, "Underwater Robot": SCORES},
        "confusion": [[1, 0], [0, 1]],
        "picture_decided": {"records": 3, "accuracy": 0.9},
        "text_decided": {"records": 0, "accuracy": None},
    },
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that knows nothing of W&B, with a secret in its environment."""
    for name in os.environ:
        if name.startswith(("WANDB", "XDG")) or name in ("NETRC", "DISABLE_WANDB"):
            monkeypatch.delenv(name)
    folder = tmp_path / "home-of-somebody"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("MY_TOKEN", SECRET)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    wandb.teardown()
    yield folder
    wandb.teardown()


@pytest.fixture
def stage(stage_file) -> Stage:
    return stages.load(stage_file(name="stage3", wandb="robots"))


def kept(run: Path) -> list[Path]:
    return sorted((run / "wandb").glob("offline-run-*"))


def test_a_log_line_has_the_keys_that_are_known() -> None:
    line = {
        "loss": 2.5,
        "objectives": {"language": 2.0, "robots": 0.5, "plan": 1.5, "contrast": None},
        "sources": {"coco": 2.0},
        "mixture": {"coco": {"asked": 0.5, "rounded": 0.5, "realised": 0.4}},
        "lr": 1e-4,
        "samples_per_s": 10.0,
        "wait": 0.01,
        "memory_gb": None,
    }
    assert logged("stage3", line) == {
        "stage3/loss": 2.5,
        "stage3/lm_loss": 2.0,
        "stage3/robot_loss": 0.5,
        "stage3/plan_loss": 1.5,
        "stage3/coco/loss": 2.0,
        "stage3/coco/share_asked": 0.5,
        "stage3/coco/share_realised": 0.4,
        "stage3/learning_rate": 1e-4,
        "stage3/samples_per_second": 10.0,
        "stage3/gpu_wait": 0.01,
    }


def test_a_validation_has_the_keys_that_are_known() -> None:
    told = judged("stage3", RESULT)
    robots = {
        f"stage3/{robot}_{score}": number
        for robot in ("Drone", "Underwater_Robot")
        for score, number in SCORES.items()
    }
    assert told == robots | {
        "stage3/val_loss": 2.0,
        "stage3/val_score": 0.7,
        "stage3/coco/val_loss": 2.0,
        "stage3/accuracy": 0.8,
        "stage3/macro_f1": 0.7,
        "stage3/macro_precision": 0.6,
        "stage3/macro_recall": 0.5,
        "stage3/expected_calibration_error": 0.1,
        "stage3/multi_robot_jaccard": 0.4,
        "stage3/always_the_commonest": 0.3,
        "stage3/picture_decided_accuracy": 0.9,
    }
    assert judged("stage1", {**RESULT, "robots": None}).keys() == {
        "stage1/val_loss",
        "stage1/val_score",
        "stage1/coco/val_loss",
    }


def test_only_what_is_listed_is_told_and_no_path(stage_file, home: Path) -> None:
    stage = stages.load(
        stage_file(
            cache=str(home / "cache"),
            objectives={"language": 1.0, "distil": 0.5},
            teacher={"model": str(home / "models" / "teacher")},
        )
    )
    told = config(stage, {"parameters": 5, "root": "ab12", "password": SECRET})
    assert told["run"] == {"parameters": 5, "root": "ab12"}
    assert told["optim"]["lr"] == 3e-3 and told["batch"]["global"] == 4
    assert told["teacher"]["model"] == "teacher"
    assert "/" not in json.dumps(told)
    assert not {"cache", "fill", "wandb", "country"} & told.keys()


def test_offline_it_says_how_to_send_and_keeps_nothing_private(
    stage: Stage, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = home / "train.py"
    script.write_text("")
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "argv", [str(script), "--key", SECRET])
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    run, said = tmp_path / "run", []
    run.mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "radar.png")
    (tmp_path / "confusion.svg").write_text("<svg/>")
    pictures = {"radar": tmp_path / "radar.png", "confusion_matrix": tmp_path / "confusion.svg"}
    for start in (1, 2):  # it is stopped, and goes on
        tracked = WandbRun(stage, {"parameters": 12345, "password": SECRET}, run, said.append)
        tracked.log(start, judged("stage3", RESULT), pictures)
        tracked.close(failed=False)
    assert len(said) == 2 and f"wandb sync {run}/wandb/offline-run-*" in said[0]

    folders = kept(run)
    identity = json.loads((run / "wandb.json").read_bytes())["id"]
    assert len(folders) == 2 and all(identity in folder.name for folder in folders)
    files = [path for path in (run / "wandb").rglob("*") if path.is_file()]
    data = b"".join(path.read_bytes() for path in files if path.suffix == ".wandb")
    for there in (b"stage3/Underwater_Robot_f1", b"stage3/multi_robot_jaccard", b"parameters"):
        assert there in data
    sent = [path for path in files if "files" in path.parts]
    assert {path.suffix for path in sent} == {".png", ".html"}  # the pictures, and nothing else
    for path in files:
        for private in (SECRET, str(home), home.name, str(Path(__file__).parents[2])):
            assert private.encode() not in path.read_bytes(), path
    assert {path.name for path in home.iterdir()} <= {".cache", ".config", script.name}


def test_a_server_that_is_not_there_leaves_it_offline(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_run, "_START_S", 1)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    said: list[str] = []
    tracked = WandbRun(stage, {}, tmp_path, said.append)
    tracked.log(1, {"stage3/loss": 1.0}, {})
    tracked.close(failed=True)
    assert "Weights & Biases cannot be reached" in said[0]
    assert "wandb sync" in said[1] and len(kept(tmp_path)) == 1


@pytest.mark.parametrize("call", ["log", "finish"])
def test_a_failure_is_said_once_and_training_goes_on(
    call: str, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise BrokenPipeError("the service is gone\nmore")

    calls = {"define_metric": lambda *_, **__: None, "log": lambda *_: None, "finish": None}
    fake = SimpleNamespace(**{**calls, call: fail})
    monkeypatch.setattr(wandb, "init", lambda **_: fake)
    said: list[str] = []
    tracked = WandbRun(stage, {}, tmp_path, said.append)
    for step in range(3):
        tracked.log(step, {}, {})
    tracked.close(failed=False)
    told = "Weights & Biases fails, and training goes on without it: the service is gone"
    assert said[1:] == [told]


@pytest.mark.parametrize("switch", ["DISABLE_WANDB=1", "DISABLE_WANDB=true", "WANDB_MODE=disabled"])
def test_switched_off_it_is_silent(
    switch: str, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*switch.split("=", 1))
    said: list[str] = []
    run = tmp_path / "run"
    run.mkdir()
    tracked = WandbRun(stage, {}, run, said.append)
    tracked.log(1, {}, {})
    tracked.close(failed=False)
    assert not said and not [*run.iterdir()]


def test_a_stage_that_names_no_project_is_not_logged(stage_file, tmp_path: Path) -> None:
    WandbRun(stages.load(stage_file()), {}, tmp_path / "run", pytest.fail).log(1, {}, {})
    assert not (tmp_path / "run").exists()


def test_without_the_package_it_is_said_once(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    said: list[str] = []
    tracked = WandbRun(stage, {}, tmp_path, said.append)
    tracked.log(1, {}, {})
    assert len(said) == 1 and "pip install 'embervlm[track]'" in said[0]


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "a" * 40}, "online"),
        ({"WANDB_API_KEY": "a" * 40, "WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_API_KEY": "a" * 40, "WANDB_MODE": "disabled"}, "disabled"),
        ({"WANDB_MODE": "online"}, "offline"),  # it would ask for a key
        ({"NETRC": "netrc"}, "online"),
        ({"NETRC": "netrc", "WANDB_BASE_URL": "https://elsewhere.test"}, "offline"),
    ],
)
def test_the_mode_is_the_users_but_offline_without_a_key(
    environment: dict[str, str], mode: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "netrc").write_text("machine api.wandb.ai\n  login user\n  password " + "a" * 40)
    (home / "netrc").chmod(0o600)
    monkeypatch.chdir(home)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wandb_run._mode() == mode
