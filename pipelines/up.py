"""A Prefect server, our deployments and a worker on this machine: `up` starts, `down` ends them.

All they keep lies in ROOT/.prefect-up: the database, the logs. `up` writes ROOT/prefect.toml, by
which Prefect finds the server from that folder; `down` removes it. What is ours is known by a mark
in a process's environment, which its children inherit: no list of pids is believed after a crash or
a reboot, and no child is left over.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import httpx
import psutil

from manifests import store

POOL = "embervlm"
_AT_ONCE = 2  # runs of the pool
_MARK = "EMBERVLM_UP"
_HEADER = "# Written by `python -m pipelines up`; `python -m pipelines down` removes it.\n"
_PATIENCE = 90  # seconds for a server or a worker to start
_GRACE = 25  # seconds for a run to clean up behind itself
_RUN = "PREFECT__FLOW_RUN_ID"  # set by Prefect in a run's process, and so in its helpers

Role = Literal["server", "worker", "run"]


class UpError(ValueError):
    """A server that cannot be started; the message says why, and what to type."""


def up(root: Path, port: int, say: Callable[[str], None]) -> str:
    """Start everything below `root`, the repository; returns the page's address.

    Does nothing if it is running already. Raises UpError; then nothing is left running.
    """
    root = root.resolve()
    try:
        with store.sole_writer(_folder(root)):
            return _up(root, port, say)
    except BlockingIOError:
        raise UpError("another `python -m pipelines up` is at work; wait for it") from None


def down(root: Path) -> int:
    """End everything that `up` started, now or before a crash; returns how many processes."""
    root = root.resolve()
    # Runs first: they clean up behind themselves, and tell the server how they ended.
    ended = _end(root, "run") + _end(root, "worker") + _end(root, "server")
    if _is_ours(settings := root / "prefect.toml"):
        settings.unlink()
    return ended


def _up(root: Path, port: int, say: Callable[[str], None]) -> str:
    server, worker = _running(root, "server"), _running(root, "worker")
    if server and worker:
        page = server[0].environ()["PREFECT_API_URL"].removesuffix("/api")
        if _answers(page):
            say(f"running already: {page}")
            return page
    down(root)
    page = f"http://127.0.0.1:{port}"
    if not _is_free(port):
        raise UpError(
            f"port {port} is taken by another program; name a free one, such as: "
            f"python -m pipelines up --port {port + 1}"
        )
    try:
        say("starting a server ...")
        address = ("--host", "127.0.0.1", "--port", str(port))
        _start(root, page, "server", "server", "start", *address, ready=partial(_answers, page))
        _mark_crashed(page)
        say("starting a worker ...")
        pool, begun = ("--pool", POOL, "--type", "process", "--name", "up"), datetime.now(UTC)
        ready = partial(_has_worker, page, begun)  # it makes the pool, if there is none
        _start(root, page, "worker", "worker", "start", *pool, ready=ready)
        _call(page, "PATCH", f"work_pools/{POOL}", {"concurrency_limit": _AT_ONCE})
        say("making the deployments ...")
        _deploy(root, page)
        _write_settings(root, page, say)
    except BaseException as error:
        down(root)
        if isinstance(error, httpx.HTTPError):
            raise UpError(f"{page}: {error}; see {_folder(root) / 'server.log'}") from error
        raise
    return page


def _folder(root: Path) -> Path:
    return root / ".prefect-up"


def _environment(root: Path, page: str) -> dict[str, str]:
    """This one without what the user's shell says to Prefect, which may be of another server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"{page}/api",
        "PREFECT_CLI_COLORS": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_HOME": str(_folder(root)),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }


def _start(root: Path, page: str, role: Role, *arguments: str, ready: Callable[[], bool]) -> None:
    """Start `prefect` in the background, in a process group of its own, and wait for it."""
    log = _folder(root) / f"{role}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=root,
            env=_environment(root, page) | {_MARK: f"{role}:{root}"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    begun = time.monotonic()
    while not ready():
        if process.poll() is not None:
            said = _end_of(log.read_text(errors="replace"))
            raise UpError(f"the {role} ended as it started; see {log}:\n{said}")
        if time.monotonic() - begun > _PATIENCE:
            raise UpError(f"the {role} is not ready after {_PATIENCE} s; see {log}")
        time.sleep(0.2)


def _deploy(root: Path, page: str) -> None:
    """Make, or bring up to date, the deployments of prefect.yaml."""
    command = [sys.executable, "-m", "prefect", "deploy", "--all"]
    environment = _environment(root, page)
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UpError(f"prefect deploy --all failed:\n{_end_of(done.stdout + done.stderr)}")


def _end_of(said: str) -> str:
    return "\n".join(said.strip().splitlines()[-10:])


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _answers(page: str) -> bool:
    try:
        return httpx.get(f"{page}/api/health", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _call(page: str, method: str, path: str, said: dict[str, Any]) -> Any:
    answer = httpx.request(method, f"{page}/api/{path}", json=said, timeout=30, trust_env=False)
    return answer.raise_for_status().json() if answer.content else None


def _has_worker(page: str, since: datetime) -> bool:
    """Whether a worker of the pool has been heard of since then."""
    pools = {"work_pools": {"name": {"any_": [POOL]}}}
    if not _call(page, "POST", "work_pools/filter", pools):
        return False
    workers = _call(page, "POST", f"work_pools/{POOL}/workers/filter", {})
    return any(datetime.fromisoformat(w["last_heartbeat_time"]) > since for w in workers)


def _mark_crashed(page: str) -> None:
    """Say of all runs that are under way that they crashed: no worker is running.

    After a power cut, say, they would hold their places in the pool for ever.
    """
    begun = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
    question = {"flow_runs": begun, "work_pools": {"name": {"any_": [POOL]}}}
    for run in _call(page, "POST", "flow_runs/filter", question):
        state = {"type": "CRASHED", "message": "its process ended with the worker's"}
        _call(page, "POST", f"flow_runs/{run['id']}/set_state", {"state": state, "force": True})


def _role(process: psutil.Process, root: Path) -> Role | None:
    """What `process` is to the server of `root`. Raises psutil.Error if that cannot be known."""
    environment = process.environ()
    if process.pid == os.getpid() or environment.get(_MARK, "").partition(":")[2] != str(root):
        return None
    return "run" if _RUN in environment else cast(Role, environment[_MARK].partition(":")[0])


def _running(root: Path, role: Role) -> list[psutil.Process]:
    """The processes of a role, with what they started for it; eldest first."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # of another user, or gone meanwhile
            if _role(process, root) == role:
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())


def _end(root: Path, role: Role) -> int:
    """End the processes of a role: asked first, then made to."""
    ended: set[int] = set()
    for sent, seconds in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, 5)):
        if processes := _running(root, role):
            ended |= {process.pid for process in processes}
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(sent)
            psutil.wait_procs(processes, timeout=seconds)
    if left := _running(root, role):
        raise UpError(f"processes {[process.pid for process in left]} cannot be ended")
    return len(ended)


def _is_ours(settings: Path) -> bool:
    return settings.is_file() and settings.read_text().startswith(_HEADER)


def _write_settings(root: Path, page: str, say: Callable[[str], None]) -> None:
    """`prefect.toml`: a `prefect` typed in `root` speaks to this server, whatever the profile."""
    settings, home = root / "prefect.toml", _folder(root)
    if settings.exists() and not _is_ours(settings):
        say(
            f"{settings} is your own and stays; before `prefect`: export PREFECT_API_URL={page}/api"
        )
        return
    if "PREFECT_API_URL" in os.environ:
        say("PREFECT_API_URL is set in this shell and comes first; to use this server, unset it")
    lines = [
        f"home = {json.dumps(str(home))}",
        f"profiles_path = {json.dumps(str(home / 'profiles.toml'))}",
        f'[api]\nurl = "{page}/api"',
        "[server]\nanalytics_enabled = false",
    ]
    store.write(settings, (_HEADER + "\n".join(lines) + "\n").encode())
