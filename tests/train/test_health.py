"""One rank that computes no number, or does not answer, stops all of them."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from embervlm import Tokenizer, losses
from shards.reader import Dataset
from tests.train.ranks import QUIET, begin, signalled, write_stage
from train import stage as stages
from train.checkpoint import found
from train.data import open_stream
from train.distributed import Place
from train.health import Health
from train.step import Step
from train.stop import Stop
from train.track import TrainingError

ALONE = Place(0, 1, torch.device("cpu"))
GOOD, BAD = torch.tensor([True, True]), torch.tensor([True, False])
FINITE = torch.tensor(True)


@pytest.fixture
def stream(data: Path, stage_file):
    return open_stream(
        stages.load(stage_file()), Dataset(data), Tokenizer.load("builtin"), ALONE, QUIET
    )


def test_a_step_is_looked_at_one_step_later_or_when_all_is_settled(stream) -> None:
    health = Health(stream, ALONE, Stop())
    health.computed(0, GOOD, FINITE)
    assert health.exchange([3.0, 4.0]) == ([3.0, 4.0], False)
    health.computed(1, torch.tensor([True, True, False, True]), FINITE)
    assert health.exchange([]) == ([], False), "the device may still be computing it"
    with pytest.raises(TrainingError, match="after step 1, the loss of .* is no number"):
        health.exchange([], settled=True)


def test_gradients_that_are_no_number_are_told_too(stream) -> None:
    health = Health(stream, ALONE, Stop())
    health.computed(5, GOOD, ~FINITE)
    health.computed(6, GOOD, FINITE)
    with pytest.raises(TrainingError, match="after step 5, the norm of all gradients is no number"):
        health.exchange([])


def test_whoever_is_told_to_stop_tells_the_others(stream) -> None:
    stop = Stop()
    stop.asked = "SIGTERM"
    assert Health(stream, ALONE, stop).exchange([1.0]) == ([1.0], True)


def spoilt(rank: int, call: int) -> None:
    """A trap: the first row's loss is no number in a call of `rank`."""
    if os.environ["RANK"] != str(rank):
        return
    kept, calls = losses.next_token, []

    def trapped(*given):
        loss = kept(*given)
        calls.append(1)
        if len(calls) == call:
            loss.row_totals[0] = torch.nan
        return loss

    losses.next_token = trapped


def test_what_is_no_number_on_one_rank_stops_all_and_names_the_record(
    data: Path, encoder: Path, tmp_path: Path
) -> None:
    mixture, run = write_stage(tmp_path, encoder), tmp_path / "run"
    given = ("--mixture", mixture, "--data", str(data), "--out", str(run))
    with begin(2, tmp_path, *given, trap=partial(spoilt, 1, 8)) as ranks:
        assert ranks.wait() == [1, 1]
        said = ranks.said(0)
    stream = open_stream(
        stages.load(mixture), Dataset(data), Tokenizer.load("builtin"), ALONE, QUIET
    )
    pools = stream.positions(3, 1, 2)  # the second of which is the rank's eighth in all
    (picked,) = stream.picked(pools[1][:1])
    named = f"{picked.record.key} ({picked.source}, {picked.shard})"
    assert f"after step 3, the loss of rank 1: {named} is no number; nothing of it" in said
    assert [path.name for path in found(run)] == ["checkpoint-000002"], "one was due after step 3"


def test_a_rank_that_hangs_ends_the_run(data: Path, encoder: Path, tmp_path: Path) -> None:
    given = ("--mixture", write_stage(tmp_path, encoder), "--data", str(data))
    given += ("--out", str(tmp_path / "run"), "--set", "timeout_s=8", "--set", "fill=processes")
    hangs = partial(signalled, 1, Step, "__call__", 4, signal.SIGSTOP)
    with begin(2, tmp_path, *given, trap=hangs) as ranks:
        assert ranks.wait(of=[0]) == [1], "and no process of it stays behind"
        assert "rank 0 of 2 got no answer from the others: one of them has died" in ranks.said(0)
        assert "Run the same again to go on from the newest checkpoint" in ranks.said(0)
        assert "Traceback" not in ranks.said(0)
        assert ranks.processes[1].is_alive()
    assert [path.name for path in found(tmp_path / "run")] == ["checkpoint-000002"]
