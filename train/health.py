"""Whether all ranks are well, and whether what they compute are numbers: looked at a step later, so
that no GPU is waited for."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from shards.stream import Stream
from train.distributed import Place, add_up_now, all_said
from train.stop import Stop
from train.track import TrainingError

_NAMED = 5  # records of a rank that are named


class _Result(NamedTuple):
    step: int
    rows: Tensor  # bool [rows of this rank]: their losses are numbers
    norm: Tensor  # bool: that of all gradients is one


class Health:
    """Of one rank among all."""

    def __init__(self, stream: Stream, place: Place, stop: Stop) -> None:
        self._stream, self._place, self._stop = stream, place, stop
        self._results: list[_Result] = []  # oldest first, not looked at yet

    def computed(self, step: int, rows: Tensor, norm: Tensor) -> None:
        """A step's results, bool, which the device may still be computing."""
        self._results.append(_Result(step, _on_host(rows), _on_host(norm)))

    def exchange(self, numbers: list[float], settled: bool = False) -> tuple[list[float], bool]:
        """The sums of `numbers` over ranks, and whether any rank was told to stop.

        Looks at the results of all steps but the last, and with `settled`, when the device has done
        all that it was given, at those too. Raises TrainingError on every rank if one of them has
        met what is no number, naming the records.
        """
        kept = 0 if settled else 1
        looked = self._results[: len(self._results) - kept]
        self._results = self._results[len(looked) :]
        wrong = next((one for one in looked if not (one.rows.all() and one.norm)), None)
        told = [float(self._stop.asked is not None), float(wrong is not None)]
        *sums, stops, wrongs = add_up_now([*numbers, *told], self._place)
        if wrongs:
            raise TrainingError(self._said(wrong))
        return sums, stops > 0

    def _said(self, wrong: _Result | None) -> str:
        """What every rank has met, and which records it was."""
        own = wrong and (wrong.step, self._records(wrong))
        heard = [(rank, *one) for rank, one in enumerate(all_said(own, self._place)) if one]
        step = heard[0][1]
        found = [
            f"rank {rank}: {', '.join(records)}" if self._place.world > 1 else ", ".join(records)
            for rank, _, records in heard
            if records
        ]
        what = f"the loss of {'; '.join(found)}" if found else "the norm of all gradients"
        return (
            f"after step {step}, {what} is no number; nothing of it was saved. See all its records "
            f"with python -m train.mixture replay --run RUN --step {step} --data DATA, or start "
            f"again with a lower optim.lr and another --out"
        )

    def _records(self, wrong: _Result) -> list[str]:
        """The records of the rows that are wrong, the first few."""
        parts = self._stream.positions(wrong.step, self._place.rank, self._place.world)
        positions = np.concatenate(parts)
        if len(positions) != len(wrong.rows):  # a rank without samples computes on a row of nothing
            return []
        places = np.flatnonzero(~wrong.rows.numpy())
        named = self._stream.picked(positions[places[:_NAMED]])
        more = [f"and {len(places) - _NAMED} more"] if len(places) > _NAMED else []
        return [f"{one.record.key} ({one.source}, {one.shard})" for one in named] + more


def _on_host(tensor: Tensor) -> Tensor:
    """A copy that is whole once the device has done what it was given before."""
    if tensor.device.type == "cpu":
        return tensor
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return copy.copy_(tensor, non_blocking=True)


def ready(device: torch.device) -> None:
    """When the device has computed all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
