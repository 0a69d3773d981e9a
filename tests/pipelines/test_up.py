"""`up` starts a server, deployments and a worker that `down` ends, and neither touches others'."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from pipelines import up as ups
from pipelines.up import UpError, down, up

ROOT = Path(__file__).parents[2]
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def said():
    return []


@pytest.fixture
def process():
    """Starts sleepers with a given environment; they are ended after the test."""
    started = []

    def start(**environment: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(SLEEP, env=os.environ | environment))
        return started[-1]

    yield start
    for sleeper in started:
        sleeper.kill()
        sleeper.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_port_that_is_taken_is_named_with_another(tmp_path, said):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(UpError) as error:
            up(tmp_path, port, said.append)
    assert str(error.value) == (
        f"port {port} is taken by another program; name a free one, such as: "
        f"python -m pipelines up --port {port + 1}"
    )
    assert said == []


def test_down_ends_what_is_marked_as_ours_and_nothing_else(tmp_path, process):
    ours = process(EMBERVLM_UP=f"worker:{tmp_path}")
    run = process(EMBERVLM_UP=f"worker:{tmp_path}", PREFECT__FLOW_RUN_ID="1")
    server = process(EMBERVLM_UP=f"server:{tmp_path}")
    others = process(EMBERVLM_UP=f"worker:{tmp_path / 'elsewhere'}")
    unmarked = process()
    assert [p.pid for p in ups._running(tmp_path, "run")] == [run.pid]
    assert [p.pid for p in ups._running(tmp_path, "worker")] == [ours.pid]
    assert down(tmp_path) == 3
    assert not any(psutil.pid_exists(p.pid) for p in (ours, run, server))
    assert others.poll() is None and unmarked.poll() is None
    assert down(tmp_path) == 0


def test_down_makes_an_end_of_what_does_not_listen(tmp_path, monkeypatch):
    monkeypatch.setattr(ups, "_GRACE", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True)"
    environment = os.environ | {"EMBERVLM_UP": f"worker:{tmp_path}"}
    command = [sys.executable, "-c", f"{deaf}; time.sleep(60)"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline()
        assert down(tmp_path) == 1
        assert not psutil.pid_exists(process.pid)


def test_settings_are_written_and_removed_unless_they_are_the_user_s(tmp_path, said):
    settings, page = tmp_path / "prefect.toml", "http://127.0.0.1:4200"
    ups._write_settings(tmp_path, page, said.append)
    assert settings.read_text().splitlines() == [
        "# Written by `python -m pipelines up`; `python -m pipelines down` removes it.",
        f'home = "{tmp_path}/.prefect-up"',
        f'profiles_path = "{tmp_path}/.prefect-up/profiles.toml"',
        "[api]",
        'url = "http://127.0.0.1:4200/api"',
        "[server]",
        "analytics_enabled = false",
    ]
    down(tmp_path)
    assert not settings.exists()
    settings.write_text('[api]\nurl = "http://elsewhere/api"\n')
    ups._write_settings(tmp_path, page, said.append)
    down(tmp_path)
    assert settings.read_text() == '[api]\nurl = "http://elsewhere/api"\n'
    assert said[-1].startswith(f"{settings} is your own and stays; ")


def test_a_server_that_ends_as_it_starts_is_told_with_its_last_words(tmp_path):
    (tmp_path / ".prefect-up").mkdir()
    with pytest.raises(UpError, match="the server ended as it started; see .*server.log:\n(.|\n)+"):
        ups._start(tmp_path, "http://127.0.0.1:1", "server", "--nonsense", ready=lambda: False)


def test_what_the_shell_says_to_prefect_is_not_passed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("PREFECT_API_URL", "https://elsewhere/api")
    given = ups._environment(tmp_path, "http://127.0.0.1:4200")
    assert "PREFECT_API_KEY" not in given
    assert given["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert given["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_deployments_name_flows_and_files_that_exist_and_no_path_of_a_machine():
    said = (ROOT / "prefect.yaml").read_text()
    for deployment in yaml.safe_load(said)["deployments"]:
        file, _, function = deployment["entrypoint"].partition(":")
        assert f"\ndef {function}(" in (ROOT / file).read_text()
        assert deployment["work_pool"] == {"name": ups.POOL}
        assert (ROOT / deployment["parameters"].get("config", "README.md")).is_file()
        assert not [v for v in deployment["parameters"].values() if str(v).startswith(("/", "~"))]


def finished(page: str, flow: str) -> dict:
    """The one run of `flow`, once it has ended."""
    question = {"flows": {"name": {"any_": [flow]}}}
    for _ in range(240):
        (run,) = httpx.post(f"{page}/api/flow_runs/filter", json=question).json()
        if run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return run
        time.sleep(0.25)
    raise AssertionError(f"{flow} is still {run['state']}")


@pytest.mark.timeout(180)
def test_deployments_run_by_their_bare_names_and_leave_nothing_behind(shop, tmp_path, monkeypatch):
    root, home = tmp_path / "repository", tmp_path / "home"
    root.mkdir()
    home.mkdir()
    (root / "pipelines").symlink_to(ROOT / "pipelines")
    for name in ("prefect.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    shop.only("coco")
    shop.build(tmp_path / "damaged")
    tar = next((tmp_path / "damaged" / "coco").glob("*.tar"))
    tar.write_bytes(tar.read_bytes()[:-1] + b"x")

    def run(*options: str) -> None:
        command = [str(Path(sys.executable).with_name("prefect")), "deployment", "run", *options]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    said: list[str] = []
    try:
        page = up(root, free_port(), said.append)
        assert up(root, free_port(), said.append) == page
        assert said[-1] == f"running already: {page}"
        run("validate/validate", "-p", f"data={tmp_path / 'damaged'}")
        run("build-shards", "-p", f"config={shop.written()}", "-p", f"out={shop.out}", "--watch")
        built, checked = finished(page, "build-shards"), finished(page, "validate")
        artifacts = httpx.post(f"{page}/api/artifacts/filter", json={}).json()
    finally:
        down(root)
    sealed = shop.build(tmp_path / "plain")
    assert built["state"]["message"] == f"sealed {shop.out} with root {sealed.root}"
    assert checked["state"]["type"] == "FAILED"
    assert f"coco/{tar.name}: sha256 is not the sealed one" in checked["state"]["message"]
    by_key = {a["key"]: a for a in artifacts if a["key"]}
    assert {key: a["type"] for key, a in by_key.items()} == {
        "ledger": "table",
        "preview": "markdown",
        "problems": "table",
        "reasons": "table",
    }
    assert "](data:image/jpeg;base64," in by_key["preview"]["data"]
    assert len(by_key["preview"]["data"]) < 200_100
    bars = {a["description"]: a["data"] for a in artifacts if a["type"] == "progress"}
    assert bars["pack: 2 of 2"] == 100.0 and set(bars.values()) == {100.0}
    for role in ("run", "worker", "server"):
        assert ups._running(root, role) == []
    assert not (root / "prefect.toml").exists()
    assert list(home.iterdir()) == [], "the user's own ~/.prefect is not made"
    assert not [
        p for p in psutil.process_iter(["cmdline"]) if page[-5:] in (p.info["cmdline"] or [])
    ]
