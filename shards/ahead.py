"""Shards of a remote data set, fetched a window ahead of those that read them.

Of each source two windows of shards are kept on disk: the one that steps in flight read, and the
next one. What is kept open is never evicted (shards.cache), so nothing else has to be told.
"""

import contextlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from shards.order import Order
from shards.reader import Source
from shards.rows import DamageError
from shards.schedule import Schedule

_FETCHING = 4  # shards at a time


class Ahead:
    """The shards of `sources`, whose samples come in `orders` as `schedule` mixes them,
    `batch` of all sources a step."""

    def __init__(
        self,
        sources: Sequence[Source],
        orders: Sequence[Order],
        schedule: Schedule,
        batch: int,
    ) -> None:
        self._sources, self._orders = sources, orders
        self._schedule, self._batch = schedule, batch
        self._pool = ThreadPoolExecutor(_FETCHING, thread_name_prefix="fetch")
        self._wanted: list[list[int]] = [[] for _ in sources]
        self._due: list[list[Future[None]]] = [[] for _ in sources]

    def at(self, first: int, last: int) -> None:
        """Steps first..last are read now: fetch what they need, and the window after it."""
        ends = (last + 1) * self._batch
        if self._schedule.length is not None:
            ends = min(ends, self._schedule.length)
        begin = self._schedule.given(first * self._batch).values()
        end = self._schedule.given(ends).values()
        for number, (low, high) in enumerate(zip(begin, end, strict=True)):
            order = self._orders[number]
            beyond = 1 + order.windows_between(low, max(low, high - 1))
            wanted = [shard for one in islice(order.windows(low), 1 + beyond) for shard in one]
            if wanted != self._wanted[number]:
                self._want(number, wanted)

    def _want(self, number: int, wanted: list[int]) -> None:
        for due in self._due[number]:
            due.cancel()
        source = self._sources[number]
        source.tars.keep(wanted)
        self._wanted[number] = wanted
        self._due[number] = [self._pool.submit(self._fetch, source, shard) for shard in wanted]

    def _fetch(self, source: Source, shard: int) -> None:
        # Who reads the shard meets the same trouble, if it lasts, and stops the run with it.
        with contextlib.suppress(OSError, DamageError):
            source.tars.get(shard)

    def end(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
