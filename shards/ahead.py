"""Shards of a remote data set, fetched a window ahead of those that read them.

Of each source two windows of shards are kept on disk: the one that steps in flight read, and the
next one. What is kept open is never evicted (shards.cache), so nothing else has to be told.
"""

import contextlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice

from shards.order import Order
from shards.reader import Source
from shards.rows import DamageError
from shards.schedule import Schedule

_FETCHING = 4  # shards at a time


class Ahead:
    """The shards of `sources`, whose samples come in `orders` as `schedule` mixes them,
    `batch` of all sources a step; `ends`: the samples of each, if no source begins anew."""

    def __init__(
        self,
        sources: Sequence[Source],
        orders: Sequence[Order],
        schedule: Schedule,
        batch: int,
        ends: Sequence[int] | None,
    ) -> None:
        self._sources, self._orders = sources, orders
        self._schedule, self._batch, self._ends = schedule, batch, ends
        self._pool = ThreadPoolExecutor(_FETCHING, thread_name_prefix="fetch")
        # Pass and window that are read, and how many windows from there on are wanted.
        self._wanted: list[tuple[int, int, int]] = [(-1, -1, 0)] * len(sources)
        self._due: list[list[Future[None]]] = [[] for _ in sources]
        self._ended = False

    def at(self, first: int, last: int) -> None:
        """Steps first..last are read now: fetch what they need, and the window after the first."""
        ends = (last + 1) * self._batch
        if self._schedule.length is not None:
            ends = min(ends, self._schedule.length)
        begin = self._schedule.given(first * self._batch).values()
        end = self._schedule.given(ends).values()
        for number, (low, high) in enumerate(zip(begin, end, strict=True)):
            order = self._orders[number]
            count = 1 + max(1, order.windows_between(low, max(low, high - 1)))
            if self._ends is not None:  # nothing follows
                left = self._ends[number] - 1
                count = 0 if low > left else min(count, 1 + order.windows_between(low, left))
            wanted = (*order.window_of(low), count)
            if wanted != self._wanted[number]:
                self._wanted[number] = wanted
                self._want(number, list(islice(order.windows(low), count)))

    def _want(self, number: int, windows: list[list[int]]) -> None:
        for due in self._due[number]:
            due.cancel()
        source = self._sources[number]
        source.tars.keep([shard for window in windows for shard in window])
        self._due[number] = []
        before: list[Future[None]] = []
        for window in windows:
            begun = [self._pool.submit(self._fetch, source, shard, before) for shard in window]
            self._due[number] += begun
            before = begun

    def _fetch(self, source: Source, shard: int, before: list[Future[None]]) -> None:
        """Fetch a shard when those of the window before are here: they are needed sooner, and have
        the room first. Theirs were submitted earlier, so they do not wait for a thread of ours."""
        while not self._ended and wait(before, 0.5).not_done:
            pass
        if self._ended:
            return
        # Who reads the shard meets the same trouble, if it lasts, and stops the run with it.
        with contextlib.suppress(OSError, DamageError):
            source.tars.get(shard)

    def end(self) -> None:
        self._ended = True  # a cancelled future tells nobody who waits for it
        self._pool.shutdown(wait=False, cancel_futures=True)
