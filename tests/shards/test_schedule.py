"""Exact shares of a mixture at every prefix, and where each sample of a source falls."""

from fractions import Fraction

import numpy as np
import pytest

from shards.schedule import LONGEST, Schedule, shares

VECTORS = [
    [1],
    [7],
    [1, 1],
    [1, 2],
    [5, 3],
    [999, 1],
    [2, 3, 5],
    [1, 1, 1, 1, 1],
    [97, 2, 1],
    [8, 4, 4, 2, 1, 1],
    [37, 31, 29, 23, 19, 17, 13, 11, 7, 5, 3],
    [400, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [32768, 16384, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 64],  # D = 65,536
]


def _named(counts: list[int]) -> dict[str, int]:
    return {f"source{i}": count for i, count in enumerate(counts)}


@pytest.mark.parametrize("counts", VECTORS, ids=str)
def test_every_source_is_within_one_sample_of_its_share_at_every_prefix(counts):
    schedule = Schedule(_named(counts))
    period = sum(counts)
    assert schedule.period == period
    source, index = schedule.at(np.arange(2 * period))
    for number, share in enumerate(counts):
        given = np.cumsum(source == number)
        # Tijdeman: |given - n a / D| <= 1 - 1 / (2k - 2); in integers, over two periods
        apart = np.abs(given * period - np.arange(1, 2 * period + 1) * share)
        bound = 2 * max(len(counts), 2) - 2
        assert apart.max() * bound <= period * (bound - 1)
        assert given[period - 1] == share, "a period is exact"
        of_source = index[source == number]
        assert np.array_equal(of_source, np.arange(2 * share)), "every sample once, in turn"


@pytest.mark.parametrize("counts", [[1], [5, 3], [97, 2, 1], [8, 4, 4, 2, 1, 1]], ids=str)
def test_given_counts_what_at_gives(counts):
    schedule = Schedule(_named(counts))
    source, _ = schedule.at(np.arange(3 * schedule.period + 5))
    for positions in range(len(source)):
        head = np.bincount(source[:positions], minlength=len(counts))
        assert list(schedule.given(positions).values()) == head.tolist()
    far = 10**12
    assert sum(schedule.given(far).values()) == far


def test_golden_periods():
    def period(*counts: int) -> list[int]:
        return Schedule(_named(list(counts))).at(np.arange(sum(counts)))[0].tolist()

    assert period(1, 1) == [0, 1]
    assert period(5, 3) == [0, 1, 0, 0, 1, 0, 1, 0]
    assert period(2, 3, 5) == [2, 1, 2, 0, 2, 1, 2, 0, 1, 2]
    assert period(4, 2, 1, 1) == [0, 1, 0, 2, 0, 3, 1, 0]


def test_any_position_can_be_asked_for_alone():
    schedule = Schedule({"a": 5, "b": 3})
    source, index = schedule.at(np.array([8 * 10**12 + 3, 3, 0, 8]))
    assert source[0] == source[1]
    assert index[0] == index[1] + [5, 3][source[0]] * 10**12
    assert (source[2], index[2]) == (source[3], 0)
    assert schedule.at(np.arange(0))[0].shape == (0,)


MIXED = [([5, 3], [7, 9]), ([1, 1, 1], [4, 1, 6]), ([97, 2, 1], [50, 3, 2]), ([3], [5])]


@pytest.mark.parametrize(("counts", "lengths"), MIXED, ids=str)
def test_what_stops_ends_with_the_last_sample_of_the_first_that_is_through(counts, lengths):
    schedule = Schedule(_named(counts), _named(lengths), "stop")
    endless = Schedule(_named(counts))
    assert schedule.length is not None
    positions = np.arange(schedule.length)
    assert np.array_equal(schedule.at(positions), endless.at(positions))
    given = list(schedule.given(schedule.length).values())
    assert any(got == length for got, length in zip(given, lengths, strict=True))
    assert all(got <= length for got, length in zip(given, lengths, strict=True))
    last = int(schedule.at(positions[-1:])[0][0])
    assert given[last] == lengths[last], "not one position later"


@pytest.mark.parametrize(("counts", "lengths"), MIXED, ids=str)
def test_what_is_dropped_is_through_and_the_others_keep_their_shares(counts, lengths):
    schedule = Schedule(_named(counts), _named(lengths), "drop")
    assert schedule.length == sum(lengths)
    source, index = schedule.at(np.arange(sum(lengths)))
    for number, length in enumerate(lengths):
        assert index[source == number].tolist() == list(range(length)), "each sample once, in turn"
    begin, there = 0, set(range(len(counts)))
    while there:  # from the end of one source to the end of the next
        ends = {n: int(np.flatnonzero(source == n)[-1]) + 1 for n in there}
        end = min(ends.values())
        total = sum(counts[n] for n in there)
        for number in there:
            given = np.cumsum(source[begin:end] == number)
            apart = np.abs(given * total - np.arange(1, end - begin + 1) * counts[number])
            assert apart.max(initial=0) <= total
        there = {n for n in there if ends[n] > end}
        begin = end


@pytest.mark.parametrize("exhausted", ["repeat", "stop", "drop"])
@pytest.mark.parametrize(("counts", "lengths"), MIXED, ids=str)
def test_the_place_of_any_sample_is_known(counts, lengths, exhausted):
    schedule = Schedule(_named(counts), _named(lengths), exhausted)
    length = 3 * sum(lengths) if schedule.length is None else schedule.length
    source, index = schedule.at(np.arange(length))
    for position in range(length):
        assert schedule.reaches(f"source{source[position]}", int(index[position])) == position
    if schedule.length is not None:
        for number, got in enumerate(schedule.given(length).values()):
            assert schedule.reaches(f"source{number}", got) is None


@pytest.mark.parametrize(("counts", "lengths"), MIXED, ids=str)
def test_given_counts_what_at_gives_where_it_ends(counts, lengths):
    schedule = Schedule(_named(counts), _named(lengths), "drop")
    source, _ = schedule.at(np.arange(sum(lengths)))
    for positions in range(sum(lengths) + 1):
        head = np.bincount(source[:positions], minlength=len(counts))
        assert list(schedule.given(positions).values()) == head.tolist()


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"a": 1.0}, {"a": 1}),
        ({"a": 0.1, "b": 0.2}, {"a": 1, "b": 2}),  # decimals as they are written
        ({"a": 0.4, "b": 0.2, "c": 0.2, "d": 0.2}, {"a": 2, "b": 1, "c": 1, "d": 1}),
        ({"a": 4, "b": 6, "c": 2}, {"a": 2, "b": 3, "c": 1}),
        ({"a": 0.00001, "b": 0.5}, {"a": 1, "b": 50_000}),
        ({"b": 65_535, "a": 1}, {"b": 65_535, "a": 1}),
    ],
)
def test_shares_are_exact_where_they_can_be(weights, expected):
    got = shares(weights)
    assert got == expected
    assert list(got) == list(weights), "in the order they are given"


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        # 21845.12, 21845.33 and 21845.55: the one that is left goes to the last
        ({"a": 100_000, "b": 100_001, "c": 100_002}, {"a": 21845, "b": 21845, "c": 21846}),
        ({"a": 65_536, "b": 1}, {"a": 65_535, "b": 1}),  # 65535.00002 and 0.99998
        # 32767.40 twice and 1.20: one is left, and of equals the first by name has it
        ({"b": 109_225, "a": 109_225, "c": 4}, {"b": 32767, "a": 32768, "c": 1}),
    ],
)
def test_shares_are_rounded_by_largest_remainder(weights, expected):
    got = shares(weights)
    assert sum(got.values()) == LONGEST
    total = sum(weights.values())
    for name, share in got.items():
        assert abs(Fraction(weights[name] * LONGEST, total) - share) < 1
    assert got == expected


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "a mixture needs at least one source"),
        ({"a": 1, "b": 0}, "source b has weight 0; expected more than 0"),
        ({"a": 1, "b": -0.5}, "source b has weight -0.5; expected more than 0"),
        ({"a": 1, "b": float("nan")}, "source b has weight nan; expected more than 0"),
        ({"a": 1, "b": float("inf")}, "source b has weight inf; expected more than 0"),
        ({"a": 1_000_000, "b": 1}, "source b has less than 1/65536 of the mixture; drop it"),
    ],
)
def test_mixtures_that_cannot_be_are_refused(weights, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        shares(weights)
