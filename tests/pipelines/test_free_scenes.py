"""Free scenes are sealed without polars, hold what a picture shows, and keep clear of val and
test."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from manifests.place import split_of, task_group
from manifests.schema import SITE_FACTS, site_vector
from manifests.seal import Seal
from pipelines import free_scenes, robot_set
from pipelines.free_scenes import scene
from pipelines.robots.twins import Twins
from shards.reader import Dataset
from shards.validate import validate

ROOT = Path(__file__).parents[2]
NONE = Twins()


@pytest.fixture(scope="module")
def robots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small robot-selection set."""
    folder = tmp_path_factory.mktemp("robots")
    for path in (ROOT / "robot-selection-dataset").glob("*.json"):
        part = json.loads(path.read_text(encoding="utf-8"))[:60]
        (folder / path.name).write_text(json.dumps(part), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment without polars and Prefect, for helper processes too."""
    folder = tmp_path_factory.mktemp("site")
    blocked = "import sys\nfor name in ('polars', 'prefect'):\n    sys.modules[name] = None\n"
    (folder / "sitecustomize.py").write_text(blocked)
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def sealed(robots: Path, light: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty scenes, and the robot set."""
    out = tmp_path_factory.mktemp("data") / "scenes"
    run(light, out, robots, "--count", "40", "--with-robots", "--workers", "2")
    return out


def run(environment, out, robots, *more):
    command = [sys.executable, "-m", "pipelines", "free-scenes", "--out", out, "--robots", robots]
    done = subprocess.run(
        [*map(str, command), *more], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_they_are_a_whole_data_set(sealed: Path) -> None:
    assert list(validate(sealed)) == []
    assert Dataset(sealed).names == [
        (corpus, split) for corpus in ("robots", "scenes") for split in ("test", "train", "val")
    ]
    counted = [count for count in Seal.read(sealed).ledger if count.corpus == "scenes"]
    assert sum(count.records for count in counted) == 40
    assert all(count.balances for count in counted)


def test_a_record_says_all_that_its_picture_shows(sealed: Path) -> None:
    dataset, kinds = Dataset(sealed), set[str]()
    for split in ("train", "val", "test"):
        for record in dataset.records("scenes", split):
            assert record.image.startswith(b"\xff\xd8")
            assert record.split == split == split_of(record.group)
            facts = dict(zip(SITE_FACTS, site_vector(record.meta), strict=True))
            unknown = {name for name, fact in facts.items() if fact != fact}
            assert unknown <= {n for n in SITE_FACTS if n.startswith("terrain")} | {
                "ceiling_m", "wind_ms", "rain", "slope_deg",
            }  # fmt: skip
            here = [turn.kind for turn in record.turns]
            assert 2 <= here.count("caption") <= 3
            assert here.count("qa") == 5
            assert len({turn.thread for turn in record.turns}) == len(here)
            if record.robots:
                (task,) = (turn for turn in record.turns if turn.kind == "robot")
                assert record.group == task_group(task.prompt)
                assert task.target == ", ".join(record.robots)
                (why,) = (turn for turn in record.turns if turn.kind == "reasoning")
                assert why.target.startswith("Task analysis: ")
                assert {step.robot for step in record.plan} <= set(record.robots)
            kinds |= set(here)
    assert kinds == {"caption", "qa", "robot", "reasoning"}


def test_the_number_of_processes_makes_no_difference(
    sealed: Path, robots: Path, light: dict[str, str], tmp_path: Path
) -> None:
    told = run(light, tmp_path / "one", robots, "--count", "40", "--workers", "1")
    alone, both = Seal.read(tmp_path / "one"), Seal.read(sealed)
    assert f"sealed {tmp_path / 'one'} with root {alone.root}" in told
    assert alone.shards == tuple(shard for shard in both.shards if shard.corpus == "scenes")


def test_a_scene_follows_from_its_seed_and_number() -> None:
    assert scene(7, 3, NONE) == scene(7, 3, NONE)
    assert scene(7, 3, NONE).facts != scene(8, 3, NONE).facts


def test_near_twins_of_val_and_test_are_held_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scenes = [scene(7, number, NONE) for number in range(12)]
    (first, *_) = (s.record for s in scenes if s.record.split == "train" and s.record.robots)
    words = next(turn.prompt for turn in first.turns if turn.kind == "robot")
    near = Twins()
    near.add(f"{words} really")
    monkeypatch.setattr(free_scenes, "_apart", lambda robots: near)
    packed = free_scenes._part(range(12), 7, tmp_path, tmp_path / "out")
    keys: set[str] = set()
    for one in packed:
        with tarfile.open(tmp_path / "out" / one.shard.tar) as tar:
            keys |= {name.partition(".")[0] for name in tar.getnames()}
    assert keys == {s.record.key for s in scenes} - {first.key}
    (line,) = (line for one in packed for line in one.lines if line.status == "held back")
    assert (line.split, line.annotations) == ("train", len(first.turns))
    assert "near-twin" in line.example


def test_val_and_test_of_the_robot_set_are_what_is_kept_apart(robots: Path) -> None:
    apart = free_scenes._apart(robots)
    for row in robot_set.rows(robots):
        assert row.split == split_of(row.group)
        if row.split != "train":
            assert apart.has(row.prompt)
    assert sum(apart.has(row.prompt) for row in robot_set.rows(robots)) < 70


def test_without_the_robot_set_nothing_is_begun(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from pipelines.cli import app

    (tmp_path / "empty").mkdir()
    told = CliRunner().invoke(
        app, ["free-scenes", "--out", str(tmp_path / "out"), "--robots", str(tmp_path / "empty")]
    )
    assert told.exit_code == 1
    assert "single_robot_selection.json" in told.output
    assert not (tmp_path / "out").exists()
