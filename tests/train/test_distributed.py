"""One process alone, and many that compute what one would."""

import os
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn

from tests.train.ranks import finish, write_stage
from train import loop, session, track
from train.distributed import Place, add_up, join, wait

GRADIENTS = "gradients.safetensors"  # of a rank, in its own folder
TIMES = ("samples_per_s", "wait")


@pytest.mark.parametrize(("local", "threads"), [(None, 7), ("1", 7), ("2", 3), ("16", 1)])
def test_threads_are_the_allowed_cores_by_the_processes_here(monkeypatch, local, threads) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(20, 27)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if local:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
    assert Place(1, 8, torch.device("cpu")).threads == threads


def test_without_torchrun_it_is_a_group_of_one(monkeypatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with join() as place:
        assert place == Place(0, 1, torch.device("cpu"))
        assert place.leads and not Place(1, 2, place.device).leads
        assert not dist.is_initialized()
        assert torch.get_num_threads() == 2
        assert add_up(torch.tensor([3.0]), place).tolist() == [3.0]
        wait(place)


class Recorder(torch.optim.SGD):
    """An optimiser that learns nothing, and writes down what the gradients of a step are."""

    def __init__(self, learner: nn.Module) -> None:
        self._named = {n: p for n, p in learner.named_parameters() if p.requires_grad}
        super().__init__(self._named.values(), lr=0.0)

    def step(self, closure=None) -> None:
        gradients = {n: p.grad.clone() for n, p in self._named.items() if p.grad is not None}
        save_file(gradients, GRADIENTS)


def apart(precise: bool = False) -> None:
    """A trap: gradients are recorded, and ranks whose run is in a folder of their own find no
    checkpoint to return there. `precise`: all is computed in fp64."""
    Place.threads = 1  # type: ignore

    def recorder(learner: nn.Module, settings: object) -> Recorder:
        return Recorder(learner.double() if precise else learner)

    session.optim.optimiser = recorder  # type: ignore
    if precise:
        torch.Tensor.float = torch.Tensor.double  # for what is widened to fp32 first
    if os.environ["RANK"] != "0":
        loop.chosen = lambda out, state: out


@pytest.fixture
def arguments(data: Path, encoder: Path, tmp_path: Path) -> list[str]:
    """A step of every objective, in pools that no number of ranks shares evenly."""
    every = {
        "trainable": "[projection,language,fusion,reasoning,robot_head,plan_head,contrast]",
        "sources.robots.kinds": "[reasoning]",
        "objectives.plan": 0.5,
        "objectives.consistency": 0.5,
        "batch.pool": 7,
        "batch.global": 14,
        "optim.clip": 1e9,
        "max_tokens": 96,
        "eval_steps": 1,
        "eval_samples": 3,
    }
    settings = [part for name, value in every.items() for part in ("--set", f"{name}={value}")]
    mixture = write_stage(tmp_path, encoder)
    return ["--mixture", mixture, "--data", str(data), "--max-steps", "1", *settings]


def test_any_number_of_ranks_computes_the_same(arguments: list[str], tmp_path: Path) -> None:
    for world in (1, 2, 3, 4):
        finish(world, tmp_path / str(world), *arguments, "--out", "run", trap=apart)
    alone = tmp_path / "1" / "rank-0"
    learnt = [line["objectives"] for line in track.read(alone / "run")]
    assert all(any(line[name] for line in learnt) for name in learnt[0]), "every objective counted"
    for world in (2, 3, 4):
        ranks = [tmp_path / str(world) / f"rank-{rank}" for rank in range(world)]
        for folder in ranks:
            ours, theirs = (load_file(one / GRADIENTS) for one in (folder, alone))
            assert ours.keys() == theirs.keys() and len(ours) > 40
            whole, far = (torch.cat([g[n].flatten() for n in theirs]) for g in (theirs, ours))
            assert (far - whole).norm() < 1e-6 * whole.norm()
        for name in (track.LOG, track.EVALUATIONS):
            lines = zip(*(track.read(f / "run", name) for f in (ranks[0], alone)), strict=True)
            for line, expected in lines:
                assert flat(line) == pytest.approx(flat(expected), rel=1e-5, abs=1e-7)
        written = {path.name for folder in ranks[1:] for path in folder.rglob("*")}
        assert written == {GRADIENTS}, "no rank but 0 writes anything of a run"


def test_what_ranks_compute_otherwise_is_rounding_alone(
    arguments: list[str], tmp_path: Path
) -> None:
    """In fp64 every tensor's gradient is the same, those too whose terms cancel in fp32."""
    for world in (1, 3):
        how = ("--out", "run", "--set", "eval_steps=null")
        finish(world, tmp_path / str(world), *arguments, *how, trap=partial(apart, True))
    ours, theirs = (load_file(tmp_path / world / "rank-0" / GRADIENTS) for world in ("3", "1"))
    for name, expected in theirs.items():
        assert expected.dtype == torch.float64
        assert (ours[name] - expected).abs().max() <= 1e-10 * expected.abs().max(), name


def flat(value: object, at: str = "") -> dict[str, float]:
    """The numbers in a line of a log by their places, but for times."""
    if isinstance(value, dict):
        parts = [(f"{at}.{name}", part) for name, part in value.items() if name not in TIMES]
    elif isinstance(value, list):
        parts = [(f"{at}.{place}", part) for place, part in enumerate(value)]
    else:
        return {at: value} if isinstance(value, float | int) else {}
    return {place: number for name, part in parts for place, number in flat(part, name).items()}
