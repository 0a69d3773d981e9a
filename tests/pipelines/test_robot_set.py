"""The robot-selection set packed alone is the one that an ordinary build packs."""

import json
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from manifests.seal import Seal
from pipelines import light, robot_set
from pipelines.build import build
from pipelines.config import load
from pipelines.engine import Threads

ROOT = Path(__file__).parents[2]
QUIET = Console(quiet=True)


def small(folder: Path, spoil=lambda form, records: records) -> Path:
    folder.mkdir()
    for path in sorted((ROOT / "robot-selection-dataset").glob("*.json")):
        part = json.loads(path.read_text(encoding="utf-8"))[:25]
        (folder / path.name).write_text(json.dumps(spoil(path.stem[:5], part)))
    return folder


def packed(robots: Path, out: Path) -> Seal:
    parts = {robot_set.CORPUS: robot_set.parts(robots, out)}
    return light.build(out, parts, {}, robot_set.BITS, 1, QUIET)


def built(robots: Path, out: Path) -> Seal:
    full = yaml.safe_load((ROOT / "pipelines/configs/full.yaml").read_text())
    config = {
        **full,
        "root": str(robots.parent),
        "corpora": {"robots": {**full["corpora"]["robots"], "path": str(robots)}},
        "protect": {"image": ["robots/val", "robots/test"], "near_duplicates": "off"},
        "max_quarantined": 0.5,
    }
    path = robots.parent / "build.yaml"
    path.write_text(yaml.safe_dump(config))
    return build(load(path), out, Threads(1), QUIET)


def test_it_is_that_of_the_ordinary_build(tmp_path: Path) -> None:
    def wrong_label(form: str, records: list) -> list:
        if form == "singl":
            records[3]["output"] = "Drone, Humanoid"
        return records

    robots = small(tmp_path / "robots", wrong_label)
    alone, whole = packed(robots, tmp_path / "alone"), built(robots, tmp_path / "whole")
    assert alone.root == whole.root
    assert alone.ledger == whole.ledger
    assert sum(count.quarantined for count in alone.ledger) == 1
    assert alone.reasons.sha256 == whole.reasons.sha256
    assert alone.bits == whole.bits


def test_ids_that_come_twice_are_refused(tmp_path: Path) -> None:
    def twice(form: str, records: list) -> list:
        return [*records, records[0]] if form == "multi" else records

    robots = small(tmp_path / "robots", twice)
    with pytest.raises(ValueError, match=r"has 1 ids twice, such as robots-multi-0001"):
        robot_set.parts(robots, tmp_path / "out")
