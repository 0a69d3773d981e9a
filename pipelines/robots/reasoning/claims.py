"""What is wrong with what a reasoning says of the site: facts, numbers, and where they are from."""

import re

from manifests.schema import ROBOTS
from pipelines.robots.capability import model
from pipelines.robots.reasoning.facts import Facts
from pipelines.robots.reasoning.parse import ROBOT, UNITS, Claim, cited, cue, robots_in

# unit -> requirements and facts of the site whose numbers it can carry
_CARRIES = {
    "kg": (("payload_kg",), ("payload_kg",)), "degrees": (("slope_deg",), ("slope_deg",)),
    "m/s": (("wind_ms", "speed_ms"), ("wind_ms",)), "km": (("range_m",), ("distance_m",)),
    "hours": (("endurance_h",), ()), "dB": (("noise_db",), ()),
    "m": (("reach_m", "depth_m", "clearance_m"), ("water_depth_m", "ceiling_m", "height_m")),
}  # fmt: skip
_MEANT = (  # of metres: the requirement and the fact, by the words about them
    (r"deep|depth|of water|under ?water|\bflood(?:ed)?\b", "depth_m", "water_depth_m"),
    (r"headroom|ceiling|(?:low|under the) roof|clearance", "clearance_m", "ceiling_m"),
    (r"\bup\b|high|above|height", "reach_m", "height_m"),
)
_EXACT, _ROUGH = 0.02, 0.1  # by how much of it a number may be off, and one with "about"
_OFF = cue("o(?:ut of|ff) the way|off the route|not (?:on|in) (?:the|its|our) (?:way|path|route)"
           "|behind a|(?:do|does) not matter|irrelevant|ignored?|kept away")  # fmt: skip
_REASON = cue("there (?:is|are)|because|owing to|due to|given the|despite")
_MEMBERS = cue("it|they|which|both")


class Site:
    """The site of a record, as claims are held against it. `own`: the words of its task, which are
    no claims: "the door seal" says nothing of doors."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        jobs = [item.job for item in facts.items]
        words = [step["subtask"] for step in facts.steps]
        self.said = list(cited(". ".join([facts.text, *words]), "", 0))
        words += [w for job in jobs for w in (*job.say, job.note, *job.spot.where)]
        self.told = facts.told
        if not jobs:  # not a task of ours: what it says is what its words cite
            words.append(facts.text)
            self.told |= {claim.fact for claim in self.said}
        self.own = set(re.findall(r"[a-z]+", " ".join(words).lower()))

    def fault(self, claim: Claim) -> str | None:
        """What is wrong with a claim, as a sentence; None if nothing is."""
        seen, told = "seen" in claim.sources, "told" in claim.sources
        if claim.fact in UNITS:
            return self._misnumbered(claim, seen)
        own = set(re.findall(r"[a-z]+", claim.words.lower())) <= self.own
        if (own and not seen) or self._of_robots(claim):
            return None
        if not self._true(claim):
            return f"it says {claim.words!r}, which is not so: {claim.sentence!r}"
        if seen and claim.value is not False and not self._drawn(claim.fact):
            return f"it says that the picture shows {claim.words!r}, which is not drawn"
        if told and claim.fact not in {*self.told, "water_depth_m"}:
            return f"it says that the task speaks of {claim.words!r}, which it does not"
        return None

    def _of_robots(self, claim: Claim) -> bool:
        """Whether a claim of step 3 or 4 is on what a robot can, not on what the site has."""
        if claim.step < 2 or claim.sources:
            return False
        robots = ROBOT.search(claim.sentence) or _MEMBERS.search(claim.sentence)
        return bool(robots) or not _REASON.search(claim.sentence)

    def _true(self, claim: Claim) -> bool:
        site = self.facts.site
        if claim.fact in ("terrain", "no terrain"):
            grounds = {site.get("terrain")}
            if "seen" not in claim.sources:
                grounds |= {need.get("grounds") for need in self.facts.needs}
            if site.get("indoor") and grounds & {"floor", "pavement"}:
                grounds |= {"floor", "pavement"}  # a cellar's floor is paved
            return (claim.value in grounds) is (claim.fact == "terrain")
        if _OFF.search(claim.sentence) and not claim.sources:
            return True  # that it is not on the way is no claim that it is there
        if claim.words.lower() == "dry" and site.get("terrain") == "water":
            return claim.value is True
        return self.facts.hinders(claim.fact) is claim.value

    def _drawn(self, fact: str) -> bool:
        seen = self.facts.seen
        return seen(fact) or (fact == "water_depth_m" and seen("terrain"))

    def _misnumbered(self, claim: Claim, seen: bool) -> str | None:
        """A number that is neither the record's nor, from step 3 on, what a robot can."""
        requirements, facts = _CARRIES[claim.fact]
        if claim.fact == "m" and claim.step < 2:
            meant = [names for words, *names in _MEANT if re.search(words, claim.words, re.I)]
            requirements, facts = zip(*meant, strict=True) if meant else (requirements, facts)
        site, needs = self.facts.site, self.facts.needs
        known = [need[name] for need in needs for name in requirements if name in need]
        known += [site[fact] for fact in facts if fact in site]
        if claim.step > 1:
            able = robots_in(claim.sentence) or ROBOTS
            known += [model()["robots"][robot][name] for robot in able for name in requirements]
        known = [value / (1000 if claim.fact == "km" else 1) for value in known]
        if claim.step == 0 and not seen:
            known += [said.value for said in self.said if said.fact == claim.fact]
        number, off = f"{claim.value:g} {claim.fact}", _ROUGH if claim.rough else _EXACT
        if not known:
            return f"nothing here is {number}"
        if all(abs(claim.value - value) > off * value for value in known):
            return f"{number} is not so: {claim.words.strip()!r}"
        if seen and facts and claim.step < 2 and not any(map(self._drawn, facts)):
            return f"it says that the picture shows {number}, which is not drawn"
        return None
