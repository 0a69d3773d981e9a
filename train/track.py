"""What a run measures and tells: to files, to the screen, to Weights & Biases.

R/log.jsonl          a line a logged step
R/evaluations.jsonl  a line a validation
R/energy.json        what it has taken (see energy.py)
R/wandb.json wandb/  its id on Weights & Biases, and what that keeps here (see wandb_run.py)
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from manifests import store
from shards.ring import Ring
from shards.slot import Slot
from shards.stream import Stream
from train import wandb_run
from train.distributed import Place, add_up
from train.energy import Energy
from train.screen import Screen
from train.stage import Stage
from train.wandb_run import WandbRun

LOG, EVALUATIONS = "log.jsonl", "evaluations.jsonl"


class TrainingError(RuntimeError):
    """A run that cannot go on: its loss is no number."""


class Meter:
    """Sums between two log lines, over all ranks: losses, samples drawn, time, time waited."""

    def __init__(self, stage: Stage, stream: Stream, place: Place, step: int) -> None:
        self._stage, self._place, self._names = stage, place, stream.names
        self._parts, self._period = stream.mixture.parts, stream.schedule.period
        self._done = 0
        before = stream.schedule.given(step * stream.batching.global_)  # by earlier starts
        self._drawn_in_all = np.array([*before.values()], np.int64)
        self._clear()

    def _clear(self) -> None:
        self._shares = torch.zeros(
            len(self._stage.objectives),
            len(self._names),
            2,
            dtype=torch.float64,
            device=self._place.device,
        )
        self._drawn = np.zeros(len(self._names), np.int64)
        self.steps = 0  # since the last line
        self._begun, self._waited = time.monotonic(), 0.0

    def timed(self, ring: Ring) -> Iterator[tuple[int, list[Slot]]]:
        """The ring's steps; the time until each comes is waiting."""
        steps = iter(ring)
        while True:
            begun = time.monotonic()
            taken = next(steps, None)
            self._waited += time.monotonic() - begun
            if taken is None:
                return
            yield taken

    def add(self, slots: list[Slot], shares: Tensor) -> None:
        """One more step: its slots, and its (sum, count) by objective and source."""
        self._done += 1
        self.steps += 1
        self._shares += shares
        for slot in slots:
            self._drawn += np.bincount(slot.corpus, minlength=len(self._names))

    def line(self, step: int, rate: float) -> dict:
        """The log line since the one before. Raises TrainingError if the loss is no number."""
        sums = add_up(self._shares, self._place).cpu()
        drawn = add_up(torch.from_numpy(self._drawn).to(self._place.device), self._place).tolist()
        self._drawn_in_all += drawn
        seconds = time.monotonic() - self._begun
        objectives = {}
        for name, by_source in zip(self._stage.objectives, sums, strict=True):
            objectives[name] = _mean(by_source.sum(0))
        loss = sum(self._stage.objectives[n] * (v or 0.0) for n, v in objectives.items())
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss of step {step} is {loss}: {objectives}. Start again with a lower "
                f"optim.lr and another --out"
            )
        by_source = dict(zip(self._names, sums[0], strict=True))  # of the first objective
        line = {
            "step": step,
            "done": self._done,
            "loss": loss,
            "objectives": objectives,
            "sources": {n: m for n, pair in by_source.items() if (m := _mean(pair)) is not None},
            "drawn": dict(zip(self._names, drawn, strict=True)),
            "mixture": self._mixture(),
            "lr": rate,
            "samples_per_s": sum(drawn) / seconds,
            "wait": self._waited / seconds,
            "memory_gb": self._memory_gb(),
        }
        self._clear()
        return line

    def _memory_gb(self) -> float | None:
        """The most of this rank's GPU, 10^9 bytes, that was taken since the start."""
        if self._place.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self._place.device) / 1e9

    def _mixture(self) -> dict[str, dict[str, float]]:
        """Of each source: the share asked for, as it was rounded, and as drawn since the start."""
        total = int(self._drawn_in_all.sum())
        return {
            name: {
                "asked": self._parts[name].asked,
                "rounded": self._parts[name].share / self._period,
                "realised": int(drawn) / total,
            }
            for name, drawn in zip(self._names, self._drawn_in_all, strict=True)
        }


def _mean(pair: Tensor) -> float | None:
    total, count = pair.tolist()
    return total / count if count else None


class Tracker:
    """Tells of one start of a run, from its step `first` to the last of `steps`; rank 0 alone has
    one. Steps count from 0, so that `step` is the one just done.

    `facts` are told of the run beside its stage, by the names in wandb_run: parameters, trained,
    ranks, device, root. Raises OSError if the run's folder cannot be written to.
    """

    def __init__(
        self,
        stage: Stage,
        facts: Mapping[str, Any],
        *,
        run: Path,
        first: int,
        steps: int,
        console: Console,
    ) -> None:
        self._stage, self._done = stage, first
        self._lines = Journal(run / LOG, first)
        self._evaluations = Journal(run / EVALUATIONS, first)
        self._energy = Energy(run, stage.country, _teller(console))
        self._wandb = WandbRun(stage, {**facts, "steps": steps}, run, _teller(console))
        self._screen = Screen(stage.name, first, steps, console)  # last: it draws from now on

    def step(self, step: int) -> None:
        """One more step is done."""
        self._done = step + 1
        self._energy.add(self._stage.batch.global_)
        self._screen.step(step + 1)

    def line(self, line: Mapping[str, Any]) -> None:
        """A line of Meter.line."""
        self._lines.write(line)
        self._screen.line(line)
        name = self._stage.name
        values = wandb_run.logged(name, line) | wandb_run.spent(name, self._energy.spent)
        self._wandb.log(line["step"] + 1, values, {})

    def evaluated(self, step: int, result: Mapping[str, Any], figures: Mapping[str, Path]) -> None:
        """What train.validation found after `step`, and its figures by name."""
        self._evaluations.write({"step": step, **result})
        self._screen.evaluated(step, result)
        self._wandb.log(step + 1, wandb_run.judged(self._stage.name, result), figures)

    def say(self, sentence: str) -> None:
        """Tell the person at the screen."""
        self._screen.say(sentence)

    def close(self, failed: bool = False) -> None:
        """Say what energy the run has taken, and end all that was begun; once."""
        self._screen.close()
        if spent := self._energy.close():
            self._screen.say(str(spent))
            self._wandb.log(self._done, wandb_run.spent(self._stage.name, spent), {})
        self._wandb.close(failed)
        self._lines.close()
        self._evaluations.close()

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(failed=kind is not None)


class Journal:
    """A file of JSON lines, each of a step; those past `first` (of a run that died) are dropped."""

    def __init__(self, path: Path, first: int) -> None:
        kept = [line for line in _lines(path) if line["step"] < first]
        store.write(path, b"".join(msgspec.json.encode(line) + b"\n" for line in kept))
        self._file = path.open("ab")

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line."""
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """No more lines."""
        self._file.close()


def read(run: Path, name: str = LOG) -> list[dict[str, Any]]:
    """The lines of a run's LOG or EVALUATIONS, oldest first; a torn last line is not one."""
    return _lines(run / name)


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().splitlines() if path.exists() else []
    whole: list[dict[str, Any]] = []
    for line in lines:
        try:
            whole.append(msgspec.json.decode(line))
        except msgspec.DecodeError:
            break
    return whole


def _teller(console: Console) -> Callable[[str], None]:
    return partial(console.print, markup=False, highlight=False, soft_wrap=True)
