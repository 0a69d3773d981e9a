"""Drawings show all that was measured, and are the same for the same numbers."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from manifests.schema import ROBOTS
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
CONFUSION = [[40, 3, 4, 5, 0], [0, 33, 5, 1, 1], [0] * 5, [2, 3, 7, 29, 0], [5, 4, 5, 3, 44]]
ROBOTS_JUDGED = {
    "records": 321,
    "accuracy": 0.8,
    "macro_f1": 0.7,
    "picture_decided": {"records": 9, "accuracy": 0.6, "exact_match": None},
    "per_robot": {
        robot: {"precision": 0.1 * n, "recall": 0.9, "f1": 0.5} for n, robot in enumerate(ROBOTS)
    },
    "confusion": CONFUSION,
}
NEVER = {"precision": None, "recall": None, "f1": None}


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


def test_the_same_numbers_are_the_same_drawing() -> None:
    assert figures.loss_curves(LINES) == figures.loss_curves(LINES)
    assert figures.confusion_matrix(ROBOTS_JUDGED) == figures.confusion_matrix(ROBOTS_JUDGED)


def test_every_loss_is_a_bar() -> None:
    drawing = figures.pictures_matter(JUDGED)
    assert drawing.count("fill: #0072b2") == 2 + 1  # two losses and the legend
    assert drawing.count("fill: #d1d5db") == 6 + 1


def test_validation_is_drawn_over_steps_with_all_that_was_measured() -> None:
    sources = {"coco": {"loss": 2.0}, "robots": {"loss": None}}
    spoken = [{"step": n, "loss": 2.0, "sources": sources, "robots": None} for n in (99, 199)]
    judged = [{**line, "robots": ROBOTS_JUDGED} for line in spoken]
    alone = [{**line, "loss": None} for line in judged]
    losses, scores = ("coco", "robots", "all tokens"), ("accuracy", "macro F1")
    for lines, there, absent in (
        (spoken, losses, scores),
        (judged, losses + scores, ()),
        (alone, scores, losses),
        (judged[:1], losses + scores, ()),
    ):
        drawing = figures.validation_curves(lines)
        assert ElementTree.fromstring(drawing).tag.endswith("svg")
        for word in there:
            assert f">{word}</text>" in drawing, word
        for word in absent:
            assert f">{word}</text>" not in drawing, word


def test_every_cell_of_the_confusion_matrix_is_a_number_beside_its_robots() -> None:
    drawing = figures.confusion_matrix(ROBOTS_JUDGED)
    words = re.findall(r">([^<>]+)</text>", drawing)
    cells = [str(count) for row in CONFUSION for count in row]
    assert [word for word in words if word.isdigit()] == cells
    short = ["Drone", "Underwater", "Humanoid", "Wheels", "Legs"]
    assert [word for word in words if word in short] == short * 2
    assert "194 tasks for one robot" in words


def test_a_robot_that_never_came_up_is_a_gap_in_the_radar() -> None:
    whole = figures.radar(ROBOTS_JUDGED)
    assert "321 tasks" in whole and all(f">{name}</text>" in whole for name in ("Recall", "F1"))
    per_robot = {**ROBOTS_JUDGED["per_robot"], "Humanoid": NEVER}
    gap = figures.radar({**ROBOTS_JUDGED, "per_robot": per_robot})

    def begun(drawing: str) -> int:  # pieces of lines in the colours of the scores
        lines = re.findall(r'd="([^"]+)"[^>]*style="fill: none; stroke: #0072b2', drawing)
        return sum(line.count("M ") for line in lines)

    assert begun(gap) == begun(whole) + 1


def test_figures_of_a_step_are_files_beside_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "figures"
    drawn = figures.validation_figures({"robots": ROBOTS_JUDGED}, tmp_path / "run", 499)
    assert drawn == {name: folder / f"{name}-000500.png" for name in ("confusion_matrix", "radar")}
    assert sorted(folder.iterdir()) == sorted(drawn.values())  # and nothing unfinished
    for path in drawn.values():
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert min(pixels.shape[:2]) > 400 and pixels.std() > 20
    assert figures.validation_figures({"robots": None}, tmp_path / "none", 499) == {}
    assert not (tmp_path / "none").exists()


def test_without_matplotlib_there_are_no_figures_and_no_error(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from pathlib import Path; from train import figures\n"
        "drawn = figures.validation_figures({'robots': {'records': 1}}, Path(sys.argv[1]), 1)\n"
        "assert drawn == {}\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert list(tmp_path.iterdir()) == []
