"""`torchrun train/run.py` works from anywhere, whatever modules are installed beside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from train.distributed import Place

ROOT = Path(__file__).parents[2]


@pytest.fixture
def decoys(tmp_path: Path) -> Path:
    """Modules of the names that people have installed, each of which says that it was imported."""
    site = tmp_path / "site"
    for name in ("datasets", "evaluate", "shards", "manifests", "train"):
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text(f"raise RuntimeError('decoy {name} imported')\n")
    return site


@pytest.mark.parametrize("launcher", [[], ["-m", "torch.distributed.run", "--standalone"]])
def test_decoys_are_not_imported(launcher, decoys, stage_file, data: Path, tmp_path: Path) -> None:
    command = [sys.executable, *launcher, str(ROOT / "train" / "run.py")]
    command += ["--mixture", stage_file(steps=3), "--data", str(data), "--out", "run"]
    environment = {**os.environ, "PYTHONPATH": str(decoys)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "checkpoint-000003" / "model.safetensors").exists()


def test_bad_input_is_one_sentence_not_a_stack_trace(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train" / "run.py"), "--mixture", "demo.yaml"]
    done = subprocess.run(
        [*command, "--data", "nowhere"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "nowhere is not a sealed data set" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def program(monkeypatch, tmp_path: Path):
    """`train/run.py` in this process, with a `train` that only remembers how it was called."""
    monkeypatch.setattr(sys, "path", sys.path.copy())  # which its first statement changes
    from train import run

    called = []

    def train(stage, data: Path, out: Path, place: Place, console, begin: Path | None, *how):
        called.append((stage.name, data, out, begin, *how))
        return out / f"checkpoint-{stage.steps:06d}"

    def main(*arguments: str) -> tuple[int, list]:
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        return run.main(), called

    monkeypatch.setattr(run, "train", train)
    monkeypatch.chdir(tmp_path)
    return main


def test_two_mixtures_are_chained(program, stage_file, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.yaml").write_text(Path(stage_file(name=name)).read_text())
    code, called = program(
        "--mixture", "first.yaml", "second.yaml", "--data", "d", "--set", "steps=8"
    )
    assert code == 0
    assert called == [
        ("first", "d", Path("runs/first"), None, None, False),
        ("second", "d", Path("runs/second"), Path("runs/first/checkpoint-000008"), None, False),
    ]


def test_one_folder_is_not_that_of_two_runs(program, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        program("--mixture", "demo.yaml", "demo.yaml", "--out", "run")
    assert "--out names one run; leave it out for several mixtures" in capsys.readouterr().err
