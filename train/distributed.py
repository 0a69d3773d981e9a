"""One process or many: what torchrun says, and the reductions a run needs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

_LONG = 48  # hours that ranks wait for caches: billions of tokens take some
_patient: list[Any] = []  # the group for that, while there are others


class Place(NamedTuple):
    """This process among its fellows: `rank` of `world`, on `device`."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    @property
    def leads_host(self) -> bool:
        """Whether this process writes what its machine keeps for itself, such as caches."""
        return int(os.environ.get("LOCAL_RANK", "0")) == 0

    @property
    def threads(self) -> int:
        """Threads that this process may use: its share of the cores it is allowed."""
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return max(1, len(os.sched_getaffinity(0)) // local)


@contextmanager
def join(timeout_s: int = 600) -> Iterator[Place]:
    """The process group that torchrun started (nccl on CUDA, gloo else), left when the block ends.

    Without torchrun it is a group of one, and nothing is set up.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    place = Place(rank, world, device)
    if cuda:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(place.threads)
    if world > 1:
        backend = "nccl" if cuda else "gloo"
        timeout = timedelta(seconds=timeout_s)
        dist.init_process_group(backend, timeout=timeout, device_id=device if cuda else None)
        _patient.append(dist.new_group(backend="gloo", timeout=timedelta(hours=_LONG)))
    try:
        yield place
    finally:
        if world > 1:
            _patient.clear()
            dist.destroy_process_group()


def add_up(tensor: torch.Tensor, place: Place) -> torch.Tensor:
    """The sum of `tensor` over all ranks, on every rank (in place)."""
    if place.world > 1:
        dist.all_reduce(tensor)
    return tensor


def agree(digest: str, place: Place) -> bool:
    """Whether all ranks have the same digest (hex)."""
    ours = torch.tensor([int(digest[at : at + 8], 16) for at in range(0, len(digest), 8)])
    ours = ours.to(place.device)
    least, most = ours.clone(), ours.clone()
    if place.world > 1:
        dist.all_reduce(least, dist.ReduceOp.MIN)
        dist.all_reduce(most, dist.ReduceOp.MAX)
    return bool((least == most).all())


def wait(place: Place) -> None:
    """Until every rank is here."""
    if place.world > 1:
        dist.barrier()


def wait_long(place: Place) -> None:
    """Until every rank is here, however long one of them makes what the others need."""
    if place.world > 1:
        dist.barrier(group=_patient[0])
