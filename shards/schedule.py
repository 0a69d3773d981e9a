"""Mixture: position -> (source, index in source), with exact shares at every prefix.

Shares are integers a_i of a period D = sum a_i. One period is laid out by Tijdeman's rule for the
chairman assignment problem (R. Tijdeman, "The chairman assignment problem", Discrete Mathematics
32, 1980): after any n positions a source has been given n * a_i / D of them, within one.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import gcd, inf, lcm

import numpy as np

LONGEST = 65_536  # the longest period


def shares(weights: Mapping[str, float]) -> dict[str, int]:
    """Integer shares for weights: exact if their period is at most LONGEST, else the nearest.

    Nearest is by largest remainder (Hamilton). Raises ValueError on a weight that is not positive,
    and on one so small that it would round to nothing.
    """
    if not weights:
        raise ValueError("a mixture needs at least one source")
    for name, weight in weights.items():
        if not 0 < weight < inf:
            raise ValueError(f"source {name} has weight {weight:g}; expected more than 0")
    exact = {name: Fraction(str(weight)) for name, weight in weights.items()}
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
    """The endless sequence of sources for integer shares, in the order they are given."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.names = tuple(counts)
        self._shares = np.array([counts[name] for name in self.names], np.int64)
        self.period = int(self._shares.sum())
        self._source = _period(self._shares)
        self._rank = np.empty(self.period, np.int64)  # how often its source came before in a period
        for source in range(len(self.names)):
            of_source = self._source == source
            self._rank[of_source] = np.arange(of_source.sum())

    def at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64 [N] positions -> source (ordinal in `names`) and index in that source, both [N]."""
        periods, place = np.divmod(positions, self.period)
        source = self._source[place]
        return source, periods * self._shares[source] + self._rank[place]

    def given(self, positions: int) -> dict[str, int]:
        """How many of the first `positions` went to each source."""
        periods, rest = divmod(positions, self.period)
        head = np.bincount(self._source[:rest], minlength=len(self.names))
        counts = periods * self._shares + head
        return dict(zip(self.names, counts.tolist(), strict=True))


def _period(shares: np.ndarray) -> np.ndarray:
    """int64 [D]: the source at each place of one period, by Tijdeman's rule in integers."""
    share = [int(a) for a in shares]
    k, period = len(share), sum(share)
    if k == 1:
        return np.zeros(period, np.int64)
    given = [0] * k
    sources = np.empty(period, np.int64)
    for n in range(1, period + 1):
        best, best_deadline = -1, Fraction(0)
        for i in range(k):
            due = n * share[i] - period * given[i]
            if (2 * k - 2) * due < period:
                continue
            deadline = Fraction((2 * k - 3) * period - (2 * k - 2) * due, share[i])
            if best < 0 or deadline < best_deadline:
                best, best_deadline = i, deadline
        given[best] += 1
        sources[n - 1] = best
    return sources
