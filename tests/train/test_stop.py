"""A run that is told to stop saves and leaves, and goes on later as if nothing had been."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.train.ranks import ROOT, begin, finish, signalled, told, write_stage
from train.held_out import Asked
from train.step import Step
from train.stop import Stop, Stopped

JUDGED = ("--set", "eval_steps=3", "--set", "eval_samples=2")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, data: Path, encoder: Path) -> list[str]:
    stage = write_stage(tmp_path_factory.mktemp("stage"), encoder)
    return ["--mixture", stage, "--data", str(data), *JUDGED]


def last(run: Path) -> list[bytes]:
    names = ("model.safetensors", "training.safetensors", "state.json")
    return [(run / "checkpoint-000008" / name).read_bytes() for name in names]


@pytest.fixture
def process():
    """Sends this process a signal, which does nothing here but to be counted."""
    heard: list[int] = []
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda number, frame: heard.append(number))
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_kept_and_a_second_one_acts_as_it_always_does(process, number) -> None:
    with Stop().heard() as stop:
        assert stop.asked is None
        os.kill(os.getpid(), number)
        assert stop.asked == signal.Signals(number).name and process == []
        os.kill(os.getpid(), number)
        assert process == [number]
    os.kill(os.getpid(), number)
    assert process == [number, number]


def test_at_once_means_at_once(process) -> None:
    with Stop().heard() as stop:
        with pytest.raises(Stopped), stop.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("it went on")
        with pytest.raises(Stopped), stop.at_once():
            raise AssertionError("it began, though told to stop before")
    assert process == []


@pytest.mark.parametrize(
    ("world", "trap", "done"),
    [
        (2, partial(signalled, 1, Step, "__call__", 4, signal.SIGTERM), 4),
        (2, partial(signalled, 0, Asked, "answers", 1, signal.SIGINT), 3),
        (1, partial(signalled, 0, Asked, "answers", 1, signal.SIGTERM), 3),
        (2, partial(signalled, 0, Step, "__call__", 8, signal.SIGTERM), 8),
    ],
    ids=["one-rank-in-a-step", "one-rank-that-validates", "alone-validating", "last-step"],
)
def test_told_to_stop_it_saves_leaves_and_goes_on_to_the_bit(
    arguments: list[str], whole: dict[int, Path], tmp_path: Path, world, trap, done
) -> None:
    run = tmp_path / "run"
    with begin(world, tmp_path, *arguments, "--out", str(run), trap=trap) as ranks:
        assert ranks.wait() == [143] * world, ranks.said(0)
        assert f"told to stop: {done} of 8 steps are done and saved in {run}" in ranks.said(0)
        assert "Run the same again to go on" in ranks.said(0)
        assert not any("told to stop" in ranks.said(rank) for rank in range(1, world))
    assert [line["step"] for line in told(run)] == [*range(done)]
    assert (run / f"checkpoint-{done:06d}").is_dir()
    finish(world, tmp_path, *arguments, "--out", str(run))
    assert told(run) == told(whole[world])
    if done == 4:  # a stop during validation leaves it out
        assert last(run) == last(whole[world])
    assert last(run)[:2] == last(whole[world])[:2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, arguments: list[str]) -> dict[int, Path]:
    """A run that nobody stopped, by the number of its ranks."""
    folder = tmp_path_factory.mktemp("whole")
    for world in (1, 2):
        finish(world, folder, *arguments, "--out", str(folder / f"run-{world}"))
    return {world: folder / f"run-{world}" for world in (1, 2)}


def test_torchrun_that_is_told_to_stop_stops_all(arguments: list[str], tmp_path: Path) -> None:
    run, said = tmp_path / "run", tmp_path / "said.txt"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(ROOT / "train" / "run.py"), *arguments, "--out", str(run)]
    command += ["--set", "steps=100000", "--set", "fill=processes", "--set", "eval_steps=null"]
    with said.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as torchrun:
        log = run / "log.jsonl"
        while not (log.exists() and log.read_bytes().count(b"\n") > 2):
            assert torchrun.poll() is None, said.read_text()
            time.sleep(0.1)
        torchrun.send_signal(signal.SIGTERM)
        torchrun.wait(timeout=25)  # it kills what is still there after 30 s
    assert "steps are done and saved" in said.read_text(), said.read_text()
    steps = len(told(run))
    assert (run / f"checkpoint-{steps:06d}" / "state.json").exists()
