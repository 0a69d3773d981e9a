"""Steps 3 and 4 of a reasoning: robots held against what is needed, and what settles the choice."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from manifests.schema import ROBOTS
from pipelines.robots.capability import judge, model
from pipelines.robots.reasoning.facts import Facts
from pipelines.robots.reasoning.phrases import Words, figure, listed, sentences, subtasks

Need = Mapping[str, Any]
_PHASES = ("looking", "handling", "carrying")
_UNSIZED = ("grounds", "clutter")  # robots differ in them, but no phrase says by how much


def matching(facts: Facts, words: Words, terse: int) -> str:
    """Step 3: who falls away, who could at a higher cost, who suits; or who of a team gets what."""
    if facts.steps:
        return sentences([*_assigned(facts, words), *_rivals(facts, words, most=3 - terse)])
    (need,) = facts.needs
    both = " both" * (len(facts.robots) == 2)
    able = listed(_able(facts, words, facts.robots, [need]))
    parts = ["; ".join(_fallen(facts, words, need)), f"{listed(facts.robots)} can{both} {able}"]
    if rest := judge(need).costlier:
        parts.append(f"{listed(rest)} {words.say('costlier', many=len(rest) > 1)}")
    words.rng.shuffle(parts)
    return sentences(filter(None, parts))


def _fallen(facts: Facts, words: Words, need: Need, among: Iterable[str] = ROBOTS) -> list[str]:
    """Why robots fall away: clauses, robots of the same reason together."""
    left = {robot: {f.requirement for f in found}
            for robot, found in judge(need).failures.items() if robot in among}  # fmt: skip
    clauses: list[str] = []
    if "Underwater Robot" in left and need.get("grounds") != "water":
        del left["Underwater Robot"]
        clauses.append(f"Underwater Robot {words.say('fails', 'ashore')}")
    while left:
        names = sorted({name for names in left.values() for name in names})
        words.rng.shuffle(names)
        if words.rng.random() < 0.75:  # else any reason: not always the one that most share
            names.sort(key=lambda name: -sum(name in found for found in left.values()))
        name = "depth_m" if "depth_m" in names else names[0]
        has = {r: model()["robots"][r][name] for r, found in left.items() if name in found}
        value = next(iter(has.values()))
        same = [robot for robot in has if name in _UNSIZED or has[robot] == value]
        why = _valued(facts, words, "fails", name, need, same)
        clauses.append(f"{listed(same)} {why}")
        left = {robot: found for robot, found in left.items() if robot not in same}
    words.rng.shuffle(clauses)
    return clauses


def _valued(
    facts: Facts, words: Words, table: str, name: str, need: Need, robots: Sequence[str]
) -> str:
    """What robots can or cannot, by a requirement; without a number that nobody can know."""
    known = name == "grounds" or facts.known(name, need)
    has, n = model()["robots"][robots[0]][name], figure(name, need[name])
    many, counted = len(robots) > 1, None if known else False
    return words.say(table, name, many=many, counted=counted, has=figure(name, has), n=n)


def _able(facts: Facts, words: Words, robots: Sequence[str], needs: Sequence[Need]) -> list[str]:
    """What makes robots suit, to follow "can": what keeps the others out."""
    each = 3 if len(needs) == 1 else 1
    hardest: dict[str, Need] = {}
    for need in needs:
        for name in _deciding(need)[:each]:
            hardest[name] = max(hardest.get(name, need), need, key=lambda n: n[name])
    table, found = model()["robots"], list[str]()
    for name, need in hardest.items():
        if name == "grounds":
            way = robots[0] if len(robots) == 1 else "both"
            found.append(words.say("moves", way, n=words.say("grounds", need[name])))
        elif all(table[robot][name] == table[robots[0]][name] for robot in robots):
            found.append(_valued(facts, words, "meets", name, need, robots))
    return found or [words.say("meets", "all")]


def _assigned(facts: Facts, words: Words) -> list[str]:
    """Who takes what, and why, robot by robot."""
    said: list[str] = []
    for robot in facts.robots:
        mine = [i for i, step in enumerate(facts.steps) if step["assigned_robot"] == robot]
        able = listed(_able(facts, words, (robot,), [facts.needs[i] for i in mine]))
        own, many = subtasks(mine), len(mine) > 1
        said.append(words.say("assigned", many=many, r=robot, l=own, x=able))
    return said


def _rivals(facts: Facts, words: Words, most: int) -> list[str]:
    """For some subtasks, why other robots of the team do not get them."""
    said: dict[tuple[str, ...], str] = {}
    for i, need in enumerate(facts.needs):
        dry, verdict = need.get("grounds") != "water", judge(need)
        among = [robot for robot in facts.robots if not (dry and robot == "Underwater Robot")]
        clauses = _fallen(facts, words, need, among)
        if rest := [robot for robot in verdict.costlier if robot in facts.robots]:
            clauses.append(f"{listed(rest)} would cost more to run")
        if clauses:  # once for subtasks that part the same robots
            alike = facts.steps[i]["assigned_robot"], *(r for r in among if r in verdict.failures)
            said[alike] = f"for subtask {i + 1}, {listed(clauses)}"
    return words.rng.sample(list(said.values()), min(len(said), most))


def decision(facts: Facts, words: Words, terse: int, decided: str) -> str:
    """Step 4: what settles it, or in which order a team works; and the robots."""
    if facts.steps:
        return sentences([*_order(facts, words, brief=terse > 2), f"so: {listed(facts.robots)}"])
    (need,) = facts.needs
    if len(facts.robots) > 1:
        why = [words.say("left", "tied")]
        last = f"so: {listed(facts.robots, 'or')}, equally"
    else:
        keys = [words.say("keys", name) for name in _deciding(need)[:2]]
        left = "cheapest" if judge(need).costlier else "alone"
        why = [words.say("key", many=len(keys) > 1, l=listed(keys)), words.say("left", left)]
        last = f"so: {facts.robots[0]}"
    return sentences([*why, words.say("settled", decided), last])


def _order(facts: Facts, words: Words, brief: bool) -> list[str]:
    """When which subtask is done, by whom (step 3 has that too), and why in this order."""
    groups: dict[int, dict[str, list[int]]] = {}
    for i, step in enumerate(facts.steps):
        group = groups.setdefault(step["execution_order"], {})
        group.setdefault(step["assigned_robot"], []).append(i)
    shares: list[str] = []
    for group in groups.values():
        who = [f"{robot} takes {subtasks(mine)}" for robot, mine in group.items()]
        what = subtasks(sorted(place for mine in group.values() for place in mine))
        shares.append((what if brief else listed(who)) + ", side by side" * (len(group) > 1))
    if len(shares) == 1:
        return [f"{words.say('order', 'none')}: {shares[0]}"]
    phases = [_PHASES[phase] for phase in sorted({item.phase for item in facts.items})]
    name = "given" if facts.ordered else "two" if len(phases) == 2 else "three"
    why = words.say("order", name, n=phases[0], x=phases[-1])
    return [why, f"{words.say('first')} {', then '.join(shares)}"]


def _deciding(need: Need) -> list[str]:
    """The requirements that part those that suit from the others, the most telling first.

    Robots that fall away for one are not counted for the next; of equals, what the task demands
    (which stands last) comes before what the site does. That a diver does not work on land goes
    without saying, unless nothing else does.
    """
    left = {r: {f.requirement for f in found} for r, found in judge(need).failures.items()}
    if need.get("grounds") != "water" and len(left) > 1:
        left.pop("Underwater Robot", None)
    found: list[str] = []
    while left:
        names = ["depth_m"] if "depth_m" in need and not found else [*need][::-1]
        best = max(names, key=lambda name: sum(name in failed for failed in left.values()))
        found.append(best)
        left = {robot: failed for robot, failed in left.items() if best not in failed}
    return found or ["grounds"]
