"""Words read back: a text of ours -> the meaning it was made of.

Every wording, place and clause of the lexicon is known, so reading is finding them: at each word
the longest that begins there. What reads back as it was meant decides no less than it should, and
no more.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from manifests.place import task_group
from pipelines.robots.lexicon import SLOTS, UNWEIGHED, Job, Spot, lexicon
from pipelines.robots.said import Item, Said
from pipelines.robots.wording import SMALL_NUMBERS, gerund

_NUMBER = re.compile(rf"\d+(?:\.\d+)?|\b(?:{'|'.join(SMALL_NUMBERS)})\b")
_MARK = "0"  # in the place of every number, so no word can be taken for it
_UNITS = {"kg": "kg kilos kilo kilograms kilogram", "m": "m metres metre", "h": "h hours hour",
          "km": "km kilometres kilometre"}  # fmt: skip
_UNIT = {word: unit for unit, words in _UNITS.items() for word in words.split()}
_BEFORE = "before you"


class UnreadableError(ValueError):
    """The words are not ones that the lexicon knows."""


@dataclass(frozen=True, eq=False)
class Entry:
    """Words of the lexicon.

    `kind`: job, unweighed job, where, told, phrase, denied, skipped (with "{n}" at its end if they
    give a number), nothing, or "then": next in a sequence. `what`: the job, the places, the state's
    name, or the place in the sequence; `words`: as the lexicon has them.
    """

    kind: str
    what: Any
    words: str


@dataclass(frozen=True)
class Hit:
    """Words of the lexicon that were found in a text, and the numbers among them."""

    entry: Entry
    words: tuple[str, ...]
    values: tuple[float, ...]


def read(text: str) -> Said:
    """The meaning of a text that `language.realise` wrote. Raises UnreadableError for any other."""
    hits = list(_hits(text))
    items: list[Item] = []
    group, orders = 0, []
    for hit in hits:
        if hit.entry.kind == "then":
            group = max(1, group) + (hit.entry.what > 0)
        if hit.entry.kind.endswith("job"):
            job: Job = hit.entry.what
            weighed = job.measured and hit.entry.kind == "job"
            value = hit.values[0] if weighed else None
            items.append(Item(job, value))
            orders.append(max(1, group))
    if not items:
        raise UnreadableError(f"no job that the lexicon knows in {text!r}")
    spot = _main([item.job.spot for item in items])
    told = [
        (hit.entry.what, hit.values[0] if "{n}" in hit.entry.kind else None)
        for hit in hits
        if hit.entry.kind.startswith(("told", "phrase"))
    ]
    return Said(
        items=tuple(items),
        spot=spot,
        placed=any(hit.entry.kind == "where" and spot in hit.entry.what for hit in hits),
        told=tuple(told),
        denied=tuple(hit.entry.what for hit in hits if hit.entry.kind == "denied"),
        skipped=tuple(hit.entry.what for hit in hits if hit.entry.kind == "skipped"),
        places=_places(hits, {item.job.spot for item in items}),
        orders=tuple(orders) if len(items) > 1 and max(orders) > 1 else None,
    )


def wordings(text: str) -> set[str]:
    """The wordings of the lexicon that a text is made of."""
    return {hit.entry.words for hit in _hits(text)}


def same(one: Said, other: Said) -> bool:
    """Whether two meanings are one, whatever the order in which the place's states are named."""
    if one.plan != other.plan:
        return False
    if one.places and other.places and set(one.places) != set(other.places):
        return False
    return _unordered(one) == _unordered(other)


def _unordered(said: Said) -> tuple[Any, ...]:
    told = frozenset(said.told)
    return said.items, said.spot, said.placed, told, set(said.denied), set(said.skipped)


def _places(hits: Sequence[Hit], spots: set[Spot]) -> tuple[tuple[Spot, str], ...]:
    """The words by which these places are named."""
    named = ((spot, hit.entry.words) for hit in hits if hit.entry.kind == "where"
             for spot in hit.entry.what if spot in spots)  # fmt: skip
    return tuple(dict(named).items())


def _main(spots: list[Spot]) -> Spot:
    """The place that the states are about: where most is to be done, the first among equals."""
    return max(dict.fromkeys(spots), key=spots.count)


def walk(text: str) -> Iterator[str | Hit]:
    """A text's normal form from its start: words of the lexicon as a Hit, others as they are."""
    words, values = _words(text)
    entries, longest = _entries()
    at = said = 0
    while at < len(words):
        ends = range(min(len(words), at + longest), at, -1)
        end = next((end for end in ends if tuple(words[at:end]) in entries), at + 1)
        part = tuple(words[at:end])
        count = part.count(_MARK)
        if part in entries:
            yield Hit(entries[part], part, tuple(values[said : said + count]))
        else:
            yield part[0]
        said += count
        at = end


def _hits(text: str) -> Iterator[Hit]:
    return (part for part in walk(text) if isinstance(part, Hit))


def _words(text: str) -> tuple[list[str], list[float]]:
    """The words of the normal form, with one spelling for units, and a mark for each number."""
    values: list[float] = []

    def mark(found: re.Match[str]) -> str:
        said = found[0]
        values.append(float(SMALL_NUMBERS.index(said)) if said in SMALL_NUMBERS else float(said))
        return f" {_MARK} "

    words = task_group(_NUMBER.sub(mark, text.casefold())).split()
    return [
        _UNIT.get(w, w) if i and words[i - 1] == _MARK else w for i, w in enumerate(words)
    ], values


@cache
def _entries() -> tuple[dict[tuple[str, ...], Entry], int]:
    """Every wording of the lexicon as words -> what it means, and the longest one's length."""
    found: dict[tuple[str, ...], Entry] = {}

    def add(words: str, kind: str, what: Any, base: str = "") -> None:
        key = tuple(_words(_filled(words))[0])
        if kind == "where" and key in found:
            found[key].what.append(what)
        elif key in found and (found[key].kind, found[key].what) != (kind, what):
            raise ValueError(f"{words!r} is {kind} and {found[key].kind}")
        else:
            found[key] = Entry(kind, [what] if kind == "where" else what, base or words)

    whole = lexicon()
    for domain in whole.domains:
        for words in (*domain.asides, *domain.occasions):
            found[tuple(_words(words)[0])] = Entry("nothing", None, words)
        for job in domain.jobs:
            for words in (*job.say, job.note):
                for said in filter(None, (words, gerund(words) if words != job.note else None)):
                    add(said, "job", job, words)
                    if job.weighable:
                        add(said.replace(*UNWEIGHED), "unweighed job", job, words)
        for spot in dict.fromkeys(job.spot for job in domain.jobs):
            for words in spot.where:
                add(words, "where", spot)
    for state in whole.states.values():
        for form in ("told", "phrase", "denied", "skipped"):
            for marked in getattr(state, form):
                words = marked.rpartition("| ")[2]
                add(words, form + "{n}" * ("{n}" in words), state.name)
    for frame in whole.frames["sequence"]:
        for place, words in enumerate(frame):
            add(words.replace("{x}", ""), "then", place)
    add(_BEFORE, "then", 1)
    return found, max(map(len, found))


def _filled(words: str) -> str:
    """A wording with its slot as a number and its unit, so that it is read like a text."""
    for unit, slot in zip(("kg", "m", "km", "h"), SLOTS.values(), strict=True):
        words = words.replace(slot, f"1 {unit}")
    return words.replace("{n}", "1")
