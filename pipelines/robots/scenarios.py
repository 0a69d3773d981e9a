"""Scenarios: a task's meaning and the sites its words leave open, each with its robots.

A draft is a meaning drawn by chance: jobs of one domain, a place, states that are told, denied or
said to be out of the way. The words leave open every state that the place can be in besides; each
is a site in which the capability model gives the robots. If all give the same, the words decide; if
not, only the picture can, and each answer becomes a scenario of its own: the same words, as many
sites, as many different answers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from random import Random
from typing import Any, Literal

from manifests.schema import ROBOTS
from pipelines.robots.capability import requirements, suited
from pipelines.robots.lexicon import CLASSES, Domain, Job, State, lexicon
from pipelines.robots.said import Item, Said, state_facts

Decided = Literal["text", "picture", "both"]
Answer = tuple[tuple[str, ...], ...]  # the robots that suit, for each item

LOADS = (1.5, 12.0, 90.0)  # kg that a picture tells apart: a parcel, a box, a pallet
_WEATHER = ("wind", "rain")
# Types of things that are still there to be looked at when a place is flooded.
_THINGS = "structure wall floor pipe cable machine vehicle boat opening container door-leaf window"
_UNDER_WATER_TOO = frozenset((*_THINGS.split(), "tool", "furniture", "equipment", "sign", "stone"))

_STEPS = {"payload_kg": 1.0, "height_m": 1.0, "distance_km": 1.0, "hours": 0.5}


@dataclass(frozen=True)
class Open:
    """One site that the words leave open: states that only a picture can tell, the facts of the
    whole site, and the answer there."""

    states: tuple[str, ...]
    site: dict[str, Any]
    answer: Answer


@dataclass(frozen=True)
class Scenario:
    """One task in one site. `seen`: the facts that its picture shows; `decided`: by what;
    `differs`: the deciding facts by which the sites that the words leave open differ.
    """

    said: Said
    text: str
    site: dict[str, Any]
    seen: dict[str, Any]
    answer: Answer
    decided: Decided
    differs: frozenset[str] = frozenset()

    @property
    def robots(self) -> tuple[str, ...]:
        """Those that suit, or the team, in the order of ROBOTS."""
        return chosen(self.answer)

    @property
    def needs(self) -> list[dict[str, Any]]:
        """The requirements of each item."""
        return [self.said.need(item, self.site) for item in self.said.items]


def chosen(answer: Answer) -> tuple[str, ...]:
    """All robots of an answer in the order of ROBOTS."""
    return tuple(robot for robot in ROBOTS if any(robot in robots for robots in answer))


def draft(domain: Domain, jobs: tuple[Job, ...], rng: Random) -> Said:
    """A meaning for these jobs of a domain; the place is the first job's."""
    spot, states = jobs[0].spot, lexicon().states
    items = tuple(_item(job, rng, single=len(jobs) == 1) for job in jobs)
    here = [job for job in jobs if job.spot is spot]
    may = [name for name in spot.may if all(name in _sensible(job) for job in here)]
    rng.shuffle(may)
    told: list[tuple[str, float | None]] = []
    for name in may[: rng.choices((0, 1, 2), (42, 46, 12))[0]]:
        if not any(clash(states[name], states[other]) for other, _ in told):
            told.append((name, _value(states[name], rng)))
    rest = [
        name
        for name in may
        if states[name].denied and not any(clash(states[name], states[t]) for t, _ in told)
    ]
    denied = rest[
        : rng.choices((0, 1, 2, 4), (60, 24, 8, 8) if len(jobs) == 1 else (80, 15, 5, 0))[0]
    ]
    rest = [name for name in rest if name not in denied and states[name].skipped]
    skipped = rest[: rng.random() < 0.28]
    orders = _orders(len(jobs), rng) if len(jobs) > 1 and rng.random() < 0.4 else None
    placed = spot.place == "wild" or rng.random() < 0.75
    if len(jobs) == 1 and spot.place != "wild" and rng.random() < 0.12:
        return Said(items, spot, placed=False)  # a bare call: what is to be done, and no more
    spots = dict.fromkeys(job.spot for job in jobs if placed or job.spot is not spot)
    places = tuple((named, rng.choice(named.where)) for named in spots)
    return Said(items, spot, placed, tuple(told), tuple(denied), tuple(skipped), orders, places)


def _sensible(job: Job) -> frozenset[str]:
    """The states that can be spoken of with a job: what is under water or high up has no stairs to
    climb, and nobody screws, folds or delivers anything in a drowned room."""
    needs = job.needs
    if "under" in needs:
        return frozenset(("wind", "rain", "crowd", "dark"))
    if "above" in needs or "height_m" in needs:
        return frozenset(lexicon().states) - {"stairs", "door", "low", "steep", "even"}
    if set(needs) & {"hands", "payload_kg", "hours", "quiet"} or job.of not in _UNDER_WATER_TOO:
        return frozenset(lexicon().states) - {"flood"}
    return frozenset(lexicon().states)


def _item(job: Job, rng: Random, single: bool) -> Item:
    if job.measured is None:
        return Item(job)
    if single and job.weighable and rng.random() < 0.4:
        return Item(job, None)
    low, high = job.needs[job.measured]
    step = _STEPS[job.measured]
    return Item(job, round(rng.randint(round(low / step), round(high / step)) * step, 1))


def _value(state: State, rng: Random) -> float | None:
    """The number to say with a state, if it has one and it is to be said."""
    if not state.sayable or rng.random() < 0.6:
        return None
    return _drawn(state, rng)


def _drawn(state: State, rng: Random) -> float:
    assert state.measured
    low, high, step = state.facts[state.measured]
    return round(rng.randint(round(low / step), round(high / step)) * step, 1)


def _orders(count: int, rng: Random) -> tuple[int, ...]:
    """When each of `count` items is done: 2 or 3 groups, from 1 without gaps, as they are named."""
    cuts = set(rng.sample(range(1, count), min(count - 1, rng.choice((1, 1, 2)))))
    orders, order = [], 1
    for place in range(count):
        order += place in cuts
        orders.append(order)
    return tuple(orders)


def clash(one: State, other: State) -> bool:
    """Whether a place cannot be in both states: two grounds, two kinds of weather ..."""
    return bool(set(one.facts) & set(other.facts))


def left_open(said: Said, rng: Random) -> list[Open] | None:
    """One site for each answer that the words leave open, drawn by `rng`; none if nothing suits.

    None (not a list) if the words are no good task: several robots are equal in some site that they
    leave open and not in others, or where it is would matter and they do not name the place.
    """
    if not _clear_elsewhere(said):
        return None
    found: dict[Answer, list[Open]] = {}
    for states, load in product(_pictures(said), _loads(said)):
        site = _site(said, states, load, rng)
        answer = _answer(said, site)
        if all(answer):
            found.setdefault(answer, []).append(Open(states, site, answer))
    if len(said.items) > 1:  # a team: each job has a robot of its own
        found = {a: sites for a, sites in found.items() if all(len(robots) == 1 for robots in a)}
        if len({chosen(answer) for answer in found}) != len(found):
            return None
    elif len(found) > 1 and any(len(robots) > 1 for (robots,) in found):
        return None
    if not said.placed and any(_answer(said, CLASSES[p]) not in found for p in ("room", "yard")):
        return None  # where it is would matter, and only the words can say
    return [_one_of(sites, rng) for _, sites in sorted(found.items())]


def _one_of(sites: list[Open], rng: Random) -> Open:
    """One of the sites of an answer; grounds that mostly go with one robot rather than not."""
    rare = [3 if set(site.states) & {"flood", "rubble", "low"} else 1 for site in sites]
    return rng.choices(sites, rare)[0]


def _clear_elsewhere(said: Said) -> bool:
    """Whether jobs at other places have the same robots if a reader takes what is told of the main
    place to be said of theirs."""
    states = lexicon().states
    told: dict[str, Any] = {}
    for name, value in said.told:
        told |= state_facts(states[name], value)
    for item in said.items:
        base = item.job.spot.base
        if item.job.spot is not said.spot:
            task = item.task({})
            if suited(requirements(task, {**base, **told})) != suited(requirements(task, base)):
                return False
    return True


def _pictures(said: Said) -> Iterator[tuple[str, ...]]:
    """The states that a picture can add to the words: none, one, or one and bad weather."""
    states = lexicon().states
    known = [states[name] for name, _ in said.told] + [states[name] for name in said.denied]
    free = [
        name
        for name in said.spot.may
        if name not in said.skipped
        and not states[name].usual
        and all(name in _sensible(i.job) for i in said.items if i.job.spot is said.spot)
        and not any(name == k.name or clash(states[name], k) for k in known)
    ]
    yield ()
    yield from ((name,) for name in free)
    yield from (
        pair
        for pair in combinations(free, 2)
        if len(set(pair) & set(_WEATHER)) == 1 and not clash(states[pair[0]], states[pair[1]])
    )


def _loads(said: Said) -> tuple[float | None, ...]:
    """The loads that a picture can show of what the words do not weigh; not hay by the kilo."""
    for item in said.items:
        if item.value is None and item.job.measured:
            low, high = item.job.needs[item.job.measured]
            return tuple(load for load in LOADS if low / 3 <= load <= 3 * high)
    return (None,)


def _site(said: Said, pictured: tuple[str, ...], load: float | None, rng: Random) -> dict[str, Any]:
    """The whole site: the place's base, what the words say, and what the picture adds."""
    states = lexicon().states
    site = {**said.spot.base}
    for name in said.denied:
        site |= states[name].absent
    for name, value in said.told:
        said_value = value
        if value is None and states[name].measured:
            said_value = _drawn(states[name], rng)
        site |= state_facts(states[name], said_value)
    for name in (*pictured, *said.skipped):
        state = states[name]
        site |= state_facts(state, _drawn(state, rng) if state.measured else None)
    if (
        site.get("terrain") == "water" and "ceiling_m" in site
    ):  # a room is flooded below its ceiling
        site["water_depth_m"] = min(site["water_depth_m"], round(0.8 * site["ceiling_m"], 1))
    if load is not None:
        site["payload_kg"] = load
    return site


def _answer(said: Said, site: Mapping[str, Any]) -> Answer:
    return tuple(suited(said.need(item, site)) for item in said.items)


def picture(
    said: Said, option: Open, decided: Decided, rng: Random
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the site, with what is incidental; the part of it that the picture shows).

    Decided by the text: nothing told is drawn, and often no ground. By both: all is drawn. By the
    picture: all that the words leave open, and of the rest some.
    """
    site, states = dict(option.site), lexicon().states
    if decided == "text":  # what else the picture could tell would only hint at the answer
        plain = _site(said, (), site.get("payload_kg"), rng)
        if _answer(said, plain) == option.answer:
            site, option = plain, Open((), plain, option.answer)
    if not site["indoor"]:
        site.setdefault("light", rng.choice((0.45, 0.8, 1.0, 1.0)))
        if "wind" not in option.states:
            site.setdefault("wind_ms", rng.randint(0, 6))
    site.setdefault("clutter", rng.choice((0.0, 0.1, 0.2)))
    item = said.items[0]
    if len(said.items) == 1 and decided != "text":
        for fact, value in (("payload_kg", item.task({}).payload_kg),
                            ("height_m", item.task({}).height_m),
                            ("distance_m", item.task({}).distance_m)):  # fmt: skip
            if value is not None and (decided == "both" or rng.random() < 0.5):
                site[fact] = value
    hidden: set[str] = set()
    for name, _ in said.told:
        if decided == "text" or (decided == "picture" and rng.random() < 0.5):
            hidden |= set(states[name].facts)
    for name in said.denied:
        if decided == "text":
            hidden |= set(states[name].absent)
    if decided == "text" and (said.spot.place == "wild" or rng.random() < 0.7):
        hidden.add("terrain")
    if "terrain" in hidden:
        hidden |= {"water_depth_m"} if site.get("terrain") == "water" else set()
    hidden -= {f for name in (*option.states, *said.skipped) for f in states[name].facts}
    return site, {fact: value for fact, value in site.items() if fact not in hidden}
