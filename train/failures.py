"""What can go wrong that can be told in a sentence. Anything else is a defect of ours, and keeps
its stack trace."""

import os

import torch
from rich.console import Console
from safetensors import SafetensorError

from shards.reader import DamageError
from train.distributed import SilenceError
from train.stop import Stopped
from train.track import TrainingError

EXPECTED = (
    Stopped,
    TrainingError,
    SilenceError,
    DamageError,
    SafetensorError,
    torch.OutOfMemoryError,
    ValueError,
    OSError,
)
_OF_ALL = (Stopped, TrainingError)  # what every rank says alike: one is enough
_STOPPED = 143  # as of a process that SIGTERM has ended


def tell(error: BaseException) -> int:
    """Say what stopped this rank; its exit status."""
    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    of_all = isinstance(error, _OF_ALL)
    if rank == "0" or not of_all:
        own = "" if world == "1" or of_all else f"rank {rank}: "
        said = str(error) if isinstance(error, Stopped) else f"training stopped: {_said(error)}"
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"{own}{said}", markup=False)
    return _STOPPED if isinstance(error, Stopped) else 1


def _said(error: BaseException) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return (
            f"the GPU's memory is full. Lower batch.pool, the samples that all ranks hold at a "
            f"time, with --set batch.pool=N; the global batch stays as it is (a run that has "
            f"begun: --allow-change). {str(error).partition('. ')[0]}"
        )
    return str(error)
