"""The probe finds what the features hold, no more, and says what a constant would get."""

import json
import math
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn
from typer.testing import CliRunner

from embervlm import EmberVLM, EmberVLMConfig
from manifests.schema import SITE_FACTS, canonical_json, site_vector
from pipelines import free_scenes
from pipelines.light import build
from shards.reader import Dataset
from train import probe as probes
from train.probe import THRESHOLDS, classes_of, probe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred and twenty free scenes."""
    folder = tmp_path_factory.mktemp("scenes")
    robots = folder / "robots"
    robots.mkdir()
    (robots / "single_robot_selection.json").write_text("[]")
    free_scenes.build(folder / "out", 120, 5, robots, False, 2, Console(quiet=True))
    return folder / "out"


class Bright(nn.Module):
    """An encoder whose features are the mean brightness of 49 squares, in three colours."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        squares = nn.functional.avg_pool2d(pixels.float() / 255, 32)
        return squares.flatten(2).transpose(1, 2)


class Blind(nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(pixels), 49, 3)


def judged(encoder: nn.Module, data: Path) -> dict:
    return probe(encoder, Dataset(data), "val", CPU)  # pyright: ignore[reportArgumentType]


def test_what_the_features_hold_is_found(data: Path) -> None:
    found = judged(Bright(), data)["facts"]
    assert found["light"]["accuracy"] > found["light"]["constant"] + 0.05
    assert found["light"]["balanced"] > 1 / found["light"]["classes"] + 0.2


def test_who_sees_nothing_is_as_good_as_the_constant(data: Path) -> None:
    result = judged(Blind(), data)
    for name, score in result["facts"].items():
        assert score["accuracy"] == score["constant"], name
    assert result["mean"]["accuracy"] == result["mean"]["constant"]
    records = Dataset(data).seal.select("scenes", "val")
    assert result["judged_on"] == sum(shard.records for shard in records)


def test_what_no_picture_of_the_split_shows_is_left_out(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    look, hidden = probes._look, [SITE_FACTS.index("people")]

    def noted(encoder, source, most, device):
        read.append(source.split)
        features, sites = look(encoder, source, most, device)
        if source.split == "val":
            sites[:, hidden] = math.nan
        return features, sites

    monkeypatch.setattr(probes, "_look", noted)
    result = judged(Blind(), data)
    assert read == ["train", "val"]
    assert result["left_out"] == {"people": "is known of no record of val"}
    hidden[:] = range(len(SITE_FACTS))
    with pytest.raises(ValueError, match=r"has no fact to judge by: terrain is known of no record"):
        judged(Blind(), data)


def test_a_fact_of_one_class_is_left_out_and_said(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(probes.THRESHOLDS, "people", (5.0,))
    result = judged(Blind(), data)
    assert result["left_out"] == {"people": "has fewer than two classes in train"}
    assert "people" not in result["facts"]


def test_classes_lie_between_thresholds_and_unknown_is_none() -> None:
    site = {"terrain": "mud", "payload_kg": 12, "light": 0.45, "water_depth_m": 3, "stairs": 1}
    rows = [site_vector(canonical_json({"site": of})) for of in (site, {"people": 0})]
    classes = {name: of.tolist() for name, of in classes_of(torch.tensor(rows)).items()}
    assert classes["terrain"] == [4, -1]
    assert classes["payload_kg"] == [2, -1]
    assert classes["light"] == [1, -1]
    assert classes["water_depth_m"] == [1, -1]
    assert classes["stairs"] == [1, -1]
    assert classes["people"] == [-1, 0]
    assert classes["wind_ms"] == [-1, -1]
    named = {name for name in SITE_FACTS if not name.startswith("terrain_")}
    assert set(THRESHOLDS) == named


def test_a_score_is_that_of_counting() -> None:
    logits = torch.tensor([[2.0, 1], [2, 1], [1, 2], [2, 1], [0, 9]])
    score = probes._score(logits, torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1, -1]))
    assert score == {
        "classes": 2, "records": 4, "accuracy": 0.75, "balanced": 0.75, "constant": 0.5,
    }  # fmt: skip


def test_a_run_is_probed_from_the_command_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"layers": 1, "heads": 2, "width": 32, "reasoning_blocks": 1}
    torch.manual_seed(1)
    model = EmberVLM(EmberVLMConfig.preset("compact", **small))
    model.save_pretrained(tmp_path / "run")
    monkeypatch.setattr(probes, "_MOST", {"train": 24, "val": 8})
    monkeypatch.setattr(probes, "_STEPS", 3)
    app = probes.typer.Typer()
    app.command()(probes.main)
    given = ["--checkpoint", str(tmp_path / "run"), "--data", str(data)]
    told = CliRunner().invoke(app, given)
    assert told.exit_code == 0, told.output
    result = json.loads((tmp_path / "run" / "probe_val.json").read_text())
    assert (result["split"], result["fitted_on"], result["judged_on"]) == ("val", 24, 8)
    assert result["root"] == Dataset(data).seal.root
    assert CliRunner().invoke(app, [*given, "--split", "train"]).exit_code == 1


def test_data_without_scenes_is_refused(tmp_path: Path) -> None:
    build(tmp_path / "none", {}, {}, {}, 1, Console(quiet=True))
    with pytest.raises(ValueError, match="free-scenes --out"):
        judged(Blind(), tmp_path / "none")
