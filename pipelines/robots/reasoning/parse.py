"""A reasoning of any origin, taken apart: its steps, its robots, what it says of the site.

Words are found by the cues below, not understood: what has no cue is passed over.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from manifests.schema import ROBOTS
from pipelines.robots.reasoning.facts import STEPS

_I = re.IGNORECASE


def cue(words: str) -> re.Pattern[str]:
    """Whole words, in any case."""
    return re.compile(rf"\b(?:{words})\b", _I)


_TITLES = ("task analysis", "environment(?:al)? (?:assessment|analysis)",
           "(?:robot )?capabilit(?:y|ies) (?:match(?:ing)?|analysis|assessment)",
           "decision(?: justification)?|justification")  # fmt: skip
_AT = r"(?:^|(?<=[.!?])\s)[ \t*#>_-]*"  # where a heading can begin
_DASH = "\u2013\u2014"
_NAMED = re.compile(
    rf"{_AT}(?:(?:step\s*)?\d?\s*[.:){_DASH}-]*\s*)[*_]*"
    rf"(?:{'|'.join(f'({title})' for title in _TITLES)})"
    rf"[*_]*(?:\s*[:.{_DASH}]|\s+-|\s*\n)[*_]*",
    _I | re.M,
)
_STEP = re.compile(rf"{_AT}step\s*(\d)\b[*_]*\s*[:.){_DASH}-]*[*_]*", _I | re.M)
_LINE = re.compile(r"^[ \t*#>_]*(\d)\s*[.:)][*_]*", re.M)
ENDS = re.compile(r"(?<=[.!?;])\s+|\n+")

_NAMES = {
    "Drone": "drones?", "Underwater Robot": "underwater robots?",
    "Humanoid": "humanoids?(?: robots?)?",
    "Robot with Wheels": "robots? (?:with|on) wheels|wheeled robots?",
    "Robot with Legs": "robots? (?:with|on) legs|legged robots?",
}  # fmt: skip
ROBOT = re.compile("|".join(rf"(\b(?:{_NAMES[robot]})\b)" for robot in ROBOTS), _I)
_CONCLUDES = cue("so|therefore|thus|hence|choose|chosen|send|pick|select|answer|decision")
_REST = cue("because|since|rather than|instead of|not|over|than|while|although|whereas|unlike")

# fact -> what it is -> words that cite it so; True: it hinders, False: it does not.
_CUES = [(fact, value, cue(words)) for fact, by in {
    "terrain": {
        "floor": "floors?|floorboards|linoleum",
        "pavement": "paved|paving|pavement|asphalt|tarmac|concrete",
        "grass": "grass(?:y|land)?|lawns?|meadows?|turf", "sand": "sand(?:y)?|dunes?",
        "mud": "mud(?:dy)?|bog(?:gy)?|swamp(?:y)?|mire", "rubble": "rubble|debris|fallen masonry",
        "rock": "rocks?|rocky|boulders?|scree", "snow": "snow(?:y|ed)?|snowdrifts?|snowfield",
        "water": r"flood(?:ed|s|ing)?|flood ?water|site under [\d.]+ m of water|drowned",
    },
    "stairs": {True: "stair(?:s|case|well|way)|flights? of (?:steps|stairs)|steps to climb|steps",
               False: "step-free|on one level"},
    "doors": {True: "doors?|gates?",
              False: "(?:doors?|gates?) (?:stands?|are|is) (?:wide )?open|open (?:doors?|gates?)"},
    "slope_deg": {True: "slop(?:e|es|ing)|steep(?:ly)?|gradient|incline",
                  False: "(?:level|flat) ground|level|flat"},
    "clutter": {True: "clutter(?:ed)?|things all over|strewn|junk|obstacles",
                False: "uncluttered|tidy|swept|clear (?:way|path|ground)|way is (?:clear|free)"},
    "wind_ms": {True: "gales?|storm(?:y)?|gusts?|gusty|wind(?:s|y)?|hurricane",
                False: "windless|calm|(?:hardly any|little|light|no|slight) (?:wind|breeze)"},
    "rain": {True: "rain(?:s|y|ing)?|pouring|downpour|cloudburst", False: "dry"},
    "light": {True: "dark(?:ness)?|pitch-dark|unlit|blackness|(?:no|without|hardly any) light",
              False: "(?:well|brightly)[ -]lit|daylight|good light|lights are on"},
    "people": {True: "people|crowds?|crowded|visitors|bystanders",
               False: "deserted|nobody|no one|not a soul"},
    "ceiling_m": {True: "low (?:ceiling|roof)|little headroom|crawl space|too low to stand"},
    "water_depth_m": {True: "water|under ?water|below the surface"},
}.items() for value, words in by.items()]  # fmt: skip
_SOURCES = {
    "told": cue("task|words|instruction|brief|request|text|says?|said|told|tells?|according to"
                "|mentions?|mentioned|described"),
    "seen": cue("(?:the|this|and|both) (?:picture|image|photo|scene)(?! of)"
                "|(?:picture|image|photo) (?:shows?|and|agrees?|confirms?)|visibl[ey]"
                r"|(?:can|is|are|be) (?:\w+ly )?seen|(?:we|you|one|i) (?:can )?see|one sees"),
}  # fmt: skip
_ALIKE = cue("the same|confirms?|agrees?|too|as well|so does|bears? .*out")
_UNSAID = cue("says? nothing|not (?:say|mention|tell|show)|silent|leaves?|unsaid|neither"
              "|does(?:n't| not)|if there were|were there")  # fmt: skip
_NO = re.compile(r"(?:\b(?:no|not|without|none|never|nor|free of|clear of|absence of|hardly any"
                 r"|lacks?)\b|n't\b)[^,;.]{0,24}$", _I)  # fmt: skip
# Not "a hundred", "and one kilos".
_CHUNKS = re.compile(r"[,:()]\s|(?<!hundred )\band\b|\b(?:but|while|whereas|although)\b", _I)

UNITS = {
    "kg": r"kg|kilos?|kilograms?", "degrees": r"degrees?|°",
    "m/s": r"m/s|metres (?:a|per) second", "km": r"km|kilometres?|kilometers?",
    "hours": r"h|hours?", "dB": r"db|decibels?", "m": r"m|metres?|meters?",
}  # fmt: skip
_SMALL = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
          "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
          "eighteen", "nineteen"]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORTH = {word: n for n, word in enumerate(_SMALL)} | {"a": 1, "hundred": 100, "and": 0}
_WORTH |= {word: 10 * n for n, word in enumerate(_TENS, 2)}
_BELOW_100 = rf"(?:(?:{'|'.join(_TENS)})(?:[\s-](?:{'|'.join(_SMALL[1:10])}))?|{'|'.join(_SMALL)})"
_SPELT = rf"(?:a|{'|'.join(_SMALL[1:10])})[\s-]hundred(?:(?: and)?[\s-]{_BELOW_100})?|{_BELOW_100}"
_NUMBER = re.compile(
    r"\b(?P<rough>(?:about|roughly|some|around|approximately|nearly)\s+)?"
    rf"(?P<n>\b\d+(?:\.\d+)?|\b{_SPELT})[\s-]*(?:"
    + "|".join(f"(?P<u{i}>{words})" for i, words in enumerate(UNITS.values()))
    + r")(?![\w/])",
    _I,
)


@dataclass(frozen=True)
class Claim:
    """Something said of the site: `fact` is `value` (a ground; whether it hinders), or a unit and
    its number, `rough` if "about" so many. `sources`: of "told" and "seen", where from."""

    fact: str
    value: Any
    words: str
    sentence: str
    step: int
    sources: frozenset[str] = frozenset()
    rough: bool = False


@dataclass(frozen=True)
class Reasoning:
    """A reasoning's parts. `steps`: the texts of the four, None where one is missing; `headings`:
    which were found, in order (4: a fifth); `robots`: those concluded; `claims`: on the site."""

    steps: tuple[str | None, ...]
    headings: tuple[int, ...]
    robots: tuple[str, ...]
    claims: tuple[Claim, ...]


def parse(text: str) -> Reasoning:
    """The parts of any text; what it does not have is None or empty."""
    headings = _headings(text)
    steps: list[str | None] = [None] * len(STEPS)
    for place, (step, _, end) in enumerate(headings):
        after = headings[place + 1][1] if place + 1 < len(headings) else len(text)
        if step < len(STEPS) and steps[step] is None:
            steps[step] = text[end:after].strip()
    claims = [c for step, words in enumerate(steps) if words for c in _claims(words, step)]
    found = tuple(step for step, _, _ in headings)
    return Reasoning(tuple(steps), found, _concluded(steps[-1] or text), tuple(claims))


def _headings(text: str) -> list[tuple[int, int, int]]:
    """(step from 0, start, end) of each heading: by name, or else by "Step 1", or by number."""
    if named := [((m.lastindex or 1) - 1, *m.span()) for m in _NAMED.finditer(text)]:
        return named
    hits = list(_STEP.finditer(text)) or list(_LINE.finditer(text))
    return [(min(max(int(m[1]), 1), 5) - 1, *m.span()) for m in hits]


def robots_in(text: str) -> tuple[str, ...]:
    """The robots that a text names, in the order of ROBOTS."""
    named = {(m.lastindex or 1) - 1 for m in ROBOT.finditer(text)}
    return tuple(robot for place, robot in enumerate(ROBOTS) if place in named)


def _concluded(text: str) -> tuple[str, ...]:
    """The robots of the last sentence with any: after "so", "choose" ..., up to "because" ..."""
    for sentence in reversed(ENDS.split(text)):
        if robots_in(sentence):
            heads = [m.end() for m in _CONCLUDES.finditer(sentence)]
            ends = next((sentence[end:] for end in heads if robots_in(sentence[end:])), sentence)
            return robots_in(_REST.split(ends)[0]) or robots_in(ends)
    return ()


def _claims(text: str, step: int) -> Iterator[Claim]:
    """What a step's text says of the site, sentence by sentence, each with its sources.

    A source ("the picture shows") holds for what follows it in its sentence up to the next, or
    where nothing follows ("..., as the picture shows"), for what stands before it.
    """
    for sentence in ENDS.split(text):
        found: list[Claim] = []
        current: frozenset[str] = frozenset()
        waiting = trailing = False  # a source without facts yet; one that followed its facts
        for chunk in _CHUNKS.split(sentence):
            if _UNSAID.search(chunk):
                continue
            new = frozenset(name for name, words in _SOURCES.items() if words.search(chunk))
            said = list(cited(chunk, sentence, step))
            if new and not said and found and (trailing or _ALIKE.search(chunk)):
                found = [replace(claim, sources=claim.sources | new) for claim in found]
                continue
            if new:
                trailing = not said and any(not claim.sources for claim in found)
                found = [c if c.sources else replace(c, sources=new) for c in found]
                current = frozenset() if trailing else current | new if waiting else new
            waiting = bool(new or waiting) and not said and not trailing
            trailing = trailing and not said
            found += [replace(claim, sources=current) for claim in said]
        yield from found


def cited(chunk: str, sentence: str, step: int) -> Iterator[Claim]:
    """What a chunk cites: cues (the longest of those that overlap; "no" negates) and numbers."""
    hits = [(m, fact, value) for fact, value, words in _CUES for m in words.finditer(chunk)]
    hits.sort(key=lambda hit: (hit[0].start() - hit[0].end(), hit[1]))
    taken: set[int] = set()
    for found, fact, value in hits:
        if not taken.isdisjoint(range(*found.span())):
            continue
        taken |= set(range(*found.span()))
        negated = bool(_NO.search(chunk[: found.start()]))
        if isinstance(value, str):
            yield Claim("no terrain" if negated else fact, value, found[0], sentence, step)
        else:
            yield Claim(fact, value is not negated, found[0], sentence, step)
    for found in _NUMBER.finditer(chunk):
        unit = next(u for i, u in enumerate(UNITS) if found[f"u{i}"])
        value, rough = _value(found["n"].lower()), found["rough"] is not None
        yield Claim(unit, value, chunk, sentence, step, rough=rough)


def _value(number: str) -> float:
    """A number in figures or in words: 101.0 for "a hundred and one"."""
    if number[0].isdigit():
        return float(number)
    value = 0
    for word in re.split(r"[\s-]+", number):
        value = value * 100 if word == "hundred" else value + _WORTH[word]
    return float(value)
