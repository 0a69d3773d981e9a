"""Which turns of a record a sample takes.

- `rotate`: one thread a pass, another the next time (captions);
- `pack`: whole threads, as many as fit, kept apart by attention (questions);
- `whole`: one thread, cut at a turn if it is too long (conversations);
- `one`: one turn, after the earlier turns of its thread as context (robots, and all evaluation).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from manifests.schema import KINDS, Kind
from shards.tokens import Tokens

Policy = Literal["rotate", "pack", "whole", "one"]


class Choice(NamedTuple):
    """Turns first..last-1 of a record; those before `learn` are context without loss."""

    record: int
    first: int
    last: int
    learn: int


class Samples:
    """The samples of a source under a policy, as int64 arrays: `record`, `first`, `last`, `learn`.

    A sample is cut to `max_tokens`, its image's token included. `rotate` has one sample a record
    and chooses its thread by the pass; the others are the same in every pass. Threads that begin
    with a turn of another kind than `kinds` are left out, if that names any.
    """

    def __init__(
        self, tokens: Tokens, policy: Policy, max_tokens: int, kinds: Sequence[Kind] = ()
    ) -> None:
        self.policy = policy
        first = tokens.records["first"].astype(np.int64)
        count = tokens.records["turns"].astype(np.int64)
        owner = np.repeat(np.arange(len(first)), count)
        thread = tokens.turns["thread"].astype(np.int64)
        begins = np.ones(len(owner), bool)
        begins[1:] = (owner[1:] != owner[:-1]) | (thread[1:] != thread[:-1])
        opens = np.flatnonzero(begins)  # the first turn of each thread
        closes = np.append(opens[1:], len(owner))
        wanted = np.isin(tokens.turns["kind"], [KINDS.index(kind) for kind in kinds or KINDS])
        kept = wanted[opens] if len(opens) else np.zeros(0, bool)
        of_thread = np.cumsum(begins) - 1  # of each turn
        tokens_before = np.concatenate([[0], np.cumsum(tokens.lengths)])
        budget = max_tokens - 1
        if policy == "one":
            turn = np.flatnonzero(kept[of_thread])
            opened = opens[of_thread[turn]]
            fits = np.searchsorted(tokens_before, tokens_before[turn + 1] - budget)
            self.record, self.first = owner[turn], np.minimum(np.maximum(opened, fits), turn)
            self.last, self.learn = turn + 1, turn
            self.truncated = int((tokens.lengths[turn] > budget).sum())
            return
        opens, closes = opens[kept], closes[kept]
        threads = tokens_before[closes] - tokens_before[opens]
        # What does not fit and loses words: a thread; under `one` a turn, for context is no loss.
        self.truncated = int((threads > budget).sum())
        if policy == "rotate":
            bounds = np.searchsorted(opens, np.append(first, len(owner)))
            self.record = np.flatnonzero(np.diff(bounds))
            self._low, self._high = bounds[self.record], bounds[self.record + 1]
            self._opens, self._closes = opens, closes
            self._hash = tokens.records["key"]
            self.first = self.learn = first[self.record]
            self.last = self.first + count[self.record]
        else:
            ends = np.searchsorted(tokens_before, tokens_before[opens] + budget, "right") - 1
            self.first, self.record = opens, owner[opens]
            self.last = np.maximum(np.minimum(closes, ends), opens + 1)
            if policy == "pack":
                self._pack(closes, tokens_before, budget)
            self.learn = self.first

    def _pack(self, closes: np.ndarray, before: np.ndarray, budget: int) -> None:
        """Join neighbouring threads of a record while all of them fit."""
        kept: list[tuple[int, int, int]] = []
        threads = zip(self.record.tolist(), self.first.tolist(), closes.tolist(), strict=True)
        for record, opens, closed in threads:
            if kept and kept[-1][0] == record and before[closed] - before[kept[-1][1]] <= budget:
                kept[-1] = (record, kept[-1][1], closed)
            else:
                kept.append((record, opens, closed))
        columns = np.array(kept, np.int64).reshape(-1, 3).T
        self.record, self.first, self.last = columns[0], columns[1], columns[2]

    def __len__(self) -> int:
        return len(self.record)

    def starts(self, shard_starts: np.ndarray) -> np.ndarray:
        """int64 [shards + 1]: the first sample of each shard, from the first record of each."""
        return np.searchsorted(self.record, shard_starts)

    def choose(self, sample: int, pass_number: int) -> Choice:
        """The turns of a sample (0 to len - 1) in a pass (from 0)."""
        record = int(self.record[sample])
        if self.policy != "rotate":
            choice = self.first[sample], self.last[sample], self.learn[sample]
            return Choice(record, *map(int, choice))
        low, high = int(self._low[sample]), int(self._high[sample])
        thread = low + (int(self._hash[record]) + pass_number) % (high - low)
        first = int(self._opens[thread])
        return Choice(record, first, int(self._closes[thread]), first)
