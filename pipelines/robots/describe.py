"""What a picture of a site shows, in words: captions, and questions with their answers.

The facts are those of `free.shown`. Nothing is said that is not drawn; a number is given where the
picture has something to read it off.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from pipelines.robots.lexicon import State, fits, lexicon
from pipelines.robots.reasoning.phrases import Words, listed
from pipelines.robots.wording import capitalised

Facts = Mapping[str, Any]
_LOADS = ((5, "parcel"), (20, "box"), (80, "stack"), (float("inf"), "pallet"))
# From here on a fact is there; below it is not.
_THERE = {"slope_deg": 9, "stairs": 1, "doors": 1, "clutter": 0.4, "wind_ms": 9, "rain": 0.3,
          "people": 1}  # fmt: skip
_ABSENCES = 2  # named in a caption, at most


@cache
def _words() -> dict[str, Any]:
    return yaml.safe_load(Path(__file__).with_name("describe.yaml").read_text(encoding="utf-8"))


def _say(rng: Random, *path: str, **slots: Any) -> str:
    found: Any = _words()
    for name in path:
        found = found[name]
    return rng.choice(found.split(" / ")).strip().format(**slots)


def caption(facts: Facts, rng: Random) -> str:
    """A sentence: the place, all that is special about it, and some of what is not there."""
    words = Words(f"caption {rng.random()}")
    seen, absent = list(_seen(facts, rng, words)), []
    for name, least in _THERE.items():
        if name in facts and facts[name] < least:
            absent.append(words.say("absent", name))
    rng.shuffle(seen)
    parts = seen + rng.sample(absent, min(len(absent), rng.randint(0, _ABSENCES)))
    place = _say(rng, "places", _place(facts))
    if not parts:
        return capitalised(_say(rng, "plain", p=place)) + "."
    return capitalised(_say(rng, "forms", p=place, l=listed(parts))) + "."


def _place(facts: Facts) -> str:
    if not facts["indoor"]:
        return "outdoors"
    ceiling = facts.get("ceiling_m", 2.6)
    return "low" if ceiling < 1.7 else "hall" if ceiling > 4.5 else "room"


def _seen(facts: Facts, rng: Random, words: Words) -> Iterator[str]:
    """Words for each fact that is there."""
    depth, terrain = facts["water_depth_m"], facts.get("terrain")
    if terrain is None:
        yield _say(rng, "seen", "hidden")
    elif terrain != "water":
        yield words.say("grounds", terrain)
    elif not depth:
        yield _say(rng, "seen", "lake")
    if depth > 0.1:
        yield words.say("there", "flood" if terrain == "water" else "water_depth_m", n=f"{depth:g}")
    for name, least in _THERE.items():
        if facts.get(name, 0) >= least:
            yield words.say("there", name, n=f"{facts[name]:g}")
    if facts["light"] < 0.6:
        dark = facts["light"] < 0.2
        yield words.say("there", "light") if dark else _say(rng, "seen", "dusk")
    if facts["height_m"] >= 2:
        yield _say(rng, "seen", "height_m", n=f"{facts['height_m']:g}")
    if facts["distance_m"] >= 1000:
        yield _say(rng, "seen", "distance_m", n=f"{facts['distance_m'] / 1000:g}")
    if weight := facts["payload_kg"]:
        yield _say(rng, "seen", next(name for most, name in _LOADS if weight <= most))


def told(facts: Facts, rng: Random) -> str | None:
    """The same in the words in which tasks tell of it: one to three sentences of the lexicon; None
    where it has none."""
    found: list[str] = []
    for state in lexicon().states.values():
        if not state.usual:
            options = state.told if _holds(state, facts) else ()
            if state.absent and not options and _denied(state, facts) and rng.random() < 0.3:
                options = state.denied
            said = [w for words in options if (w := fits(words, bool(facts["indoor"])))]
            if said:
                number = facts.get(state.measured) if state.measured else None
                found.append(rng.choice(said).format(n=f"{number or 0:g}"))
    if not found:
        return None
    picked = rng.sample(found, min(len(found), 3))
    return capitalised(". ".join(picked)) + "."


def _holds(state: State, facts: Facts) -> bool:
    """Whether all that a state means is to be seen."""
    for name, value in state.facts.items():
        known = facts.get(name)
        if known is None:
            return False
        if isinstance(value, list):
            if not value[0] <= known <= value[1]:
                return False
        elif value != known:
            return False
    return True


def _denied(state: State, facts: Facts) -> bool:
    """Whether a state is plainly not the case."""
    for name, value in state.absent.items():
        known = facts.get(name)
        far = 0.2 if name in ("clutter", "light") else 3 if name == "wind_ms" else 0
        if known is None or abs(known - value) > far:
            return False
    return True


def questions(facts: Facts, rng: Random, count: int) -> list[tuple[str, str]]:
    """`count` questions about single facts, each with its answer."""
    words = _words()
    askable = ["ground", *(name for name in words["asked"] if name in facts)]
    found: list[tuple[str, str]] = []
    for name in rng.sample(askable, min(count, len(askable))):
        if name == "ground":
            asked, answer = _say(rng, "ground", "ask"), facts.get("terrain")
            found.append((asked, answer or words["ground"]["hidden"]))
            continue
        answers = words["asked"][name]["answers"]
        answer = next(said for most, said in answers if facts[name] <= most)
        found.append((_say(rng, "asked", name, "ask"), answer))
    return [(f"{capitalised(asked)}?", answer) for asked, answer in found]
