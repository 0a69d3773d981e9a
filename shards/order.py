"""Index in source -> sample: every sample once a pass, in an order with no state.

In a pass the shards stand in keyed-hash order and are cut into windows of `window` shards; inside a
window a small Feistel network permutes the samples (cycle walking, Black and Rogaway, "Ciphers with
arbitrary finite domains", 2002). Everything is keyed by (seed, source, pass, window), so the place
of any sample follows from these alone, and reads stay within one window of shards at a time.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import xxhash

_ROUNDS = 4


class Order:
    """The order of one source's samples.

    `starts`, int64 [shards + 1], is the first sample of each shard and their number; `names` are
    the shards' ids. Both come from the seal, never from what happens to be on disk.
    """

    def __init__(
        self, starts: np.ndarray, names: Sequence[str], *, seed: int, source: str, window: int
    ) -> None:
        if len(starts) != len(names) + 1:
            raise ValueError(f"{len(starts)} starts for {len(names)} shards; expected one more")
        if window < 1:
            raise ValueError(f"window is {window} shards; expected at least 1")
        self._starts, self._names = np.asarray(starts, np.int64), tuple(names)
        self._key, self._window = f"{seed}/{source}", window
        self.length = int(self._starts[-1])
        if self.length == 0:
            raise ValueError(f"source {source} has no samples")
        self._sizes = np.diff(self._starts).tolist()
        self._pass = lru_cache(4)(self._plan)

    def at(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64 [N] indices -> sample (0 to length - 1) and pass, both int64 [N]."""
        passes, place = np.divmod(indices, self.length)
        samples = np.empty_like(place)
        for number in np.unique(passes):
            of_pass = passes == number
            samples[of_pass] = self._in_pass(int(number), place[of_pass])
        return samples, passes

    def windows(self, index: int) -> Iterator[list[int]]:
        """The shards (by ordinal) of the window that an index is in, of the next one, and so on.

        Those without samples are left out: nobody reads them.
        """
        number, place = divmod(index, self.length)
        while True:
            shards, ends, bounds, _ = self._pass(number)
            first = self._window_at(number, place)
            for begin, end in pairwise(bounds[first:].tolist()):
                low = np.searchsorted(ends, begin, side="right")
                high = np.searchsorted(ends, end, side="left") + 1
                yield [one for one in shards[low:high].tolist() if self._sizes[one]]
            number, place = number + 1, 0

    def windows_between(self, low: int, high: int) -> int:
        """How many windows after that of index `low` the one of index `high` is."""
        (first, begin), (last, end) = self.window_of(low), self.window_of(high)
        return end - begin + sum(len(self._pass(number)[3]) for number in range(first, last))

    def window_of(self, index: int) -> tuple[int, int]:
        """The pass of an index, and its window in that pass."""
        number, place = divmod(index, self.length)
        return number, self._window_at(number, place)

    def _window_at(self, number: int, place: int) -> int:
        return int(np.searchsorted(self._pass(number)[2], place, side="right")) - 1

    def _in_pass(self, number: int, place: np.ndarray) -> np.ndarray:
        shards, ends, bounds, keys = self._pass(number)
        window = np.searchsorted(bounds, place, side="right") - 1
        begin, size = bounds[window], bounds[window + 1] - bounds[window]
        place = begin + permute(place - begin, size, keys[window])
        rank = np.searchsorted(ends, place, side="right")  # empty shards are stepped over
        before = np.where(rank > 0, ends[rank - 1], 0)
        return self._starts[shards[rank]] + place - before

    def _plan(self, number: int) -> tuple[np.ndarray, ...]:
        """Shards in the order of a pass, where each ends, where each window begins, its key."""
        hashes = [_hash(f"{self._key}/{number}/shard {name}") for name in self._names]
        shards = np.array(sorted(range(len(hashes)), key=lambda i: (hashes[i], i)))
        ends = np.cumsum(np.diff(self._starts)[shards])
        bounds = np.concatenate([[0], ends[self._window - 1 :: self._window], ends[-1:]])
        bounds = np.unique(bounds)  # the last window may be whole, a window may be empty
        keys = [_hash(f"{self._key}/{number}/window {w}") for w in range(len(bounds) - 1)]
        return shards, ends, bounds, np.array(keys, np.uint64)


def permute(place: np.ndarray, size: np.ndarray, key: np.ndarray) -> np.ndarray:
    """A keyed permutation of 0..size-1, element by element.

    `place` int64 [N] below `size` int64 [N]; `key` uint64 [N]. Returns int64 [N].
    """
    length = np.frexp(np.maximum(size - 1, 1))[1]  # of the largest value in bits, exact below 2**53
    bits = ((length + 1) // 2).astype(np.uint64)
    mask = (np.uint64(1) << bits) - np.uint64(1)
    value, limit = place.astype(np.uint64), size.astype(np.uint64)
    walking = np.arange(len(value))
    while len(walking):  # the network permutes 4**bits >= size values: walk until back inside
        value[walking] = _feistel(value[walking], bits[walking], mask[walking], key[walking])
        walking = walking[value[walking] >= limit[walking]]
    return value.astype(np.int64)


def _feistel(value: np.ndarray, bits: np.ndarray, mask: np.ndarray, key: np.ndarray) -> np.ndarray:
    left, right = value >> bits, value & mask
    for number in range(_ROUNDS):
        left, right = right, left ^ (_mix(right ^ _mix(key + np.uint64(number))) & mask)
    return (left << bits) | right


def _mix(value: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014) on uint64, wrapping."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())
