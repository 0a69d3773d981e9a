"""The shipped stages load, name corpora that can be built, and can be seen before they are run."""

import json
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from pipelines.build import build
from pipelines.config import load as load_config
from pipelines.engine import Threads
from pipelines.samples import write_samples
from train import stage as stages
from train.mixture import app
from train.objectives import OBJECTIVES, REACHES

ROOT = Path(__file__).parents[2]
FULL = ROOT / "pipelines/configs/full.yaml"
CAPTIONS = {"coco", "cc3m", "laion"}
QUESTIONS = {"vqav2", "okvqa", "aokvqa", "gqa", "ocrvqa", "refcoco", "refcoco_plus", "refcocog"}
SOURCES = {
    "stage1.yaml": CAPTIONS | QUESTIONS,
    "stage2.yaml": {"llava"},
    "stage3.yaml": {"robots"},
    "stage4.yaml": {"robots"},
}
# What a small data set and a machine without network need.
SMALL = ("--set", "model.preset=compact", "--set", "optim.warmup=0", "--rate", "1000", "--json")


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sealed shards of every corpus of full.yaml, drawn."""
    folder = tmp_path_factory.mktemp("every")
    write_samples(folder / "raw", images=120)
    (folder / "robots").mkdir()
    for path in (ROOT / "robot-selection-dataset").glob("*.json"):
        part = json.loads(path.read_text(encoding="utf-8"))[:40]
        (folder / "robots" / path.name).write_text(json.dumps(part), encoding="utf-8")
    overrides = [f"root={folder / 'raw'}", f"corpora.robots.path={folder / 'robots'}"]
    overrides += ["protect.near_duplicates=off", "max_quarantined=0.5"]
    build(load_config(FULL, overrides), folder / "out", Threads(2), Console(quiet=True))
    return folder / "out"


@pytest.mark.parametrize("name", SOURCES)
def test_a_stage_says_what_it_does_and_how(name: str) -> None:
    head = stages.find(name).read_text().split("\nname: ")[0].splitlines()
    assert 2 <= len(head) <= 4
    assert all(line.startswith("# ") and len(line) <= 100 for line in head)
    stage = stages.load(name)
    assert stage.name == name.removesuffix(".yaml")
    assert (stage.batch.global_, stage.batch.pool, stage.batch.pools) == (256, 64, 4)
    assert (stage.optim.lr, stage.optim.warmup, stage.optim.weight_decay) == (2e-4, 500, 0.01)
    assert (stage.save_steps, stage.log_steps) == (500, 50)
    assert stage.passes == (3 if name in ("stage1.yaml", "stage2.yaml") else 30)
    assert set(stage.objectives) <= set(OBJECTIVES)
    reached = frozenset().union(*(REACHES[objective] for objective in stage.objectives))
    assert set(stage.trainable) <= reached
    assert stage.max_tokens + stage.model.config.visual_tokens <= stage.model.config.positions


def test_all_sources_are_corpora_that_full_yaml_builds() -> None:
    corpora = yaml.safe_load(FULL.read_text())["corpora"]
    for name, sources in SOURCES.items():
        stage = stages.load(name)
        assert set(stage.sources) == sources
        assert all(spec.corpus is None for spec in stage.sources.values())
        assert sources <= set(corpora)
    assert set().union(*SOURCES.values()) == set(corpora)


def test_turns_are_taken_as_their_kind_wants() -> None:
    for source, spec in stages.load("stage1.yaml").sources.items():
        assert spec.turns == ("rotate" if source in CAPTIONS else "pack"), source
    assert stages.load("stage2.yaml").sources["llava"].turns == "whole"
    for name, kinds in (("stage3.yaml", ("robot",)), ("stage4.yaml", ("reasoning",))):
        robots = stages.load(name).sources["robots"]
        assert (robots.turns, robots.kinds) == ("one", kinds)


@pytest.mark.parametrize("name", SOURCES)
def test_a_stage_is_shown_on_a_data_set_of_all_corpora(name: str, every: Path) -> None:
    result = CliRunner().invoke(app, ["show", name, "--data", str(every), *SMALL])
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
