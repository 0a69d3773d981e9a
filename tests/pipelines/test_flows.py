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
from pathlib import Path

from pipelines import pack
from pipelines.cli import app

config, *outs = sys.argv[1:]
plain = ["--plain"] if "plain" in outs[0] else []
exits, tars = [], []
packed = pack.pack

def full(plan, *rest):
    if plan.name == "vqav2-val-00000":
        tars.append(len(list(Path(outs[0]).glob("*/*.tar"))))
        raise OSError(28, "No space left on device")
    return packed(plan, *rest)

for number, out in enumerate(outs):
    changed = ["--set", "root=/nowhere"] if out.endswith("bad") else []
    if out in outs[:number]:  # other bytes into the same folder, and the last pack fails
        changed, pack.pack = ["--set", "image.quality=50"], full
    options = [*plain, "--config", config, "--out", out, *changed]
    exits.append(app(["build", *options], standalone_mode=False) or 0)
modules = {name: name in sys.modules for name in ("prefect", "torch")}
print(json.dumps({"exits": exits, "tars": tars, **modules}))
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
    assert said == {"exits": [0], "tars": [], "prefect": False, "torch": False}
    assert (tmp_path / "plain" / "dataset.json").is_file()
    assert list((tmp_path / "home").iterdir()) == [], "nothing is left in the user's home"


@pytest.mark.timeout(180)
def test_the_flow_builds_the_same_bytes_and_fails_with_the_same_sentence(
    elsewhere, shop, tmp_path, digests
):
    shop.build(tmp_path / "plain")
    flow = tmp_path / "flow"
    said, stderr = elsewhere(flow, flow, tmp_path / "bad")
    (tars,) = said.pop("tars")
    assert said == {"exits": [0, 1, 1], "prefect": True, "torch": False}
    plain = digests(tmp_path / "plain")
    assert digests(flow) == plain, "what the failed build had packed is gone"
    assert tars > sum(name.endswith(".tar") for name in plain), "and it had packed something"
    assert "build failed: [Errno 28] No space left on device" in stderr
    nodes = [line.split()[0] for line in stderr.splitlines() if " done in " in line]
    robots = ["scenarios", "split", "paraphrase", "reasoning"]
    packed = ["survey", "tabulate", *robots, "gate", "scenes"]
    assert nodes == [*packed, "pack", "seal", *packed]
    last = stderr[stderr.rindex("build failed: ") :]
    assert last.startswith("build failed: root /nowhere does not exist")
    assert not (tmp_path / "bad" / "dataset.json").exists()
