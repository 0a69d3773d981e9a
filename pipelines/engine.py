"""How the nodes of a build are run and shown; what they do is in `build.py`."""

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
)
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

S = TypeVar("S")
R = TypeVar("R")
Advance = Callable[[], None]


class Engine(Protocol):
    """Runs `function` on each of `specs` (named by `labels`); results come in the specs' order.

    `advance` is called once a spec is done. The first exception ends the build.
    """

    def each(
        self,
        node: str,
        function: Callable[[S], R],
        specs: Sequence[S],
        labels: Sequence[str],
        advance: Advance,
    ) -> list[R]: ...


class Threads:
    """Runs nodes on threads of this process: decoding, scaling and hashing leave Python's lock."""

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
        with ThreadPoolExecutor(self._workers, thread_name_prefix=node) as pool:
            futures = [pool.submit(function, spec) for spec in specs]
            try:
                for future in as_completed(futures):
                    future.result()
                    advance()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return [future.result() for future in futures]


@contextmanager
def helpers(count: int) -> Iterator[Executor]:
    """`count` processes for what is Python, which one process runs on one core only; they start
    when the first of it is submitted. Raises ChildProcessError if one is killed."""
    context = get_context("spawn")
    with ProcessPoolExecutor(count, context, initializer=prepare_helper) as pool:
        try:
            yield pool
        except BrokenExecutor as error:
            raise ChildProcessError(
                "a helper process was killed, perhaps for want of memory; nothing half-written "
                "stays. Run it again, with fewer workers if it was memory: --set workers=1"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def prepare_helper() -> None:
    """A helper ends with its parent, which cannot end it when it is killed, and works alone on its
    core."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: its threads would wait by spinning
    gc.set_threshold(100_000)  # rows come by the thousand, and none in cycles
    parent = parent_process()
    assert parent is not None, "runs in a helper"
    Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


class Walk:
    """Walks the nodes of a build: shows each as it is run, and remembers how long it took."""

    def __init__(self, console: Console, engine: Engine) -> None:
        self._console, self._engine = console, engine
        self.nodes: list[dict[str, str | int | float]] = []

    def each(
        self, node: str, function: Callable[[S], R], specs: Sequence[S], labels: Sequence[str]
    ) -> list[R]:
        """Run a node: `function` on each of `specs`, named by `labels`."""
        with self._node(node, len(specs)) as advance:
            return self._engine.each(node, function, specs, labels, advance)

    @contextmanager
    def _node(self, name: str, specs: int) -> Iterator[Advance]:
        """A bar for one node; yields what is to be called once a spec is done."""
        begun = time.monotonic()
        columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn())
        columns += (TimeElapsedColumn(),)
        quiet = not self._console.is_terminal  # a log gets one line a node, printed below
        with Progress(*columns, console=self._console, transient=True, disable=quiet) as progress:
            task = progress.add_task(name, total=specs)
            yield lambda: progress.advance(task)
        seconds = round(time.monotonic() - begun, 3)
        self.nodes.append({"node": name, "specs": specs, "seconds": seconds})
        self._console.print(f"{name:>10}  {specs} done in {seconds:.1f} s", highlight=False)
