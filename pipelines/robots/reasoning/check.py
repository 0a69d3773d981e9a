"""A reasoning, ours or a model's, held against its record: `check` names what is wrong."""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from pipelines.robots.capability import judge, model
from pipelines.robots.reading import UnreadableError, read
from pipelines.robots.reasoning.claims import Site
from pipelines.robots.reasoning.facts import MAX_WORDS, MIN_WORDS, STEPS, Facts
from pipelines.robots.reasoning.parse import ENDS, ROBOT, Reasoning, cue, parse, robots_in
from pipelines.robots.reasoning.phrases import listed

_I = re.IGNORECASE
_STRANGER = cue(
    r"robots? (?:with|on) (?!wheels\b|legs\b)(?:tracks|arms|wings|fins|hands|skis|rotors|\w+s)"
    r"|(?:drone|humanoid|rover|walker) with (?:wheels|legs|tracks|arms|wings|fins)"
    r"|(?:tracked|flying|aerial|snake|crawling|climbing|quadruped|amphibious|hybrid|swimming"
    r"|hovering|spider|caterpillar|\w+-legged) robot|rover|quadcopter|uav|rov|auv|submarine"
    r"|submersible|hexapod|quadruped|android|hovercraft|exoskeleton"
)
_UNFIT = re.compile(
    r"\b(?:cannot|can't|can not|could not|unable|unfit|unsuit\w+|not (?:able|suit\w*|fit)"
    r"|falls? away|ruled out|drops? out|(?:is|are) out|fails?|excluded|eliminated|gets? stuck"
    r"|keep away|must not|may not|be kept out|(?:has|have) no|lacks?"
    r"|too (?:loud|weak|heavy|big|tall|slow|small|large)|not enough|at most"
    r"|no (?:more|higher) than|only [\d.]+|opens? no|climbs? no|only in water"
    r"|needs? (?:[\d.]+ m\b|light)|out of the question)\b|, not \d",
    _I,
)
_FINE = cue("(?:none|not|nothing) (?:is |are )?(?:needed|asked|required)|but none|no need")
_COSTS = cue("costs? more|would cost|dearer|costlier|pricier|higher (?:running )?cost"
             "|more expensive|overkill")  # fmt: skip
_SUITS = cue(
    "suits?|fits?|(?:is|are) (?:the )?(?:best|right|only|ideal|chosen|suitable|suited)"
    "|meets? (?:all|every)|(?:can|could) do (?:it|this|the)|remains?|is left|wins?"
    r"|takes? (?:it|this|the|sub\w+)|alone|gets? sub\w+"
)
_OUT = re.compile(
    r"\b(?:unfit|ruled out|falls? away|excluded|unsuitable|eliminated|out)\b[^.]*$", _I
)
_LACKS = {  # requirement -> words that say a robot does not meet it
    "hands": r"(?:no|without|lacks?) hands|cannot (?:handle|grip|grasp)",
    "doors": r"opens? no doors?|cannot open", "depth_m": r"cannot dive|cannot work under ?water",
    "stairs": r"climbs? no stairs|cannot (?:climb|manage|take) (?:the )?(?:stairs|steps)",
    "view_from_above": r"no view from above|cannot look down",
    "rain": r"cannot work in (?:the )?(?:heavy )?rain|kept out of (?:heavy )?rain",
    "light": r"cannot see in the dark|needs? light",
    "near_people": r"not fly low among|not work among|not work close",
    "clutter": r"gets? stuck|cannot get through",
    "grounds": r"only in water|cannot leave the water",
}  # fmt: skip
_LATER = cue("then|next|after (?:that|this|which)|afterwards|finally|lastly|subsequently|later"
             "|once (?:that|this|it) is done|followed by|secondly|in the end|before")  # fmt: skip
_PART = re.compile(r"(?:\bsubtasks?|\bon|\bparts?|#)\s*(\d(?:(?:,|\s|and|&)+\d)*)\b|\((\d)\)", _I)


def check(text: str, record: Mapping[str, Any]) -> list[str]:
    """What is wrong with a reasoning for a record, as sentences; empty if nothing is."""
    try:
        said = read(record["input"].removeprefix("Task: "))
    except UnreadableError:  # not one of our tasks; a reasoning of it can be checked all the same
        said = None
    found, facts = parse(text), Facts(record, said)
    site = Site(facts)
    wrong = _form(text, found)
    if set(found.robots) != set(facts.robots):
        named = listed(found.robots) if found.robots else "no robot"
        wrong.append(f"it concludes {named}; the record says {listed(facts.robots)}")
    strangers = [m[0] for m in _STRANGER.finditer(text) if m[0].lower() not in site.own]
    wrong += [f"there is no robot {name!r}" for name in strangers]
    wrong += [fault for claim in found.claims if (fault := site.fault(claim)) is not None]
    third, fourth = (step or "" for step in found.steps[2:])
    fourth = " ".join(ENDS.split(fourth)[:-1])  # the last sentence is the conclusion
    wrong += _misjudged(third, facts) + _misjudged(fourth, facts)
    if facts.steps:
        wrong += _misassigned(found, facts) + _misordered(fourth, facts)
    return list(dict.fromkeys(wrong))


def _form(text: str, reasoning: Reasoning) -> list[str]:
    """What is wrong with the number, the names and the order of the steps, and with the length."""
    found, wrong = [step for step in reasoning.headings if step < len(STEPS)], list[str]()
    for i, name in enumerate(STEPS):
        count, empty = found.count(i), not reasoning.steps[i]
        if fault := "is missing" if not count else "stands there twice" if count > 1 else "":
            wrong.append(f"step {i + 1}, {name}, {fault}")
        if count and empty:
            wrong.append(f"step {i + 1}, {name}, is empty")
    if len(found) < len(reasoning.headings):
        wrong.append("there are more than four steps")
    if found != sorted(found):
        wrong.append("the steps are not in their order")
    if not MIN_WORDS <= (count := len(text.split())) <= MAX_WORDS:
        wrong.append(f"{count} words; {MIN_WORDS} to {MAX_WORDS} are asked for")
    return wrong


def _subjects(text: str) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """(robots, what follows them, what stands before them) for all that is said of robots."""
    for sentence in ENDS.split(text):
        groups: list[list[re.Match[str]]] = []
        for hit in ROBOT.finditer(sentence):
            between = sentence[groups[-1][-1].end() : hit.start()] if groups else "."
            if re.fullmatch(r"[\s,]*(?:(?:and|or|nor|the|a)\s+)*", between):
                groups[-1].append(hit)
            else:
                groups.append([hit])
        for place, group in enumerate(groups):
            end = groups[place + 1][0].start() if place + 1 < len(groups) else len(sentence)
            robots = robots_in(" ; ".join(hit[0] for hit in group))
            before = sentence[: group[0].start()] if not place else ""
            yield robots, sentence[group[-1].end() : end], before


def _misjudged(text: str, facts: Facts) -> list[str]:
    """What is said of robots that the capability model does not say."""
    wrong: list[str] = []
    for robots, after, before in _subjects(text):
        ruled_out = _OUT.search(before) is not None and not re.search(r"[a-z]{3}", after)
        unfit = (_UNFIT.search(after) is not None or ruled_out) and not _FINE.search(after)
        for robot in robots:
            wrong += _untrue_lacks(robot, after, facts)
            if facts.steps:
                at_all = unfit and _OUT.search(after) and not _PART.search(before + after)
                praised = _SUITS.search(after) and not _COSTS.search(after) and not unfit
                if robot in facts.robots and at_all:
                    wrong.append(f"{robot} is said to be unfit, though it is of the team")
                elif robot not in facts.robots and praised:
                    wrong.append(f"{robot} is said to suit, though it is not of the team")
            elif fault := _misplaced(robot, after, unfit, facts):
                wrong.append(fault)
    return wrong


def _misplaced(robot: str, after: str, unfit: bool, facts: Facts) -> str | None:
    """What is wrong with what is said of a robot for a single task, if anything is."""
    verdict, dear = judge(facts.needs[0]), _COSTS.search(after) is not None
    praised = not unfit and _SUITS.search(after) is not None
    if robot in facts.robots:
        if unfit or dear:
            return f"{robot} is said to {'be unfit' if unfit else 'cost more'}, though it suits"
    elif robot in verdict.failures:
        if praised or (dear and not unfit):
            return f"{robot} is said to suit, but it {verdict.failures[robot][0].why}"
    elif unfit:
        return f"{robot} is said to be unfit, but it only costs more to run"
    elif praised and not dear:
        return f"{robot} is said to suit, but it costs more to run"
    return None


def _untrue_lacks(robot: str, after: str, facts: Facts) -> list[str]:
    """Reasons given against a robot that are not so."""
    wrong: list[str] = []
    for name, words in _LACKS.items():
        if not (found := re.search(words, after, _I)):
            continue
        has = model()["robots"][robot][name]
        if name == "grounds":
            lacking = has == ["water"]
        else:
            needs = [{name: need[name]} for need in facts.needs if name in need]
            lacking = not has or any(robot in judge(need).failures for need in needs)
        if not lacking:
            wrong.append(f"{robot} {found[0]!r} is not so")
    return wrong


def _numbers(text: str) -> set[int]:
    """The subtasks, from 0, that a text names by number."""
    return {int(n) - 1 for m in _PART.finditer(text) for n in re.findall(r"\d", m[1] or m[2])}


def _named_subtasks(text: str, facts: Facts) -> set[int]:
    """The subtasks that a text names, by number or else by words that only one of them has."""
    if numbers := _numbers(text) & set(range(len(facts.steps))):
        return numbers
    stems = [_stems(step["subtask"]) for step in facts.steps]
    heard = _stems(ROBOT.sub(" ", text))
    once = {stem for stem in heard if sum(stem in mine for mine in stems) == 1}
    return {place for place, mine in enumerate(stems) if mine & once}


def _stems(text: str) -> set[str]:
    return {word[:5] for word in re.findall(r"[a-z]{4,}", text.lower())}


def _misassigned(reasoning: Reasoning, facts: Facts) -> list[str]:
    """Subtasks that steps 3 and 4 give to a robot that the record does not give them to."""
    wrong: list[str] = []
    for sentence in ENDS.split(" ".join(filter(None, reasoning.steps[2:]))):
        against = _UNFIT.search(sentence) or _COSTS.search(sentence)
        if against or sentence.lower().startswith(("for ", "so:")):
            continue
        pieces = list(_subjects(sentence))
        for robots, after, before in pieces:
            about = after if _numbers(after) or len(pieces) > 1 else before + after
            for place in _named_subtasks(about, facts) if len(robots) == 1 else ():
                if (right := facts.steps[place]["assigned_robot"]) != robots[0]:
                    wrong.append(f"subtask {place + 1} is given to {robots[0]}; it is {right}'s")
    return wrong


def _misordered(text: str, facts: Facts) -> list[str]:
    """What differs from the order of the record's subtasks in step 4, its conclusion left out."""
    phases = [phase for phase in _LATER.split(text) if robots_in(phase) or _numbers(phase)]
    orders = [step["execution_order"] for step in facts.steps]
    when: dict[int, int] = {}
    for time, phase in enumerate(phases):
        for place in _named_subtasks(phase, facts):
            when.setdefault(place, time)
    for one, other in combinations(sorted(when), 2):
        want, have = orders[one] - orders[other], when[one] - when[other]
        if (want > 0) != (have > 0) or (want < 0) != (have < 0):
            return [f"subtasks {one + 1} and {other + 1} are not in the record's order"]
    if not when and phases:
        rows = [{s["assigned_robot"] for s in facts.steps if s["execution_order"] == order}
                for order in sorted(set(orders))]  # fmt: skip
        if [set(robots_in(phase)) for phase in phases] != rows:
            return ["the robots do not follow one another in the record's order"]
    return []
