"""The words of robot tasks: domains with their places and jobs, states of a place, frames.

One YAML file a domain says what people there want done, in three wordings and a noun phrase each,
and what that demands (a load, a height, hands ...); `states/` what may be the case at a place
and how one says so; `frames.yaml` how a task is put. No label stands in any of them.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from manifests.schema import TERRAINS

FOLDER = Path(__file__).parent
_STATES = ("states/ways", "states/grounds", "states/weather")
SLOTS = {"payload_kg": "{kg}", "height_m": "{m}", "distance_km": "{km}", "hours": "{h}"}
UNWEIGHED = ("{kg} of ", "the ")  # from a wording with a weight to one without
AS_EVER = "base"  # a state's fact that is as the place has it: said, it rules out other states
_NEEDS = {"kg": "payload_kg", "km": "distance_km"}  # the files' short names
_DEMANDS = (*SLOTS, "above", "under", "hands", "minutes", "quiet")

# What a place of a class looks like before anything special: facts of the site, as a base.
CLASSES: dict[str, dict[str, Any]] = {
    "room": {"indoor": 1, "terrain": "floor", "ceiling_m": 2.7},
    "hall": {"indoor": 1, "terrain": "floor", "ceiling_m": 8.0},
    "passage": {"indoor": 1, "terrain": "pavement", "ceiling_m": 2.2},
    "yard": {"indoor": 0, "terrain": "pavement"},
    "field": {"indoor": 0, "terrain": "grass"},
    "wild": {"indoor": 0},
    "shore": {"indoor": 0, "water_depth_m": 4.0},
    "pool": {"indoor": 1, "terrain": "floor", "ceiling_m": 3.2, "water_depth_m": 3.0},
}


class LexiconError(ValueError):
    """A lexicon file that says something unknown, or the same thing twice."""


@dataclass(frozen=True, eq=False)
class Spot:
    """A kind of place in a domain. `where`: ways to name it; `may`: states it can be in; `base`:
    the facts of its site before any state."""

    domain: str
    place: str
    where: tuple[str, ...]
    may: tuple[str, ...]
    base: dict[str, Any]

    @property
    def indoor(self) -> bool:
        return bool(self.base["indoor"])


@dataclass(frozen=True, eq=False)
class Job:
    """Something to be done at a spot. `say`: wordings; `note`: as a noun phrase; `of`: the type of
    its object; `needs`: demand -> value, a (low, high) range where the words have a number."""

    spot: Spot
    say: tuple[str, ...]
    note: str
    of: str
    needs: dict[str, Any]

    @property
    def measured(self) -> str | None:
        """The demand whose number the words give, if any."""
        return next((name for name, v in self.needs.items() if isinstance(v, tuple)), None)

    @property
    def weighable(self) -> bool:
        """Whether the words can leave the weight to the eye: "{kg} of sheets" or "the sheets"."""
        return all(UNWEIGHED[0] in words for words in (*self.say, self.note))


@dataclass(frozen=True)
class State:
    """What may be the case at a place: its facts, those of its absence, and the words for both."""

    name: str
    facts: dict[str, Any]
    absent: dict[str, Any]
    told: tuple[str, ...]
    phrase: tuple[str, ...]
    denied: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def usual(self) -> bool:
        """Whether it says that the place is as it is anyway."""
        return AS_EVER in self.facts.values()

    @property
    def sayable(self) -> bool:
        """Whether there are words with a number."""
        return any("{n}" in words for words in self.told + self.phrase)

    @property
    def measured(self) -> str | None:
        """The fact that has a number, if any."""
        return next((name for name, v in self.facts.items() if isinstance(v, list)), None)


@dataclass(frozen=True, eq=False)
class Domain:
    """A walk of life: its jobs, when they come up, and things said there that do not matter."""

    name: str
    occasions: tuple[str, ...]
    asides: tuple[str, ...]
    jobs: tuple[Job, ...]


@dataclass(frozen=True, eq=False)
class Lexicon:
    """All domains, states and frames."""

    domains: tuple[Domain, ...]
    states: dict[str, State]
    frames: dict[str, Any]

    @property
    def jobs(self) -> tuple[Job, ...]:
        return tuple(job for domain in self.domains for job in domain.jobs)

    def domain(self, name: str) -> Domain:
        """The domain of a name."""
        return next(domain for domain in self.domains if domain.name == name)


@cache
def lexicon() -> Lexicon:
    """The files of this folder, checked. Raises LexiconError naming the file and the place."""
    states = {
        name: State(name=name, facts=said["facts"], absent=said.get("absent", {}),
                    **{form: tuple(said.get(form, ())) for form in _FORMS})
        for part in _STATES
        for name, said in _read(part).items()
    }  # fmt: skip
    names = sorted(p.stem for p in FOLDER.glob("*.yaml") if p.stem != "frames")
    whole = Lexicon(tuple(_domain(name, states) for name in names), states, _read("frames"))
    _no_wording_twice(whole)
    return whole


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORMS = ("told", "phrase", "denied", "skipped")


def fits(words: str, indoor: bool) -> str | None:
    """The words without their mark, or None if they are only said of the other kind of place."""
    mark, _, said = words.rpartition("| ")
    return said if mark in ("", "in" if indoor else "out") else None


def _read(name: str) -> Any:
    return yaml.load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), _LOADER)


def _domain(name: str, states: dict[str, State]) -> Domain:
    said = _read(name)
    jobs: list[Job] = []
    for place in said["spots"]:
        if place["class"] not in CLASSES:
            raise LexiconError(f"{name}.yaml: class {place['class']!r}; known: {list(CLASSES)}")
        if unknown := set(place["may"]) - set(states):
            raise LexiconError(f"{name}.yaml: unknown states {unknown}; known: {list(states)}")
        base = dict(CLASSES[place["class"]])
        if "ground" in place:
            base["terrain"] = place["ground"]
        if base.get("terrain") not in TERRAINS:
            raise LexiconError(f"{name}.yaml: {place['where'][0]!r} has no ground of {TERRAINS}")
        even = ("even",) if base["terrain"] in ("floor", "pavement") else ()
        may = (*place["may"], *even)
        spot = Spot(name, place["class"], tuple(place["where"]), may, base)
        jobs += (_job(name, spot, job) for job in place["jobs"])
    return Domain(name, tuple(said["occasions"]), tuple(said["asides"]), tuple(jobs))


def _job(domain: str, spot: Spot, said: dict[str, Any]) -> Job:
    needs: dict[str, Any] = {}
    for short, value in (said.get("needs") or {}).items():
        name = _NEEDS.get(short, short)
        if name not in _DEMANDS:
            raise LexiconError(f"{domain}.yaml: {said['note']!r} needs {short!r}; no such demand")
        needs[name] = tuple(value) if isinstance(value, list) else value
    job = Job(spot, tuple(said["say"]), said["note"], said["of"], needs)
    for words in (*job.say, job.note):
        slots = [demand for demand, slot in SLOTS.items() if slot in words]
        if slots != ([job.measured] if job.measured else []):
            raise LexiconError(f"{domain}.yaml: {words!r} has slots for {slots}, needs are {needs}")
    return job


def _no_wording_twice(whole: Lexicon) -> None:
    """A wording means one job: what is said can be read back."""
    seen: dict[str, str] = {}
    for job in whole.jobs:
        for words in {*job.say, job.note}:
            if words in seen:
                raise LexiconError(f"{words!r} stands in {seen[words]}.yaml and {job.spot.domain}")
            seen[words] = job.spot.domain
