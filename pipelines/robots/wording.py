"""Wordings as they are said: with their number, as a gerund, with capitals."""

import re
from random import Random

from pipelines.robots.lexicon import SLOTS, UNWEIGHED
from pipelines.robots.said import Item

_UNITS = {
    "payload_kg": ("{} kg", "{} kg", "{} kilos", "{} kilograms"),
    "height_m": ("{} metres", "{} m", "{} metres"),
    "distance_km": ("{} km", "{} kilometres"),
    "hours": ("{} hours", "{} h"),
}
_UP_TO_TEN = "zero one two three four five six seven eight nine ten"
_TEENS = "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
SMALL_NUMBERS = (*_UP_TO_TEN.split(), *_TEENS.split(), "twenty")
_DOUBLED = re.compile(
    r"(?:un|re(?=[^aeiou]))?[^aeiou]*[aeiou][bdgklmnprt]|.*[^aeiou](?:mit|fer|[aeio]l)|begin|outfit"
)


def measured(item: Item, words: str, rng: Random) -> str:
    """A wording with the item's number in the place of its slot."""
    name = item.job.measured
    if name is None:
        return words
    if item.value is None:
        return words.replace(*UNWEIGHED)
    number, unit = f"{item.value:g}", rng.choice(_UNITS[name])
    if item.value == int(item.value) < len(SMALL_NUMBERS) and len(unit) > 5 and rng.random() < 0.3:
        number = SMALL_NUMBERS[int(item.value)]  # "twelve kilos", never "twelve kg"
    unit = unit.format(number)
    slot = SLOTS[name]
    hyphen = re.sub(r"^(\S+) (\S+?)s?$", r"\1-\2", unit)  # "a {m} mast": a 20-metre mast
    words = re.sub(rf"\b(an?|the) {re.escape(slot)}(?= \w)(?! (?:up|of|high|above))",
                   rf"\1 {hyphen}", words)  # fmt: skip
    words = words.replace(slot, unit)
    return re.sub(rf"\ban? (?={re.escape(number)})", _article(number), words)


def _article(number: str) -> str:
    return "an " if number.startswith(("8", "11", "18", "ei", "el")) else "a "


def gerund(words: str) -> str | None:
    """ "check the oil" -> "checking the oil"; None where a second verb would be left behind."""
    verb, _, rest = words.partition(" ")
    if re.search(r"\band\b|\bor\b", rest):
        return None
    head, dash, last = verb.rpartition("-")
    if last.endswith("ie"):
        last = last[:-2] + "y"
    elif last.endswith("e") and not last.endswith(("ee", "oe", "ye")) and len(last) > 2:
        last = last[:-1]
    elif _DOUBLED.fullmatch(last):
        last += last[-1]
    elif last.endswith("ic"):
        last += "k"
    return f"{head}{dash}{last}ing {rest}".strip()


def capitalised(text: str) -> str:
    """Upper case at the start of each sentence."""
    return re.sub(r"(?:^|(?<=[.?!] )|(?<=[.?!]\) ))[a-z]", lambda m: m[0].upper(), text)
