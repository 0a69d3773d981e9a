"""Which turns a sample takes, on records made by hand: (thread, prompt tokens, target tokens)."""

import numpy as np
import pytest

from manifests.schema import KINDS, Kind
from shards.tokens import RECORDS, TURNS, Tokens
from shards.turns import Policy, Samples

CAPTIONS = [[(0, 0, 5), (1, 0, 5), (2, 0, 5)], [(0, 0, 5)], [(3, 0, 5), (7, 0, 4)]]
TALKS = [[(0, 2, 3), (0, 2, 3), (0, 2, 3), (1, 1, 1)], [(0, 4, 4)]]
QUESTIONS = [[(i, 2, 2) for i in range(5)], [(0, 3, 3)], [(0, 1, 1), (1, 8, 8), (2, 1, 1)]]


def _tokens(records: list[list[tuple[int, int, int]]]) -> Tokens:
    turns = np.array([(0, p, t, thread, 0) for r in records for thread, p, t in r], TURNS)
    rows = np.zeros(len(records), RECORDS)
    rows["turns"] = [len(record) for record in records]
    rows["first"] = np.cumsum(rows["turns"]) - rows["turns"]
    rows["key"] = [10, 2**64 - 1, 5][: len(records)]
    return Tokens(np.zeros(0, np.uint16), turns, rows)


def _choices(records, policy: Policy, max_tokens: int, number: int = 0) -> list[tuple[int, ...]]:
    samples = Samples(_tokens(records), policy, max_tokens)
    return [tuple(samples.choose(sample, number)) for sample in range(len(samples))]


def test_rotate_takes_one_thread_a_pass_and_every_one_in_turn():
    # The first thread is key % threads: 10 % 3 = 1, (2**64 - 1) % 1 = 0, 5 % 2 = 1.
    assert _choices(CAPTIONS, "rotate", 64, 0) == [(0, 1, 2, 1), (1, 3, 4, 3), (2, 5, 6, 5)]
    assert _choices(CAPTIONS, "rotate", 64, 1) == [(0, 2, 3, 2), (1, 3, 4, 3), (2, 4, 5, 4)]
    assert _choices(CAPTIONS, "rotate", 64, 2) == [(0, 0, 1, 0), (1, 3, 4, 3), (2, 5, 6, 5)]
    assert _choices(CAPTIONS, "rotate", 64, 6) == _choices(CAPTIONS, "rotate", 64, 0)


@pytest.mark.parametrize("policy", ["one", "whole", "pack", "rotate"])
def test_only_threads_of_the_wanted_kinds_are_taken(policy: Policy) -> None:
    tokens = _tokens([[(0, 2, 2), (1, 2, 9)], [(0, 2, 3)], [(0, 2, 9)]])
    tokens.turns["kind"] = [KINDS.index(k) for k in ("robot", "reasoning", "robot", "reasoning")]

    def taken(*kinds: Kind) -> list[tuple[int, int, int]]:
        samples = Samples(tokens, policy, 64, kinds)
        return [samples.choose(n, 0)[:3] for n in range(len(samples))]

    assert taken("robot") == [(0, 0, 1), (1, 2, 3)]
    assert taken("reasoning") == [(0, 1, 2), (2, 3, 4)]
    assert taken("caption") == []
    assert taken("robot", "reasoning") == taken()
    assert Samples(tokens, policy, 8, ["robot"]).truncated == 0
    assert Samples(tokens, policy, 8, ["reasoning"]).truncated == 2


def test_rotate_takes_every_thread_once_in_as_many_passes():
    for record, threads in enumerate([3, 1, 2]):
        for begin in (0, 10):
            seen = [_choices(CAPTIONS, "rotate", 64, begin + p)[record] for p in range(threads)]
            assert len(set(seen)) == threads


def test_rotate_takes_a_thread_whole_and_learns_all_of_it():
    assert _choices(TALKS[:1], "rotate", 64, 1) == [(0, 3, 4, 3)]
    assert _choices(TALKS[:1], "rotate", 64, 0) == [(0, 0, 3, 0)]


def test_pack_joins_threads_of_a_record_while_they_fit():
    assert _choices(QUESTIONS, "pack", 13) == [  # 12 tokens beside the image: three questions of 4
        (0, 0, 3, 0),
        (0, 3, 5, 3),
        (1, 5, 6, 5),  # the next record begins anew
        (2, 6, 7, 6),
        (2, 7, 8, 7),  # too long alone, and alone
        (2, 8, 9, 8),
    ]
    assert _choices(QUESTIONS, "pack", 12)[0] == (0, 0, 2, 0)
    assert _choices(QUESTIONS, "pack", 1000) == [(0, 0, 5, 0), (1, 5, 6, 5), (2, 6, 9, 6)]


def test_pack_never_parts_a_thread():
    assert _choices(TALKS, "pack", 17) == [(0, 0, 3, 0), (0, 3, 4, 3), (1, 4, 5, 4)]
    assert _choices(TALKS, "pack", 18) == [(0, 0, 4, 0), (1, 4, 5, 4)]
    assert _choices(TALKS, "pack", 5) == [(0, 0, 3, 0), (0, 3, 4, 3), (1, 4, 5, 4)]


def test_whole_takes_a_thread_and_cuts_at_a_turn():
    assert _choices(TALKS, "whole", 16) == [(0, 0, 3, 0), (0, 3, 4, 3), (1, 4, 5, 4)]
    assert _choices(TALKS, "whole", 15) == [(0, 0, 2, 0), (0, 3, 4, 3), (1, 4, 5, 4)]
    assert _choices(TALKS, "whole", 11)[0] == (0, 0, 2, 0)
    assert _choices(TALKS, "whole", 10)[0] == (0, 0, 1, 0)
    assert _choices(TALKS, "whole", 4)[0] == (0, 0, 1, 0), "never less than a turn"


def test_one_takes_a_turn_after_as_much_of_its_thread_as_fits():
    assert _choices(TALKS, "one", 64) == [
        (0, 0, 1, 0),
        (0, 0, 2, 1),
        (0, 0, 3, 2),
        (0, 3, 4, 3),  # another thread is no context
        (1, 4, 5, 4),
    ]
    assert _choices(TALKS, "one", 16)[2] == (0, 0, 3, 2)
    assert _choices(TALKS, "one", 15)[2] == (0, 1, 3, 2), "the earliest goes first"
    assert _choices(TALKS, "one", 4) == [(0, t, t + 1, t) for t in range(4)] + [(1, 4, 5, 4)]


@pytest.mark.parametrize("records", [CAPTIONS, TALKS, QUESTIONS])
@pytest.mark.parametrize("policy", ["pack", "whole", "one"])
def test_every_turn_is_learnt_exactly_once_a_pass(records, policy):
    learnt = []
    for number in (0, 3):
        choices = _choices(records, policy, 64, number)
        learnt.append([turn for _, _, last, learn in choices for turn in range(learn, last)])
    assert learnt == [list(range(sum(map(len, records))))] * 2


@pytest.mark.parametrize("policy", ["rotate", "pack", "whole", "one"])
def test_samples_are_of_their_records_and_shards(policy):
    samples = Samples(_tokens(QUESTIONS), policy, 13)
    owner = np.repeat([0, 1, 2], [5, 1, 3])
    for sample in range(len(samples)):
        choice = samples.choose(sample, 1)
        assert choice.record == samples.record[sample]
        assert set(owner[choice.first : choice.last]) == {choice.record}
    count = len(samples)
    of_two = int((samples.record < 2).sum())
    assert samples.starts(np.array([0, 2, 2, 3])).tolist() == [0, of_two, of_two, count]


@pytest.mark.parametrize(
    ("records", "max_tokens", "truncated"),
    [
        (CAPTIONS, 6, 0),
        (CAPTIONS, 5, 5),  # of six threads one has 4 tokens
        (TALKS, 16, 0),
        (TALKS, 15, 1),
        (QUESTIONS, 16, 1),
        (QUESTIONS, 2, 9),
    ],
)
@pytest.mark.parametrize("policy", ["rotate", "pack", "whole"])
def test_threads_that_lose_words_are_counted(records, policy, max_tokens, truncated):
    assert Samples(_tokens(records), policy, max_tokens).truncated == truncated


def test_one_loses_words_only_where_a_turn_alone_is_too_long():
    # The thread of 15 tokens loses context, which is not learnt; its turns of 5 tokens lose none.
    assert Samples(_tokens(TALKS), "one", 15).truncated == 0
    assert Samples(_tokens(TALKS), "one", 8).truncated == 1
    assert Samples(_tokens(TALKS), "one", 5).truncated == 4
