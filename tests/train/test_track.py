"""The log and its lines."""

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
from train import track
from train.distributed import Place
from train.track import Log, Meter, TrainingError

QUIET = Console(quiet=True)
ALONE = Place(0, 1, torch.device("cpu"))


def line(step: int) -> dict[str, Any]:
    names = {"done": 1, "loss": 1.0, "lr": 0.1, "samples_per_s": 2.0, "wait": 0.0, "sources": {}}
    return {"step": step, **names}


def test_lines_past_the_step_and_a_torn_last_one_are_dropped(tmp_path: Path) -> None:
    assert track.read(tmp_path) == []
    log = Log(tmp_path, 0, QUIET)
    for step in range(5):
        log.write(line(step), 9)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    assert [said["step"] for said in track.read(tmp_path)] == [0, 1, 2, 3, 4]
    Log(tmp_path, 3, QUIET).write(line(7), 9)
    assert track.read(tmp_path) == [line(0), line(1), line(2), line(7)]
    said = (tmp_path / "log.jsonl").read_text().splitlines()
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
