"""A meaning, put into words: one job or several, in any of some hundred frames.

    Said(see which drips have run dry; in the maternity wing; stairs)
      -> "The lift is dead, so could somebody see which drips have run dry in the maternity wing?"

`realise` chooses wordings, a frame, and where the clauses go, by the chance it is given; `avoid`
lists wordings that were used before, so that a paraphrase takes others.
"""

import re
from collections.abc import Iterable, Sequence
from random import Random

from pipelines.robots.lexicon import Job, Spot, fits, lexicon
from pipelines.robots.said import Item, Said
from pipelines.robots.wording import capitalised, gerund, measured

_Clause = tuple[str, str]  # mood, words
MIN_WORDS, MAX_WORDS = 4, 40
# Told states that cannot hold together, and told with denied ones: nobody would say both.
_AGAINST = {frozenset(pair.split()) for pair in (
    "flood stairs", "flood door", "flood crowd", "flood low", "snow rain")}  # fmt: skip
_NOT_BUT = {("rubble", "clutter"), ("rock", "clutter"), ("flood", "clutter"), ("flood", "crowd"),
            ("steep", "stairs")}  # fmt: skip
_STOREYS = re.compile(r"floors? up|fourth floor|storeys|flights up|upper floor|other rooms")
# Sentences before which a place, an occasion or a clause can stand: a plain statement or question.
_PLAIN = re.compile(
    r"(?:we (?:need|have|ought|still|are|cannot|would)|somebody|someone|they|I (?:need|would|want)|"
    r"who (?:can|could|is)|could (?:you|somebody|a team)|can (?:you|anything)|please|is anyone|"
    r"it (?:is time|falls|would help)|what would|the boss|the customer|the team|let us)\b"
)


class UnsayableError(ValueError):
    """This meaning has no fitting words, or too many of them; try again with other chances."""


def realise(said: Said, rng: Random, avoid: Iterable[str] = ()) -> str:
    """The meaning as 4 to 40 words. Raises UnsayableError if it came out too long or too short."""
    draft = _Draft(said, rng, set(avoid))
    text = draft.single() if len(said.items) == 1 else draft.several()
    if not MIN_WORDS <= len(text.split()) <= MAX_WORDS:
        raise UnsayableError(f"{len(text.split())} words")
    return text


def subtask(item: Item, where: str | None, rng: Random) -> str:
    """A job as a plan's line: its first wording, capitalised, with its place if `where`."""
    text = measured(item, item.job.say[0], rng)
    return capitalised(f"{text} {where}" if where else text)


class _Draft:
    """One try at putting a meaning into words."""

    def __init__(self, said: Said, rng: Random, avoid: set[str]) -> None:
        self.said, self.rng, self.avoid = said, rng, avoid
        self.lexicon = lexicon()
        self.domain = self.lexicon.domain(said.spot.domain)
        self.used: set[str] = set()  # ways to join a clause
        self.terse = (
            len(said.items) > 3 or rng.random() < 0.35
        )  # as few words besides what is said as can be
        self._check()

    def _check(self) -> None:
        """Raises UnsayableError if the states contradict each other or the place."""
        told = [name for name, _ in self.said.told]
        for name, value in self.said.told:
            if name == "flood" and (value or 0) > self.said.spot.base.get("ceiling_m", 99):
                raise UnsayableError("water above the ceiling")
            if any((name, other) in _NOT_BUT for other in self.said.denied):
                raise UnsayableError(f"{name} told, against what is denied")
        if any(frozenset((a, b)) in _AGAINST for a in told for b in told):
            raise UnsayableError(f"{told} together")

    def single(self) -> str:
        item, clauses = self.said.items[0], self._clauses()
        form = self.rng.choices(("bare", "ing", "note"), (70, 18, 12))[0]
        frame = self._frame(form)
        core, clauses, phrase = self._job(item, form, clauses)
        place = self._place(self.said.spot) if self.said.placed else ""
        front = ""
        if place and self.rng.random() < 0.25 and self._opens(frame, form):
            front, place = f"{place}{': ' if form == 'note' else ', '}", ""
        details = [part for part in (place, phrase) if part]
        if self.rng.random() < 0.4:
            details.reverse()
        if self._ends(frame) and form != "note" and not self.terse and self.rng.random() < 0.25:
            occasion = self._pick(self.domain.occasions)
            if not front and self.rng.random() < 0.4 and self._opens(frame, form):
                front = f"{occasion}, "
            else:
                details.append(occasion)
        text = front + frame.replace("{x}", " ".join((core, *details)))
        return capitalised(self._with_clauses(text, clauses, linked=not front and form == "bare"))

    def _frame(self, form: str, ending: bool = False) -> str:
        """A frame of a form: of few words if the task is to be terse, one that ends with the job
        if it is to be ending."""
        frames = [f for f in self.lexicon.frames[form] if self._ends(f) or not ending]
        return self.rng.choice([f for f in frames if len(f.split()) <= 3] if self.terse else frames)

    def _opens(self, frame: str, form: str) -> bool:
        """Whether a place or an occasion can stand before a sentence of this frame."""
        if form == "note":
            return frame.startswith("{x}") and ":" not in frame
        return form == "bare" and (frame.startswith("{x}") or bool(_PLAIN.match(frame)))

    def _ends(self, frame: str) -> bool:
        """Whether the job is the last that is said in this frame."""
        return frame.rstrip(".?").endswith("{x}")

    def several(self) -> str:
        rng, frames = self.rng, self.lexicon.frames
        clauses = self._clauses()
        opens, listed = True, False
        if self.said.orders is not None:
            text = self._sequence()
        elif len(self.said.items) > 3 or rng.random() < 0.4:
            cores = [self._job(item, "note")[0] for item in self.said.items]
            frame, listed = rng.choice(frames["together"]), True
            text = frame.replace("{l}", self._listed(self._places(cores)))
            opens = bool(re.match(r"who|split|to do|wanted|today|these|everything", frame))
        else:
            cores = self._places([self._job(item, "bare")[0] for item in self.said.items])
            if rng.random() < 0.2:
                text = f"{rng.choice(('. ', '; ')).join(cores)}."
            else:
                frame = self._frame("bare", ending=True)
                text = frame.replace("{x}", self._listed(cores))
                opens = self._opens(frame, "bare")
        fronted = opens and not self.terse and rng.random() < 0.3
        if fronted:
            text = f"{self._pick(self.domain.occasions)}, {text}"
        linked = not fronted and not listed
        return capitalised(self._with_clauses(text, clauses, linked, within=not listed))

    def _places(self, cores: list[str]) -> list[str]:
        """Each job with its place: those elsewhere always, the others once if it is to be said."""
        here = [i for i, item in enumerate(self.said.items) if item.job.spot is self.said.spot]
        named = self.rng.choice(here) if here and self.said.placed else None
        return [
            f"{core} {self._place(item.job.spot)}" if i == named or i not in here else core
            for i, (core, item) in enumerate(zip(cores, self.said.items, strict=True))
        ]

    def _listed(self, parts: Sequence[str]) -> str:
        """a and b; a, b and c; a; b; and c: the last if a part has an "and" of its own."""
        if len(parts) < 3:
            return " and ".join(parts)
        heavy = any(" and " in part for part in parts) or self.rng.random() < 0.3
        glue, last = ("; ", "; and ") if heavy else (", ", " and ")
        return glue.join(parts[:-1]) + last + parts[-1]

    def _sequence(self) -> str:
        assert self.said.orders is not None
        cores = self._places([self._job(item, "bare")[0] for item in self.said.items])
        count = max(self.said.orders)
        groups = [
            self._listed([c for c, o in zip(cores, self.said.orders, strict=True) if o == order])
            for order in range(1, count + 1)
        ]
        if count == 2 and self.rng.random() < 0.25:
            return f"{groups[0]} before you {groups[1]}."
        first, then, last = self.rng.choice(self.lexicon.frames["sequence"])
        frames = [first, *[then] * (count - 2), last] if count > 2 else [first, then]
        parts = [f.replace("{x}", g) for f, g in zip(frames, groups, strict=True)]
        return f"{self.rng.choice(('; ', '. ')).join(parts)}."

    def _job(
        self, item: Item, form: str, clauses: Sequence[_Clause] = ()
    ) -> tuple[str, list[_Clause], str]:
        """The job in a form, the clauses, and perhaps the first told state as a phrase, which then
        is no clause."""
        core = measured(item, self._wording(item.job, form), self.rng)
        if clauses and self.said.told and self.rng.random() < 0.4:
            name, value = self.said.told[0]
            return core, list(clauses[1:]), self._state(name, "phrase", value)
        return core, list(clauses), ""

    def _wording(self, job: Job, form: str) -> str:
        if form == "note":
            if job.note in self.avoid:
                raise UnsayableError("the note was used before")
            return job.note
        forms = [w for w in job.say if w not in self.avoid] or list(job.say)
        if form == "ing":
            forms = [g for g in map(gerund, forms) if g]
            if not forms:
                raise UnsayableError(f"no gerund of {job.say}")
        return self.rng.choice(forms)

    def _pick(self, options: Sequence[str]) -> str:
        return self.rng.choice([o for o in options if o not in self.avoid] or list(options))

    def _place(self, spot: Spot) -> str:
        """The words that name a place: those that the meaning has, or any."""
        return self.said.where(spot) or self._pick(spot.where)

    def _state(self, name: str, form: str, value: float | None = None) -> str:
        """Words for a state: with its number if one is to be said."""
        options = getattr(self.lexicon.states[name], form)
        fitting = [w for o in options if (w := fits(o, self.said.spot.indoor)) is not None]
        fitting = [w for w in fitting if ("{n}" in w) == (value is not None)] or fitting
        fitting = [w for w in fitting if value is not None or "{n}" not in w]
        if self.said.spot.place != "room":
            fitting = [w for w in fitting if not _STOREYS.search(w)]
        if not fitting:
            raise UnsayableError(f"nobody says {name} {form} here")
        return self._pick(fitting).replace("{n}", f"{value:g}" if value is not None else "")

    def _clauses(self) -> list[_Clause]:
        """(mood, clause) of all that is said of the place; told states first, asides last."""
        said, rng = self.said, self.rng
        moods = ("good" if self.lexicon.states[name].usual else "bad" for name, _ in said.told)
        told = (self._state(name, "told", value) for name, value in said.told)
        clauses = list(zip(moods, told, strict=True))
        others = [("good", self._state(name, "denied")) for name in said.denied]
        others += [("skip", self._state(name, "skipped")) for name in said.skipped]
        rng.shuffle(others)
        if not self.terse and rng.random() < 0.25 and len(said.items) < 4:
            others.append(("aside", self._pick(self.domain.asides)))
        return clauses + others

    def _units(self, clauses: Sequence[_Clause]) -> list[_Clause]:
        """Clauses of one mood, told or denied, as one: "it is pouring and the gate is latched"."""
        units: list[_Clause] = []
        for mood in ("bad", "good"):
            parts = [clause for m, clause in clauses if m == mood]
            if len(parts) > 2 or (len(parts) == 2 and self.rng.random() < 0.75):
                inner = any(" and " in part for part in parts)
                parts = [", ".join(parts[:-1]) + f"{',' * inner} and {parts[-1]}"]
            units += ((mood, part) for part in parts)
        self.rng.shuffle(units)
        return units + [unit for unit in clauses if unit[0] in ("skip", "aside")]

    def _with_clauses(
        self, text: str, clauses: Sequence[_Clause], linked: bool, within: bool = True
    ) -> str:
        """The sentence with one clause before it at most, one joined to its end, the rest after."""
        units, before = self._units(clauses), ""
        if units and units[0][0] != "aside" and self.rng.random() < 0.4:
            mood, clause = units.pop(0)
            extra = self.lexicon.frames["before"]["linked"] if linked and mood != "skip" else ()
            plain = _PLAIN.match(text) is not None
            extra = [f for f in extra if plain and (not f.endswith("so") or " and " not in clause)]
            before = f"{self._joined('before', mood, clause, extra)} "
        closed = text.endswith(("lease.", "ver.")) or text[-1] != "." or ";" in text
        if units and within and not closed and self.rng.random() < 0.3:
            mood, clause = units.pop(0)
            text = f"{text[:-1]}{self._joined('within', mood, clause)}."
        return before + " ".join((text, *(self._joined("after", *unit) for unit in units)))

    def _joined(self, where: str, mood: str, clause: str, extra: Sequence[str] = ()) -> str:
        """The clause in a frame for its place in the text, each frame once at most."""
        moods = self.lexicon.frames[where]
        frames = moods[mood] + ([] if mood in ("skip", "aside") else moods["any"]) + list(extra)
        if self.terse:
            frames = [f for f in frames if f.replace("{c}", "").strip(" .;(),") == ""] or frames
        frames = [f for f in frames if f not in self.used or f == "{c}."] or frames
        frame = self.rng.choice(frames)
        self.used.add(frame)
        return frame.replace("{c}", clause)
