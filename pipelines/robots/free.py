"""Sites and tasks drawn freely: as many as wanted, apart from the robot-selection set.

A free site agrees with itself (no gale in a room, no stairs in a lake, no mast in a crawl space),
and beyond that its facts hang on no other: what a picture shows of one must not hint at another. A
fact is plainly there or plainly not, as in the lexicon's states: little lies near a threshold.
"""

import math
from collections.abc import Mapping
from random import Random
from typing import Any

from pipelines.robots.evidence import differing
from pipelines.robots.language import UnsayableError, realise
from pipelines.robots.lexicon import Domain, Job, lexicon
from pipelines.robots.reading import UnreadableError, read, same
from pipelines.robots.scenarios import Scenario, chosen, draft, left_open, picture

TEAMS = 0.5  # of the tasks, those for a team
OPEN = 0.45  # of the tasks, those that only the picture decides
_INSIDE = {"floor": 40, "pavement": 15, "rubble": 9, "mud": 6, "sand": 6, "snow": 5, "rock": 5,
           "water": 14}  # fmt: skip
_OUTSIDE = {"pavement": 15, "grass": 15, "sand": 10, "mud": 11, "rubble": 11, "rock": 11,
            "snow": 11, "water": 16}  # fmt: skip
_LOADS = ((1, 4.5), (6, 19), (25, 75), (90, 190))  # kg: a parcel, a box, a stack, a pallet
# What a picture shows where these facts are not given: scene.draw draws them so. Of doors it draws
# none, which is another picture than the open one of `doors: 0`; but no shut door either.
_PLAIN = {"water_depth_m": 0.0, "height_m": 0.0, "slope_deg": 0, "stairs": 0, "doors": 0,
          "clutter": 0.0, "rain": 0.0, "light": 1.0, "distance_m": 0.0, "people": 0,
          "payload_kg": 0.0}  # fmt: skip
_DRAFTS = 10_000  # in vain, after which the lexicon cannot be right


def free_site(rng: Random) -> dict[str, Any]:
    """The facts to draw."""
    indoor = rng.random() < 0.45
    grounds = _INSIDE if indoor else _OUTSIDE
    (terrain,) = rng.choices(list(grounds), list(grounds.values()))
    site: dict[str, Any] = {"indoor": int(indoor), "clutter": rng.choice((0.0, 0.05, 0.1, 0.2))}
    if indoor:
        site["ceiling_m"] = _ceiling(rng)
        site["light"] = 0.05 if rng.random() < 0.1 else 1.0
    else:
        (site["light"],) = rng.choices((0.05, 0.45, 0.8, 1.0), (9, 25, 26, 40))
        gale = rng.random() < 0.35
        site["wind_ms"] = rng.randint(13, 22) if gale else rng.randint(0, 6)
        site["rain"] = round(rng.uniform(0.6, 1.0), 2) if rng.random() < 0.3 else 0.0
    low = site.get("ceiling_m", 9.0) < 2
    if terrain == "water":
        site |= _flood(site, rng)
    else:
        if not low and rng.random() < 0.25:  # beside the ground
            site["water_depth_m"] = _depth(rng)
        if rng.random() < (0.07 if indoor else 0.3):
            site["slope_deg"] = rng.randint(18, 38)
        site |= _standing(site, low, rng)
    if terrain == "water" or rng.random() >= 0.12:  # else what hides the ground is drawn
        site["terrain"] = terrain
    if rng.random() < 0.35:
        site["clutter"] = round(rng.uniform(0.65, 1.0), 2)
    site["people"] = int(rng.random() < 0.35)
    if rng.random() < 0.35:
        site["payload_kg"] = round(rng.uniform(*rng.choice(_LOADS)), 1)
    return dict(sorted(site.items()))


def _ceiling(rng: Random) -> float:
    (span,) = rng.choices(((0.9, 1.5), (2.1, 3.4), (5.5, 12.0)), (14, 50, 36))
    return round(rng.uniform(*span), 1)


def _depth(rng: Random) -> float:
    """Metres to dive to: some, or far down."""
    shallow = rng.random() < 0.65
    return round(rng.uniform(1.2, 4.5) if shallow else math.exp(rng.uniform(2.5, 3.7)), 1)


def _flood(site: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    """A room under water to below its ceiling; outdoors drowned ground, or the top of a lake."""
    if "ceiling_m" in site:
        return {"water_depth_m": round(min(rng.uniform(1.2, 4.0), 0.8 * site["ceiling_m"]), 1)}
    return {"water_depth_m": _depth(rng) if rng.random() < 0.75 else 0.0}


def _standing(site: Mapping[str, Any], low: bool, rng: Random) -> dict[str, Any]:
    """What stands on dry ground, for which a crawl space has no room."""
    found: dict[str, Any] = {"stairs": int(not low and rng.random() < 0.25)}
    if not low and rng.random() < 0.5:
        found["doors"] = int(rng.random() < 0.65)
    if site.get("ceiling_m", 9.0) > 5 and rng.random() < 0.35:
        most = min(60.0, site.get("ceiling_m", 60.0))
        found["height_m"] = round(4 * math.exp(rng.random() * math.log(most / 4)), 1)
    if not site["indoor"] and rng.random() < 0.25:
        found["distance_m"] = rng.randint(1, 20) * 1000
    return found


def shown(drawn: Mapping[str, Any]) -> dict[str, Any]:
    """All that the picture of these facts shows: what is plainly not there is a fact too. What it
    cannot show (weather in a room, the slope of a drowned ground) is absent."""
    facts = {**_PLAIN, **drawn}
    hidden = ["wind_ms", "rain"] if facts["indoor"] else ["ceiling_m"]
    if facts.get("terrain") == "water":
        hidden.append("slope_deg")
    return {name: value for name, value in sorted(facts.items()) if name not in hidden}


def free_task(rng: Random) -> Scenario:
    """A task with its site and robots, as the robot-selection set has them. Raises ValueError if
    there are none to be found."""
    team, by_picture = rng.random() < TEAMS, rng.random() < OPEN
    for _ in range(_DRAFTS):
        domain = rng.choice(lexicon().domains)
        jobs = _team(domain, rng) if team else (rng.choice(domain.jobs),)
        found = _scenario(domain, jobs, by_picture, rng) if jobs else None
        if found is not None:
            return found
    raise ValueError(f"no task was found in {_DRAFTS:,} drafts; does each robot have jobs to do?")


def _team(domain: Domain, rng: Random) -> tuple[Job, ...]:
    """Two to four jobs, most at the place of the first; none where the place has too few."""
    lead = rng.choice(domain.jobs)
    here = [job for job in domain.jobs if job.spot is lead.spot and job is not lead]
    there = [job for job in domain.jobs if job.spot is not lead.spot]
    size, away = rng.choice((2, 2, 3, 3, 4)), int(rng.random() < 0.45)
    if len(here) < size - 1 - away or len(there) < away:
        return ()
    return (lead, *rng.sample(here, size - 1 - away), *rng.sample(there, away))


def _scenario(
    domain: Domain, jobs: tuple[Job, ...], by_picture: bool, rng: Random
) -> Scenario | None:
    said = draft(domain, jobs, rng)
    options = left_open(said, rng)
    if not options or (len(options) > 1) is not by_picture:
        return None
    option = rng.choice(options)
    if len(jobs) > 1 and len(chosen(option.answer)) < 2:
        return None
    try:
        text = realise(said, rng)
        if not same(read(text), said):
            return None
    except (UnsayableError, UnreadableError):
        return None
    decided = "picture" if by_picture else rng.choice(("text", "both"))
    site, seen = picture(said, option, decided, rng)
    return Scenario(said, text, site, seen, option.answer, decided, differing(said, options))
