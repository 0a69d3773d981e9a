"""The command line: what it prints, where, and with which exit code."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from manifests.seal import Seal
from pipelines.cli import app
from shards.reshard import reshard

ROOT = Path(__file__).parents[2]


def test_a_build_ends_with_its_ledger_and_its_root(shop):
    result = shop.cli()
    assert result.exit_code == 0
    assert result.stdout == "", "stdout is for data; a build has none"
    said = result.stderr.splitlines()
    lines = [line for line in said if not line.startswith("note: ")]
    nodes = [line.split()[:3] for line in lines[:12]]
    assert nodes == [
        ["survey", "4", "done"],
        ["tabulate", "4", "done"],
        ["scenarios", "1", "done"],
        ["split", "1", "done"],
        ["paraphrase", "1", "done"],
        ["reasoning", "1", "done"],
        ["place", "4", "done"],
        ["gate", "4", "done"],
        ["compare", "9", "done"],
        ["scenes", "9", "done"],
        ["pack", "9", "done"],
        ["seal", "1", "done"],
    ]
    columns = "annotations read written quarantined duplicate held back images unannotated"
    assert " ".join(lines[12].split()) == columns
    table = [line.split() for line in lines[13:22]]
    assert ["coco/train", "10", "6", "1", "1", "2", "2", "1"] in table
    assert [row[0] for row in table] == [
        *("coco/train", "coco/val", "gqa/train", "gqa/val", "robots/test", "robots/train"),
        *("robots/val", "vqav2/train", "vqav2/val"),
    ]
    reasons = [" ".join(line.split()) for line in lines[22:-1]]
    assert reasons[0] == (
        "coco/train 1 duplicate: said before: as 770337 "
        "(776154 file:coco/train2017/000000391895.jpg)"
    )
    assert (
        "coco/val 1 quarantined: empty caption (734 file:coco/val2017/000000000285.jpg)" in reasons
    )
    assert (
        "gqa/train 1 unannotated: no question names this image (file:gqa/images/n161313.jpg)"
        in reasons
    )
    assert len(reasons) == 16
    assert lines[-1] == f"sealed {shop.out} with root {Seal.read(shop.out).root}"


def test_settings_are_overridden_from_the_command_line(shop):
    result = shop.cli("--set", "corpora.robots=null", "--set", "corpora.gqa.bits=1")
    assert result.exit_code == 0
    sealed = Seal.read(shop.out)
    exponents = {"coco": 0, "vqav2": 0, "gqa": 1}
    splits = ("train", "val", "test")
    assert sealed.bits == {f"{c}/{s}": bits for c, bits in exponents.items() for s in splits}
    assert {shard.corpus for shard in sealed.shards} == {"coco", "vqav2", "gqa"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("corpora.coco.bit=1", "unknown key 'bit'"),
        ("workers=0", "workers is the number 0; expected a whole number >= 1"),
        ("workers", "--set workers: expected a.b=value"),
        ("root=[a", "--set root=[a"),
    ],
)
def test_a_wrong_override_is_refused_before_anything_is_made(shop, override, message):
    result = shop.cli("--set", override)
    assert result.exit_code == 1
    assert result.stderr.startswith("build failed: ")
    assert message in result.stderr
    assert not shop.out.exists()


def test_an_out_that_cannot_be_written_says_so(shop, tmp_path):
    shop.out = tmp_path / "a-file"
    shop.out.write_text("in the way")
    result = shop.cli()
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert "build failed: " in result.stderr and str(shop.out) in result.stderr
    assert shop.out.read_text() == "in the way"


def test_a_missing_config_is_answered_with_those_beside_it(shop):
    shop.written()
    missing = str(shop.config.with_name("biuld.yaml"))
    args = ["build", "--plain", "--config", missing, "--out", str(shop.out)]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 1
    folder = shop.config.parent
    assert result.stderr == f"build failed: no settings file {missing}; {folder} has build.yaml\n"


def test_the_module_runs_as_a_program_and_its_exit_code_is_the_shell_s(shop):
    shop.only("coco")
    shop.settings["root"] = "/nowhere"
    command = [sys.executable, "-m", "pipelines", "build", "--plain", "--config"]
    command += [str(shop.written()), "--out", str(shop.out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("build failed: root /nowhere does not exist")


def test_a_build_says_that_it_undoes_a_reshard(shop):
    shop.only("coco")
    shop.build()
    reshard(shop.out, "coco/train", 2)
    note = "note: coco/train has bits 2 in the seal, 0 in the config: placed anew"
    assert note in shop.cli().stderr.splitlines()
    reshard(shop.out, "coco/train", 2)
    kept = shop.cli("--set", "corpora.coco.bits={train: 2}")
    assert kept.exit_code == 0
    assert "in the seal" not in kept.stderr


def test_repair_of_no_data_set_says_so(tmp_path):
    result = CliRunner().invoke(app, ["repair", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"repair failed: {tmp_path} is not a sealed data set")


def test_a_terminated_build_is_stopped_as_by_ctrl_c(tmp_path):
    config = tmp_path / "build.yaml"
    os.mkfifo(config)  # a build waits for who writes to it
    command = [sys.executable, "-m", "pipelines", "build", "--config", config, "--out", tmp_path]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        writer = None
        while writer is None and process.poll() is None:
            try:
                writer = os.open(config, os.O_WRONLY | os.O_NONBLOCK)  # once somebody reads
            except OSError:
                time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    if writer is not None:
        os.close(writer)
    assert (process.returncode, said) == (130, "stopped; what was sealed before stays as it was\n")


@pytest.mark.parametrize("program", ["pipelines", "shards"])
def test_a_stdout_that_takes_nothing_is_one_line_and_exit_code_1(program):
    command = [sys.executable, "-m", program, "--help"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False)
    told = b"writing to stdout failed: [Errno 28] No space left on device\n"
    assert (done.returncode, done.stderr) == (1, told)


def test_help_names_the_commands():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in ("build", "samples"):
        assert command in result.stdout
