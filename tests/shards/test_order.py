"""Every sample once a pass, shards of a window together, and never another order than this."""

from itertools import islice

import numpy as np
import pytest

from shards.order import Order, permute


def _order(sizes: list[int], seed: int = 1, source: str = "coco", window: int = 2) -> Order:
    starts = np.concatenate([[0], np.cumsum(sizes)])
    names = [f"{i:05d}" for i in range(len(sizes))]
    return Order(starts, names, seed=seed, source=source, window=window)


SIZES = [[1], [2], [5, 5], [3, 0, 7, 1], [0, 0, 4], [4, 0, 0], [64] * 9, [1000, 1, 333, 0, 77]]


@pytest.mark.parametrize("window", [1, 2, 3, 100])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_each_sample_exactly_once_a_pass(sizes, window):
    order = _order(sizes, window=window)
    length = order.length
    assert length == sum(sizes)
    samples, passes = order.at(np.arange(3 * length))
    assert np.array_equal(passes, np.repeat([0, 1, 2], length))
    for number in range(3):
        assert sorted(samples[passes == number]) == list(range(length))


def test_golden_orders():
    samples, _ = _order([3, 0, 7, 2]).at(np.arange(24))
    assert samples[:12].tolist() == [11, 1, 10, 2, 0, 3, 8, 4, 6, 7, 5, 9]
    assert samples[12:].tolist() == [1, 2, 11, 0, 10, 6, 5, 4, 8, 9, 7, 3]
    other, _ = _order([3, 0, 7, 2], seed=2, window=1).at(np.arange(12))
    assert other.tolist() == [10, 11, 2, 0, 1, 6, 9, 4, 7, 8, 3, 5]


def test_golden_permutation():
    place = np.arange(10)
    got = permute(place, np.full(10, 10), np.full(10, 42, np.uint64))
    assert got.tolist() == [7, 2, 9, 1, 3, 6, 0, 8, 5, 4]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 15, 16, 17, 100, 255, 256, 257, 1025])
def test_permute_is_a_permutation_of_any_size(size):
    for key in (0, 1, 2**64 - 1):
        got = permute(np.arange(size), np.full(size, size), np.full(size, key, np.uint64))
        assert got.dtype == np.int64
        assert sorted(got) == list(range(size))


def test_permute_takes_sizes_and_keys_element_by_element():
    place, size, key = np.array([3, 3, 0]), np.array([10, 500, 1]), np.array([42, 7, 7], np.uint64)
    together = permute(place, size, key)
    alone = [int(permute(place[i : i + 1], size[i : i + 1], key[i : i + 1])[0]) for i in range(3)]
    assert together.tolist() == alone


def test_passes_seeds_and_sources_have_orders_of_their_own():
    length = 9 * 64
    order = _order([64] * 9)
    seen = {tuple(order.at(np.arange(p * length, (p + 1) * length))[0]) for p in range(3)}
    seen.add(tuple(_order([64] * 9, seed=2).at(np.arange(length))[0]))
    seen.add(tuple(_order([64] * 9, source="gqa").at(np.arange(length))[0]))
    seen.add(tuple(_order([64] * 9, window=3).at(np.arange(length))[0]))
    assert len(seen) == 6
    again = _order([64] * 9).at(np.arange(length))[0]
    assert tuple(again) in seen


def test_a_window_is_read_before_the_next_one_begins():
    shards, size, window = 12, 50, 3
    order = _order([size] * shards, window=window)
    for number in (0, 5):
        first = number * order.length
        samples, _ = order.at(np.arange(first, first + order.length))
        of_shard = samples // size
        windows = of_shard.reshape(shards // window, window * size)
        together = [frozenset(w.tolist()) for w in windows]
        assert [len(w) for w in together] == [window] * 4
        assert frozenset.union(*together) == frozenset(range(shards))
        # and inside a window its shards are mixed, not read one after another
        for row in windows:
            assert len(set(row[:size].tolist())) == window
            assert not np.array_equal(row, np.sort(row))


def test_shuffling_moves_samples_far_from_where_they_lie():
    samples, _ = _order([1000], window=1).at(np.arange(1000))
    lag = np.corrcoef(samples[:-1], samples[1:])[0, 1]
    assert abs(lag) < 0.15
    assert np.mean(np.abs(samples - np.arange(1000))) == pytest.approx(1000 / 3, rel=0.1)


def test_a_block_and_single_questions_agree():
    order = _order([3, 0, 70, 20, 1], window=2)
    indices = np.random.default_rng(0).integers(0, 40 * order.length, 500)
    samples, passes = order.at(indices)
    fresh = _order([3, 0, 70, 20, 1], window=2)
    for index, sample, number in zip(indices, samples, passes, strict=True):
        one, its_pass = fresh.at(np.array([index]))
        assert (one.tolist(), its_pass.tolist()) == ([sample], [number])
    assert np.array_equal(passes, indices // order.length)


def test_empty_shards_change_no_windows_length():
    order = _order([0, 5, 0, 0, 5, 0], window=1)
    samples, _ = order.at(np.arange(10))
    halves = {frozenset(samples[:5].tolist()), frozenset(samples[5:].tolist())}
    assert halves == {frozenset(range(5)), frozenset(range(5, 10))}


@pytest.mark.parametrize(
    ("starts", "names", "window", "message"),
    [
        ([0, 1], [], 1, "2 starts for 0 shards; expected one more"),
        ([0, 1], ["a"], 0, "window is 0 shards; expected at least 1"),
        ([0, 0], ["a"], 1, "source coco has no samples"),
    ],
)
def test_orders_that_cannot_be_are_refused(starts, names, window, message):
    with pytest.raises(ValueError, match=message):
        Order(np.array(starts), names, seed=1, source="coco", window=window)


@pytest.mark.parametrize("window", [1, 2, 3, 100])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_windows_are_those_that_samples_come_from(sizes, window):
    order = _order(sizes, window=window)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    samples, _ = order.at(np.arange(3 * order.length))
    shard = np.searchsorted(starts, samples, side="right") - 1
    numbers = [order.windows_between(0, index) for index in range(3 * order.length)]
    assert numbers[0] == 0 and set(np.diff(numbers).tolist()) <= {0, 1}
    windows = [*islice(order.windows(0), numbers[-1] + 1)]
    for number, shards in enumerate(windows):
        assert set(shards) == {int(s) for s, n in zip(shard, numbers, strict=True) if n == number}
        first = numbers.index(number)
        assert next(order.windows(first)) == shards
        assert order.windows_between(first, 3 * order.length - 1) == numbers[-1] - number
