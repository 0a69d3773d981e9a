"""Figures of a set's language and of its sites: how many words, verbs and sentence frames there
are, and whether any kind of site, robot or list of subtasks is too common."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from manifests.place import task_group
from manifests.schema import ROBOTS, seen_site
from pipelines.robots.choose import typed_list
from pipelines.robots.evidence import kinds
from pipelines.robots.reading import Entry, read, walk
from pipelines.robots.twins import Twins

_ROBOT = re.compile(
    r"\b(robot(s|ic)?|drones?|uavs?|quadcopters?|humanoids?|androids?|wheels?|wheeled|legs?|legged|"
    r"quadrupeds?|walkers?|rovers?|rovs?|auvs?)\b",
    re.IGNORECASE,
)
_KINDS = {"phrase": "told", "nothing": "aside"}  # of the lexicon's entries, in a frame's words


def profile(texts: Iterable[str]) -> dict[str, Any]:
    """Figures of the tasks' language; texts of one normal form count once.

    How many different ones there are of: texts, words, verbs, jobs, objects (their types),
    domains, frames, fourgrams. fourgrams_a_text. near_twins: the share of texts that have one, of
    other words. frame, frame_share: the commonest and its share. domain_shares. lengths: the
    least, the median and the largest number of words. unread: texts without a job of the lexicon.
    robots_named: texts that name a kind of robot. Raises ValueError if there are no texts.
    """
    distinct = list({task_group(text): text.removeprefix("Task: ") for text in texts}.values())
    if not distinct:
        raise ValueError("there are no texts to profile")
    parts = [_parts(text) for text in distinct]
    jobs = [
        [p for p in found if isinstance(p, Entry) and p.kind.endswith("job")] for found in parts
    ]
    said = [entry for found in jobs for entry in found]
    domains = Counter(found[0].what.spot.domain for found in jobs if found)
    frames = Counter(map(_frame, parts))
    frame, often = frames.most_common(1)[0]
    lengths = sorted(len(text.split()) for text in distinct)
    return {
        "texts": len(distinct),
        **_counts(distinct),
        "verbs": len({entry.words.split()[0] for entry in said if entry.words != entry.what.note}),
        "jobs": len({entry.what for entry in said}),
        "objects": len({entry.what.of for entry in said}),
        "domains": len(domains),
        "domain_shares": {name: count / len(distinct) for name, count in domains.most_common()},
        "frames": len(frames),
        "frame": frame,
        "frame_share": often / len(distinct),
        "near_twins": _with_twins(distinct) / len(distinct),
        "lengths": (lengths[0], median(lengths), lengths[-1]),
        "unread": sum(not found for found in jobs),
        "robots_named": sum(bool(_ROBOT.search(text)) for text in distinct),
    }


def _counts(texts: Sequence[str]) -> dict[str, Any]:
    """How many different words and sequences of four words there are."""
    tokens = [task_group(text).split() for text in texts]
    fours = {tuple(words[i : i + 4]) for words in tokens for i in range(len(words) - 3)}
    return {
        "words": len({word for words in tokens for word in words}),
        "fourgrams": len(fours),
        "fourgrams_a_text": round(len(fours) / len(texts), 1),
    }


def _parts(text: str) -> list[str | Entry]:
    """The words of a text, those that are a wording of the lexicon as its entry; as `read` finds
    them. Words that only put jobs in order stay words."""
    found: list[str | Entry] = []
    for part in walk(text):
        if isinstance(part, str):
            found.append(part)
        elif part.entry.kind == "then":
            found += part.words
        else:
            found.append(part.entry)
    return found


def _frame(parts: Sequence[str | Entry]) -> str:
    """ "who can [job] [where] [told]": the words around what is said, and what is said by its kind.

    A wording with a number is of the kind of the one without.
    """
    names = (
        part if isinstance(part, str) else part.kind.removesuffix("{n}").split()[-1]
        for part in parts
    )
    return " ".join(
        name if isinstance(part, str) else f"[{_KINDS.get(name, name)}]"
        for name, part in zip(names, parts, strict=True)
    )


def _with_twins(texts: Sequence[str]) -> int:
    """How many of these different texts have a near-twin among the others."""
    twins = Twins(texts)
    for text in texts:
        twins.add(text)
    return sum(any(other != text for other in twins.of(text)) for text in texts)


def kinds_table(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """How records spread over sites, robots and plans.

    kinds: for single, multi and all, kind of site -> (records, commonest label, its share); labels:
    robot -> its share of the single records, as the only one that suits; ties: the share with
    several; subtask_lists: how many different ones, and most_used_list: the records of the
    commonest; in_pairs: the records that share their words with others.
    """
    labels: Counter[tuple[str, ...]] = Counter()
    lists: Counter[tuple[str, ...]] = Counter()
    shown: dict[str, dict[str, Counter[str]]] = {"single": {}, "multi": {}, "all": {}}
    in_pairs = 0
    for record in records:
        form = "multi" if "subtasks" in record else "single"
        if form == "multi":
            lists[typed_list(read(record["input"]))] += 1
        else:
            labels[tuple(record["output"].split(", "))] += 1
        for kind in kinds(seen_site(record)):
            for which in (form, "all"):
                shown[which].setdefault(kind, Counter())[record["output"]] += 1
        in_pairs += record["pair"] is not None
    alone = max(1, labels.total())
    return {
        "kinds": {form: _commonest(found) for form, found in shown.items()},
        "labels": {robot: labels[(robot,)] / alone for robot in ROBOTS},
        "ties": sum(count for label, count in labels.items() if len(label) > 1) / alone,
        "subtask_lists": len(lists),
        "most_used_list": max(lists.values(), default=0),
        "in_pairs": in_pairs,
    }


def _commonest(shown: Mapping[str, Counter[str]]) -> dict[str, tuple[int, str, float]]:
    """Kind of site -> (records, the commonest label, its share), the commonest kinds first."""
    ordered = sorted(shown.items(), key=lambda item: -item[1].total())
    return {
        kind: (found.total(), label, count / found.total())
        for kind, found in ordered
        for label, count in found.most_common(1)
    }
