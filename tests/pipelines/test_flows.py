"""The Prefect flow builds what `--plain` builds, and `--plain` knows nothing of Prefect."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
BUILD = """
import json, sys, time
from pathlib import Path
from threading import Semaphore

from pipelines import pack
from pipelines.cli import app

config, *outs = sys.argv[1:]
plain = ["--plain"] if "plain" in outs[0] else []
exits, tars, at_once = [], [], []
packed, busy = pack.pack, Semaphore(9)

def watched(*spec):
    with busy:
        at_once.append(9 - busy._value)
        time.sleep(0.02)
        return packed(*spec)

def full(plan, *rest):
    if plan.name == "vqav2-val-00000":
        tars.append(len(list(Path(outs[0]).glob("*/*.tar"))))
        raise OSError(28, "No space left on device")
    return packed(plan, *rest)

pack.pack = watched
for number, out in enumerate(outs):
    changed = ["--set", "root=/nowhere" if out.endswith("bad") else "workers=1"]
    if out in outs[:number]:  # other bytes into the same folder, and the last pack fails
        changed, pack.pack = ["--set", "image.quality=50"], full
    options = [*plain, "--config", config, "--out", out, *changed]
    exits.append(app(["build", *options], standalone_mode=False) or 0)
modules = {name: name in sys.modules for name in ("prefect", "torch")}
print(json.dumps({"exits": exits, "tars": tars, "at_once": max(at_once), **modules}))
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
    assert said == {"exits": [0], "tars": [], "at_once": 1, "prefect": False, "torch": False}
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
    assert said == {"exits": [0, 1, 1], "at_once": 1, "prefect": True, "torch": False}
    plain, built = digests(tmp_path / "plain"), digests(flow)
    assert built == plain, "what the failed build had packed is gone; the preview wrote nothing"
    assert tars > sum(name.endswith(".tar") for name in plain), "and it had packed something"
    assert f"build failed: the disk of {flow} is full" in stderr
    nodes = [line.split()[0] for line in stderr.splitlines() if " done in " in line]
    story = json.loads((tmp_path / "plain" / "build.json").read_bytes())
    walked = [node["node"] for node in story["nodes"]]
    assert nodes == [*walked, *walked[: walked.index("pack")]]
    last = stderr[stderr.rindex("build failed: ") :]
    assert last.startswith("build failed: root /nowhere does not exist")
    assert not (tmp_path / "bad" / "dataset.json").exists()


def test_a_bar_on_the_page_moves_once_a_second_and_ends_full(monkeypatch):
    from pipelines import flows

    shown: list[tuple[float, str]] = []
    now = iter([100.0, 100.4, 101.1, 101.1, 101.9, 102.0])
    monkeypatch.setattr(flows, "time", SimpleNamespace(monotonic=lambda: next(now)))
    monkeypatch.setattr(flows, "create_progress_artifact", lambda start, description: "bar")
    monkeypatch.setattr(
        flows,
        "update_progress_artifact",
        lambda bar, progress, description: shown.append((progress, description)),
    )
    show = flows._progress("pack", 4)
    for done in (1, 2, 3, 4):
        show(done)
    assert shown == [(50.0, "pack: 2 of 4"), (100.0, "pack: 4 of 4")]
