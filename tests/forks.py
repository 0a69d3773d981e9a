"""Builds, reshards, repairs in processes that may be killed: python -m tests.forks < jobs > results

Everything is imported once; each job, a line of JSON, is done by a fork, which meets the job's
fault and need not live to tell: a Result, of the code alone if it was killed.
"""

import gc
import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from rich.console import Console

from manifests import disk
from pipelines import config as configs
from pipelines.build import build
from pipelines.engine import Threads
from pipelines.repair import repair
from shards.reshard import reshard
from tests.faults import NO_FAULT, Fault, FaultyOS

ROOT = Path(__file__).parents[1]


class Job(msgspec.Struct):
    """A build of `config` into `out` by one worker, as `--plain` does it; a repair of `out` from
    its sources; or a division of the shards of coco/train in `out` into two."""

    do: Literal["build", "repair", "reshard"]
    config: str
    out: str
    fault: Fault = NO_FAULT


class Result(NamedTuple):
    """How a job ended: exit code, or minus the signal that killed it; the counted calls of the disk
    that it made; the error that a user would see."""

    code: int
    calls: list[str]
    error: str | None


class Forks:
    """The other end: asks for jobs and waits for their results."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def attempt(self, job: Job) -> Result:
        """As the function `attempt`, in a process of its own, which the fault may kill."""
        asked, told = self._process.stdin, self._process.stdout
        assert asked and told
        asked.write(msgspec.json.encode(job).decode() + "\n")
        asked.flush()
        line = told.readline()
        assert line, "the process that forks has ended; its stderr says why"
        return Result(*json.loads(line))

    def repair(self, config: Path, out: Path, fault: Fault = NO_FAULT) -> Result:
        """Repair a data set; what could not be mended is its error."""
        return self.attempt(Job("repair", str(config), str(out), fault))


@contextmanager
def serve(warm_up: Path, scratch: Path) -> Iterator[Forks]:
    """A process that forks, ready when a build of the config `warm_up` in `scratch` has shown what
    is to be imported."""
    env = os.environ | {"PYTHONWARNINGS": "ignore:resource_tracker", "POLARS_MAX_THREADS": "1"}
    env |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.forks", str(warm_up), str(scratch)]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=env, **pipes) as process:
        yield Forks(process)  # it ends with its stdin, which Popen closes


def attempt(job: Job) -> Result:
    """Do a job in this process; its fault must be one that leaves it alive."""
    faulty = FaultyOS(job.fault)
    disk.os = faulty  # type: ignore[attr-defined]
    try:
        _do(job)
    except (ValueError, OSError) as error:  # what the command line prints as one line
        return Result(1, faulty.calls, str(error))
    finally:
        disk.os = os
    return Result(0, faulty.calls, None)


def _do(job: Job) -> None:
    out, quiet = Path(job.out), Console(quiet=True)
    if job.do == "reshard":
        reshard(out, "coco/train", 1)
    elif job.do == "build":
        build(configs.load(Path(job.config)), out, Threads(1), quiet)
    elif failed := repair(out, configs.load(Path(job.config)), Threads(1), quiet).failed:
        raise ValueError("\n".join(failed))


def _fork(work: Callable[[], object]) -> Any:
    """What `work` returns in a fork, through JSON; its exit code if it was killed. Nobody but forks
    ever uses polars, whose threads do not survive one."""
    reading, writing = os.pipe()
    if pid := os.fork():
        os.close(writing)
        with os.fdopen(reading) as told:
            result = told.read()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return json.loads(result) if code == 0 else [code, [], None]
    code = 70
    try:
        with os.fdopen(writing, "w") as telling:
            json.dump(work(), telling)
        code = 0
    except Exception:  # noqa: BLE001 - the fork ends here, whatever it was
        traceback.print_exc()
    finally:
        os._exit(code)


def _warm_up(job: Job) -> list[str]:
    assert attempt(job).code == 0
    return list(sys.modules)


def main() -> None:
    resource_tracker.ensure_running()  # else every fork would start one
    config, scratch = sys.argv[1:]
    for module in _fork(lambda: _warm_up(Job("build", config, scratch))):
        with suppress(ImportError):  # Cython has some that are in no file
            importlib.import_module(module)
    gc.freeze()
    for line in sys.stdin:
        job = msgspec.json.decode(line, type=Job)
        sys.stdout.write(json.dumps(_fork(lambda job=job: attempt(job))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
