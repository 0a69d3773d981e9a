"""What an operator sees of `python -m shards validate`."""

import os

from typer.testing import CliRunner

from manifests.seal import Seal
from shards.cli import app
from shards.validate import validate


def test_the_command_says_one_line_a_problem_and_exits_with_1(copy):
    seal = Seal.read(copy)
    whole = CliRunner().invoke(app, ["validate", str(copy)])
    assert whole.exit_code == 0
    records = sum(shard.records for shard in seal.shards)
    count = f"{copy}: {len(seal.shards)} shards, {records} records, root {seal.root}\n"
    assert whole.stdout == count
    first, second, *_ = seal.select("coco", "train")
    os.truncate(copy / second.tar, 100)
    (copy / first.tar).unlink()
    harmed = CliRunner().invoke(app, ["validate", str(copy)])
    assert harmed.exit_code == 1
    problems = list(validate(copy))
    assert harmed.stdout.splitlines() == problems
    assert len(problems) >= 2
    assert harmed.stderr == f"{len(problems)} problem(s) in {copy}\n"


def test_the_command_on_no_data_set(tmp_path):
    result = CliRunner().invoke(app, ["validate", str(tmp_path)])
    assert result.exit_code == 1
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"{tmp_path} is not a sealed data set")
