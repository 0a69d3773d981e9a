"""The log and its lines."""

import io
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from rich.console import Console

from shards.mixing import Mixture, Part
from shards.schedule import Schedule
from shards.slot import Slot
from shards.stream import Batching
from train import stage as stages
from train import track
from train.distributed import Place
from train.energy import Spent
from train.track import Meter, Tracker, TrainingError

ALONE = Place(0, 1, torch.device("cpu"))


def line(step: int) -> dict[str, Any]:
    names = {"loss": 1.0, "lr": 0.1, "samples_per_s": 2.0, "wait": 0.0}
    return {"step": step, **names, "objectives": {}, "sources": {}, "mixture": {}}


def judged(step: int) -> dict[str, Any]:
    return {"step": step, "loss": 2.0, "score": -2.0, "sources": {}, "robots": None}


class Told:
    """W&B's and codecarbon's part, which only remember what they were told."""

    def __init__(self, *_: Any) -> None:
        self.logged: list[tuple[int, dict[str, float], list[str]]] = []
        self.samples, self.ended = 0, ""

    def log(self, step: int, values: dict[str, float], figures: dict[str, Path]) -> None:
        self.logged.append((step, values, [*figures]))

    def add(self, samples: int) -> None:
        self.samples += samples

    @property
    def spent(self) -> Spent | None:
        return Spent(kwh=0.25, samples=self.samples)

    def close(self, failed: bool | None = None) -> Spent | None:
        self.ended = "failed" if failed else "finished"
        return self.spent


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    both = Told()
    monkeypatch.setattr(track, "WandbRun", lambda *_: both)
    monkeypatch.setattr(track, "Energy", lambda *_: both)
    return both


@pytest.fixture
def tracker(tmp_path: Path, stage_file):
    """Begins to track a run from a step on, and gives what it prints."""

    def begin(first: int) -> tuple[Tracker, io.StringIO]:
        stage, sink = stages.load(stage_file()), io.StringIO()
        run, console = tmp_path / "run", Console(file=sink, width=200)
        return Tracker(stage, {}, run=run, first=first, steps=9, console=console), sink

    return begin


def test_lines_and_validations_go_to_all(tracker, told: Told, tmp_path: Path) -> None:
    with tracker(0)[0] as tracked:
        for step in range(3):
            tracked.step(step)
        tracked.line(line(2))
        tracked.evaluated(2, judged(2), {"radar": tmp_path / "radar.png"})
    assert told.samples == 12  # three global batches
    assert [step for step, *_ in told.logged] == [3, 3, 3]
    first, second, last = (values for _, values, _ in told.logged)
    assert first["small/loss"] == 1.0 and first["small/energy_kwh"] == 0.25
    assert second["small/val_loss"] == 2.0 and told.logged[1][2] == ["radar"]
    assert last["small/energy_kwh_per_million_samples"] == pytest.approx(0.25e6 / 12)
    assert track.read(tmp_path / "run") == [line(2)]
    assert track.read(tmp_path / "run", track.EVALUATIONS) == [judged(2)]


def test_what_it_prints(tracker, told: Told) -> None:
    tracked, sink = tracker(0)
    with tracked:
        tracked.step(0)
        tracked.say("a sentence [0]")
        tracked.line(line(0))
        tracked.evaluated(0, judged(0), {})
    said = sink.getvalue().splitlines()
    assert said[0] == "a sentence [0]"
    assert said[1].startswith("step     1/9  loss 1.000")
    assert said[2].startswith("val after step 1: loss 2.000")
    assert said[3].startswith("energy: 0.25 kWh")


def test_a_run_that_fails_is_marked_so(tracker, told: Told) -> None:
    with pytest.raises(TrainingError), tracker(0)[0]:
        raise TrainingError
    assert told.ended == "failed"
    with tracker(0)[0]:
        pass
    assert told.ended == "finished"


def test_lines_past_the_step_and_a_torn_last_one_are_dropped(
    tracker, told: Told, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert track.read(run) == []
    with tracker(0)[0] as tracked:
        for step in range(5):
            tracked.line(line(step))
            tracked.evaluated(step, judged(step), {})
    for name in (track.LOG, track.EVALUATIONS):
        with (run / name).open("a") as file:
            file.write('{"step": 5, "lo')
        assert [said["step"] for said in track.read(run, name)] == [0, 1, 2, 3, 4]
    with tracker(3)[0] as tracked:  # three steps are done
        tracked.line(line(7))
    assert track.read(run) == [line(0), line(1), line(2), line(7)]
    assert track.read(run, track.EVALUATIONS) == [judged(0), judged(1), judged(2)]
    said = (run / track.LOG).read_text().splitlines()
    assert [json.loads(each)["step"] for each in said] == [0, 1, 2, 7]


@pytest.fixture
def meter() -> Meter:
    return meter_from(0)


def meter_from(begun: int) -> Meter:
    """The meter of a run that goes on at a step."""
    stage = SimpleNamespace(objectives={"language": 1.0, "robots": 0.5})
    shares = {"coco": 3, "robots": 2, "gqa": 1}
    parts = {
        name: Part(share=share, samples=9, tokens=9.0, window=1, asked=share / 6)
        for name, share in shares.items()
    }
    stream = SimpleNamespace(
        names=tuple(shares),
        mixture=Mixture(parts=parts, exhausted="repeat"),
        schedule=Schedule(shares),
        batching=Batching(global_=4, pool=4),
    )
    return Meter(cast(Any, stage), cast(Any, stream), ALONE, begun)


def slot(*corpora: int) -> Slot:
    made = Slot(len(corpora), 4, 8)
    made.corpus[:] = corpora
    return made


def test_a_line_has_the_weighted_loss_and_what_was_drawn(meter: Meter) -> None:
    shares = torch.tensor(
        [[[6.0, 2.0], [9.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [4.0, 1.0], [0.0, 0.0]]]
    ).double()
    meter.add([slot(0, 0), slot(1, 0)], shares)
    meter.add([slot(1, 1), slot(0, 0)], shares)
    said = meter.line(1, 0.25)
    assert said["objectives"] == {"language": 5.0, "robots": 4.0}
    assert said["loss"] == 1.0 * 5 + 0.5 * 4
    assert said["sources"] == {"coco": 3.0, "robots": 9.0}  # of gqa there was no target
    assert said["drawn"] == {"coco": 5, "robots": 3, "gqa": 0}
    assert (said["step"], said["done"], said["lr"]) == (1, 2, 0.25)
    meter.add([slot(2)], torch.tensor([[[0.0, 0.0]] * 2 + [[8.0, 4.0]], [[0.0, 0.0]] * 3]).double())
    said = meter.line(2, 0.25)  # begun anew; no robots in it, so none in the loss
    assert (said["loss"], said["done"]) == (2.0, 3)
    assert said["objectives"] == {"language": 2.0, "robots": None}
    assert said["drawn"] == {"coco": 0, "robots": 0, "gqa": 1}
    gqa = {"asked": 1 / 6, "rounded": 1 / 6, "realised": 1 / 9}  # of all since the start
    assert said["mixture"]["gqa"] == gqa
    assert said["mixture"]["coco"]["realised"] == 5 / 9


def test_what_earlier_starts_drew_is_in_the_mixture_realised() -> None:
    meter = meter_from(3)  # 12 samples were drawn before: 6, 4 and 2
    meter.add([slot(0, 0, 1, 2)], torch.ones(2, 3, 2).double())
    realised = {name: one["realised"] for name, one in meter.line(3, 0.1)["mixture"].items()}
    assert realised == {"coco": 8 / 16, "robots": 5 / 16, "gqa": 3 / 16}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_never_a_line(meter: Meter, bad: float) -> None:
    shares = torch.ones(2, 3, 2).double()
    shares[1, 2, 0] = bad
    meter.add([slot(0)], shares)
    with pytest.raises(TrainingError, match=r"the loss of step 6 is (nan|inf): .*lower optim.lr"):
        meter.line(6, 0.1)
