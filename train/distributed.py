"""One process or many: what torchrun says, and the reductions a run needs."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

_LONG = 48  # hours that ranks wait for caches: billions of tokens take some


class _Groups(NamedTuple):
    """Groups on the CPU, beside the one that gradients go through: talking there waits for no GPU.
    What is not answered in time ends the run, but for what takes long."""

    prompt: Any
    patient: Any


_groups: list[_Groups] = []  # of this process, while there are other ranks


class SilenceError(RuntimeError):
    """A rank that did not answer."""


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

    A rank that does not answer the others within `timeout_s` ends their run: SilenceError. Without
    torchrun it is a group of one, and nothing is set up.
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
    if world == 1:
        yield place
        return
    timeout = timedelta(seconds=timeout_s)
    dist.init_process_group(
        "nccl" if cuda else "gloo", timeout=timeout, device_id=device if cuda else None
    )
    prompt = dist.new_group(backend="gloo", timeout=timeout)
    _groups.append(_Groups(prompt, dist.new_group(backend="gloo", timeout=timedelta(hours=_LONG))))
    try:
        yield place
        dist.destroy_process_group()  # but not after an error: it could wait for a rank that hangs
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):  # gloo's have no type
            raise SilenceError(
                f"rank {rank} of {world} got no answer from the others: one of them has died, "
                f"hangs, or took longer than --set timeout_s says. What it printed last says "
                f"which. Run the same again to go on from the newest checkpoint ({error})"
            ) from error
        raise
    finally:
        _groups.clear()


def add_up(tensor: torch.Tensor, place: Place) -> torch.Tensor:
    """The sum of `tensor` over all ranks, on every rank (in place)."""
    if place.world > 1:
        dist.all_reduce(tensor)
    return tensor


def add_up_now(numbers: Sequence[float], place: Place) -> list[float]:
    """The sums of numbers over all ranks, on every rank, without waiting for a GPU."""
    if place.world == 1:
        return list(numbers)
    sums = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(sums, group=_groups[0].prompt)
    return sums.tolist()


def all_said(said: Any, place: Place) -> list[Any]:
    """What each rank says, by rank, on every rank."""
    if place.world == 1:
        return [said]
    heard: list[Any] = [None] * place.world
    dist.all_gather_object(heard, said, group=_groups[0].prompt)
    return heard


def gather_rows(rows: torch.Tensor, place: Place) -> tuple[torch.Tensor, int]:
    """The rows of all ranks, rank after rank, of rows [N,...], N each rank's own; and where this
    rank's begin. What is done with them on any rank gives their own rank a gradient."""
    if place.world == 1:
        return rows, 0
    sizes = [int(size) for size in all_said(len(rows), place)]
    first = sum(sizes[: place.rank])
    return _Gather.apply(rows, sizes, first), first  # type: ignore[return-value]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, sizes: list[int], first: int) -> torch.Tensor:
        ctx.own = slice(first, first + len(rows))
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient[ctx.own], None, None


def agree(digest: str, place: Place) -> bool:
    """Whether all ranks have the same digest (hex)."""
    return len(set(all_said(digest, place))) == 1


def wait(place: Place) -> None:
    """Until every rank is here."""
    add_up_now([0], place)


def wait_long(place: Place) -> None:
    """Until every rank is here, however long one of them makes what the others need."""
    if place.world > 1:
        dist.barrier(group=_groups[0].patient)
