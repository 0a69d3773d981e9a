"""Memory over a million samples, and what it takes to open five million records in 5,000 shards.

    make bench NAME=memory

- curve: our stream over a data set of tiny pictures, by threads and by helper processes; all of its
  processes are looked at, at every hundredth of the samples. What it grew from 10 % to the end is
  told, a tenth's median against another's, and data/bench/memory.png drawn.
- open: seconds until a data set and its stream are open, and until the first batch, at the first
  step and at one near ten million samples. Index and tokens are made before, once.

FILL (threads,processes,processes2) says which of ours, SAMPLES (1000000) how many.
"""

import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from harness import tiny
from harness.children import run
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

_FILLS = (os.environ.get("FILL") or "threads,processes,processes2").split(",")
_SAMPLES = int(os.environ.get("SAMPLES") or 1_000_000)
_ROUNDS, _LONG = 5, 3600  # of opening; seconds
_STEPS = {"fresh": 0, "resumed": 10_000_000 // 32}
_PICTURE = Path("data/bench/memory.png")
_TOLD = (1, 10, 25, 50, 75, 100)  # percent


def main() -> None:
    console = Console(width=100, highlight=False)
    folders = {"small": tiny.small(console), "large": tiny.large(console)}
    made: dict[str, dict[str, float]] = {}
    for name, folder in folders.items():
        console.print(f"making the caches of {folder}, or seeing that they are there ...")
        said = run(sys.executable, "our_memory.py", "caches", folder, patience=_LONG, aloud=True)
        if said["records"]:
            made[name] = said
    curves: dict[str, dict[str, Any]] = {}
    for fill in _FILLS:
        console.print(f"{_SAMPLES:,} samples by {fill} ...")
        curves[fill] = _child("curve", folders["small"], fill, _SAMPLES)
    opened: dict[str, list[dict[str, float]]] = {name: [] for name in _STEPS}
    for _ in range(_ROUNDS):
        for name, step in _STEPS.items():
            opened[name].append(_child("open", folders["large"], step))
    medians = {
        name: {what: statistics.median(one[what] for one in said) for what in said[0]}
        for name, said in opened.items()
    }
    _print_curves(console, curves)
    _draw(curves)
    _print_opened(console, medians)
    more = medians["resumed"]["first"] - medians["fresh"]["first"]
    console.print(f"asked: open in 2 s, resumed in 1 s more than fresh; it is {more:.3f} s more")
    found = {
        "bench": "memory",
        "samples": _SAMPLES,
        "growth_mb": {fill: _growth(curve["points"]) for fill, curve in curves.items()},
        "seconds": {fill: curve["seconds"] for fill, curve in curves.items()},
        "open": medians,
        "resumed_takes_more_s": more,
        "caches_made": made,
    }
    print(json.dumps(_rounded(found)))


def _child(*said: object) -> Any:
    return run(sys.executable, "our_memory.py", *said, patience=_LONG)


def _growth(points: list[dict[str, float]]) -> dict[str, float]:
    """MB more in the last tenth than in the one that follows the first tenth, in the median."""
    tenth = len(points) // 10
    early, late = points[tenth : 2 * tenth], points[-tenth:]
    return {
        kind: statistics.median(point[kind] for point in late)
        - statistics.median(point[kind] for point in early)
        for kind in ("pss", "uss")
    }


def _print_curves(console: Console, curves: dict[str, dict[str, Any]]) -> None:
    table = Table("MB", "", *(f"{percent} %" for percent in _TOLD), "growth from 10 %", "seconds")
    for column in table.columns[2:]:
        column.justify = "right"
    for fill, curve in curves.items():
        points, seconds = curve["points"], f"{curve['seconds']:.0f}"
        for kind in ("pss", "uss"):
            shown = [points[percent * len(points) // 100 - 1][kind] for percent in _TOLD]
            grew = f"{_growth(points)[kind]:+.1f}"
            table.add_row(fill, kind.upper(), *(f"{mb:.1f}" for mb in shown), grew, seconds)
    console.print(table)


def _print_opened(console: Console, medians: dict[str, dict[str, float]]) -> None:
    table = Table("5,000 shards", "open, s", "first batch, s", "more memory when open, MB")
    for name, one in medians.items():
        shown = (f"{one['opened']:.3f}", f"{one['first']:.3f}", f"{one['memory']:.1f}")
        table.add_row(f"{name}, at step {_STEPS[name]:,}", *shown)
    console.print(table)


def _draw(curves: dict[str, dict[str, Any]]) -> None:
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (fill, curve) in enumerate(curves.items()):
        for kind, style in (("pss", "-"), ("uss", ":")):
            x = [point["samples"] / 1e6 for point in curve["points"]]
            y = [point[kind] for point in curve["points"]]
            axes.plot(x, y, style, color=f"C{number}", label=f"{fill}, {kind.upper()}")
    axes.set(xlabel="million samples", ylabel="MB, all processes", ylim=(0, None))
    axes.legend()
    figure.savefig(_PICTURE, dpi=120)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
