"""The screen of a run: on a terminal a bar and a table that stay, elsewhere one line a log line."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_REDRAWN = 2  # times a second: drawing takes Python's lock from the trainer


class Screen:
    """What a run shows, from the step `first` to the last of `steps`."""

    def __init__(self, name: str, first: int, steps: int, console: Console) -> None:
        self._console, self._first, self._steps = console, first, steps
        self._begun = time.monotonic()
        self._line: Mapping[str, Any] | None = None
        self._live: Live | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("steps,"),
                TimeRemainingColumn(),
                TextColumn("left"),
                console=console,
                speed_estimate_period=120,
                expand=True,
            )
            self._task = self._bar.add_task(name, total=steps, completed=first)
            self._live = Live(
                get_renderable=self._drawn, console=console, refresh_per_second=_REDRAWN
            )
            self._live.start()

    def step(self, done: int) -> None:
        """So many steps of the run are done."""
        if self._live:
            self._bar.update(self._task, completed=done)

    def line(self, line: Mapping[str, Any]) -> None:
        """A line of the log (see Meter.line)."""
        self._line = line
        if self._live:
            return
        sources = "  ".join(f"{name} {loss:.3f}" for name, loss in line["sources"].items())
        left = (time.monotonic() - self._begun) / max(1, line["step"] + 1 - self._first)
        left *= self._steps - line["step"] - 1
        self.say(
            f"step {line['step'] + 1:>5}/{self._steps}  loss {line['loss']:.3f}  {sources}  "
            f"lr {line['lr']:.1e}  {line['samples_per_s']:.1f} samples/s  "
            f"waiting {line['wait']:.1%}  {left / 60:.1f} min left"
        )

    def evaluated(self, step: int, result: Mapping[str, Any]) -> None:
        """What validation found after `step`."""
        self.say(f"val after step {step + 1}: {_found(result)}")

    def say(self, sentence: str) -> None:
        """A sentence, above the bar if there is one."""
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._live:
            self._live.stop()

    def _drawn(self) -> Group:
        if self._line is None:
            return Group(self._bar)
        return Group(self._bar, Text(_summary(self._line)), _sources(self._line))


def _summary(line: Mapping[str, Any]) -> str:
    """The line in words and numbers, without its sources."""
    told = [f"loss {line['loss']:.3f}"]
    if len(line["objectives"]) > 1:
        losses = line["objectives"].items()
        told.append("of " + ", ".join(f"{n} {_number(loss)}" for n, loss in losses))
    told.append(f"lr {line['lr']:.1e}")
    told.append(f"{line['samples_per_s']:,.1f} samples/s")
    told.append(f"waiting {line['wait']:.1%}")
    if line.get("memory_gb") is not None:
        told.append(f"{line['memory_gb']:.1f} GB")
    return "   ".join(told)


def _sources(line: Mapping[str, Any]) -> Table:
    """By source: its loss, and its share of the mixture, asked and as drawn since the start."""
    table = Table("source", box=None, pad_edge=False)
    for head in ("loss", "asked", "realised"):
        table.add_column(head, justify="right")
    for name, share in line["mixture"].items():
        loss = _number(line["sources"].get(name))
        table.add_row(Text(name), loss, f"{share['asked']:.2%}", f"{share['realised']:.2%}")
    return table


def _found(result: Mapping[str, Any]) -> str:
    told = [f"loss {_number(result['loss'])}"]
    if robots := result["robots"]:
        told.append(f"robots: accuracy {_number(robots['accuracy'])}")
        told.append(f"macro F1 {_number(robots['macro_f1'])}")
        told.append(f"calibration error {_number(robots['expected_calibration_error'])}")
        told.append(f"teams: exact {_number(robots['multi_robot_exact_match'])}")
        told.append(f"Jaccard {_number(robots['multi_robot_jaccard'])}")
    return "  ".join(told)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
