"""What a task's words say, apart from how they say it: `Said`, the meaning that language.py puts
into words and reading.py reads back."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipelines.robots.capability import WEATHER, Task, requirements
from pipelines.robots.lexicon import AS_EVER, Job, Spot, State, lexicon

_SKIPS = {"stairs": "stairs", "door": "doors", "steep": "slope_deg", "crowd": "people",
          "clutter": "clutter"}  # fmt: skip
_PHASES = ("look", "handle", "carry")  # in this order, unless the words give another


@dataclass(frozen=True)
class Item:
    """One job that is asked for. `value`: the number said for its measured demand; None for a load
    that is not weighed in words ("the sheets"): the picture shows how much it is."""

    job: Job
    value: float | None = None

    def task(self, site: Mapping[str, Any]) -> Task:
        """What the job demands of a robot in a site."""
        needs: dict[str, Any] = dict(self.job.needs)
        if measured := self.job.measured:
            needs[measured] = self.value if self.value is not None else site.get(measured)
        if (km := needs.pop("distance_km", None)) is not None:
            needs["distance_m"] = km * 1000.0
        return Task(**needs)

    @property
    def phase(self) -> int:
        """When it is done if the words do not say: looking, then handling, then carrying."""
        needs = self.job.needs
        name = "carry" if "payload_kg" in needs else "handle" if "hands" in needs else "look"
        return _PHASES.index(name)


@dataclass(frozen=True)
class Said:
    """The meaning of a task's words.

    `spot` is the place that the states are about, `placed` whether the words name it; `told` gives
    the states that are the case (with a number or None), `denied` those that are not, `skipped`
    those that are there but not on the way. `orders`, if given, is when each item is done, from 1;
    `places` are the words by which places are named.
    """

    items: tuple[Item, ...]
    spot: Spot
    placed: bool
    told: tuple[tuple[str, float | None], ...] = ()
    denied: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    orders: tuple[int, ...] | None = None
    places: tuple[tuple[Spot, str], ...] = ()

    def where(self, spot: Spot) -> str | None:
        """The words that name a place, if any are chosen yet."""
        return dict(self.places).get(spot)

    @property
    def plan(self) -> tuple[int, ...]:
        """When each item is done: as the words say, or by phase; from 1 without gaps."""
        if self.orders is not None:
            return self.orders
        phases = sorted({item.phase for item in self.items})
        return tuple(phases.index(item.phase) + 1 for item in self.items)

    def need(self, item: Item, site: Mapping[str, Any]) -> dict[str, Any]:
        """The requirements of an item when the main place's site is `site`: those elsewhere are
        done where all is as it usually is but for the weather, the others without what the words
        say is not on the way.
        """
        if item.job.spot is not self.spot:
            shared = () if self.spot.indoor or item.job.spot.indoor else WEATHER
            weather = {fact: site[fact] for fact in shared if fact in site}
            return requirements(item.task({}), {**item.job.spot.base, **weather})
        skips = frozenset(_SKIPS[name] for name in self.skipped)
        return requirements(replace(item.task(site), skips=skips), site)

    def told_facts(self) -> dict[str, Any]:
        """The facts of the site that the words give, by telling or denying a state, or by the place
        they name. A state's number that is not said is its range's middle."""
        facts = dict(self.spot.base) if self.placed else {}
        for name in self.denied:
            facts |= lexicon().states[name].absent
        for name, value in self.told:
            facts |= state_facts(lexicon().states[name], value)
        return facts


def state_facts(state: State, value: float | None) -> dict[str, Any]:
    """The facts of a state; where it has a number, `value`, or else the middle of its range. A fact
    that is as the place has it anyway is not among them."""
    facts = {name: fact for name, fact in state.facts.items() if fact != AS_EVER}
    if state.measured:
        low, high, _ = facts[state.measured]
        facts[state.measured] = value if value is not None else round((low + high) / 2, 1)
    return facts
