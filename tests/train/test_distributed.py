"""One process alone, and its share of the machine."""

import os

import pytest
import torch
import torch.distributed as dist

from train.distributed import Place, add_up, join, wait


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
