"""Can the robot tasks be answered without reading them? Controls that see half of a record, and an
oracle that sees all of it.

A control is fitted on the records of train and judged on those of test, single and multi apart: by
the words alone, by the picture alone, or by neither. A record is answered if the set of robots is
exactly right. What the picture decides, words must not tell better than chance; what the text
decides, pictures not much better than the best constant; the oracle must be right throughout.
"""

import io
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from manifests.place import split_of, task_group
from manifests.schema import seen_site
from pipelines.robots.capability import judge
from pipelines.robots.dataset import FILES
from pipelines.robots.lexicon import lexicon
from pipelines.robots.reading import UnreadableError, read
from pipelines.robots.scenarios import chosen
from pipelines.robots.scene import scene_jpeg

COLUMNS = ("picture", "text", "both")  # what decides
HELD_OUT = {"test": ("test",), "val + test": ("val", "test")}  # thresholds are judged on the first
WORDS_SLACK, PICTURES_SLACK = 5.0, 10.0  # points above chance, above the best constant
CONSTANT, ORACLE, FAILED = "best constant", "oracle", "FAILED"
_FIELDS = ("id", "input", "output", "site", "evidence", "pair")
_BINS, _THUMB = 8, 32  # of each colour channel; pixels a side
_PROCESSES, _LEAST = 2, 50  # helpers that draw; records of a form that can be audited

Record = Mapping[str, Any]
Look = tuple[np.ndarray, np.ndarray]
# What a control knows of each record of train, their labels, what it knows of others -> its answers
Control = Callable[[np.ndarray, list[str], np.ndarray], Sequence[str]]


@dataclass(frozen=True)
class Looks:
    """What the picture controls see, a row for each record: the thumbnail's pixels, and how many
    pixels of each colour are in each ninth of the picture."""

    thumbs: np.ndarray
    ninths: np.ndarray

    @property
    def colours(self) -> np.ndarray:
        """How many pixels of each colour are in the whole picture."""
        return self.ninths.reshape(len(self.ninths), 9, -1).sum(axis=1)


@dataclass(frozen=True)
class Form:
    """The records of one file, the split of each, and by control what it answers to each that it
    was not fitted on (None to the others; the oracle is fitted on none)."""

    name: str
    records: Sequence[Record]
    splits: list[str]
    answers: dict[str, list[str | None]]

    def places(self, splits: Collection[str], way: str) -> list[int]:
        """Which records are in these splits and decided in this way."""
        return [
            i
            for i, (record, split) in enumerate(zip(self.records, self.splits, strict=True))
            if split in splits and record["evidence"]["decided"] == way
        ]

    def accuracy(self, control: str, places: Sequence[int]) -> float:
        """The percentage of these records that a control answers rightly; nan of none."""
        right = [self.answers[control][i] == self.records[i]["output"] for i in places]
        return 100 * float(np.mean(right)) if right else float("nan")

    def constant(self, places: Sequence[int]) -> float:
        """The percentage of these records that have the label commonest among them; nan of none."""
        often = Counter(self.records[i]["output"] for i in places)
        return 100 * max(often.values()) / len(places) if places else float("nan")

    def chance(self, places: Sequence[int]) -> float:
        """The percentage that one gets right who knows which answers the words leave open, and
        guesses: one record of each pair."""
        pairs = Counter(record["pair"] for record in self.records)
        shares = [1 / pairs[pair] if (pair := self.records[i]["pair"]) else 1.0 for i in places]
        return 100 * float(np.mean(shares)) if shares else float("nan")


def audit(folder: Path, console: Console) -> str:
    """Audit the set in a folder: prints the tables, and returns them as Markdown for the data card.

    Each threshold is a line that says ok or FAILED. Raises ValueError for a record that lacks a
    field.
    """
    forms: list[Form] = []
    for form, name in FILES.items():
        records = json.loads((folder / name).read_text(encoding="utf-8"))
        for record in records:
            if missing := [field for field in _FIELDS if field not in record]:
                raise ValueError(f"{folder / name}: {record.get('id')} has no {missing[0]!r}")
        if len(records) < _LEAST:
            raise ValueError(f"{folder / name}: {len(records)} records; to audit takes {_LEAST}")
        console.print(f"{name}: drawing {len(records):,} scenes ...", highlight=False)
        forms.append(answered(form, records, looks_of(records)))
    return report(forms, console)


def looks_of(records: Sequence[Record]) -> Looks:
    """The scenes of all records, drawn by helper processes."""
    sites, seeds = (
        [seen_site(record) for record in records],
        [f"robots-{record['id']}" for record in records],
    )
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as pool:
        return stacked(map(look_of, pool.map(scene_jpeg, sites, seeds, chunksize=32)))


def look_of(jpeg: bytes) -> Look:
    """One picture's row of `Looks.thumbs`, and of `Looks.ninths`."""
    picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
    thumb = picture.resize((_THUMB, _THUMB), Image.Resampling.BOX)
    bins = np.asarray(picture, np.uint16) // (256 // _BINS)
    colours = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]
    parts = [part for rows in np.array_split(colours, 3) for part in np.array_split(rows, 3, 1)]
    counts = [np.bincount(part.ravel(), minlength=_BINS**3) for part in parts]
    return np.asarray(thumb).ravel(), np.concatenate(counts).astype(np.uint16)


def stacked(looks: Iterable[Look]) -> Looks:
    """The looks of all records as one."""
    thumbs, ninths = zip(*looks, strict=True)
    return Looks(np.stack(thumbs), np.stack(ninths))


def _counter(longest: int = 1) -> CountVectorizer:
    """Counts the words of a text's normal form, and sequences of up to `longest` of them."""
    return CountVectorizer(preprocessor=task_group, token_pattern=r"\S+", ngram_range=(1, longest))


def _by_words(model: Any, longest: int = 1) -> Control:
    """A classifier of how often each word, or sequence of words, is in a text."""

    def control(known: np.ndarray, labels: list[str], new: np.ndarray) -> Sequence[str]:
        counter = _counter(longest)
        counts = counter.fit_transform(known)
        return model.fit(counts, labels).predict(counter.transform(new))

    return control


def _near_words(known: np.ndarray, labels: list[str], new: np.ndarray) -> list[str]:
    """The label of the text of the largest Jaccard index: words in both over words in either."""
    counter = _counter().fit([*known, *new])
    fresh, old = (
        counter.transform(texts).astype(bool).astype(np.float32) for texts in (new, known)
    )
    both = (fresh @ old.T).toarray()
    sizes = [np.asarray(part.sum(axis=1)).ravel() for part in (fresh, old)]
    return [labels[i] for i in np.argmax(both / (np.add.outer(*sizes) - both), axis=1)]


def _by_colours(known: np.ndarray, labels: list[str], new: np.ndarray) -> Sequence[str]:
    """Logistic regression on the roots of colours' shares: a root makes small patches count."""
    pixels = np.float32(known[0].sum())  # as many in every picture
    model = LogisticRegression(C=3.0, max_iter=200)
    return model.fit(np.sqrt(known / pixels), labels).predict(np.sqrt(new / pixels))


def _near_thumbs(known: np.ndarray, labels: list[str], new: np.ndarray) -> list[str]:
    """The label of the picture whose thumbnail differs least, in squares."""
    old, fresh = known.astype(np.float32), new.astype(np.float32)
    far = (old**2).sum(axis=1) - 2 * fresh @ old.T  # and fresh**2, the same for all that are old
    return [labels[i] for i in np.argmin(far, axis=1)]


def _by_pixel(known: np.ndarray, labels: list[str], new: np.ndarray) -> Sequence[str]:
    """A tree of questions about single pixels: finds a mark, however small."""
    tree: Any = DecisionTreeClassifier(max_leaf_nodes=64, random_state=0)
    return tree.fit(known, labels).predict(new)


_REGRESSION = LogisticRegression(solver="newton-cg")  # the quickest where there are many words
WORDS: dict[str, Control] = {
    "naive Bayes, words": _by_words(MultinomialNB()),
    "logistic regression, words": _by_words(_REGRESSION),
    "logistic regression, words and pairs": _by_words(_REGRESSION, longest=2),
    "nearest neighbour, words": _near_words,
}
PICTURES: dict[str, tuple[Control, Callable[[Looks], np.ndarray]]] = {
    "logistic regression, colours": (_by_colours, lambda looks: looks.colours),
    "logistic regression, colours of ninths": (_by_colours, lambda looks: looks.ninths),
    "nearest neighbour, thumbnails": (_near_thumbs, lambda looks: looks.thumbs),
    "decision tree, thumbnails": (_by_pixel, lambda looks: looks.thumbs),
}


def oracle(record: Record) -> str:
    """The label that follows from the words and the drawn facts alone; "" for words that cannot be
    read.

    A place, named or known by what is to be done there, is as such places are, but for what is seen
    of it, but for what is told. A number neither told nor seen is the middle of its range.
    """
    try:
        said = read(record["input"])
    except UnreadableError:
        return ""
    told = replace(said, placed=False).told_facts()
    guessed = {lexicon().states[name].measured for name, value in said.told if value is None}
    certain = {fact: value for fact, value in told.items() if fact not in guessed}
    site = {**said.spot.base, **told, **seen_site(record), **certain}
    return ", ".join(chosen(tuple(judge(said.need(item, site)).robots for item in said.items)))


def answered(name: str, records: Sequence[Record], looks: Looks) -> Form:
    """Each control fitted on the records of train, and its answers to the others."""
    splits: list[str] = [split_of(task_group(record["input"])) for record in records]
    old = [i for i, split in enumerate(splits) if split == "train"]
    new = [i for i, split in enumerate(splits) if split != "train"]
    labels = [records[i]["output"] for i in old]
    texts = np.array([record["input"] for record in records])
    given: dict[str, tuple[Control, np.ndarray]]
    given = {name: (control, texts) for name, control in WORDS.items()}
    given |= {name: (control, view(looks)) for name, (control, view) in PICTURES.items()}
    answers: dict[str, list[str | None]] = {}
    with threadpool_limits(1):  # more threads are slower here, and add in another order each time
        for title, (control, known) in given.items():
            found = dict(zip(new, control(known[old], labels, known[new]), strict=True))
            answers[title] = [found.get(i) for i in range(len(records))]
    answers[ORACLE] = [oracle(record) for record in records]
    return Form(name, records, splits, answers)


def report(forms: Sequence[Form], console: Console) -> str:
    """What each control answers rightly of each held-out part, and whether each threshold is kept:
    printed, and returned as Markdown."""
    parts: list[str] = []
    head = ["", *(f"{form.name}: {way}" for form in forms for way in COLUMNS)]
    for part, splits in HELD_OUT.items():
        title, rows = f"Answered rightly, % of {part}, by what decides", _rows(forms, splits)
        shown = Table("", title=title)
        for name in head[1:]:
            shown.add_column(name, justify="right")
        for row in rows:
            shown.add_row(*row)
        console.print(shown)
        rule = ["---", *["---:"] * (len(head) - 1)]
        lines = [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]
        parts.append("\n".join([f"{title}:", "", *lines]))
    checks = [check for form in forms for check in thresholds(form)]
    for check in checks:
        style = "red" if check.startswith(FAILED) else None
        console.print(check, style=style, highlight=False, markup=False)
    parts.append("\n".join(f"- {check}" for check in checks))
    return "\n\n".join(parts) + "\n"


def _rows(forms: Sequence[Form], splits: Collection[str]) -> list[list[str]]:
    """How many records there are, chance, and the accuracy of each control."""
    cells = [(form, way, form.places(splits, way)) for form in forms for way in COLUMNS]
    chance = [form.chance(at) if way == "picture" else float("nan") for form, way, at in cells]
    rows = [["records", *(str(len(places)) for *_, places in cells)]]
    rows.append(["chance", *map(_percent, chance)])
    rows.append([CONSTANT, *(_percent(form.constant(places)) for form, _, places in cells)])
    for name in forms[0].answers:
        rows.append([name, *(_percent(form.accuracy(name, at)) for form, _, at in cells)])
    return rows


def _percent(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1f}"


def thresholds(form: Form) -> list[str]:
    """A sentence for each threshold, which begins with ok or FAILED. The oracle's is judged on all
    splits. One that there are no records to judge by is not kept."""
    pairs = zip(form.records, form.answers[ORACLE], strict=True)
    wrong = [record["id"] for record, answer in pairs if answer != record["output"]]
    right = len(form.records) - len(wrong)
    return [
        _kept(form, "picture", WORDS, "chance", WORDS_SLACK),
        _kept(form, "text", PICTURES, CONSTANT, PICTURES_SLACK),
        f"{_ok(right > 0 and not wrong)}: {form.name}, the oracle: {right:,} of "
        f"{len(form.records):,} of all splits{', not ' if wrong else ''}{', '.join(wrong[:5])}",
    ]


def _kept(form: Form, way: str, controls: Iterable[str], base: str, slack: float) -> str:
    """Whether, of what is decided in this way, no control answers more than a base and `slack`
    points."""
    said: list[str] = []
    kept: list[bool] = []
    for part, splits in HELD_OUT.items():
        at = form.places(splits, way)
        least = form.chance(at) if base == "chance" else form.constant(at)
        scores = {name: form.accuracy(name, at) for name in controls}
        best = max(scores, key=scores.__getitem__)
        kept.append(scores[best] <= least + slack)
        found = f"{_percent(scores[best])} % of {len(at)} ({best})"
        said.append(f"{part} {found}, {base} {_percent(least)} %, {slack:g} more allowed")
    return f"{_ok(kept[0])}: {form.name}, decided by the {way}: {'; '.join(said)}"


def _ok(kept: bool) -> str:
    return "ok" if kept else FAILED
