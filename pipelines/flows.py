"""The Prefect flows: build-shards, plan, download, validate.

The only file that imports Prefect, and thin: a flow calls the plain function that does the work,
runs its specs as tasks (`Tasks`), and puts what came of it on the page as artifacts. Without a
server of yours (PREFECT_API_URL, or `python -m pipelines up`) Prefect starts an ephemeral one for
the length of the run; its database and logs are conveniences, the seal is the truth.
"""

import base64
import io
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TypeVar, cast
from uuid import UUID

import msgspec

# Read by Prefect when it is imported: no analytics, time for a slow machine to start a server, and
# what a build has to say is said by the build, not as stack traces of the tasks around it, nor of
# the ephemeral server that is stopped with events in hand (the seal does not need them).
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "90")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import as_completed
from prefect.runtime import deployment
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner
from rich.console import Console

from manifests.seal import Seal
from pipelines import config as configs
from pipelines import download as downloading
from pipelines import ledger, plan_tables, state
from pipelines import plan as planning
from pipelines.build import build
from pipelines.engine import Advance
from pipelines.preview import preview
from shards.validate import validate as problems_of

S = TypeVar("S")
R = TypeVar("R")
_SHOWN = 1000  # rows of a table on the page
_DOWNLOADS = 4  # files at a time


class Tasks:
    """Runs nodes as Prefect tasks of the flow that is running, `workers` at a time.

    On a task runner of its own: the flow's is chosen before the flow has read its config.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def each(
        self,
        node: str,
        function: Callable[[S], R],
        specs: Sequence[S],
        labels: Sequence[str],
        advance: Advance,
    ) -> list[R]:
        def work(spec: S) -> R:
            return function(spec)

        show = _progress(node, len(specs))
        # Left by an exception, the runner drops what waits and waits for what runs, so that
        # `build` can clean up behind it.
        with ThreadPoolTaskRunner[R](max_workers=self._workers) as runner:
            futures = []
            for spec, label in zip(specs, labels, strict=True):
                name = f"{node} {label}"
                run = task(name=node, task_run_name=name, cache_policy=NO_CACHE)(work)
                futures.append(runner.submit(run, {"spec": spec}))
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                advance()
                show(done)
            return [future.result() for future in futures]


def _progress(node: str, specs: int) -> Callable[[int], None]:
    """A bar of this node on the page; give it how many are done. It moves once a second at most."""
    started = create_progress_artifact(0.0, description=f"{node}: 0 of {specs:,}")
    bar = cast(UUID, started)  # nothing to await outside of an event loop
    shown = time.monotonic()

    def show(done: int) -> None:
        nonlocal shown
        if done == specs or time.monotonic() - shown >= 1:
            shown = time.monotonic()
            update_progress_artifact(bar, 100 * done / specs, f"{node}: {done:,} of {specs:,}")

    return show


class _Log(io.TextIOBase):
    """What is printed, as lines of the flow run's log."""

    def __init__(self) -> None:
        self._logger = get_run_logger()

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if line := line.strip():
                self._logger.info(line)
        return len(text)


def _console() -> Console:
    """The terminal; for a deployment's run, which has none, its log on the page."""
    if deployment.id is None:
        return Console(stderr=True)
    return Console(file=cast(IO[str], _Log()), width=200)


@flow(name="build-shards")
def build_shards(
    config: str, out: str, overrides: Sequence[str] = (), deep: bool = False
) -> State[str]:
    """Build the data set of a config file into a folder and seal it; the result is its root.

    Only what changed since the last build is packed.

    Args:
        config: A YAML file such as pipelines/configs/full.yaml.
        out: The data set's folder.
        overrides: Changes of the config, such as root=data/base_vlm or workers=8.
        deep: Read and pack all again, whatever sizes and times of files say.
    """
    checked, console = configs.load(config, overrides), _console()
    if not deep and (answer := state.compare(checked, Path(out))).same:
        state.tidy(Path(out))
        console.print(answer.said, highlight=False, soft_wrap=True, markup=False)
        return Completed(message=answer.said, data=Seal.read(out).root)
    sealed = build(checked, Path(out), Tasks(checked.workers), console, deep)
    _table("ledger", sealed.ledger, f"{out}, root {sealed.root}")
    lost = [line for line in ledger.read(Path(out), sealed) if line.status != "written"]
    _table("reasons", lost, f"{out}: what was not written, and why")
    sheet = base64.b64encode(preview(Path(out))).decode()
    picture = f"![a dozen records](data:image/jpeg;base64,{sheet})"
    create_markdown_artifact(picture, key="preview", description=f"Records of {out}")
    return Completed(message=f"sealed {out} with root {sealed.root}", data=sealed.root)


@flow(name="plan")
def plan(config: str, out: str, overrides: Sequence[str] = ()) -> State[None]:
    """Say what a build would write, before it is built; fails if the disk has no room for it.

    Args:
        config: A YAML file such as pipelines/configs/full.yaml.
        out: The folder that the data set is to go to.
        overrides: Changes of the config, such as root=data/base_vlm or workers=8.
    """
    checked = configs.load(config, overrides)
    planned = planning.plan(checked, Path(out), Tasks(checked.workers), _console())
    said = plan_tables.markdown(planned)
    create_markdown_artifact(said, key="plan", description=f"Plan of {config}")
    _table("plan-corpora", planned.corpora, f"Plan of {config}, by corpus")
    total = f"{planned.shards:,} shards, {planned.nbytes:,} bytes"
    if not planned.fits:
        raise ValueError(f"{total} are more than the {planned.free:,} bytes free for {out}")
    return Completed(message=f"planned {config}: {total}")


@flow(name="download")
def download(
    root: str, corpora: Sequence[str] = (), minimal: bool = False, images: bool = False
) -> State[None]:
    """Fetch the corpora's official files; what is there already stays, what broke off goes on.

    Args:
        root: The folder that the corpora lie in, such as data/base_vlm.
        corpora: Which; none named means all.
        minimal: Only the smallest useful set.
        images: Also the pictures that cc3m and laion name by their addresses.
    """
    engine, console = Tasks(_DOWNLOADS), _console()
    files = downloading.download(Path(root), corpora, minimal, images, engine, console)
    return Completed(message=f"{root} has all {len(files)} files")


@flow(name="validate")
def validate(data: str) -> State[None]:
    """Read every byte of a data set against its seal; fails if anything differs.

    Args:
        data: The data set's folder.
    """
    found = list(problems_of(data))
    shown = [{"problem": str(problem)} for problem in found[:_SHOWN]]
    _table("problems", shown, f"{data}: {len(found):,} problems, the first {len(shown):,} listed")
    if found:
        raise ValueError(f"{data} has {len(found):,} problems, the first: {found[0]}")
    return Completed(message=f"{data} is whole")


def _table(key: str, rows: Sequence[object], description: str) -> None:
    create_table_artifact(msgspec.to_builtins(rows), key=key, description=description)


def run(config: str, out: str, overrides: Sequence[str], deep: bool = False) -> None:
    """Build through Prefect: the same data set, byte for byte, as without it."""
    build_shards(config, out, overrides, deep)
