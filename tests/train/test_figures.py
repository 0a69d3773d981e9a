"""Drawings are SVG, the same for the same numbers, with all that was measured."""

import re
from xml.etree import ElementTree

from train import figures

LINES = [
    {"step": 0, "loss": 9.0, "sources": {"coco": 8.5}},
    {"step": 9, "loss": 4.0, "sources": {"coco": 3.5, "robots": 2.0}},
]
JUDGED = {
    "loss": 2.0,
    "shuffled": [3.0, 3.1, 3.2],
    "sources": {"coco": {"loss": 1.0, "shuffled": [2.0, 2.1, 2.2]}},
}


def test_a_walk_has_every_node_and_an_arrow_before_each_but_the_first() -> None:
    nodes = [(f"node{n}", f"{n} done\nin {n} s") for n in range(7)]
    drawing = figures.walk(nodes)
    root = ElementTree.fromstring(drawing)
    assert root.get("viewBox") == "0 0 800 168"
    assert re.findall(r'class="(node|arrow)"', drawing) == ["node", *["node", "arrow"] * 6]
    assert re.findall(r'class="name">(.*?)<', drawing) == [name for name, _ in nodes]
    said = [line for _, words in nodes for line in words.split("\n")]
    assert re.findall(r'class="said">(.*?)<', drawing) == said


def test_curves_and_bars_are_plain_svg() -> None:
    for drawing, words in (
        (figures.loss_curves(LINES), ("coco", "robots", "loss descended", "step")),
        (figures.pictures_matter(JUDGED), ("coco", "all tokens", "right pictures")),
    ):
        assert drawing.startswith("<svg ") and ElementTree.fromstring(drawing).tag.endswith("svg")
        assert "<metadata" not in drawing
        for word in words:
            assert f">{word}</text>" in drawing, word


def test_every_loss_is_a_bar() -> None:
    drawing = figures.pictures_matter(JUDGED)
    assert drawing.count("fill: #0072b2") == 2 + 1  # two losses and the legend
    assert drawing.count("fill: #d1d5db") == 6 + 1
