"""What a scenario can be known by: where its deciding facts are, and what kind of site it shows."""

from collections.abc import Mapping
from typing import Any

from pipelines.robots.capability import WEATHER, model
from pipelines.robots.lexicon import lexicon
from pipelines.robots.said import Said, state_facts
from pipelines.robots.scenarios import Open, Scenario


def evidence(scenario: Scenario) -> dict[str, Any]:
    """What decides, and where each deciding fact is: "text", "picture" or "both".

    Deciding is a fact that some requirement rests on, here or in another site that the words leave
    open: that there is no door is seen, too. Facts of the site that are not drawn are
    there too, as "text": what is not among them is seen.
    """
    said, rules = scenario.said, model()["requirements"]
    told = {f for f, value in said.told_facts().items() if value == scenario.site.get(f)}
    told |= {f for name, _ in said.told for f in state_facts(lexicon().states[name], None)}
    where = {fact: "text" for fact in scenario.site if fact not in scenario.seen}
    for item, need in zip(said.items, scenario.needs, strict=True):
        demanded = {n for n, v in vars(item.task({})).items() if v}
        for fact in (rules[name]["fact"] for name in need):
            if fact == "terrain" and item.job.needs.get("under"):
                fact = "under"
            if item.job.spot is said.spot or fact in WEATHER:
                words, seen = fact in demanded or fact in told, fact in scenario.seen
                where[fact] = "both" if words and seen else "picture" if seen else "text"
            elif fact in demanded:
                where.setdefault(fact, "text")
    for fact in scenario.differs - told:
        where.setdefault(fact, "picture")
    return {"decided": scenario.decided, "facts": dict(sorted(where.items()))}


_PLAIN = (("clutter", 0.6), ("wind_ms", 12), ("rain", 0.6), ("slope_deg", 15), ("stairs", 1),
          ("water_depth_m", 0.1), ("doors", 1), ("people", 1))  # fmt: skip


def differing(said: Said, options: list[Open]) -> frozenset[str]:
    """The facts behind requirements that do not hold alike in all of these sites."""
    rules = model()["requirements"]
    each = [
        {(rules[name]["fact"], str(value))
         for item in said.items for name, value in said.need(item, option.site).items()}
        for option in options
    ]  # fmt: skip
    return frozenset(fact for fact, _ in set.union(*each) - set.intersection(*each))


def first_sight(seen: Mapping[str, Any]) -> str:
    """What is plain in a picture from afar: in or out, water or none, a hall, ground or none."""
    parts = (
        "indoor" if seen["indoor"] else "outdoor",
        "hall" if seen.get("ceiling_m", 0) > 5 else "",
        "water" if seen.get("water_depth_m") else "",
        seen.get("terrain", "hidden ground"),
    )
    return " ".join(filter(None, parts))


def kinds(seen: Mapping[str, Any]) -> list[str]:
    """The kinds of site that a picture shows: its ground, and what is plain to see there."""
    found = [f"{'indoor' if seen['indoor'] else 'outdoor'} {seen.get('terrain', 'hidden ground')}"]
    found += [fact for fact, least in _PLAIN if seen.get(fact, 0) >= least]
    found += ["low"] if seen.get("ceiling_m", 9) < 1.6 else []
    return found + (["dark"] if seen.get("light", 1) < 0.2 else [])
