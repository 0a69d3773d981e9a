"""Mixture: position -> (source, index in source), with exact shares at every prefix.

Shares are integers a_i of a period D = sum a_i. One period is laid out by Tijdeman's rule for the
chairman assignment problem (R. Tijdeman, "The chairman assignment problem", Discrete Mathematics
32, 1980): after any n positions a source has been given n * a_i / D of them, within one.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import gcd, inf, lcm
from typing import Literal

import numpy as np

LONGEST = 65_536  # the longest period

Exhausted = Literal["repeat", "stop", "drop"]


def shares(weights: Mapping[str, float | Fraction]) -> dict[str, int]:
    """Integer shares for weights: exact if their period is at most LONGEST, else the nearest.

    Nearest is by largest remainder (Hamilton). Raises ValueError on a weight that is not positive,
    and on one so small that it would round to nothing.
    """
    if not weights:
        raise ValueError("a mixture needs at least one source")
    for name, weight in weights.items():
        if not 0 < weight < inf:
            raise ValueError(f"source {name} has weight {weight:g}; expected more than 0")
    exact = {
        name: weight if isinstance(weight, Fraction) else Fraction(str(weight))
        for name, weight in weights.items()
    }
    scale = lcm(*(weight.denominator for weight in exact.values()))
    whole = {name: int(weight * scale) for name, weight in exact.items()}
    common = gcd(*whole.values())
    whole = {name: share // common for name, share in whole.items()}
    if (total := sum(whole.values())) <= LONGEST:
        return whole
    ideal = {name: Fraction(share * LONGEST, total) for name, share in whole.items()}
    rounded = {name: int(share) for name, share in ideal.items()}
    left = LONGEST - sum(rounded.values())
    for name in sorted(ideal, key=lambda n: (rounded[n] - ideal[n], n))[:left]:
        rounded[name] += 1
    for name, share in rounded.items():
        if share == 0:
            raise ValueError(f"source {name} has less than 1/{LONGEST} of the mixture; drop it")
    return rounded


class Schedule:
    """The sequence of sources for integer shares, in the order they are given.

    `lengths` are the samples of each source in a pass. When a source has been through, it begins
    anew ("repeat"), all ends ("stop"), or it is left out, and the others go on with their shares of
    what is left until all are through ("drop"). `length` is the number of positions, None if they
    are endless.
    """

    def __init__(
        self,
        counts: Mapping[str, int],
        lengths: Mapping[str, int] | None = None,
        exhausted: Exhausted = "repeat",
    ) -> None:
        self.names = tuple(counts)
        shares = np.array([counts[name] for name in self.names], np.int64)
        given = np.zeros(len(self.names), np.int64)
        self._phases = [_Phase(0, shares, given)]
        self._ends: list[int | None] = [None]
        if exhausted != "repeat":
            assert lengths is not None, "what ends must be known"
            limits = np.array([lengths[name] for name in self.names], np.int64)
            self._ends = [end := self._phases[0].end(limits)]
            while exhausted == "drop":
                given = self._phases[-1].given(end)
                shares = np.where(given < limits, shares, 0)
                if not shares.any():
                    break
                self._phases.append(_Phase(end, shares, given))
                self._ends.append(end := self._phases[-1].end(limits))
        self.length = self._ends[-1]
        self._begins = np.array([phase.begin for phase in self._phases])

    @property
    def period(self) -> int:
        """Positions after which the sequence of sources repeats, as long as all are there."""
        return self._phases[0].period

    def at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64 [N] positions -> source (ordinal in `names`) and index in that source, both [N]."""
        if len(self._phases) == 1:
            return self._phases[0].at(positions)
        source, index = np.empty_like(positions), np.empty_like(positions)
        number = np.searchsorted(self._begins, positions, side="right") - 1
        for one in np.unique(number):
            rows = number == one
            source[rows], index[rows] = self._phases[one].at(positions[rows])
        return source, index

    def given(self, positions: int) -> dict[str, int]:
        """How many of the first `positions` went to each source."""
        number = int(np.searchsorted(self._begins, positions, side="right")) - 1
        counts = self._phases[number].given(positions)
        return dict(zip(self.names, counts.tolist(), strict=True))

    def reaches(self, name: str, index: int) -> int | None:
        """The position of a source's sample number `index`; None if it is never reached."""
        number = self.names.index(name)
        for phase, end in zip(self._phases, self._ends, strict=True):
            position = phase.position(number, index)
            if position is not None and (end is None or position < end):
                return position
        return None


class _Phase:
    """Positions from `begin` on, as long as the same sources are there.

    `shares` int64 [sources], 0 for those that are not; `before`: what each was given earlier.
    """

    def __init__(self, begin: int, shares: np.ndarray, before: np.ndarray) -> None:
        self.begin, self._before = begin, before
        self._shares = shares
        self.period = int(self._shares.sum())
        there = np.flatnonzero(self._shares)
        self._source = there[_period(self._shares[there])]
        self._rank = np.empty(self.period, np.int64)  # how often its source came before
        self._places = [np.flatnonzero(self._source == n) for n in range(len(shares))]
        for places in self._places:
            self._rank[places] = np.arange(len(places))

    def at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        periods, place = np.divmod(positions - self.begin, self.period)
        source = self._source[place]
        return source, self._before[source] + periods * self._shares[source] + self._rank[place]

    def given(self, positions: int) -> np.ndarray:
        """int64 [sources]: what each has been given in all before a position of this phase."""
        periods, rest = divmod(positions - self.begin, self.period)
        head = np.bincount(self._source[:rest], minlength=len(self._shares))
        return self._before + periods * self._shares + head

    def position(self, source: int, index: int) -> int | None:
        """Where a source is given its sample `index`, if this phase went on for ever."""
        share, left = int(self._shares[source]), index - int(self._before[source])
        if share == 0 or left < 0:
            return None
        return self.begin + left // share * self.period + int(self._places[source][left % share])

    def end(self, limits: np.ndarray) -> int:
        """The first position after which a source has nothing left."""
        there = np.flatnonzero(self._shares).tolist()
        ends = [self.position(source, int(limits[source]) - 1) for source in there]
        return 1 + min(end for end in ends if end is not None)


def _period(shares: np.ndarray) -> np.ndarray:
    """int64 [D]: the source at each place of one period, by Tijdeman's rule in integers."""
    share = [int(a) for a in shares]
    k, period = len(share), sum(share)
    if k == 1:
        return np.zeros(period, np.int64)
    due = [0] * k  # n * a_i - D * x_i
    late, ahead = 2 * k - 2, (2 * k - 3) * period
    sources = np.empty(period, np.int64)
    for n in range(period):
        best, best_slack = -1, 0
        for i in range(k):
            due[i] += share[i]
            if late * due[i] < period:
                continue
            slack = ahead - late * due[i]  # over its share: how long it can still wait
            if best < 0 or slack * share[best] < best_slack * share[i]:
                best, best_slack = i, slack
        due[best] -= period
        sources[n] = best
    return sources
