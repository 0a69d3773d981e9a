"""Any rank may be killed at any time, and the run goes on as if nothing had been."""

import time
from functools import partial
from pathlib import Path
from shutil import copytree, rmtree

import pytest

from manifests import disk
from tests.train.ranks import begin, finish, remembered, seen, signalled, told, write_stage
from train.checkpoint import Saver, read_state
from train.session import Session
from train.state import Sealed
from train.step import Step
from train.track import Meter

LAST = ("model.safetensors", "training.safetensors")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, data: Path, encoder: Path) -> list[str]:
    return [
        "--mixture",
        write_stage(tmp_path_factory.mktemp("stage"), encoder),
        "--data",
        str(data),
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, arguments: list[str]) -> Path:
    """A folder with a run of two ranks that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    finish(2, folder, *arguments, "--out", str(folder / "run"), trap=remembered)
    return folder


def weights(run: Path) -> list[bytes]:
    return [(run / "checkpoint-000008" / name).read_bytes() for name in LAST]


def test_killed_at_any_time_it_goes_on_to_the_bit(
    arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    run, firsts = tmp_path / "run", []
    batches: dict[int, list] = {}

    def start(killed: int | None, *where, more: tuple[str, ...] = ()) -> None:
        folder = tmp_path / f"start-{len(firsts)}"
        firsts.append(max((int(path.name[-6:]) for path in run.glob("checkpoint-*")), default=0))
        trap = partial(remembered, partial(signalled, killed, *where) if where else None)
        with begin(2, folder, *arguments, "--out", str(run), *more, trap=trap) as ranks:
            ended = ranks.wait()
            if killed is None:
                assert ended == [0, 0], ranks.said(0)
            else:
                assert ended[killed] == -9, "it came to where it was to be killed"
                assert ended[1 - killed] == 1, "and the other one did not go on"
                assert "Run the same again to go on" in ranks.said(1 - killed)
                assert "Traceback" not in ranks.said(1 - killed)
        batches.update(enumerate(seen(folder), firsts[-1]))

    start(1, Step, "__call__", 2)  # nothing is saved yet
    start(0, Sealed, "write", 2)  # the last file of a checkpoint
    assert [*run.glob(f"{disk.TEMPORARY}*/")], "it was not whole"
    start(1, Meter, "line", 4)
    start(0, Session, "_save", 1)
    start(0, Sealed, "write", 1, more=("--set", "async_saves=true"))
    assert [*run.glob(f"{disk.TEMPORARY}*/")], "nor was this one, written in the background"
    start(None)
    assert firsts == [0, 0, 2, 4, 4, 4]
    assert told(run) == told(whole / "run") and len(told(run)) == 8
    assert weights(run) == weights(whole / "run")
    assert [batches[step] for step in range(8)] == seen(whole)
    assert not [*run.glob(f"{disk.TEMPORARY}*")]


def slow() -> None:
    """A trap: checkpoints are long in writing."""
    kept = Saver._write

    def trapped(*given) -> None:
        time.sleep(0.5)
        kept(*given)

    Saver._write = trapped  # type: ignore[method-assign]


def test_no_rank_goes_on_to_what_is_still_being_written(
    arguments: list[str], tmp_path: Path
) -> None:
    how = ("--out", str(tmp_path / "run"), "--set", "async_saves=true", "--max-steps", "2")
    finish(2, tmp_path, *arguments, *how, trap=slow)  # no rank failed, for the checkpoint was there
    assert read_state(tmp_path / "run/checkpoint-000002").step == 2


def test_more_ranks_or_fewer_go_on_with_the_same_batches(
    arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    run, batches = tmp_path / "run", []
    for world, until in ((2, 3), (1, 5), (3, 8)):
        how = ("--out", str(run), "--max-steps", str(until))
        finish(world, tmp_path / str(world), *arguments, *how, trap=remembered)
        batches += seen(tmp_path / str(world))
    assert batches == seen(whole)
    for line, alike in zip(told(run), told(whole / "run"), strict=True):
        assert line["drawn"] == alike["drawn"] and line["mixture"] == alike["mixture"]
        assert line["loss"] == pytest.approx(alike["loss"], rel=1e-5)


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    run = Path(copytree(whole / "run", tmp_path / "run"))
    flip(run / "checkpoint-000008" / "training.safetensors")
    with begin(2, tmp_path, *arguments, "--out", str(run)) as ranks:
        assert ranks.wait() == [0, 0], ranks.said(0)
        said = ranks.said(0)
    assert "checkpoint-000008" in said and "training.safetensors" in said, "what is damaged"
    assert f"going on from {run}/checkpoint-000006 at step 6" in said
    assert weights(run) == weights(whole / "run") and told(run) == told(whole / "run")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_other_settings_are_gone_on_with_only_if_that_is_asked_for(
    arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    run = Path(copytree(whole / "run", tmp_path / "run"))
    rmtree(run / "checkpoint-000008")
    before = (run / "log.jsonl").read_bytes()
    other = (*arguments, "--out", str(run), "--set", "optim.lr=1e-3")
    with begin(1, tmp_path, *other) as ranks:
        assert ranks.wait() == [1]
        assert "another stage: optim.lr was 0.003, is 0.001" in ranks.said(0)
        assert "--allow-change" in ranks.said(0)
    assert (run / "log.jsonl").read_bytes() == before and not (run / "checkpoint-000008").exists()
    with begin(1, tmp_path, *other, "--allow-change") as ranks:
        assert ranks.wait() == [0], ranks.said(0)
        assert "gone on from all the same: another stage: optim.lr was 0.003, is 0.0" in ranks.said(
            0
        )
    lines, old = told(run), told(whole / "run")
    assert lines[:6] == old[:6]
    assert lines[7]["drawn"] == old[7]["drawn"]
    assert lines[7]["lr"] == pytest.approx(old[7]["lr"] / 3)
