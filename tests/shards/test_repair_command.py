"""`python -m shards repair` as a program: what it prints, where, and with which exit code."""

import os
import subprocess
import sys
from pathlib import Path

from manifests.seal import Seal
from tests.pipelines.damaged import flip, make

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shards", "repair", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_damaged_data_set_is_repaired_from_sources_that_have_moved(tmp_path):
    made = make(tmp_path, "cc3m", "robots", "gqa")
    moved = tmp_path / "moved"
    made.raw.rename(moved)
    tar, root = made.tar("coco"), made.seal.root
    whole = tar.read_bytes()
    os.truncate(tar, 1000)
    done = run(made.out, "--set", f"root={moved}")
    assert done.returncode == 0
    assert done.stdout.startswith(f"repaired 1 of 2 shards: coco/{tar.name} (")
    assert done.stdout.endswith(f"; root {root}, unchanged\n")
    assert tar.read_bytes() == whole
    captions = moved / "coco/annotations/captions_train2017.json"
    captions.write_text(captions.read_text().replace("Something red", "A thing, red"))
    flip(tar)
    (made.out / "build.json").unlink()
    config = tmp_path / "build.yaml"
    failed = run(made.out, "--config", config, "--set", f"root={moved}")
    assert failed.returncode == 1
    assert failed.stdout == f"repaired 0 of 2 shards; root {root}\n", failed.stderr
    *_, line = failed.stderr.splitlines()
    assert line.startswith(f"coco/{tar.name} is damaged still: the sources have changed since")


def test_a_data_set_that_does_not_say_its_config_is_not_read(copy):
    done = run(copy)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"repair failed: {copy}/build.json does not say what config")
    assert f"python -m shards repair {copy} --config C\n" in done.stderr
    assert Seal.read(copy)


def test_a_wrong_command_line_is_2(tmp_path):
    assert run(tmp_path, "--fast").returncode == 2
