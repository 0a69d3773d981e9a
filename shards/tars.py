"""The open tars of a source, in reach of all threads that read it."""

import os
from collections.abc import Callable, Collection
from itertools import islice
from threading import Lock


class Descriptor:
    """An open file, closed when nobody holds it: it may be dropped while a thread still reads."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


class Tars:
    """Tars by the ordinal of their shard, opened by `open_tar` when they are first asked for.

    `most` are open at a time, the latest opened, and those that `keep` names besides.
    """

    def __init__(self, open_tar: Callable[[int], int], most: int) -> None:
        self._open_tar, self._most = open_tar, most
        self._open: dict[int, Descriptor] = {}
        self._kept: frozenset[int] = frozenset()
        self._lock = Lock()

    def get(self, shard: int) -> Descriptor:
        """Hold what is returned until it is read. Raises what `open_tar` raises."""
        found = self._open.get(shard)
        if found is None:
            with self._lock:
                self._make_room(shard)
            found = Descriptor(self._open_tar(shard))  # without the lock: it may take minutes
            with self._lock:
                self._make_room(shard)  # `keep` may have been called meanwhile, or another opened
                found = self._open.setdefault(shard, found)
        return found

    def keep(self, shards: Collection[int]) -> None:
        """Close all others, and keep these open as they are asked for."""
        with self._lock:
            self._kept = frozenset(shards)
            for shard in [one for one in self._open if one not in self._kept]:
                del self._open[shard]

    def _make_room(self, shard: int) -> None:
        """Close the earliest of those that nobody keeps, before one more of them is opened."""
        if shard in self._kept:
            return
        others = self._open if not self._kept else [n for n in self._open if n not in self._kept]
        for one in list(islice(others, max(0, len(others) + 1 - self._most))):
            del self._open[one]
