"""Figures of a run, each from logged or measured numbers: SVG for a page, PNG beside the run.

matplotlib is imported by who draws, so that a run without it can still be trained.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from math import pi
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from manifests import store
from manifests.schema import ROBOTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too; black is for totals.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
_ABOVE: Any = {"frameon": False, "loc": "lower right", "bbox_to_anchor": (1, 1)}
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "axes.axisbelow": True,
    "svg.fonttype": "none",  # text stays text: small files, readable by a screen reader
    "svg.hashsalt": "embervlm",  # names within a drawing follow from what is drawn
}
_SHORT = [robot.replace("Robot with ", "").replace(" Robot", "") for robot in ROBOTS]


def loss_curves(lines: Sequence[dict[str, Any]]) -> str:
    """Next-token loss by source and the loss descended, over steps; `lines` as logged."""
    with _figure(8, 3.4) as figure:
        axes = figure.subplots()
        names = sorted({name for line in lines for name in line["sources"]})
        for name, colour in zip(names, cycle(COLOURS), strict=False):
            points = [
                (li["step"] + 1, li["sources"][name]) for li in lines if name in li["sources"]
            ]
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1, label=name)
        steps = [line["step"] + 1 for line in lines]
        losses = [line["loss"] for line in lines]
        axes.plot(steps, losses, color="black", linewidth=1.6, label="loss descended")
        axes.set(xlabel="step", ylabel="loss (nats a token)", ylim=(0, None))
        axes.legend(ncols=len(names) + 1, **_ABOVE)
        return _svg(figure)


def pictures_matter(evaluation: dict[str, Any]) -> str:
    """Loss with the right pictures beside each shuffle, by source."""
    from matplotlib.patches import Rectangle

    with _figure(8, 2.8) as figure:
        axes = figure.subplots()
        named = {**evaluation["sources"], "all tokens": evaluation}
        for place, source in enumerate(named.values()):
            shuffles = source["shuffled"]
            width = 0.8 / (1 + len(shuffles))
            for bar, loss in enumerate([source["loss"], *shuffles]):
                colour = "#0072b2" if bar == 0 else "#d1d5db"
                axes.bar(place + (bar - len(shuffles) / 2) * width, loss, width * 0.9, color=colour)
        axes.set_xticks(range(len(named)), list(named))
        axes.set(ylabel="loss (nats a token)")
        axes.grid(axis="x", visible=False)
        handles = [Rectangle((0, 0), 1, 1, color=c) for c in ("#0072b2", "#d1d5db")]
        labels = ["right pictures", "shuffled pictures"]
        axes.legend(handles, labels, ncols=2, **_ABOVE)
        return _svg(figure)


def validation_curves(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """Over steps: loss on val by source, and macro F1 and accuracy where robots are chosen."""
    spoken = [line for line in evaluations if line["loss"] is not None]
    judged = [line for line in evaluations if line["robots"]]
    with _figure(8, 2.8) as figure:
        panels = iter(figure.subplots(1, max(1, bool(spoken) + bool(judged)), squeeze=False)[0])
        if spoken:
            axes = next(panels)
            for name, colour in zip(spoken[-1]["sources"], cycle(COLOURS), strict=False):
                losses = [line["sources"].get(name, {}).get("loss") for line in spoken]
                _line(axes, spoken, losses, color=colour, label=name)
            losses = [line["loss"] for line in spoken]
            _line(axes, spoken, losses, color="black", label="all tokens")
            axes.set(ylabel="loss on val (nats a token)")
            axes.legend(frameon=False, fontsize=8)
        if judged:
            axes = next(panels)
            by_picture = [line["robots"]["picture_decided"] for line in judged]
            robots = [line["robots"] for line in judged]
            for label, colour, values in (
                ("macro F1", "black", [each["macro_f1"] for each in robots]),
                ("accuracy", "#0072b2", [each["accuracy"] for each in robots]),
                ("accuracy, picture decides", "#56b4e9", [each["accuracy"] for each in by_picture]),
            ):
                _line(axes, judged, values, color=colour, label=label)
            axes.set(ylabel="robots on val", ylim=(0, 1))
            axes.legend(frameon=False, fontsize=8, loc="lower right")
        return _svg(figure)


def confusion_matrix(robots: Mapping[str, Any]) -> str:
    """Which robot was sent for which that was wanted, where one is; `robots` as measured."""
    with _confusion_matrix(robots) as figure:
        return _svg(figure)


def radar(robots: Mapping[str, Any]) -> str:
    """Precision, recall and F1 of each robot; `robots` as measured."""
    with _radar(robots) as figure:
        return _svg(figure)


def validation_figures(result: Mapping[str, Any], run: Path, step: int) -> dict[str, Path]:
    """Draw how well robots are chosen after `step` (from 0) into `run/figures`: PNG files by name.

    None for a result without robots, and none where there is no matplotlib.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return {}
    if not (robots := result["robots"]):
        return {}
    paths = {}
    for name, draw in (("confusion_matrix", _confusion_matrix), ("radar", _radar)):
        sink = io.BytesIO()
        with draw(robots) as figure:
            figure.savefig(sink, format="png", dpi=150, bbox_inches="tight")
        paths[name] = run / "figures" / f"{name}-{step + 1:06d}.png"  # as checkpoints are named
        store.write(paths[name], sink.getvalue())
    return paths


@contextmanager
def _confusion_matrix(robots: Mapping[str, Any]) -> Iterator["Figure"]:
    counts = np.array(robots["confusion"])
    share = counts / np.maximum(
        counts.sum(1, keepdims=True), 1
    )  # of the row, by which it is shaded
    with _figure(4.2, 3.8) as figure:
        axes = figure.subplots()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            ink = "white" if share[row, column] > 0.5 else "#111827"
            axes.text(column, row, str(count), ha="center", va="center", color=ink)
        axes.set_xticks(range(len(ROBOTS)), _SHORT, rotation=30, ha="right")
        axes.set_yticks(range(len(ROBOTS)), _SHORT)
        axes.set(xlabel="sent", ylabel="wanted", title=f"{counts.sum()} tasks for one robot")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        yield figure


@contextmanager
def _radar(robots: Mapping[str, Any]) -> Iterator["Figure"]:
    around = np.linspace(0, 2 * pi, len(ROBOTS), endpoint=False)
    with _figure(4.2, 3.8) as figure:
        axes: Any = figure.add_subplot(projection="polar")
        axes.set(theta_offset=pi / 2, theta_direction=-1, ylim=(0, 1))
        for name, colour in zip(("precision", "recall", "f1"), COLOURS, strict=False):
            # A robot that never came up has no score: it is a gap in the line.
            values = [robots["per_robot"][robot][name] for robot in ROBOTS]
            values = np.array([*values, values[0]], float)
            axes.plot([*around, 2 * pi], values, color=colour, linewidth=1.6, label=name.title())
            axes.fill(around, np.nan_to_num(values[:-1]), color=colour, alpha=0.06)
        axes.set_xticks(around, _SHORT)
        for label, angle in zip(axes.get_xticklabels(), around, strict=True):  # beside, not on
            label.set_ha("center" if angle == 0 else "left" if angle < pi else "right")
        axes.set_yticks([0.25, 0.5, 0.75, 1], ["", "0.5", "", "1"], color="#6b7280", fontsize=8)
        axes.spines["polar"].set_color("#d1d5db")
        axes.set_title(f"{robots['records']} tasks", pad=14)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.95, 1.05))
        yield figure


def walk(nodes: Sequence[tuple[str, str]]) -> str:
    """Boxes joined by arrows: (name, what was measured of it), left to right, in rows of five."""
    columns, width, height = 5, 160, 84
    rows = -(-len(nodes) // columns)
    parts = [
        f'<svg viewBox="0 0 {columns * width} {rows * height}" role="img" '
        f'aria-label="the walk: {" then ".join(name for name, _ in nodes)}">'
    ]
    for place, (name, said) in enumerate(nodes):
        x, y = place % columns * width + 24, place // columns * height + 8
        parts.append(
            f'<rect x="{x}" y="{y}" width="{width - 28}" height="58" rx="6" class="node"/>'
            f'<text x="{x + 10}" y="{y + 22}" class="name">{name}</text>'
        )
        for line, words in enumerate(said.split("\n")):
            parts.append(f'<text x="{x + 10}" y="{y + 38 + 13 * line}" class="said">{words}</text>')
        if place > 0:
            parts.append(f'<path d="M{x - 22} {y + 29} h17 m-5 -4 l5 4 l-5 4" class="arrow"/>')
    return "".join([*parts, "</svg>"])


@contextmanager
def _figure(width: float, height: float) -> Iterator["Figure"]:
    """An empty figure, inches, in the style of all; drawn within the block."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def _line(
    axes: Any, evaluations: Sequence[Mapping[str, Any]], values: Sequence[Any], **look: str
) -> None:
    """A line with a mark at each step, so that one alone is seen; None is a gap."""
    steps = [line["step"] + 1 for line in evaluations]
    axes.plot(steps, np.array(values, float), linewidth=1.4, marker=".", markersize=5, **look)
    axes.set(xlabel="step")


def _svg(figure: "Figure") -> str:
    sink = io.StringIO()
    figure.savefig(sink, format="svg", bbox_inches="tight")
    drawing = "<svg" + sink.getvalue().partition("<svg")[2]
    return re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)  # a time, some URLs
