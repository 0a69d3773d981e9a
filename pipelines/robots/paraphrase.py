"""The same task in other words: every paraphrase means what its source means, and shares few
words."""

from collections.abc import Sequence
from random import Random

from manifests.place import task_group
from pipelines.robots.language import UnsayableError, realise
from pipelines.robots.reading import UnreadableError, read, same, wordings
from pipelines.robots.twins import LIMIT, Twins, jaccard, words_of

TRIES = 80


def paraphrases(text: str, count: int, kept_apart: Twins, most: int = TRIES) -> list[str]:
    """`count` other ways to put a task: none equal in words to it or another, none a near-twin
    of a text that is kept apart (val and test), and each read back to the same meaning.

    The same for the same text: records of the same words keep having the same words. Wordings that
    were used give way to others while there are any; of many tries the first that shares less than
    60 % of its words with the text and its siblings is taken, or else the one that shares least; up
    to `most` tries are made where the first find none. Raises UnreadableError if the text is not
    made of the lexicon's words, ValueError if no other way to put it was found.
    """
    said, rng = read(text), Random(f"paraphrase {text}")
    told, avoid = [text], wordings(text)
    while len(told) <= count:
        best: tuple[float, str] | None = None
        for attempt in range(most):
            if attempt >= TRIES and best is not None:
                break
            lenient = attempt >= TRIES // 2  # a long task may have no other short wordings
            try:
                other = realise(said, rng, () if lenient else avoid)
                if not same(read(other), said):
                    continue
            except (UnsayableError, UnreadableError):
                continue
            if kept_apart.has(other) or not _new(other, told):
                continue
            shared = max(jaccard(words_of(other), words_of(text)) for text in told)
            if best is None or shared < best[0]:
                best = shared, other
            if shared < LIMIT:
                break
        if best is None:
            raise ValueError(f"no other way was found to put {text!r}")
        told.append(best[1])
        avoid |= wordings(best[1])
    return told[1:]


def _new(text: str, told: Sequence[str]) -> bool:
    return task_group(text) not in {task_group(other) for other in told}
