"""Which scenarios make a set: as many of each kind as are wanted, none the near-twin of another.

Drafts come by chance and are taken while there is room for their kind: exact numbers by split
(which is a function of the words), by what decides them, and by label. Texts are put anew until one
falls into a split with room. The same seed and numbers give the same set; a prefix of it needs only
the time of the prefix.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from manifests.place import split_of, task_group
from manifests.schema import ROBOTS, SPLITS
from pipelines.robots import capability
from pipelines.robots.evidence import differing, first_sight, kinds
from pipelines.robots.language import MAX_WORDS, UnsayableError, realise
from pipelines.robots.lexicon import Domain, Job, lexicon
from pipelines.robots.paraphrase import paraphrases
from pipelines.robots.reading import UnreadableError, read, same
from pipelines.robots.said import Said
from pipelines.robots.scenarios import Decided, Open, Scenario, chosen, draft, left_open, picture
from pipelines.robots.twins import Twins

Form = Literal["single", "multi"]
SINGLE, MULTI = 1252, 6886

_DECIDED: dict[Form, dict[Decided, float]] = {
    "single": {"picture": 0.46, "text": 0.30, "both": 0.24},
    "multi": {"picture": 0.36, "text": 0.34, "both": 0.30},
}
# Labels of the single scenarios that words decide. What a picture decides is seldom under water.
_WANTED = {"tie": 0.1, "Underwater Robot": 0.2}
_OTHERS = (1 - sum(_WANTED.values())) / (len(ROBOTS) - 1)
_USES = {"single": 3, "multi": 24}  # of one job
_LISTS = 20  # multi scenarios of one list of subtasks, objects replaced by their types
# Of the scenarios that the text decides, in pictures that look the same at first sight.
_ONE_LABEL_TOLD: dict[Form, float] = {"single": 0.21, "multi": 0.14}
_ONE_LABEL = 0.5  # of the scenarios of one kind of site, those with one label at most
_TOLD = "told, seen as "
_HOPELESS = 60_000  # drafts in vain after which no more are made
_PATIENCE = 150  # drafts in vain for which a proportion gives way by one
_WORDS = 36  # of a task of up to three jobs; its paraphrases may need a few more
_PARAPHRASES = 2  # that a train task must have
_TEXTS = 16  # tries to put a meaning into words that fit
_SIZES = ((2, 3, 4, 5), (22, 34, 26, 18))  # subtasks of a team, and their weights


@dataclass(frozen=True)
class Group:
    """Scenarios of the same words: one, or one for each answer that the words leave open."""

    form: Form
    split: str
    scenarios: tuple[Scenario, ...]


def share(total: int, parts: Sequence[float]) -> list[int]:
    """`total` in whole parts: rounded, the first takes what is left."""
    others = [round(total * part / sum(parts)) for part in parts[1:]]
    return [total - sum(others), *others]


def split_counts(single: int, multi: int) -> dict[Form, dict[str, int]]:
    """How many of each form are in each split: 70/20/10 of all, and of the single ones."""
    whole = dict(zip(SPLITS, share(single + multi, (70, 20, 10)), strict=True))
    ones = dict(zip(SPLITS, share(single, (70, 20, 10)), strict=True))
    return {"single": ones, "multi": {s: whole[s] - ones[s] for s in SPLITS}}


def groups(seed: int, single: int = SINGLE, multi: int = MULTI) -> Iterator[Group]:
    """The groups of a set of `single` and `multi` scenarios, in the order in which they were
    found."""
    twins = Twins(words for job in lexicon().jobs for words in job.say)
    counts = split_counts(single, multi)
    for form in ("single", "multi"):
        yield from _Set(form, counts[form], Random(f"scenarios {seed} {form}"), twins).groups()


class _Set:
    """One form's groups while they are found.

    Numbers by split and by what decides are exact. Proportions (of labels, of robots, of a kind of
    site's labels) are held while the set grows; where they leave nothing to be found they give way,
    by one for every `_PATIENCE` drafts in vain.
    """

    def __init__(self, form: Form, wanted: dict[str, int], rng: Random, twins: Twins) -> None:
        self.form: Form = form
        self.rng, self.twins = rng, twins
        self.uses: Counter[Job] = Counter()
        self.lists: Counter[tuple[str, ...]] = Counter()
        self.robots: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()  # of those that words decide
        self.shown: Counter[tuple[str, tuple[str, ...]]] = Counter()  # (kind of site, label)
        self.vain = 0  # drafts since the last that was taken
        self.room: Counter[tuple[str, Decided]] = Counter()  # still wanted
        for split, total in wanted.items():
            shares = _DECIDED[form]
            for decided, count in zip(shares, share(total, list(shares.values())), strict=True):
                alone = decided == "picture" and count == 1  # what a picture decides comes in pairs
                self.room[split, "text" if alone else decided] += count

    def groups(self) -> Iterator[Group]:
        while self.room.total():
            self.vain += 1
            if self.vain > _HOPELESS:
                raise ValueError(
                    f"{self.form}: no scenario was found for {dict(self.room)} in {_HOPELESS:,} "
                    f"drafts; does {capability.PATH.name} leave each robot something to do?"
                )
            said = self._draft()
            options = left_open(said, self.rng) if said else None
            if said and options and (group := self._group(said, options)):
                self.vain = 0
                yield group

    def _draft(self) -> Said | None:
        domain = self.rng.choice(lexicon().domains)
        jobs = self._jobs(domain)
        return draft(domain, jobs, self.rng) if jobs else None

    def _jobs(self, domain: Domain) -> tuple[Job, ...]:
        """Jobs that have not been used too often: one, or a team's, the place of the first
        leading."""
        free = [job for job in domain.jobs if self.uses[job] < _USES[self.form]]
        if self.form == "single":
            return (self.rng.choice(free),) if free else ()
        size = self.rng.choices(*_SIZES)[0]
        if len(free) < size:
            return ()
        lead = self.rng.choice(free)
        here = [job for job in free if job.spot is lead.spot and job is not lead]
        there = [job for job in free if job.spot is not lead.spot]
        extra = self.rng.choices((0, 1, 2), (45, 40, 15))[0]
        extra = min(extra, (size - 1) // 2 + (size == 2), len(there))
        if len(here) < size - 1 - extra:
            return ()
        return (lead, *self.rng.sample(here, size - 1 - extra), *self.rng.sample(there, extra))

    def _group(self, said: Said, options: list[Open]) -> Group | None:
        if self.form == "multi" and any(len(chosen(o.answer)) < 2 for o in options):
            return None
        typed = typed_list(said)
        if self.form == "multi" and self.lists[typed] + len(options) > _LISTS:
            return None
        splits: dict[str, Decided] = {
            split: by for split in SPLITS if (by := self._deciding(split, len(options)))
        }
        if not splits or not self._balanced(options):
            return None
        found = self._text(said, set(splits))
        if found is None:
            return None
        text, split = found
        decided = splits[split]
        differs = differing(said, options)
        scenarios = tuple(
            Scenario(
                said,
                text,
                *picture(said, option, decided, self.rng),
                option.answer,
                decided,
                differs,
            )
            for option in options
        )
        shown = Counter((kind, s.robots) for s in scenarios for kind in kinds(s.seen))
        if decided == "text":
            shown[_TOLD + first_sight(scenarios[0].seen), scenarios[0].robots] += 1
        if not self._mixed(shown):
            return None
        self.shown += shown
        self.room[split, decided] -= len(options)
        self.uses.update(item.job for item in said.items)
        self.lists[typed] += len(options)
        self.robots.update(robot for option in options for robot in chosen(option.answer))
        if len(options) == 1:
            self.labels[_label(options[0])] += 1
        self.twins.add(text)
        return Group(self.form, split, scenarios)

    def _deciding(self, split: str, count: int) -> Decided | None:
        """What decides `count` scenarios of the same words, if a split has room for them: never so
        that room for a single one would stay where pairs are wanted."""
        if count > 1:
            left = self.room[split, "picture"] - count
            return "picture" if left == 0 or left > 1 else None
        ways: list[Decided] = ["text", "both"]
        self.rng.shuffle(ways)
        return next((way for way in ways if self.room[split, way]), None)

    def _balanced(self, options: list[Open]) -> bool:
        """Whether no robot, and no label that words decide, gets out of proportion."""
        slack = 4 + self.vain // _PATIENCE
        if self.form == "single" and len(options) == 1:
            label = _label(options[0])
            most = _WANTED.get(label, _OTHERS)
            return self.labels[label] < most * self.labels.total() + slack
        most = 0.24 * self.robots.total() + slack
        new = {robot for option in options for robot in chosen(option.answer)}
        return all(self.robots[robot] <= most for robot in new)

    def _mixed(self, shown: Counter[tuple[str, tuple[str, ...]]]) -> bool:
        """Whether after these no kind of site goes with one label too often: a model of the picture
        alone must not be right where it is the text that decides."""
        after, slack = self.shown + shown, 2 + self.vain // _PATIENCE
        totals: Counter[str] = Counter()
        for (kind, _), count in after.items():
            totals[kind] += count
        most = {
            kind: _ONE_LABEL_TOLD[self.form] if kind.startswith(_TOLD) else _ONE_LABEL
            for kind, _ in shown
        }
        return all(after[k, label] <= most[k] * totals[k] + slack for k, label in shown)

    def _text(self, said: Said, splits: set[str]) -> tuple[str, str] | None:
        """Words for the meaning that read back as meant, fall into a split with room, and are no
        near-twin of any taken before; with their split."""
        for _ in range(_TEXTS):
            try:
                text = realise(said, self.rng)
                if not same(read(text), said):
                    continue
            except (UnsayableError, UnreadableError):
                continue
            split = split_of(task_group(text))
            most = _WORDS if len(said.items) < 4 else MAX_WORDS
            if split not in splits or len(text.split()) > most or self.twins.has(text):
                continue
            if split != "train" or _has_paraphrases(text):
                return text, split
        return None


def _has_paraphrases(text: str) -> bool:
    try:
        return bool(paraphrases(text, _PARAPHRASES, Twins()))
    except ValueError:
        return False


def _label(option: Open) -> str:
    robots = chosen(option.answer)
    return robots[0] if len(robots) == 1 else "tie"


def typed_list(said: Said) -> tuple[str, ...]:
    """The subtasks in order, objects and places replaced by their types: "carry food" ..."""
    by_order = sorted(zip(said.plan, said.items, strict=True), key=lambda step: step[0])
    return tuple(f"{order} {i.job.say[0].split()[0]} {i.job.of}" for order, i in by_order)
