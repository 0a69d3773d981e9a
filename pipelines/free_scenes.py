"""The corpus `scenes`: pictures of freely drawn sites, and what can be said of them.

What an eye and a language model are made from where no pretrained weights are to be had. Half of
the sites are drawn from scratch, half are those of freely drawn robot tasks. Each record has three
captions and questions about single facts; a task's also the task, its robots and the reasoning. The
site in its `meta` is all that the picture shows: see `pipelines.robots.free.shown`.

A scene follows from (seed, number) alone, and numbers go into shards by the thousand, so a larger
set begins with the smaller. Its group, a task's normal form or else the site itself, decides its
split; so a task in the same words as one of the robot-selection set's val or test would be val or
test here too. Near-twins of those are held back.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, partial
from hashlib import md5
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, get_args

from rich.console import Console

from manifests.place import order_in_shard, split_of, task_group
from manifests.schema import Kind, Record, Split, Step, Turn, canonical_json
from manifests.seal import Seal
from pipelines import light, robot_set
from pipelines.augment import kept_apart
from pipelines.light import Part
from pipelines.robots.choose import Group
from pipelines.robots.dataset import records
from pipelines.robots.describe import caption, questions, told
from pipelines.robots.free import free_site, free_task, shown
from pipelines.robots.reasoning import UntoldError, reason
from pipelines.robots.scenarios import Scenario
from pipelines.robots.scene import scene_jpeg
from pipelines.robots.twins import Twins
from pipelines.specs import Line, Packed
from shards import writer
from shards.writer import ShardWriter, Source

CORPUS = "scenes"
_A_PART = 1000  # numbers
_TASKS = 0.5  # of all scenes
_QUESTIONS = 5
_TRIES = 20
_LICENCE = "MIT"
_SIDE = 224


class Scene(NamedTuple):
    """A scene before it is drawn. `facts`: what is drawn; `twin`: the val or test task of the
    robot-selection set that its task is too near to."""

    record: Record
    facts: dict[str, Any]
    twin: str | None


def build(
    out: Path,
    count: int,
    seed: int,
    robots: Path,
    with_robots: bool,
    workers: int | None,
    console: Console,
) -> Seal:
    """Seal in `out` the scenes 0 .. count - 1 of a seed, apart from val and test of the
    robot-selection set in the folder `robots`; and that set too, if it is to be with them.

    By as many processes as there are cores, if `workers` does not say how many. Raises ValueError
    or OSError; see `light.build`.
    """
    out, robots = out.resolve(), robots.resolve()
    _apart(robots)  # before anything is begun: it may not be there
    begins, corpora = range(0, count, _A_PART), dict[str, list[Part]]()
    if with_robots:  # first: one of its shards takes longest
        corpora[robot_set.CORPUS] = robot_set.parts(robots, out)
    corpora[CORPUS] = [
        partial(_part, range(b, min(b + _A_PART, count)), seed, robots, out) for b in begins
    ]
    settings = {"count": count, "seed": seed, "robots": with_robots}
    bits = robot_set.BITS if with_robots else {}
    return light.build(
        out, corpora, settings, bits, workers or len(os.sched_getaffinity(0)), console
    )


def _part(numbers: range, seed: int, robots: Path, out: Path) -> list[Packed]:
    """The shards of some numbers, one for each split that they have records of."""
    scenes = [scene(seed, number, _apart(robots)) for number in numbers]
    scenes.sort(key=lambda one: order_in_shard(one.record.key))
    name = f"{numbers.start // _A_PART:05d}"
    found: list[Packed] = []
    for split in get_args(Split):
        of_split = [one for one in scenes if one.record.split == split]
        if of_split:
            found.append(_shard(out, split, name, of_split))
    return found


def _shard(out: Path, split: Split, name: str, scenes: list[Scene]) -> Packed:
    failures: list[dict[str, Any]] = []
    with ShardWriter(out, CORPUS, split, name) as shard:
        for record, facts, twin in scenes:
            locator = f"free:{record.key}"
            if twin is not None:
                failures.append(_held_back(record, locator, twin))
                continue
            jpeg = scene_jpeg(facts, record.key)
            source = Source(locator=locator, digest=writer.digest(jpeg), width=_SIDE, height=_SIDE)
            shard.add(_with_image(record, jpeg), source)
        sealed = shard.close(failures)
    return Packed(shard=sealed, lines=tuple(_lines(split, sealed.turns, failures)))


def scene(seed: int, number: int, apart: Twins) -> Scene:
    """The scene of a number; its record has no image yet."""
    key = f"{CORPUS}-{seed}-{number:07d}"
    rng = Random(f"free scene {seed} {number}")
    task, of_set, why = _task(key, rng) if rng.random() < _TASKS else (None, {}, "")
    drawn = task.seen if task else free_site(rng)
    facts = shown(drawn)
    group = task_group(task.text) if task else _site_group(facts)
    turns = [*_described(facts, key, rng)]
    robots: tuple[str, ...] = ()
    plan: tuple[Step, ...] = ()
    if task:
        asked, plan = _asked(task, of_set, why, key)
        turns += asked
        robots = task.robots
    record = Record(
        key=key,
        corpus=CORPUS,
        group=group,
        split=split_of(group),
        image=b"",
        turns=tuple(turns),
        robots=robots,
        plan=plan,
        licence=_LICENCE,
        meta=canonical_json({"site": facts}),
    )
    twin = next(apart.of(task.text), None) if task and record.split == "train" else None
    return Scene(record, drawn, twin)


def _site_group(facts: dict[str, Any]) -> str:
    """Equal sites are one group."""
    return f"site:{md5(canonical_json(facts).encode(), usedforsecurity=False).hexdigest()}"


def _described(facts: dict[str, Any], key: str, rng: Random) -> Iterator[Turn]:
    """Captions and questions, each a thread of its own."""
    captions = [caption(facts, rng), caption(facts, rng), told(facts, rng)]
    said: list[tuple[Kind, str, str]] = [("caption", "", text) for text in captions if text]
    for asked, answer in questions(facts, rng, _QUESTIONS):
        said.append(("qa", asked, answer))
    for thread, (kind, prompt, target) in enumerate(said):
        answers = (target,) if kind == "qa" else ()
        yield Turn(
            thread=thread,
            id=f"{key}-{thread}",
            prompt=prompt,
            target=target,
            kind=kind,
            answers=answers,
        )


def _task(key: str, rng: Random) -> tuple[Scenario, dict[str, Any], str]:
    """A task, as the robot-selection set has it, and its reasoning; one whose reasoning cannot be
    put as those of the set are, in a hundred and sixty words at most, is drawn again."""
    for _ in range(_TRIES):
        task = free_task(rng)
        form = "single" if len(task.said.items) == 1 else "multi"
        ((_, of_set),) = records([Group(form, "train", (task,))])
        with suppress(UntoldError):
            return task, of_set, reason(of_set | {"id": key})
    raise ValueError(f"{key}: none of {_TRIES} tasks has a reasoning")


def _asked(
    task: Scenario, of_set: dict[str, Any], why: str, key: str
) -> tuple[list[Turn], tuple[Step, ...]]:
    """The task with its robots, and with the reasoning; and the plan of a team."""
    plan = tuple(
        Step(text=s["subtask"], robot=s["assigned_robot"], order=s["execution_order"])
        for s in of_set.get("subtasks", ())
    )
    thread = 3 + _QUESTIONS  # after all that is described
    both: list[tuple[Kind, str, str]] = [("robot", "task", of_set["output"])]
    both.append(("reasoning", "why", why))
    turns = [
        Turn(thread=thread + n, id=f"{key}-{name}", prompt=task.text, target=target, kind=kind)
        for n, (kind, name, target) in enumerate(both)
    ]
    return turns, plan


def _with_image(record: Record, jpeg: bytes) -> Record:
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return Record(**{**fields, "image": jpeg})


@cache
def _apart(robots: Path) -> Twins:
    """The val and test tasks of the robot-selection set; once a process."""
    return kept_apart(robot_set.rows(robots))


def _held_back(record: Record, locator: str, twin: str) -> dict[str, Any]:
    return writer.row(
        key=record.key,
        group=record.group,
        turns=len(record.turns),
        kinds=sorted({turn.kind for turn in record.turns}),
        licence=record.licence,
        locator=locator,
        status="held back",
        error=f"near-twin of a val or test task: {twin!r}",
    )


def _lines(split: Split, written: int, failures: list[dict[str, Any]]) -> Iterator[Line]:
    if written:
        yield Line(
            corpus=CORPUS,
            split=split,
            status="written",
            reason="",
            annotations=written,
            example="",
        )
    if failures:
        yield Line(
            corpus=CORPUS,
            split=split,
            status="held back",
            reason="near-twin of a val or test task",
            annotations=sum(row["turns"] for row in failures),
            example=f"{failures[0]['error']} ({failures[0]['key']})",
        )
