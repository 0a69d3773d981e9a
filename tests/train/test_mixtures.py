"""The shipped stages load, name corpora that can be built, and can be seen before they are run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipelines.free_scenes import CORPUS
from train import stage as stages
from train.mixture import app
from train.objectives import OBJECTIVES, reached

ROOT = Path(__file__).parents[2]
FULL = ROOT / "pipelines/configs/full.yaml"
CAPTIONS = {"coco", "cc3m", "laion"}
SCENES = {"captions", "questions", "tasks", "reasons"}  # all of the corpus `scenes`
QUESTIONS = {"vqav2", "okvqa", "aokvqa", "gqa", "ocrvqa", "refcoco", "refcoco_plus", "refcocog"}
SOURCES = {
    "stage0.yaml": SCENES,
    "stage1.yaml": CAPTIONS | QUESTIONS,
    "stage2.yaml": {"llava"},
    "stage3.yaml": {"robots"},
    "stage4.yaml": {"robots"},
}
# What a small data set and a machine without network need.
SMALL = ("--set", "model.preset=compact", "--set", "optim.warmup=0", "--rate", "1000", "--json")


@pytest.fixture(scope="module")
def made(every: Path, scenes: Path) -> Callable[[str], Path]:
    """The data set of a stage."""
    return lambda name: scenes if name == "stage0.yaml" else every


@pytest.mark.parametrize("name", SOURCES)
def test_a_stage_says_what_it_does_and_how(name: str) -> None:
    head = stages.find(name).read_text().split("\nname: ")[0].splitlines()
    assert 2 <= len(head) <= 4
    assert all(line.startswith("# ") and len(line) <= 100 for line in head)
    stage = stages.load(name)
    assert stage.name == name.removesuffix(".yaml")
    pool, optim = stage.batch.pool, stage.optim
    assert stage.batch.global_ == 256
    assert (stage.save_steps, stage.eval_steps, stage.log_steps) == (500, 500, 50)
    if name == "stage0.yaml":  # from scratch, on scenes that are drawn: faster
        assert (pool, stage.passes) == (256, 4)
        assert (optim.lr, optim.warmup, optim.weight_decay) == (1e-3, 100, 0.05)
    else:
        assert (pool, optim.lr, optim.warmup, optim.weight_decay) == (64, 2e-4, 500, 0.01)
        assert stage.passes == (3 if name in ("stage1.yaml", "stage2.yaml") else 30)
    assert set(stage.objectives) <= set(OBJECTIVES)
    assert set(stage.trainable) <= reached(stage.objectives, stage.vision_only)
    assert stage.max_tokens + stage.model.config.visual_tokens <= stage.model.config.positions


def test_all_sources_are_corpora_that_full_yaml_builds() -> None:
    corpora = yaml.safe_load(FULL.read_text())["corpora"]
    for name, sources in SOURCES.items():
        stage = stages.load(name)
        assert set(stage.sources) == sources
        named = {spec.corpus for spec in stage.sources.values()}
        assert named == ({CORPUS} if name == "stage0.yaml" else {None})
    assert set().union(*SOURCES.values()) - SCENES == set(corpora)


def test_turns_are_taken_as_their_kind_wants() -> None:
    for source, spec in stages.load("stage1.yaml").sources.items():
        assert spec.turns == ("rotate" if source in CAPTIONS else "pack"), source
    assert stages.load("stage2.yaml").sources["llava"].turns == "whole"
    scenes = stages.load("stage0.yaml").sources
    assert {name: (spec.turns, spec.kinds) for name, spec in scenes.items()} == {
        "captions": ("rotate", ("caption",)),
        "questions": ("pack", ("qa",)),
        "tasks": ("one", ("robot",)),
        "reasons": ("one", ("reasoning",)),
    }
    for name, kinds in (("stage3.yaml", ("robot",)), ("stage4.yaml", ("reasoning",))):
        robots = stages.load(name).sources["robots"]
        assert (robots.turns, robots.kinds) == ("one", kinds)


@pytest.mark.parametrize("name", SOURCES)
def test_a_stage_is_shown_on_a_data_set_of_all_its_corpora(
    name: str, made: Callable[[str], Path]
) -> None:
    result = CliRunner().invoke(app, ["show", name, "--data", str(made(name)), *SMALL])
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert set(told["sources"]) == SOURCES[name]
    assert all(source["drawn"] for source in told["sources"].values())
    assert sum(s["truncated"] for s in told["sources"].values()) == 0, "rows are long enough"


def test_sources_go_by_the_square_root_of_their_size(every: Path) -> None:
    told = json.loads(
        CliRunner().invoke(app, ["show", "stage1.yaml", "--data", str(every), *SMALL]).stdout
    )
    roots = {name: source["samples"] ** 0.5 for name, source in told["sources"].items()}
    for name, source in told["sources"].items():
        assert source["asked"] == pytest.approx(roots[name] / sum(roots.values()))


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_that_is_absent_stops_with_the_line_that_removes_it(name, data: Path) -> None:
    absent = sorted(SOURCES[name] - {"coco", "vqav2", "gqa", "robots"})
    result = CliRunner().invoke(app, ["show", name, "--data", str(data), *SMALL])
    assert result.exit_code == bool(absent)
    assert not absent or any(f"--set sources.{source}=null" in result.stderr for source in absent)
