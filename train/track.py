"""What a run measures and writes down: `log.jsonl`, one line a logged step, and the screen."""

import math
import time
from collections.abc import Iterator
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
from train.distributed import Place, add_up
from train.stage import Stage


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
        }
        self._clear()
        return line

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


class Log:
    """Appends to `run/log.jsonl`; lines past `step` (of a run that died) are dropped first."""

    def __init__(self, run: Path, step: int, console: Console) -> None:
        self._path, self._console = run / "log.jsonl", console
        kept = [line for line in read(run) if line["step"] < step]
        store.write(self._path, b"".join(msgspec.json.encode(line) + b"\n" for line in kept))
        self._file = self._path.open("ab")
        self._begun = time.monotonic()

    def write(self, line: dict[str, Any], steps: int) -> None:
        """One line: at least step, loss, lr, samples_per_s, wait and losses by source."""
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()
        sources = "  ".join(f"{name} {loss:.3f}" for name, loss in line["sources"].items())
        left = (time.monotonic() - self._begun) / max(1, line["done"]) * (steps - line["step"] - 1)
        self._console.print(
            f"step {line['step'] + 1:>5}/{steps}  loss {line['loss']:.3f}  {sources}  "
            f"lr {line['lr']:.1e}  {line['samples_per_s']:.1f} samples/s  "
            f"waiting {line['wait']:.1%}  {left / 60:.1f} min left",
            highlight=False,
            soft_wrap=True,
        )


def read(run: Path) -> list[dict[str, Any]]:
    """The logged lines of a run, oldest first; a torn last line is not one."""
    path = run / "log.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    whole: list[dict[str, Any]] = []
    for line in lines:
        try:
            whole.append(msgspec.json.decode(line))
        except msgspec.DecodeError:
            break
    return whole
