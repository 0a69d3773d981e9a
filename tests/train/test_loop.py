"""Runs that stop and go on, and runs on several processes, are the same run."""

import gc
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from embervlm import Tokenizer
from manifests.settings import SettingsError
from shards.reader import Dataset
from train import checkpoint, objectives, session, start, track
from train import stage as stages
from train.checkpoint import CheckpointError, found
from train.data import open_stream
from train.distributed import Place
from train.loop import train
from train.track import TrainingError

QUIET = Console(quiet=True)
ROOT = Path(__file__).parents[2]

ALONE = Place(0, 1, torch.device("cpu"))


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in track.read(run)]


def run_file(run: Path, step: int, name: str) -> dict[str, torch.Tensor]:
    return load_file(run / f"checkpoint-{step:06d}" / name)


@pytest.fixture
def whole(stage_file, data: Path, tmp_path: Path) -> Path:
    """Six steps without a stop."""
    train(stages.load(stage_file()), data, tmp_path / "whole", ALONE, QUIET)
    return tmp_path / "whole"


def test_a_run_that_stopped_goes_on_to_the_bit(stage_file, data: Path, whole: Path) -> None:
    stopped = whole.parent / "stopped"
    stage = stages.load(stage_file())
    train(stage, data, stopped, ALONE, QUIET)
    for path in found(stopped)[1:]:  # as if it had died after step 3
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    assert [path.name for path in found(stopped)] == ["checkpoint-000003"]
    train(stage, data, stopped, ALONE, QUIET)
    assert losses(stopped) == losses(whole)
    assert len(losses(whole)) == 6
    for name in ("model.safetensors", "training.safetensors"):
        ours, theirs = run_file(stopped, 6, name), run_file(whole, 6, name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_what_is_finished_is_not_trained_again(stage_file, data: Path, whole: Path) -> None:
    before = (whole / "log.jsonl").read_bytes()
    last = train(stages.load(stage_file()), data, whole, ALONE, QUIET)
    assert last.name == "checkpoint-000006"
    assert (whole / "log.jsonl").read_bytes() == before


def test_another_stage_is_not_gone_on_with(stage_file, data: Path, whole: Path) -> None:
    other = stages.load(stage_file(seed=2, log_steps=2))
    with pytest.raises(CheckpointError, match="another stage: seed was 1, is 2"):
        train(other, data, whole, ALONE, QUIET)


def test_pools_only_cut_the_work_up(stage_file, data: Path, whole: Path) -> None:
    halves = whole.parent / "halves"
    train(stages.load(stage_file(batch={"global": 4, "pool": 2})), data, halves, ALONE, QUIET)
    assert losses(halves) == pytest.approx(losses(whole), rel=1e-4)
    drawn = [line["drawn"] for line in track.read(whole)]
    assert [line["drawn"] for line in track.read(halves)] == drawn


def by_two(mixture: str, data: Path | str, out: Path, *more: str) -> None:
    """A run on two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node=2", str(ROOT / "train" / "run.py"), "--mixture", mixture]
    command += ["--data", str(data), "--out", str(out), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


def test_two_processes_take_the_same_steps(stage_file, data: Path, whole: Path) -> None:
    both = whole.parent / "both"
    by_two(stage_file(), data, both, "--set", "fill=processes")
    assert losses(both) == pytest.approx(losses(whole), rel=1e-4)
    ours, theirs = (run_file(run, 6, "model.safetensors") for run in (both, whole))
    assert all(torch.allclose(ours[key], theirs[key], atol=2e-4) for key in ours)


def test_every_trained_part_moves_and_no_other(stage_file, data: Path, tmp_path: Path) -> None:
    stage = stages.load(stage_file(steps=3, trainable=["projection", "robot_head"]))
    train(stage, data, tmp_path / "run", ALONE, QUIET)
    start = stages.load(stage_file(steps=3)).model.config
    torch.manual_seed(stage.seed)
    from embervlm import EmberVLM

    before = EmberVLM.build(start).state_dict()
    after = run_file(tmp_path / "run", 3, "model.safetensors")
    moved = {key.partition(".")[0] for key in after if not torch.equal(after[key], before[key])}
    assert moved == {"projection", "robot_head"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sources": {"cc3m": {}}}, "data has no|has no cc3m/train; .*--set sources.cc3m=null"),
        (
            {"objectives": {"langauge": 1.0}},
            "objectives has langauge; there are language, contrast",
        ),
        ({"model": {"set": {"vocab_size": 99}}, "trainable": ["language"]}, "vocabulary of 99"),
    ],
)
def test_what_cannot_be_trained_is_said_first(
    stage_file, data: Path, tmp_path: Path, changed: dict, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        train(stages.load(stage_file(**changed)), data, tmp_path / "run", ALONE, QUIET)


def test_a_random_encoder_is_not_frozen(stage_file, data: Path, tmp_path: Path) -> None:
    stage = stages.load(stage_file(model={"preset": "compact"}))
    with pytest.raises(ValueError, match="randomly initialised encoder must not be frozen"):
        train(stage, data, tmp_path / "run", ALONE, QUIET)


def test_what_is_no_number_stops_the_run_and_names_the_records(
    stage_file, data: Path, tmp_path: Path, monkeypatch
) -> None:
    seen = []

    def spoilt(hidden, head, labels, at_most=None):  # the second row of the third step
        seen.append(kept(hidden, head, labels, at_most))
        rows = seen[-1].row_totals.clone()
        rows[1] = torch.nan if len(seen) == 3 else rows[1]
        return seen[-1]._replace(row_totals=rows)

    kept = objectives.losses.next_token
    monkeypatch.setattr(objectives.losses, "next_token", spoilt)
    stage = stages.load(stage_file(steps=9, save_steps=2))
    stream = open_stream(stage, Dataset(data), Tokenizer.load("builtin"), ALONE, QUIET)
    (second,) = stream.picked(stream.positions(2, 0, 1)[0][1:2])
    named = f"after step 2, the loss of {second.record.key} \\({second.source}, .* is no number"
    with pytest.raises(TrainingError, match=named):
        train(stage, data, tmp_path / "run", ALONE, QUIET)
    assert [path.name for path in found(tmp_path / "run")] == ["checkpoint-000002"]


def test_what_no_objective_reaches_is_not_called_trained(data: Path, tmp_path: Path) -> None:
    without = "objectives.robots=null"
    with pytest.raises(SettingsError) as caught:
        train(stages.load("demo.yaml", [without]), data, tmp_path / "run", ALONE, QUIET)
    assert str(caught.value) == (
        "trainable lists fusion, reasoning, robot_head, which language do not reach; "
        "leave them out with --set trainable=[encoder,projection,language]"
    )
    assert not (tmp_path / "run").exists()
    start.check(stages.load("demo.yaml", [without, "trainable=[encoder,projection,language]"]))


def test_a_second_stage_begins_with_the_first_one_s_weights(
    stage_file, data: Path, tmp_path: Path, monkeypatch
) -> None:
    stage = stages.load(stage_file(steps=3))
    last = train(stage, data, tmp_path / "first", ALONE, QUIET)
    begun: dict[str, torch.Tensor] = {}

    def optimiser(model, settings):
        begun.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return kept(model, settings)

    kept = session.optim.optimiser
    monkeypatch.setattr(session.optim, "optimiser", optimiser)
    second = stages.load(stage_file(name="second", steps=3, seed=9))
    train(second, data, tmp_path / "second", ALONE, QUIET, last)
    saved = run_file(tmp_path / "first", 3, "model.safetensors")
    begun = {name.removeprefix("model."): tensor for name, tensor in begun.items()}
    assert saved and saved.keys() <= begun.keys()
    assert all(torch.equal(saved[name], begun[name]) for name in saved)
    after = run_file(tmp_path / "second", 3, "model.safetensors")
    assert any(not torch.equal(after[name], saved[name]) for name in saved), (
        "and goes on from there"
    )


def test_weights_that_are_no_numbers_are_never_saved(
    stage_file, data: Path, tmp_path: Path, monkeypatch
) -> None:
    taken = []

    def line(meter, step, rate):
        taken.append(step)
        if step == 5:  # the update after the last loss was a number still
            run = next(one for one in gc.get_objects() if isinstance(one, session.Session))
            next(run._model.robot_head.parameters()).data.view(-1)[-1] = float("nan")
        return kept(meter, step, rate)

    kept = session.Meter.line
    monkeypatch.setattr(session.Meter, "line", line)
    with pytest.raises(TrainingError, match="after step 5, robot_head.* not finite .* not saved"):
        train(stages.load(stage_file()), data, tmp_path, ALONE, QUIET)
    assert [path.name for path in found(tmp_path)] == ["checkpoint-000003"]


def test_who_fills_batches_and_where_shards_come_from_change_nothing(
    stage_file, data: Path, whole: Path
) -> None:
    for name, where, override in (
        ("helpers", data, "fill=processes"),
        ("mirrored", f"file://{data}", f"cache={whole.parent / 'cache'}"),
    ):
        out = whole.parent / name
        train(stages.load(stage_file(), [override]), where, out, ALONE, QUIET)
        assert losses(out) == losses(whole)
        ours, theirs = (run_file(run, 6, "model.safetensors") for run in (out, whole))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert list((whole.parent / "cache").glob("*/coco/*.tar"))


def test_a_run_goes_on_with_the_mixture_that_it_began_with(
    stage_file, data: Path, whole: Path
) -> None:
    shutil.rmtree(found(whole)[-1])  # as if it had died after step 3
    (first,) = found(whole)
    state = checkpoint.read_state(first)
    assert state.mixture.shares == {"coco": 2, "vqav2": 1, "robots": 1}
    # As if an earlier release had resolved the same weights otherwise: it is not done again.
    coco = msgspec.structs.replace(state.mixture.parts["coco"], share=6)
    kept = msgspec.structs.replace(state.mixture, parts={**state.mixture.parts, "coco": coco})
    state = msgspec.structs.replace(state, mixture=kept)
    checkpoint.rewrite_state(first, state)
    train(stages.load(stage_file(), ["fill=processes"]), data, whole, ALONE, QUIET)
    assert checkpoint.read_state(found(whole)[-1]).mixture == kept
    drawn = [line["drawn"] for line in track.read(whole)]
    assert [sum(line.values()) for line in drawn] == [4] * 6
    assert sum(line["coco"] for line in drawn[3:]) == 9  # of 12 at 6 of 8


def test_a_run_of_passes_ends_where_its_mixture_ends(
    stage_file, data: Path, tmp_path: Path
) -> None:
    # 3 samples remain for the last step: of two ranks one has a single row of its one pool.
    coco = {"coco": {"turns": "rotate"}}
    once = {"steps": None, "passes": 9, "mixing": {"exhausted": "stop"}, "optim": {"warmup": 1}}
    small = {"sources": coco, "objectives": {"language": 1.0}, "trainable": ["projection"]}
    stage = stages.load(stage_file(batch={"global": 12, "pool": 6}, **once, **small))
    train(stage, data, tmp_path / "alone", ALONE, QUIET)
    state = checkpoint.read_state(found(tmp_path / "alone")[-1])
    length = state.mixture.parts["coco"].samples
    assert state.step == -(-length // 12)
    lines = track.read(tmp_path / "alone")
    assert sum(line["drawn"]["coco"] for line in lines) == length
    assert lines[-1]["mixture"]["coco"] == {"asked": 1.0, "rounded": 1.0, "realised": 1.0}
    by_two(stage_file(batch={"global": 12, "pool": 6}, **once, **small), data, tmp_path / "two")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)


def test_a_rank_without_samples_takes_the_last_step_with_the_others(
    stage_file, data: Path, tmp_path: Path
) -> None:
    # One pool a step, as large as the source less one: one sample remains, for the second rank.
    coco = {"sources": {"coco": {"turns": "rotate"}}, "objectives": {"language": 1.0}}
    once = {"steps": None, "passes": 1, "mixing": {"exhausted": "drop"}, "optim": {"warmup": 1}}
    length = len(Dataset(data).source("coco", "train")) - 1
    whole = {"batch": {"global": length, "pool": length}, "trainable": ["projection"]}
    mixture = stage_file(**coco, **once, **whole)
    by_two(mixture, data, tmp_path / "two")
    assert [line["drawn"]["coco"] for line in track.read(tmp_path / "two")] == [length, 1]
    train(stages.load(mixture), data, tmp_path / "alone", ALONE, QUIET)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)
