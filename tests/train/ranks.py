"""Runs of `train/run.py` on several ranks, each a process of its own, which a test may kill.

    with begin(2, tmp_path, *arguments, trap=partial(signalled, 1, Step, "__call__", 3)) as run:
        assert run.wait() == [1, -9]

All is imported once, by a process that forks the ranks; what torchrun would tell them they are told
here. A `trap` is called in each of them first, and may change what the code does there.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import chain
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.console import Console
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from train import track
from train.step import Step

QUIET = Console(quiet=True)
ROOT = Path(__file__).parents[2]
LIMIT = 100  # seconds that a run may take
_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["pytest", "train.run", "matplotlib.figure", "tests.train.ranks"])

Trap = Callable[[], object]
SEEN = "seen.jsonl"  # in a rank's folder, see `remembered`


class Run(NamedTuple):
    """Ranks that were begun."""

    processes: list[BaseProcess]
    folder: Path

    def wait(self, of: Sequence[int] | None = None) -> list[int]:
        """The exit status of each rank, or of some: minus the signal that ended it. Processes that
        they have begun have ended too."""
        until, ended = time.monotonic() + LIMIT, []
        for rank in range(len(self.processes)) if of is None else of:
            process = self.processes[rank]
            process.join(max(0.0, until - time.monotonic()))
            assert process.exitcode is not None, f"rank {rank} goes on and on: {self.said(rank)}"
            assert not _alive(process.pid), f"a process that rank {rank} has begun stayed behind"
            ended.append(process.exitcode)
        return ended

    def said(self, rank: int) -> str:
        """What a rank has printed."""
        return (self.folder / f"rank-{rank}.txt").read_text()


@contextmanager
def begin(world: int, folder: Path, *arguments: str, trap: Trap | None = None) -> Iterator[Run]:
    """`train/run.py` with these arguments on `world` ranks, each of which works in a folder of its
    own, `folder`/rank-N. All are dead when the block ends."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes = []
    try:
        for rank in range(world):
            (folder / f"rank-{rank}").mkdir(parents=True, exist_ok=True)
            env = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank}
            # A thread is enough for one alone: several that wait for each other are slow where the
            # machine has more to do.
            env |= {"LOCAL_WORLD_SIZE": max(2, world), "MASTER_ADDR": "127.0.0.1"}
            env |= {"MASTER_PORT": store.port, "TORCHELASTIC_USE_AGENT_STORE": "True"}
            env |= {"TORCHELASTIC_RESTART_COUNT": 0}
            work = (folder / f"rank-{rank}", {k: str(v) for k, v in env.items()}, arguments, trap)
            process = _FORKS.Process(target=_rank, args=work, daemon=True)
            process.start()
            processes.append(process)
        yield Run(processes, folder)
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.join()


def finish(world: int, folder: Path, *arguments: str, trap: Trap | None = None) -> None:
    """The same to its end, which must be a good one."""
    with begin(world, folder, *arguments, trap=trap) as run:
        assert run.wait() == [0] * world, run.said(0)


def signalled(
    rank: int, owner: type | str, name: str, call: int, number: int = signal.SIGKILL
) -> None:
    """A trap: `rank` sends itself a signal as it begins the `call`th call of `owner.name`; the
    owner is a class, or the name of a module."""
    if os.environ["RANK"] != str(rank):
        return
    where = import_module(owner) if isinstance(owner, str) else owner
    kept, calls = getattr(where, name), []

    def trapped(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return kept(*given, **named)

    setattr(where, name, trapped)


def remembered(then: Trap | None = None) -> None:
    """A trap: a rank notes the samples that it takes a step on. `then` is another one."""
    kept = Step.__call__

    def trapped(step: Step, slots: list, *given: Any) -> Any:
        pools = [[*zip(slot.corpus.tolist(), slot.record.tolist(), strict=True)] for slot in slots]
        with Path(SEEN).open("a") as file:
            file.write(json.dumps(pools) + "\n")
        return kept(step, slots, *given)

    Step.__call__ = trapped  # type: ignore[method-assign]
    if then:
        then()


def seen(folder: Path) -> list[list]:
    """The samples of each global batch of a start in `folder`, pool by pool."""
    ranks = [path.read_text().splitlines() for path in sorted(folder.glob(f"rank-*/{SEEN}"))]
    steps = min(map(len, ranks))  # one may have been ahead when it was stopped
    return [
        [
            [*chain(*parts)]
            for parts in zip(*(json.loads(rank[step]) for rank in ranks), strict=True)
        ]
        for step in range(steps)
    ]


def told(run: Path) -> list[dict[str, Any]]:
    """What a run's log says of what it has computed."""
    same = ("step", "loss", "objectives", "sources", "drawn", "mixture", "lr")
    return [{name: line[name] for name in same} for line in track.read(run)]


def write_stage(folder: Path, encoder: Path) -> str:
    """Eight steps of two pools, which two or three ranks cannot share evenly, saved every two."""
    small = {"layers": 1, "heads": 2, "width": 32, "reasoning_blocks": 1}
    frozen = {"encoder_weights": str(encoder), "encoder_frozen": True}
    settings = {
        "name": "small",
        "steps": 8,
        "model": {"preset": "compact", "set": {**small, **frozen}},
        "trainable": ["projection", "language", "fusion", "reasoning", "robot_head", "contrast"],
        "sources": {
            "coco": {"weight": 0.5, "turns": "rotate"},
            "vqav2": {"weight": 0.25, "turns": "pack"},
            "robots": {"weight": 0.25, "turns": "one", "kinds": ["robot"]},
        },
        "objectives": {"language": 1.0, "contrast": 0.5, "robots": 0.5},
        "batch": {"global": 10, "pool": 5},
        "max_tokens": 48,
        "optim": {"lr": 3.0e-3, "warmup": 2},
        "log_steps": 1,
        "save_steps": 2,
        "eval_steps": None,
        "timeout_s": 60,
    }
    path = folder / "stage.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def _alive(group: int | None, patience: float = 5) -> bool:
    """Whether a process of the group stays alive."""
    until = time.monotonic() + patience
    while group in _groups():
        if time.monotonic() > until:
            return True
        time.sleep(0.05)
    return False


def _groups() -> set[int]:
    """The groups of all processes that are alive."""
    groups = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            state, _, group, *_ = stat.read_text().rpartition(")")[2].split()
            groups |= {int(group)} if state != "Z" else set()
    return groups


def _rank(folder: Path, env: dict[str, str], arguments: tuple[str, ...], trap: Trap | None) -> None:
    from train import run

    os.setpgrp()  # with what it begins itself
    os.environ.update(env)
    os.chdir(folder)
    file = os.open(f"{folder}.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.modules["codecarbon"] = None  # type: ignore[assignment] # it measures for seconds first
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if trap:
        trap()
    sys.argv = ["train/run.py", *arguments]
    sys.exit(run.main())
