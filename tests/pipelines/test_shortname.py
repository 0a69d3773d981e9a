"""`prefect deployment run build-shards` is completed, and nothing else is touched."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from pipelines.shortname import DEPLOYMENTS, completed

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("program", ["/venv/bin/prefect", "prefect", "-m"])
def test_a_bare_name_is_written_out(program):
    typed = [program, "deployment", "run", "build-shards", "-p", "out=data/shards", "--watch"]
    full = [program, "deployment", "run", "build-shards/build-shards", *typed[4:]]
    assert completed(typed) == full
    assert completed(full) == full


@pytest.mark.parametrize(
    "typed",
    [
        "prefect deployment run others-flow",
        "prefect deployment run plan/nightly",
        "prefect deployment inspect plan",
        "prefect deployment run",
        "prefect deployment run --id plan",
        "prefect flow-run ls --name deployment run plan",
        "other deployment run plan",
        "prefect",
        "",
    ],
)
def test_anything_else_stays_as_it_was_typed(typed):
    assert completed(typed.split()) == typed.split()


def test_the_names_are_those_that_are_deployed():
    deployed = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert tuple(deployment["name"] for deployment in deployed) == DEPLOYMENTS


class _Nothing(BaseHTTPRequestHandler):
    """A Prefect server that has no deployment."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as it is called there)
        pass


def test_prefect_s_own_command_asks_the_server_for_the_deployment(tmp_path):
    _Nothing.asked = []
    with HTTPServer(("127.0.0.1", 0), _Nothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        env = os.environ | {"PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path)}
        command = [str(Path(sys.executable).with_name("prefect")), "deployment", "run"]
        done = subprocess.run(
            [*command, "build-shards"],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        server.shutdown()
    assert done.returncode == 1
    assert "Deployment 'build-shards/build-shards' not found!" in done.stdout + done.stderr
    assert _Nothing.asked[-1] == "/api/deployments/name/build-shards/build-shards"
