"""Figures of a run as SVG, each from logged or measured numbers."""

import io
import re
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

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
}


def loss_curves(lines: Sequence[dict[str, Any]]) -> str:
    """Next-token loss by source and the loss descended, over steps; `lines` as logged."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(8, 3.4))
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
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(8, 2.8))
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


def _svg(figure: Figure) -> str:
    sink = io.StringIO()
    figure.savefig(sink, format="svg", bbox_inches="tight")
    plt.close(figure)
    drawing = "<svg" + sink.getvalue().partition("<svg")[2]
    return re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)  # a time, some URLs
