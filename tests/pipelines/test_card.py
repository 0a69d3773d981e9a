"""The data card says what is in the files beside it; a reader of words is judged on other tasks."""

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pipelines import card
from pipelines.cli import app
from pipelines.robots.dataset import FILES
from pipelines.transfer import transfer

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    assert card.write_set(folder, 4, 80, 40, QUIET) == {"single": 80, "multi": 40}
    assert not card.write_card(folder, audit=False, console=QUIET)
    return folder


def test_the_card_counts_what_is_there_and_says_what_was_not_measured(folder):
    text = (folder / "README.md").read_text()
    assert text.startswith("# Robot selection: 120 tasks")
    assert "| both | 120 | 84 | 24 | 12 |" in text
    assert "Not measured" in text and "tasks that name a robot | 0 |" in text
    assert "Undefined" not in text and "{{" not in text


def test_a_set_is_written_and_described_by_one_command(folder, tmp_path):
    counts = ["--single", "80", "--multi", "40", "--out", str(tmp_path / "again")]
    result = CliRunner().invoke(app, ["scenarios", "--seed", "4", *counts])
    assert result.exit_code == 0, result.output
    for name in (*FILES.values(), "README.md"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(("single", "multi"), [(0, 0), (-1, 5)])
def test_a_set_of_nothing_is_refused(tmp_path, single, multi):
    with pytest.raises(ValueError, match="ask for at least one"):
        card.write_set(tmp_path, 1, single, multi, QUIET)


def test_the_command_says_what_it_needs():
    result = CliRunner().invoke(app, ["scenarios"])
    assert result.exit_code == 2 and "--seed" in result.output
    result = CliRunner().invoke(app, ["scenes", "--sheet", "x.png", "--data", "/nowhere"])
    assert result.exit_code == 1 and "scenes failed" in result.output


def test_a_reader_of_words_is_judged_on_tasks_of_others(folder, tmp_path):
    known = json.loads((folder / FILES["single"]).read_text())
    tasks = tmp_path / "tasks.json"
    tasks.write_text(json.dumps([{"input": r["input"], "output": r["output"]} for r in known]))
    found = transfer(folder, tasks)
    assert found["tasks"] == 80
    assert found["hit_at_1"] > 0.5, "most of these it was fitted on, half of those come in pairs"
    assert 0.15 < found["random"] < found["best_constant"] < 0.5
    tasks.write_text(json.dumps([{"input": "Task: x", "subtasks": []}]))
    with pytest.raises(ValueError, match="no task with an output"):
        transfer(folder, tasks)
