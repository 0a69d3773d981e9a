"""The Prefect flow builds what `--plain` builds, and `--plain` knows nothing of Prefect."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = """
import json, sys
from pipelines.cli import app

config, *outs = sys.argv[1:]
plain = ["--plain"] if "plain" in outs[0] else []
exits = []
for out in outs:
    root = ["--set", "root=/nowhere"] if out.endswith("bad") else []
    options = [*plain, "--config", config, "--out", out, *root]
    exits.append(app(["build", *options], standalone_mode=False) or 0)
print(json.dumps({"exits": exits, **{name: name in sys.modules for name in ("prefect", "torch")}}))
"""


@pytest.fixture
def elsewhere(shop, tmp_path: Path):
    """Builds in a process of its own, with a home of its own: a fresh machine."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    env = kept | {"HOME": str(home), "PREFECT_HOME": str(home / "prefect"), "PYTHONPATH": str(ROOT)}

    def run(*outs):
        command = [sys.executable, "-c", BUILD, str(shop.written()), *map(str, outs)]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    return run


def test_plain_imports_neither_prefect_nor_torch(elsewhere, tmp_path):
    said, _ = elsewhere(tmp_path / "plain")
    assert said == {"exits": [0], "prefect": False, "torch": False}
    assert (tmp_path / "plain" / "dataset.json").is_file()
    assert list((tmp_path / "home").iterdir()) == [], "nothing is left in the user's home"


@pytest.mark.timeout(180)
def test_the_flow_builds_the_same_bytes_and_fails_with_the_same_sentence(
    elsewhere, shop, tmp_path, digests
):
    shop.build(tmp_path / "plain")
    said, stderr = elsewhere(tmp_path / "flow", tmp_path / "bad")
    assert said == {"exits": [0, 1], "prefect": True, "torch": False}
    assert digests(tmp_path / "flow") == digests(tmp_path / "plain")
    nodes = [line.split()[0] for line in stderr.splitlines() if " done in " in line]
    assert nodes == ["survey", "tabulate", "gate", "pack", "seal"]
    last = stderr[stderr.rindex("build failed: ") :]
    assert last.startswith("build failed: root /nowhere does not exist")
    assert not (tmp_path / "bad" / "dataset.json").exists()
