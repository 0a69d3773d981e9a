"""The capability model: from the facts of a task and its site to the robots that suit, and why.

`capability.yaml` says what each robot can; here stands what a task in a site asks for. A robot
suits if it meets every requirement and none that does is cheaper to run. Nothing else makes a
label.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from manifests.schema import ROBOTS

Facts = Mapping[str, Any]
PATH = Path(__file__).with_name("capability.yaml")
QUIET_DB = 55
AIRBORNE_M = 3.0  # work from here up is reached through the air, whatever the ground is like
WADING_M = 0.5  # water less deep than this is ground
_SKIPPABLE = ("doors", "stairs", "slope_deg", "clutter", "people")
WEATHER = ("wind_ms", "rain", "light")
_FRESH_MS, _TIDY = 8, 0.3  # wind and clutter up to here bother nobody


@dataclass(frozen=True)
class Task:
    """What a task itself demands; None and False: nothing. `skips`: facts of the site that the
    task says are not on its way."""

    payload_kg: float | None = None
    height_m: float | None = None
    above: bool = False
    under: bool = False
    hands: bool = False
    hours: float | None = None
    minutes: float | None = None
    distance_m: float | None = None
    quiet: bool = False
    skips: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Failure:
    """A requirement that a robot does not meet, the fact behind it, and the sentence for it."""

    requirement: str
    fact: str
    why: str


@dataclass(frozen=True)
class Verdict:
    """`robots` suit, in the order of ROBOTS; `failures` says why others cannot, `costlier` who
    could, at a higher running cost."""

    robots: tuple[str, ...]
    failures: dict[str, tuple[Failure, ...]]
    costlier: tuple[str, ...]


@cache
def model() -> dict[str, Any]:
    """capability.yaml, checked. ValueError for an unknown robot or a value that is missing."""
    said = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    if set(said["robots"]) != set(ROBOTS):
        raise ValueError(f"{PATH.name} has {sorted(said['robots'])}; the robots are {ROBOTS}")
    for name, robot in said["robots"].items():
        wanted = {"summary", "running_cost", *said["requirements"]}
        if wrong := wanted ^ set(robot):
            raise ValueError(f"{PATH.name}, {name}: missing or unknown {', '.join(sorted(wrong))}")
    for name, rule in said["requirements"].items():
        for robot, has in ((r, can[name]) for r, can in said["robots"].items()):
            if not isinstance(has, list if rule["is"] == "contains" else int | float):
                raise ValueError(f"{PATH.name}, {robot}: {name} is {has!r}, which is no number")
    return said


def requirements(task: Task, site: Facts) -> dict[str, Any]:
    """What a task in a site asks of a robot: requirement -> value needed.

    Work under water asks nothing of the ground, work high up or from above nothing of the way
    there. A fact that is absent from the site asks for nothing.
    """
    need: dict[str, Any] = {}
    depth, terrain = site.get("water_depth_m"), site.get("terrain")
    height = task.height_m or 0.0
    airborne = task.above or height >= AIRBORNE_M
    drowned = terrain == "water" and not airborne and "water_depth_m" not in task.skips
    if task.under or (drowned and (depth is None or depth >= WADING_M)):
        need |= {"grounds": "water", "depth_m": depth or 1.0}
    else:
        need |= {fact: site[fact] for fact in WEATHER if _bites(fact, site)}
        if site.get("indoor") and "ceiling_m" in site and "ceiling_m" not in task.skips:
            need["clearance_m"] = site["ceiling_m"]
        if not airborne:
            if terrain is not None:
                need["grounds"] = "mud" if terrain == "water" else terrain  # shallow: one wades
            for fact in _SKIPPABLE:
                tidy = fact == "clutter" and site.get(fact, 0) <= _TIDY
                if site.get(fact) and not tidy and fact not in task.skips:
                    need["near_people" if fact == "people" else fact] = _needed(fact, site[fact])
    if height:
        need["reach_m"] = height
    if task.above:
        need["view_from_above"] = True
    if task.hands:
        need["hands"] = True
    if task.payload_kg:
        need["payload_kg"] = task.payload_kg
    if task.quiet:
        need["noise_db"] = QUIET_DB
    if task.hours:
        need["endurance_h"] = task.hours
    if task.distance_m:
        need["range_m"] = task.distance_m
        if task.minutes:
            need["speed_ms"] = round(task.distance_m / (60 * task.minutes), 1)
    return need


def _bites(fact: str, site: Facts) -> bool:
    """Whether the weather is one to speak of; indoors there is light or none, but no weather."""
    if fact == "light":
        return site.get(fact, 1.0) < 0.2
    least = _FRESH_MS if fact == "wind_ms" else 0
    return site.get(fact, 0) > least and not site.get("indoor")


def _needed(fact: str, value: Any) -> Any:
    return True if fact in ("doors", "stairs", "people") else value


def suited(need: Mapping[str, Any]) -> tuple[str, ...]:
    """The robots that suit what is needed, in the order of ROBOTS; none, one or several.

    Raises ValueError for an unknown requirement.
    """
    able = [robot for robot in ROBOTS if all(_met(robot, n, value) for n, value in need.items())]
    cost = {robot: model()["robots"][robot]["running_cost"] for robot in able}
    return tuple(robot for robot in able if cost[robot] == min(cost.values()))


def judge(need: Mapping[str, Any]) -> Verdict:
    """Which robots suit what is needed, and why the others do not. Raises ValueError as
    `suited`."""
    robots = suited(need)
    failures = {
        robot: tuple(_failure(robot, n, v) for n, v in need.items() if not _met(robot, n, v))
        for robot in ROBOTS
    }
    return Verdict(
        robots=robots,
        failures={robot: found for robot, found in failures.items() if found},
        costlier=tuple(r for r in ROBOTS if not failures[r] and r not in robots),
    )


def _met(robot: str, requirement: str, value: Any) -> bool:
    said = model()
    rule = said["requirements"].get(requirement)
    if rule is None:
        raise ValueError(f"unknown requirement {requirement!r}; {PATH.name} has no such name")
    has = said["robots"][robot][requirement]
    if rule["is"] == "contains":
        return value in has
    return has >= value if rule["is"] == "at least" else has <= value


def _failure(robot: str, requirement: str, value: Any) -> Failure:
    rule = model()["requirements"][requirement]
    has = model()["robots"][robot][requirement]
    why = rule["fails"].format(need=show(value), has=show(has))
    return Failure(requirement, rule["fact"], why)


def show(value: Any) -> str:
    """A value as a sentence wants it: 12, 1.5, rubble."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)
