"""Robot-selection JSON: tasks and the robots for them, each with a scene drawn from its site, or
where none is given from its words.

`single_robot_selection.json`, `multi_robot_selection_dataset.json` or both, in the shapes that such
files have in the wild: `input` begins with "Task: ", `output` is one name, several joined by ", ",
or a list; names vary in case. An unknown name is never guessed at.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from manifests.place import task_group
from manifests.schema import MAX_STEPS, ROBOTS, Split, Step, canonical_json
from pipelines.corpora import Folders, Layout, Survey, present, read_items, read_json, unreadable
from pipelines.robots.site import site_from_text
from pipelines.table import Row, clean

PATH = "robot-selection-dataset"
SPLITS: dict[str, Split | None] = {}  # none official: md5 of the task decides
LAYOUT: Layout = "hash"
_FILES = {"single_robot_selection.json": "single", "multi_robot_selection_dataset.json": "multi"}
_LICENCE = "MIT"
_NAMES = {robot.casefold(): robot for robot in ROBOTS}


class _Subtask(msgspec.Struct):
    subtask: str
    assigned_robot: str
    execution_order: int


class _Scenario(msgspec.Struct):
    input: str
    id: str | None = None
    output: str | list[str] | None = None
    original_single_robot_output: str | list[str] | None = None
    subtasks: list[_Subtask] = []
    site: dict[str, Any] | None = None
    requirements: dict[str, Any] | list[dict[str, Any]] | None = None
    evidence: dict[str, Any] | None = None
    pair: str | None = None


def survey(folders: Folders) -> Survey:
    files = present(folders.path, _FILES)
    rows = partial(_rows, folders.corpus, files)
    return Survey("robot-selection JSON", tuple(files.values()), 0, rows)


def _rows(corpus: str, files: dict[str, Path]) -> Iterator[Row]:
    for form, path in files.items():
        for place, item in read_items(read_json(path, list[msgspec.Raw]), _Scenario):
            if isinstance(item, str):
                yield unreadable(corpus, path, place, None, item)
            else:
                name = item.id or f"{place:05d}"
                yield _row(corpus, item, name if name.startswith(form) else f"{form}-{name}")


def _row(corpus: str, scenario: _Scenario, identity: str) -> Row:
    words = clean(scenario.input)
    task = words[5:].strip() if words[:5].casefold() == "task:" else words
    error = None if task else "empty task"
    robots: tuple[str, ...] = ()
    plan: tuple[Step, ...] = ()
    try:
        plan = tuple(
            Step(text=clean(s.subtask), robot=_robot(s.assigned_robot), order=s.execution_order)
            for s in scenario.subtasks
        )
        robots = _robots(scenario, plan)
    except ValueError as unknown:
        error = str(unknown)
    key = f"{corpus}-{identity}".replace(".", "-")
    return Row(
        key=key,
        group=task_group(task),
        locator=f"scene:{key}",
        split=None,
        id=identity,
        thread=identity,
        kind="robot",
        prompt=task,
        target=", ".join(robots),
        robots=robots,
        plan=plan,
        licence=_LICENCE,
        meta=canonical_json(_meta(scenario, task)),
        status="quarantined" if error else None,
        error=error,
    )


def _meta(scenario: _Scenario, task: str) -> dict[str, Any]:
    """The site and what comes with it; for a task without one, the site that its words support."""
    if scenario.site is None:
        return {"site": site_from_text(task)}
    names = ("site", "requirements", "evidence", "pair")
    values = ((name, getattr(scenario, name)) for name in names)
    return {name: value for name, value in values if value is not None}


def _robots(scenario: _Scenario, plan: tuple[Step, ...]) -> tuple[str, ...]:
    """The set of a scenario in the order of ROBOTS. Raises ValueError for what is no robot."""
    if len(plan) > MAX_STEPS:
        raise ValueError(f"too many subtasks: {len(plan)}; a plan has at most {MAX_STEPS}")
    output = scenario.output or scenario.original_single_robot_output
    names = [step.robot for step in plan]
    if not names:
        names = output.split(",") if isinstance(output, str) else list(output or ())
    chosen = {_robot(name) for name in names}
    if not chosen:
        raise ValueError("no robot: neither subtasks nor output names one")
    return tuple(robot for robot in ROBOTS if robot in chosen)


def _robot(name: str) -> str:
    if (robot := _NAMES.get(clean(name).casefold())) is None:
        raise ValueError(f"unknown robot: {clean(name)!r}; the robots are {', '.join(ROBOTS)}")
    return robot
