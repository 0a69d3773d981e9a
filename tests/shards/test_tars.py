"""Open tars are few, are those that are wanted, and are closed when nobody reads them."""

import os
import threading
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from shards.ahead import Ahead
from shards.order import Order
from shards.schedule import Schedule
from shards.tars import Tars


@pytest.fixture
def opened() -> list[int]:
    return []


@pytest.fixture
def tars(opened: list[int], tmp_path: Path) -> Tars:
    path = tmp_path / "tar"
    path.touch()

    def open_tar(shard: int) -> int:
        opened.append(shard)
        return os.open(path, os.O_RDONLY)

    return Tars(open_tar, most=3)


def test_the_earliest_is_closed_before_one_more_is_opened(tars: Tars, opened: list[int]) -> None:
    for shard in (0, 1, 2, 1, 3, 0):
        tars.get(shard)
    assert opened == [0, 1, 2, 3, 0]
    assert list(tars._open) == [2, 3, 0]


def test_those_that_are_kept_are_kept_however_many(tars: Tars, opened: list[int]) -> None:
    tars.get(9)
    tars.keep(range(5))
    for shard in (0, 1, 2, 3, 4, 7, 8, 9, 6):
        tars.get(shard)
    assert set(tars._open) == {0, 1, 2, 3, 4, 8, 9, 6}
    tars.keep([4])
    assert set(tars._open) == {4}
    for shard in range(5):
        tars.get(shard)
    assert opened[-4:] == [0, 1, 2, 3]


def test_a_file_is_closed_when_the_last_reader_lets_go(tars: Tars) -> None:
    held = tars.get(0)
    tars.keep([])
    assert os.fstat(held.number)
    number = held.number
    del held
    with pytest.raises(OSError):
        os.fstat(number)


class _Source:
    def __init__(self, slow: float = 0) -> None:
        self.fetched: list[int] = []
        self.slow = slow
        self.tars = self

    def get(self, shard: int) -> None:
        time.sleep(self.slow)
        self.fetched.append(shard)

    def keep(self, shards: list[int]) -> None:
        self.kept = list(shards)


def _ahead(source: _Source, shards: int, window: int, ends: list[int] | None) -> Ahead:
    starts = 4 * np.arange(shards + 1)
    names = [f"{shard:05d}" for shard in range(shards)]
    order = Order(starts, names, seed=1, source="coco", window=window)
    exhausted = "repeat" if ends is None else "drop"
    schedule = Schedule({"coco": 1}, {"coco": 4 * shards}, exhausted)
    return Ahead([cast(Any, source)], [order], schedule, 4, ends)


def _settled(source: _Source, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(source.fetched) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)


def test_two_windows_are_fetched_the_one_that_is_read_first() -> None:
    source = _Source()
    ahead = _ahead(source, shards=12, window=3, ends=None)
    ahead.at(0, 1)
    _settled(source, 6)
    assert sorted(source.fetched) == sorted(source.kept) and len(source.kept) == 6
    assert set(source.fetched[:3]) == set(source.kept[:3])
    ahead.at(1, 2)
    assert len(source.fetched) == 6, "nothing new is wanted"
    ahead.at(3, 4)  # the second window
    _settled(source, 12)
    assert set(source.fetched[9:]) == set(source.kept[3:])
    ahead.end()


def test_nothing_is_fetched_after_the_end_of_a_mixture() -> None:
    source = _Source()
    ahead = _ahead(source, shards=6, window=3, ends=[24])
    ahead.at(3, 3)  # in the second window, the last
    _settled(source, 3)
    assert len(source.kept) == 3
    ahead.at(6, 6)
    assert source.kept == []
    ahead.end()


def test_fetches_end_with_the_ring_even_those_that_wait_for_others() -> None:
    before = set(threading.enumerate())
    for _ in range(20):
        ahead = _ahead(_Source(slow=0.002), shards=200, window=100, ends=None)
        ahead.at(0, 1)
        time.sleep(0.01)
        ahead.end()
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert set(threading.enumerate()) <= before
