"""phrases.yaml, drawn from by chance, and the joints of a sentence."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from pipelines.robots.capability import show


@cache
def _phrases() -> dict[tuple[str, ...], tuple[str, ...]]:
    """(table, name) or (name,) -> the choices."""
    said = yaml.safe_load(Path(__file__).with_name("phrases.yaml").read_text(encoding="utf-8"))
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for name, words in said.items():
        table = {(name,): words} if isinstance(words, str) else {
            (name, key): value for key, value in words.items()}  # fmt: skip
        found |= {path: tuple(value.split(" / ")) for path, value in table.items()}
    return found


class Words:
    """Phrases by the chance of a seed: the same calls in the same order give the same words."""

    def __init__(self, seed: str) -> None:
        self.rng = Random(seed)

    def say(self, *path: str, many: bool = False, counted: bool | None = None, **slots: Any) -> str:
        """One of the phrases at a path, its slots filled. `counted`: True for one with {n} if there
        are any, False for one without."""
        options = _phrases()[path]
        if counted is not None:
            options = [o for o in options if ("{n}" in o) is counted] or options
        words = self.rng.choice(options).format(**slots)
        return re.sub(r"\[([^|\]]*)\|([^|\]]*)\]", r"\2" if many else r"\1", words)


def figure(requirement: str, value: Any) -> str:
    """A requirement's value as a sentence wants it; ways in km."""
    return show(value / 1000 if requirement == "range_m" else value)


def listed(parts: Sequence[str], word: str = "and") -> str:
    """ "a, b and c"."""
    return f" {word} ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def subtasks(places: Sequence[int]) -> str:
    """ "subtasks 1 and 3" for the places 0 and 2."""
    return f"subtask{'s' * (len(places) > 1)} {listed([str(place + 1) for place in places])}"


def sentences(parts: Iterable[str]) -> str:
    """Parts as sentences: capital letters, full stops."""
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)
