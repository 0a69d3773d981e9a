"""A record's answer, reasoned out: `reason`, and the first two of its four steps."""

from collections.abc import Mapping
from typing import Any

from pipelines.robots.capability import judge, model, show
from pipelines.robots.reading import UnreadableError, read
from pipelines.robots.reasoning.facts import LOW_M, MAX_WORDS, MIN_WORDS, STEPS, Facts
from pipelines.robots.reasoning.match import decision, matching
from pipelines.robots.reasoning.phrases import Words, figure, listed, sentences, subtasks
from pipelines.robots.wording import measured

_COUNTS = ("", "one", "two", "three", "four", "five")
_FREE_M = 3.5  # headroom over which anything flies
_DEMANDS = ("hands", "reach_m", "view_from_above", "depth_m", "payload_kg", "endurance_h",
            "range_m", "speed_ms", "noise_db")  # fmt: skip
# What would keep robots from work, were it so: fact -> a value that does.
_HINDERING = {"stairs": True, "doors": True, "slope_deg": 28, "clutter": 0.8, "wind_ms": 18,
              "rain": 1, "people": True, "light": 0.05}  # fmt: skip


class UntoldError(ValueError):
    """A record of which no reasoning keeps to the length."""


def reason(record: Mapping[str, Any]) -> str:
    """The four steps for a record of the set, in 40 to 160 words; the same for the same record.

    Raises UnreadableError if the lexicon reads its task's words as another task's or not at all,
    UntoldError if no wording keeps to the length.
    """
    said = read(record["input"].removeprefix("Task: "))
    facts, decided, text = Facts(record, said), record["evidence"]["decided"], ""
    if facts.needs != [said.need(item, facts.site) for item in facts.items]:
        # a lexicon that has changed since: half a reading would give a wrong reasoning
        raise UnreadableError(f"{record['id']}: {facts.text!r} reads back as another task")
    for terse in range(4):  # ever less of what could be left out
        words = Words(f"reasoning {record['id']} {record['input']}")
        parts = (
            _task(facts, words, terse),
            _environment(facts, words, terse, decided),
            matching(facts, words, terse),
            decision(facts, words, terse, decided),
        )
        text = "\n".join(f"{name}: {part}" for name, part in zip(STEPS, parts, strict=True))
        if MIN_WORDS <= len(text.split()) <= MAX_WORDS:
            return text
    raise UntoldError(f"{record['id']}: {len(text.split())} words: {text}")


def _task(facts: Facts, words: Words, terse: int) -> str:
    if not facts.steps:
        return sentences([words.say("openings", x=_asked(facts, words)), *_demands(facts, words)])
    parts: list[str] = []
    for number, (step, item) in enumerate(zip(facts.steps, facts.items, strict=True), 1):
        said = step["subtask"] if terse < 2 else measured(item, item.job.note, words.rng)
        parts.append(f"({number}) {said[0].lower()}{said[1:]}")
    return sentences([words.say("parts", n=_COUNTS[len(parts)], x="; ".join(parts))])


def _asked(facts: Facts, words: Words) -> str:
    """The job in the task's own wording or the nearest to it, with the place that it names."""
    (item,), text = facts.items, facts.text.casefold()
    known = set(text.split())
    nearest = max(item.job.say, key=lambda say: len(known & set(say.split())))
    places = [where for where in item.job.spot.where if where.casefold() in text]
    return " ".join([measured(item, nearest, words.rng), *places[:1]])


def _demands(facts: Facts, words: Words) -> list[str]:
    """What the job takes, whatever the site."""
    (need,), (item,) = facts.needs, facts.items
    implied = set() if "under" in item.job.needs else {"depth_m"}
    implied |= {"payload_kg"} if item.value is None else set()
    found = [
        words.say("demands", name, n=figure(name, need[name]))
        for name in _DEMANDS
        if name in need and name not in implied
    ]
    if "payload_kg" in need and item.value is None:
        found.append(words.say("unweighed"))
    return found or [words.say("just_there")]


def _environment(facts: Facts, words: Words, terse: int, decided: str) -> str:
    by_source: dict[str, list[str]] = {}
    needed = dict.fromkeys(f for i in facts.here for f in _bearing(facts, facts.needs[i]))
    for fact in needed:
        if (source := facts.source(fact)) is not None:
            by_source.setdefault(source, []).append(_present(facts, words, fact))
    said = [words.say("sources", name, l=listed(found)) for name, found in by_source.items()]
    words.rng.shuffle(said)
    said += [words.say("sources", "aside", l=_present(facts, words, fact))
             for fact in sorted(facts.skipped) if facts.seen(fact)]  # fmt: skip
    if not terse:
        said += _clear(facts, words, most=3 if decided == "picture" else 2)
        said += _harmless(facts, words, needed.keys() | facts.skipped)
    if not said:
        place = "an indoor place" if facts.site["indoor"] else "an open-air place"
        said = [words.say("sources", "seen", l=place)]
    there = [i for i in range(len(facts.items)) if i not in facts.here]
    if there and terse < 3:
        said.append(f"{subtasks(there)} {'are' if len(there) > 1 else 'is'} elsewhere")
    return sentences(said)


def _bearing(facts: Facts, need: Mapping[str, Any]) -> list[str]:
    """The facts of the site that requirements rest on, as far as they tell robots apart."""
    found = [model()["requirements"][name]["fact"] for name in need]
    if need.get("grounds") == "water":
        found = ["water_depth_m" if "water_depth_m" in facts.site else "terrain"]
    drop = {"height_m", "distance_m"}  # step 1 has them, and the load if words give it
    drop |= {"payload_kg"} if facts.weighed else set()
    if need.get("clearance_m", 0) >= _FREE_M and "Drone" not in facts.robots:
        drop.add("ceiling_m")
    return [fact for fact in found if fact in facts.site and fact not in drop]


def _present(facts: Facts, words: Words, fact: str) -> str:
    """Words for a fact that is the case, with its number if there is one to know."""
    value = facts.site[fact]
    if fact == "terrain":
        return words.say("grounds", value)
    name = "low" if fact == "ceiling_m" and value < LOW_M else fact
    if fact == "water_depth_m" and facts.site.get("terrain") == "water":
        name = "flood"
    return words.say("there", name, counted=facts.counted(fact), n=show(value))


def _clear(facts: Facts, words: Words, most: int) -> list[str]:
    """What would hinder those chosen but is not there: what is promised, and some of the rest."""
    matters = [fact for fact in _hindrances(facts) if not facts.hinders(fact)]
    promised = [fact for fact in matters if fact in facts.denied or fact in facts.stated]
    rest = [fact for fact in matters if fact not in promised and fact != "light"]
    words.rng.shuffle(rest)
    return [
        words.say("sources", source, l=listed([words.say("absent", fact) for fact in found]))
        for source, found in (("promised", promised), ("clear", rest[:most]))
        if found
    ]


def _hindrances(facts: Facts) -> list[str]:
    """The facts that would keep a chosen robot from work on the main place, if they were so."""
    rules = model()["requirements"]
    dry = [facts.needs[i] for i in facts.here if facts.needs[i].get("grounds") != "water"]
    grounded, found = any("grounds" in need for need in dry), list[str]()
    for fact, value in _HINDERING.items():
        name = next(name for name, rule in rules.items() if rule["fact"] == fact)
        failing, weather = judge({name: value}).failures, fact in ("wind_ms", "rain")
        reached = (dry and not facts.site["indoor"]) if weather else grounded
        if reached and any(robot in failing for robot in facts.robots):
            found.append(fact)
    return found


def _harmless(facts: Facts, words: Words, known: set[str]) -> list[str]:
    """What is there but hinders nobody under water or up in the air."""
    needs = [facts.needs[i] for i in facts.here]
    deep = all(need.get("depth_m") for need in needs)
    if not deep and any("grounds" in need for need in needs):
        return []
    for fact in ("wind_ms", "rain", "people", "clutter", "stairs", "doors"):
        if facts.hinders(fact) and fact not in known:
            who = "one also sees" if facts.seen(fact) else "the task mentions"
            where = "under water" if deep else "up there"
            return [f"{who} {_present(facts, words, fact)}, but that does not matter {where}"]
    return []
