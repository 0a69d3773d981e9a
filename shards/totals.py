"""What all shards of a data set say together: the ledger's sums, and that no key comes twice."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import xxhash

from manifests import seal
from manifests.seal import Count, Seal, Shard
from shards import rows
from shards.damage import Checked, Problem
from shards.reader import DamageError

Place = tuple[str, str]


class Totals:
    """Sums over shards as they are checked, to be compared with the seal when all were."""

    def __init__(self, folder: Path, sealed: Seal) -> None:
        self._folder = folder
        self._ledger = {(count.corpus, count.split): count for count in sealed.ledger}
        self._sums: defaultdict[Place, Counter[str]] = defaultdict(Counter)
        self._unread: set[Place] = set()  # a sum without a damaged manifest would say nothing
        self._keys: list[tuple[Shard, np.ndarray]] = []

    def add(self, shard: Shard, checked: Checked) -> None:
        place = (shard.corpus, shard.split)
        self._sums[place].update(checked.fates or {})
        if checked.fates is None:
            self._unread.add(place)
        # 8 bytes a key: a data set of ten million is checked in 80 MB
        hashes = [_hash(key) for key in checked.keys]
        self._keys.append((shard, np.array(hashes, np.uint64)))

    @property
    def read(self) -> list[Place]:
        """The places whose manifests are all as they were sealed."""
        return sorted(self._sums.keys() - self._unread)

    def problems(self) -> Iterator[Problem]:
        yield from self._doubled()
        for place in sorted(self._sums.keys() | self._ledger.keys()):
            name = f"ledger of {'/'.join(place)}"
            if place not in self._ledger:
                yield Problem(file=seal.NAME, what=f"{name}: missing")
            elif place not in self._unread:
                for what in _unequal(self._ledger[place], self._sums[place]):
                    yield Problem(file=seal.NAME, what=f"{name}: {what}")

    def _doubled(self) -> Iterator[Problem]:
        """Keys that are in more than one shard of any place; `check_shard` finds those in one."""
        distinct = [np.empty(0, np.uint64), *(np.unique(hashes) for _, hashes in self._keys)]
        values, times = np.unique(np.concatenate(distinct), return_counts=True)
        twice = values[times > 1]
        if not twice.size:
            return
        seen: dict[str, str] = {}
        for shard, hashes in self._keys:
            if not np.isin(hashes, twice).any():
                continue
            with suppress(DamageError):  # of a manifest, named when the shard was checked
                for key in rows.written(self._folder, shard, "key")["key"].to_pylist():
                    if _hash(key) in twice:
                        first = seen.setdefault(key, shard.tar)
                        if first != shard.tar:
                            what = f"is in {first} as well"
                            yield Problem(file=shard.tar, what=what, key=key, place=shard.place)


def _hash(key: str) -> int:
    return xxhash.xxh3_64_intdigest(key.encode())


def _unequal(count: Count, total: Counter[str]) -> Iterator[str]:
    if not count.balances:
        yield f"{count.read} annotations read, but its parts add up to another number"
    counted = {
        "written": count.written,
        "quarantined": count.quarantined,
        "duplicate": count.duplicate,
        "held back": count.held_back,
        "records": count.records,
        "unannotated": count.unannotated,
    }
    for status, number in counted.items():
        if total[status] != number:
            yield f"{number} {status}, its manifests have {total[status]}"
