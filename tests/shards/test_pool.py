"""Helpers give what one process gives, in order; none that is killed is waited for, none stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shards import pool
from shards.pool import ordered_map

MUCH = 10**12
CORES = len(os.sched_getaffinity(0))
several = pytest.mark.skipif(CORES < 2, reason="starts helpers on two cores and more")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Evaluates what it is given; in a module of its own, as helpers cannot import a test's."""
    (tmp_path / "evaluating.py").write_text(
        "import os, time\ndef run(code, progress):\n    return eval(code)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import evaluating  # pyright: ignore[reportMissingImports]

    return evaluating.run


@several
def test_results_come_in_the_order_of_the_items(run):
    items = [(f"time.sleep({0.2 if i == 0 else 0}) or ({i}, os.getpid())",) for i in range(20)]
    found = list(ordered_map(run, items, MUCH))
    assert [number for number, _ in found] == list(range(20))
    assert len({process for _, process in found} - {os.getpid()}) == min(CORES, 20)


def test_little_is_done_here(run):
    told = []
    items = [("progress(3) or os.getpid()",)] * 3
    assert list(ordered_map(run, items, 9, told.append)) == [os.getpid()] * 3
    assert told == [3, 3, 3]


@several
def test_progress_adds_up(run):
    told = []
    items = [("progress(5_000_000) or progress(4_000_000)",)] * 4
    assert list(ordered_map(run, items, MUCH, told.append)) == [None] * 4
    assert sum(told) == 4 * 9_000_000


@several
def test_what_a_helper_raises_is_raised_here(run):
    with pytest.raises(ZeroDivisionError):
        list(ordered_map(run, [("1 / 0",), ("1",)], MUCH))


@several
def test_a_helper_that_is_killed_is_an_error(run):
    with pytest.raises(ChildProcessError, match=r"was killed \(exit code -9, process \d+\)"):
        list(ordered_map(run, [("os.kill(os.getpid(), 9)",)] * 2, MUCH))


@several
def test_a_helper_that_hangs_is_an_error(run, monkeypatch):
    monkeypatch.setattr(pool, "_PATIENCE", 2)
    items = [("os.kill(os.getpid(), 19)",)] * 2  # SIGSTOP
    with pytest.raises(ChildProcessError, match="has read anything for 2 seconds"):
        list(ordered_map(run, items, MUCH))


@several
def test_no_helper_outlives_the_one_that_started_it(run, tmp_path):
    script = (
        "import evaluating, sys; from shards.pool import ordered_map\n"
        "items = [('time.sleep(0) or os.getpid()',)] * 2 + [('time.sleep(600)',)] * 2\n"
        "for found in ordered_map(evaluating.run, items, 10**12): print(found, flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        helpers = {int(parent.stdout.readline()) for _ in range(2)}
        parent.kill()
    until = time.monotonic() + 30
    while time.monotonic() < until and any(_runs(number) for number in helpers):
        time.sleep(0.05)
    assert not any(_runs(number) for number in helpers)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
