import pytest
from typer.testing import CliRunner

from embervlm.cli import app
from embervlm.config import EmberVLMConfig


@pytest.mark.parametrize(
    ("config", "without", "total"),
    [("compact", "19,407,333", "22,958,565"), ("flagship", "37,135,077", "40,686,309")],
)
def test_params(config: str, without: str, total: str) -> None:
    result = CliRunner().invoke(app, ["params", "--config", config])
    assert result.exit_code == 0, result.output
    lines = {line.split("│")[1].strip(): line for line in result.output.splitlines() if "│" in line}
    assert "4,717,792" in lines["vision encoder"]
    assert without in lines["total without reasoning"]
    assert total in lines["total with reasoning"]


def test_params_of_a_checkpoint(tmp_path) -> None:
    EmberVLMConfig.preset("compact", vocab_size=4097).save_pretrained(tmp_path)
    result = CliRunner().invoke(app, ["params", "--checkpoint", str(tmp_path)])
    assert result.exit_code == 0 and "22,958,949" in result.output


def test_unknown_config() -> None:
    result = CliRunner().invoke(app, ["params", "--config", "large"])
    assert result.exit_code == 2 and "compact" in result.output
