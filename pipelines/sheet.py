"""Contact sheets: scenes of the robot-selection set with their tasks below, to be looked at."""

import textwrap
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any, Literal

import msgspec
from PIL import Image, ImageDraw, ImageFont

from manifests.schema import seen_site
from pipelines.robots.dataset import FILES
from pipelines.robots.scene import draw

Show = Literal["single", "multi", "pairs"]
_SIDE, _TEXT, _GAP = 224, 118, 12
_COLUMNS = 6
_INK, _ANSWER, _PAPER = (40, 44, 52), (20, 90, 160), (250, 249, 246)


def contact_sheet(folder: Path, show: Show, count: int, seed: int) -> Image.Image:
    """`count` random records of the set in `folder`: of one form, or pairs side by side.

    Raises ValueError if there is none of what is to be shown.
    """
    names = FILES.values() if show == "pairs" else [FILES[show]]
    records = [r for name in names for r in msgspec.json.decode((folder / name).read_bytes())]
    by_pair: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        paired = show == "pairs" and record["pair"]
        if paired or show != "pairs":
            by_pair[f"{record['id'][:6]}{record['pair']}" if paired else record["id"]].append(
                record
            )
    if not by_pair:
        raise ValueError(f"{folder} has no {show} to show")
    chosen: list[dict[str, Any]] = []
    for group in Random(seed).sample(sorted(by_pair), len(by_pair)):
        if not chosen or len(chosen) + len(by_pair[group]) <= count:
            chosen += by_pair[group]
    rows = -(-len(chosen) // _COLUMNS)
    size = _COLUMNS * (_SIDE + _GAP) + _GAP, rows * (_SIDE + _TEXT + _GAP) + _GAP
    sheet = Image.new("RGB", size, _PAPER)
    for place, record in enumerate(chosen):
        row, column = divmod(place, _COLUMNS)
        at = _GAP + column * (_SIDE + _GAP), _GAP + row * (_SIDE + _TEXT + _GAP)
        _cell(sheet, at, record)
    return sheet


def _cell(sheet: Image.Image, at: tuple[int, int], record: dict[str, Any]) -> None:
    """A scene, and below it the answer, what decides, and the task."""
    x, y = at
    sheet.paste(draw(seen_site(record), f"robots-{record['id']}", _SIDE), at)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    decided = f"{record['output']}  [{record['evidence']['decided']}]"
    pen.text((x, y + _SIDE + 3), "\n".join(textwrap.wrap(decided, 40)), _ANSWER, font)
    lines = textwrap.wrap(record["input"].removeprefix("Task: "), 41)
    pen.text((x, y + _SIDE + 30), "\n".join(lines[:6]), _INK, font)
