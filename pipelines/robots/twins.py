"""Near-twins: texts that share most of their words.

Two texts are near-twins if their sets of words have a Jaccard index of at least 0.6. To find one
among thousands without comparing with all: of two such sets, each has at least 60 % of its words in
the other, so they meet in the first words of each when words stand in one order (prefix filtering;
Chaudhuri et al. 2006, Bayardo et al. 2007).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from math import ceil

from manifests.place import task_group

LIMIT = 0.6


def words_of(text: str) -> frozenset[str]:
    """The words of a text's normal form."""
    return frozenset(task_group(text).split())


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Words in both over words in either; 1 for two empty sets."""
    return len(one & other) / len(one | other) if one or other else 1.0


class Twins:
    """Texts, and whether a new one has a near-twin among them.

    `common`: texts of the same kind, whose frequent words are looked up last (only speed depends on
    it).
    """

    def __init__(self, common: Iterable[str] = ()) -> None:
        self._often = Counter(word for text in common for word in words_of(text))
        self._sets: list[frozenset[str]] = []
        self._texts: list[str] = []
        self._where: dict[str, list[int]] = {}

    def add(self, text: str) -> None:
        """Take in a text."""
        words = words_of(text)
        for word in self._prefix(words):
            self._where.setdefault(word, []).append(len(self._sets))
        self._sets.append(words)
        self._texts.append(text)

    def of(self, text: str) -> Iterator[str]:
        """The texts taken in that are near-twins of this one, itself among them."""
        words = words_of(text)
        tried: set[int] = set()
        for word in self._prefix(words):
            for number in self._where.get(word, ()):
                if number not in tried:
                    tried.add(number)
                    if jaccard(words, self._sets[number]) >= LIMIT:
                        yield self._texts[number]

    def has(self, text: str) -> bool:
        """Whether any text taken in is a near-twin."""
        return next(self.of(text), None) is not None

    def _prefix(self, words: frozenset[str]) -> list[str]:
        """The rarest words, one more than a near-twin could lack."""
        if not words:
            return [""]
        ordered = sorted(words, key=lambda word: (self._often[word], word))
        return ordered[: len(ordered) - ceil(LIMIT * len(ordered)) + 1]
