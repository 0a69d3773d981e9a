"""The commands, as typed."""

import re

import pytest
import yaml
from typer.testing import CliRunner, Result

from embervlm.cli import app
from embervlm.config import EmberVLMConfig

STAGES = {
    "stage1": ["projection", "contrast", "language"],
    "stage2": ["projection", "language"],
    "stage3": ["projection", "language", "fusion", "reasoning", "robot_head"],
    "stage4": ["projection", "language", "fusion", "reasoning", "robot_head", "plan_head"],
}


def said(*arguments: str) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def table(output: str) -> dict[str, list[str]]:
    rows = ([c.strip() for c in line.split("│")[1:-1]] for line in output.splitlines())
    return {row[0]: row[1:] for row in rows if row}


@pytest.mark.parametrize(
    ("config", "without", "reasoning", "total", "design"),
    [
        ("compact", 19_407_333, 22_964_720, 23_063_281, (None, 23.0)),
        ("flagship", 37_135_077, 40_692_464, 40_791_025, (37.1, 40.7)),
    ],
)
def test_parameters_are_counted_and_are_what_the_design_says(
    config: str, without: int, reasoning: int, total: int, design: tuple[float | None, float]
) -> None:
    rows = table(said("params", "--config", config))
    assert rows["vision encoder"] == ["4,717,792"]
    assert rows["without reasoning"] == [f"{without:,}"]
    assert rows["with reasoning"] == [f"{reasoning:,}"]
    assert rows["in all, contrast too"] == [f"{total:,}"]
    for number, millions in zip((without, reasoning), design, strict=True):
        assert millions is None or abs(number / 1e6 - millions) < 0.05


@pytest.mark.parametrize(
    ("config", "trained"),
    [
        ("compact", ("13,008,641", "12,910,080", "18,240,773", "18,246,928")),
        ("flagship", ("30,736,385", "30,637,824", "35,968,517", "35,974,672")),
    ],
)
def test_parameters_by_stage(config: str, trained: tuple[str, ...], tmp_path) -> None:
    files = [tmp_path / f"{name}.yaml" for name in STAGES]
    for file, (name, listed) in zip(files, STAGES.items(), strict=True):
        file.write_text(yaml.safe_dump({"name": name, "trainable": listed}))
    rows = table(said("params", "--config", config, *map(str, files)))
    assert [sum_.split()[0] for sum_ in rows["in all, contrast too"][1:]] == list(trained)
    assert rows["contrast"] == ["98,561", "98,561", "", "", ""]
    assert rows["plan head"] == ["6,155", "", "", "", "6,155"]
    assert rows["positions"][1:] == ["393,216"] * 4
    assert rows["vision encoder"][1:] == [""] * 4


def test_a_stage_that_does_not_say_what_it_trains(tmp_path) -> None:
    file = tmp_path / "stage.yaml"
    for text in ("name: x", "trainable: [langauge]", "3"):
        file.write_text(text)
        result = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["params", str(file)])
        assert result.exit_code == 2 and "expected a list of encoder, projection" in result.output


def test_params_of_a_checkpoint(tmp_path) -> None:
    EmberVLMConfig.preset("compact", vocab_size=4097).save_pretrained(tmp_path)
    rows = table(said("params", "--checkpoint", str(tmp_path)))
    assert rows["in all, contrast too"] == ["23,063,665"]


def test_unknown_config() -> None:
    result = CliRunner().invoke(app, ["params", "--config", "large"])
    assert result.exit_code == 2 and "compact" in result.output


@pytest.mark.parametrize(
    ("config", "total", "trained", "language", "vocabulary"),
    [
        ("flagship", "40,791,025", "36,073,233 (88.43%), the vision encoder frozen",
         "TinyLLM-30M", 50262),
        ("compact", "23,063,281", "23,063,281 (100.00%)", "12.6 M", 4096),
    ],
)  # fmt: skip
def test_quickstart(config: str, total: str, trained: str, language: str, vocabulary: int) -> None:
    rule = "=" * 60
    assert said("quickstart", "--config", config).splitlines() == [
        rule,
        "EmberVLM Quick Start",
        rule,
        "Model created!",
        f"  Total parameters: {total}",
        f"  Trainable parameters: {trained}",
        "  Vision encoder: RepViT with 49 tokens (7\u00d77 grid)",
        f"  Language model: {language} (GPT-2 style)",
        "  Weights: random; none were downloaded",
        "Forward pass successful!",
        "  Input: [2, 3, 224, 224] image",
        f"  Output: [2, 512, {vocabulary}] logits",
        rule,
        "All tests passed! EmberVLM is ready.",
        rule,
    ]


def test_quickstart_of_a_checkpoint(model, tmp_path) -> None:
    model.save_pretrained(tmp_path)
    lines = said("quickstart", "--checkpoint", str(tmp_path)).splitlines()
    assert f"  Weights: of {tmp_path}" in lines
    assert "  Output: [2, 112, 4096] logits" in lines  # as many as fit beside the picture


def test_quickstart_tells_a_model_that_does_not_compute(model, small, tmp_path) -> None:
    broken = type(model)(small)
    broken.language.ln_f.weight.data.fill_(float("nan"))
    broken.save_pretrained(tmp_path)
    result = CliRunner().invoke(app, ["quickstart", "--checkpoint", str(tmp_path)])
    assert result.exit_code == 1 and "All tests passed" not in result.output


def test_export(model, tmp_path) -> None:
    def exported(to: str, out: str) -> Result:
        paths = ("--checkpoint", str(tmp_path / "saved"), "--out", str(tmp_path / out))
        return CliRunner(env={"COLUMNS": "400"}).invoke(app, ["export", "--to", to, *paths])

    model.save_pretrained(tmp_path / "saved")
    result = exported("int8", "small")
    assert result.exit_code == 0, result.output
    sizes, error = result.output.splitlines()
    bytes_of = {
        name: sum(path.stat().st_size for path in (tmp_path / name).iterdir())
        for name in ("saved", "small")
    }
    path = tmp_path / "small"
    assert sizes == f"{path}: {bytes_of['small']:,} bytes in int8, {bytes_of['saved']:,} in fp32"
    assert re.fullmatch(r"Largest relative error of a tensor: 0\.\d\d% \([a-z0-9._]+\)", error)

    result = exported("int8", "small")
    assert result.exit_code == 2 and "small is there already; name a new" in result.output
    result = exported("int4", "other")
    assert (
        result.exit_code == 2
        and "unknown target 'int4'; expected --to int8 or fp16" in result.output
    )
    (tmp_path / "saved" / "model.safetensors").unlink()
    result = exported("fp16", "other")
    assert result.exit_code == 2 and "saved holds neither model.safetensors" in result.output
    assert not (tmp_path / "other").exists()
