"""The Prefect flow `build-shards`: the walk of `build.py`, each node's specs as tasks.

The only file that imports Prefect. Without a server of yours (PREFECT_API_URL) Prefect starts an
ephemeral one for the length of the run; its database and logs are conveniences, the seal is the
truth.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any, TypeVar, cast

# Read by Prefect when it is imported: no analytics, time for a slow machine to start a server, and
# what a build has to say is said by the build, not as stack traces of the tasks around it, nor of
# the ephemeral server that is stopped with events in hand (the seal does not need them).
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "90")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed, wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from rich.console import Console

from pipelines import config as configs
from pipelines.build import build
from pipelines.engine import Advance

S = TypeVar("S")
R = TypeVar("R")


class Tasks:
    """Runs nodes as Prefect tasks of the flow that is running, on its task runner."""

    def each(
        self,
        node: str,
        function: Callable[[S], R],
        specs: Sequence[S],
        labels: Sequence[str],
        advance: Advance,
    ) -> list[R]:
        stopped = Event()

        def unless_stopped(spec: S) -> R:
            if stopped.is_set():
                raise RuntimeError(f"{node} was stopped by an error elsewhere")
            return function(spec)

        futures: list[PrefectFuture[R]] = []
        for spec, label in zip(specs, labels, strict=True):
            name = f"{node} {label}"
            run = task(name=node, task_run_name=name, cache_policy=NO_CACHE)(unless_stopped)
            futures.append(run.submit(spec))
        try:
            for future in as_completed(futures):
                future.result()
                advance()
        except BaseException:
            stopped.set()  # what is running ends before `build` cleans up behind it
            wait(futures)
            raise
        return [future.result() for future in futures]


@flow(name="build-shards")
def build_shards(config: str, out: str, overrides: Sequence[str] = ()) -> str:
    """Build the data set of a config file into `out`; returns the seal's root."""
    return build(configs.load(config, overrides), Path(out), Tasks(), Console(stderr=True)).root


def run(config: str, out: str, overrides: Sequence[str]) -> None:
    """Build through Prefect: the same data set, byte for byte, as without it."""
    workers = configs.load(config, overrides).workers
    runner = cast(TaskRunner[PrefectFuture[Any]], ThreadPoolTaskRunner(max_workers=workers))
    build_shards.with_options(task_runner=runner)(config, out, overrides)
