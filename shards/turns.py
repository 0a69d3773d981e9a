"""Which turns of a record a sample takes.

- `rotate`: one thread a pass, another the next time (captions);
- `pack`: whole threads, as many as fit, kept apart by attention (questions);
- `whole`: one thread, cut at a turn if it is too long (conversations);
- `one`: one turn, after the earlier turns of its thread as context (robots, and all evaluation).

What a sample can take are its choices, one a pass: several under `rotate`, else one. Both tables
are derived from a token cache, made once and memory-mapped:

    OUT/tokens/<tokenizer>/<source>/<policy>-<max_tokens>[-<kinds>]/  samples choices .bin,
                                                                      totals.json
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from manifests import store
from manifests.schema import KINDS, Kind
from shards.rows import DamageError
from shards.tokens import TARGET, Tokens, is_whole, mapped, note_digests

Policy = Literal["rotate", "pack", "whole", "one"]

SAMPLES = np.dtype([("first", "<u8"), ("choices", "<u4"), ("record", "<u4")])  # first choice
CHOICES = np.dtype(
    [
        ("first", "<u8"),  # turn
        ("start", "<u8"),  # token
        ("turns", "<u2"),
        ("context", "<u2"),  # turns before those that are learnt
        ("tokens", "<u2"),  # as many as fit beside the image's
        ("silent", "<u2"),  # tokens of context
        ("targets", "<u2"),  # tokens that are learnt
        ("caption", "<u2"),  # tokens up to the end of the first caption; 0 without one
        ("thread", "<u2"),  # ordinal of the first thread, as in marks
        ("cut", "<u2"),  # 1 if words are lost
    ]
)
_PARTS = {"samples": SAMPLES, "choices": CHOICES}
_TOTALS = "totals.json"
_MOST = 65_535  # turns that a choice can say


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Of a pass; under `rotate`, in the mean of passes: records, turns and tokens that are learnt.

    `truncated`: choices that do not fit and lose words. Context that is left out is no loss.
    """

    records: int
    turns: float
    targets: float
    truncated: int


class Samples(NamedTuple):
    """The samples of a source under a policy: SAMPLES [samples], CHOICES, and their sums."""

    samples: np.ndarray
    choices: np.ndarray
    totals: Totals

    def __len__(self) -> int:
        return len(self.samples)

    def starts(self, shard_starts: np.ndarray) -> np.ndarray:
        """int64 [shards + 1]: the first sample of each shard, from the first record of each."""
        return np.searchsorted(self.samples["record"], shard_starts)

    def choose(
        self, tokens: Tokens, sample: np.ndarray, passes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Record and choice of samples in passes (from 0), all int64 [N]."""
        rows = self.samples[sample]
        record = rows["record"].astype(np.int64)
        turn = tokens.records["key"][record] % rows["choices"] + passes.astype(np.uint64)
        return record, (rows["first"] + turn % rows["choices"]).astype(np.int64)


def open_samples(
    cache: Path,
    tokens: Tokens,
    policy: Policy,
    max_tokens: int,
    kinds: Sequence[Kind] = (),
    checked: bool = True,
) -> Samples:
    """The samples of the token cache in the folder `cache`, found first if they are not there.

    A sample is cut to `max_tokens`, its image's token included. Threads that begin with a turn of
    another kind than `kinds` are left out, if that names any. Raises DamageError.
    """
    folder = cache / "-".join([policy, str(max_tokens), *sorted(set(kinds))])
    if not folder.exists():
        found = find_samples(tokens, policy, max_tokens, kinds)
        try:
            with store.new_folder(folder) as temporary:
                for name in _PARTS:
                    getattr(found, name).tofile(temporary / f"{name}.bin")
                (temporary / _TOTALS).write_bytes(msgspec.json.encode(found.totals))
                note_digests(temporary)
        except OSError:
            if not folder.exists():  # else another process found the same first
                raise
    again = "remove it: it is made anew"
    try:
        if checked and not is_whole(folder):
            raise DamageError(f"{folder} is damaged; {again}")
        samples, choices = (mapped(folder / f"{n}.bin", kind) for n, kind in _PARTS.items())
        totals = msgspec.json.decode((folder / _TOTALS).read_bytes(), type=Totals)
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise DamageError(f"{folder} is damaged ({error}); {again}") from None
    found = Samples(samples, choices, totals)
    if not _fits(found, tokens):
        raise DamageError(f"{folder} is damaged; {again}")
    return found


def _fits(found: Samples, tokens: Tokens) -> bool:
    """Whether the last rows, which lie furthest, are of this cache."""
    for rows, begin, count, limit in (
        (found.samples, "first", "choices", len(found.choices)),
        (found.choices, "first", "turns", len(tokens.turns)),
        (found.choices, "start", "tokens", len(tokens.tokens)),
    ):
        if len(rows) and int(rows[begin][-1]) + int(rows[count][-1]) > limit:
            return False
    return True


def find_samples(
    tokens: Tokens, policy: Policy, max_tokens: int, kinds: Sequence[Kind] = ()
) -> Samples:
    """The samples under a policy; see `open_samples`."""
    budget = max_tokens - 1
    threads = _Threads(tokens, kinds)
    if policy == "one":
        first, last, learn = threads.by_turn(budget)
    elif policy == "whole":
        first, last, learn = threads.cut(budget)
    elif policy == "pack":
        first, last, learn = threads.packed(budget)
    else:
        first, last, learn = threads.opens, threads.closes, threads.opens
    choices = _choices(tokens, threads, first, last, learn, budget)
    if policy == "whole":  # cut at a turn, so no row is too long
        choices["cut"] = threads.before[threads.closes] - threads.before[first] > budget
    record = threads.owner[first]
    samples = np.zeros(len(choices), SAMPLES)
    samples["first"], samples["choices"] = np.arange(len(choices)), 1
    samples["record"] = record
    if policy == "rotate":  # all choices of a record are one sample's
        begins = np.flatnonzero(np.diff(record, prepend=-1))
        samples = samples[begins]
        samples["choices"] = np.diff(np.append(begins, len(record)))
    return Samples(samples, choices, _totals(samples, choices))


def _totals(samples: np.ndarray, choices: np.ndarray) -> Totals:
    share = 1 / np.repeat(samples["choices"], samples["choices"])  # of a pass, for each choice
    learnt = choices["turns"].astype(np.int64) - choices["context"]
    return Totals(
        records=len(np.unique(samples["record"])),
        turns=float((learnt * share).sum()),
        targets=float((choices["targets"] * share).sum()),
        truncated=int(choices["cut"].sum(dtype=np.int64)),
    )


class _Threads:
    """The threads of a cache that are of the wanted kinds, `opens` and `closes` as turns.

    `owner` int64 [turns]: the record of each turn; `before` int64 [turns + 1]: tokens before it.
    """

    def __init__(self, tokens: Tokens, kinds: Sequence[Kind]) -> None:
        count = tokens.records["turns"].astype(np.int64)
        self.owner = np.repeat(np.arange(len(count)), count)
        self.before = np.concatenate([[0], np.cumsum(tokens.lengths)])
        thread = tokens.turns["thread"].astype(np.int64)
        begins = np.ones(len(self.owner), bool)
        begins[1:] = (self.owner[1:] != self.owner[:-1]) | (thread[1:] != thread[:-1])
        opens = np.flatnonzero(begins)
        closes = np.append(opens[1:], len(self.owner))[: len(opens)]
        wanted = np.isin(tokens.turns["kind"], [KINDS.index(kind) for kind in kinds or KINDS])
        kept = wanted[opens]
        self.opens, self.closes = opens[kept], closes[kept]
        of_thread = np.cumsum(begins) - 1  # of each turn
        self.turns = np.flatnonzero(kept[of_thread])
        self.opened = opens[of_thread[self.turns]]

    def by_turn(self, budget: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each turn, after as many earlier ones of its thread as fit: first, last, learn."""
        fits = np.searchsorted(self.before, self.before[self.turns + 1] - budget)
        first = np.minimum(np.maximum(self.opened, fits), self.turns)
        return first, self.turns + 1, self.turns

    def cut(self, budget: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each thread up to the last turn that fits, and at least one turn."""
        fits = np.searchsorted(self.before, self.before[self.opens] + budget, "right") - 1
        return self.opens, np.maximum(np.minimum(self.closes, fits), self.opens + 1), self.opens

    def packed(self, budget: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Neighbouring threads of a record while all of them fit."""
        record = self.owner[self.opens]
        parted = np.ones(len(self.opens), bool)  # from the thread before
        parted[1:] = (record[1:] != record[:-1]) | (self.opens[1:] != self.closes[:-1])
        begins = np.flatnonzero(parted)
        ends = np.append(begins[1:], len(self.opens))[np.cumsum(parted) - 1]  # of each run
        fits = np.searchsorted(self.before[self.closes], self.before[self.opens] + budget, "right")
        after = np.maximum(np.minimum(fits, ends), np.arange(len(self.opens)) + 1)
        chosen, at = [], begins  # all runs side by side, a row's first thread at a time
        while len(at):
            chosen.append(at)
            at = after[at][after[at] < ends[at]]
        rows = np.sort(np.concatenate([np.zeros(0, np.int64), *chosen]))
        return self.opens[rows], self.closes[after[rows] - 1], self.opens[rows]


def _choices(
    tokens: Tokens,
    threads: _Threads,
    first: np.ndarray,
    last: np.ndarray,
    learn: np.ndarray,
    budget: int,
) -> np.ndarray:
    """CHOICES of turns first..last-1, those before `learn` without loss, all int64 [N]."""
    before, turns = threads.before, tokens.turns
    begin, whole = before[first], before[last] - before[first]
    # What a cut leaves of targets: those of turns before it, and what is before it of its own.
    cut = np.minimum(begin + budget, before[last])
    at = np.minimum(np.searchsorted(before, cut, "right") - 1, last)
    targets = np.concatenate([[0], np.cumsum(turns["target"], dtype=np.int64)])
    inside = np.minimum(at, len(turns) - 1)
    part = np.clip(cut - before[inside] - turns["prompt"][inside], 0, turns["target"][inside])
    learnt = targets[at] - targets[np.minimum(learn, at)] + np.where(at < last, part, 0)
    captions = np.flatnonzero(turns["kind"] == KINDS.index("caption"))
    next_one = np.append(captions, len(turns))[np.searchsorted(captions, first)]
    ends = np.append(before[1:], 0)[np.minimum(next_one, len(turns))] - begin
    rows = np.zeros(len(first), CHOICES)
    rows["first"], rows["start"] = first, begin
    rows["turns"] = np.minimum(last - first, _MOST)  # no row of tokens shows more
    rows["context"], rows["tokens"] = learn - first, np.minimum(whole, budget)
    rows["silent"], rows["targets"] = before[learn] - begin, learnt
    rows["caption"] = np.where(next_one < last, np.minimum(ends, budget), 0)
    if len(first):
        rows["thread"] = tokens.tokens["mark"][begin] % TARGET
    rows["cut"] = whole > budget
    return rows
