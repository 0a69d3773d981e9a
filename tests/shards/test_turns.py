"""Which turns a sample takes, on records made by hand: (thread, prompt tokens, target tokens)."""

import numpy as np
import pytest

from manifests.schema import KINDS, Kind
from shards.rows import DamageError
from shards.tokens import FACTS, RECORDS, TARGET, TOKENS, TURNS, Tokens
from shards.turns import Policy, Samples, find_samples, open_samples

CAPTIONS = [[(0, 0, 5), (1, 0, 5), (2, 0, 5)], [(0, 0, 5)], [(3, 0, 5), (7, 0, 4)]]
TALKS = [[(0, 2, 3), (0, 2, 3), (0, 2, 3), (1, 1, 1)], [(0, 4, 4)]]
QUESTIONS = [[(i, 2, 2) for i in range(5)], [(0, 3, 3)], [(0, 1, 1), (1, 8, 8), (2, 1, 1)]]


def _tokens(records: list[list[tuple[int, int, int]]]) -> Tokens:
    turns = np.array([(0, p, t, thread, 0) for r in records for thread, p, t in r], TURNS)
    lengths = turns["prompt"].astype(int) + turns["target"]
    turns["start"] = np.cumsum(lengths) - lengths
    rows = np.zeros(len(records), RECORDS)
    rows["turns"] = [len(record) for record in records]
    rows["first"] = np.cumsum(rows["turns"]) - rows["turns"]
    rows["key"] = [10, 2**64 - 1, 5][: len(records)]
    tokens = np.zeros(int(lengths.sum()), TOKENS)
    for turn in turns:
        begin = int(turn["start"] + turn["prompt"])
        tokens["mark"][begin : begin + int(turn["target"])] = TARGET
    return Tokens(tokens, turns, rows, np.zeros(1, FACTS))


def _chosen(tokens: Tokens, samples: Samples, number: int) -> list[tuple[int, ...]]:
    """(record, first turn, last turn + 1, first turn learnt) of each sample in a pass."""
    sample = np.arange(len(samples))
    record, choice = samples.choose(tokens, sample, np.full(len(samples), number))
    rows = samples.choices[choice]
    first = rows["first"].astype(int)
    columns = record, first, first + rows["turns"], first + rows["context"]
    return [tuple(map(int, row)) for row in zip(*columns, strict=True)]


def _choices(records, policy: Policy, max_tokens: int, number: int = 0) -> list[tuple[int, ...]]:
    tokens = _tokens(records)
    return [*_chosen(tokens, find_samples(tokens, policy, max_tokens), number)]


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

    def taken(*kinds: Kind) -> list[tuple[int, ...]]:
        return [row[:3] for row in _chosen(tokens, find_samples(tokens, policy, 64, kinds), 0)]

    assert taken("robot") == [(0, 0, 1), (1, 2, 3)]
    assert taken("reasoning") == [(0, 1, 2), (2, 3, 4)]
    assert taken("caption") == []
    assert taken("robot", "reasoning") == taken()
    assert find_samples(tokens, policy, 8, ["robot"]).totals.truncated == 0
    assert find_samples(tokens, policy, 8, ["reasoning"]).totals.truncated == 2


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
    tokens = _tokens(QUESTIONS)
    samples = find_samples(tokens, policy, 13)
    owner = np.repeat([0, 1, 2], [5, 1, 3])
    of = samples.samples["record"]
    for sample, (record, first, last, _) in enumerate(_chosen(tokens, samples, 1)):
        assert record == of[sample]
        assert set(owner[first:last]) == {record}
    count = len(samples)
    of_two = int((of < 2).sum())
    assert samples.starts(np.array([0, 2, 2, 3])).tolist() == [0, of_two, of_two, count]


def test_what_is_left_out_between_threads_is_not_packed_with_them() -> None:
    tokens = _tokens([[(0, 1, 1), (1, 1, 1), (2, 1, 1), (3, 1, 1)]])
    tokens.turns["kind"] = [KINDS.index(k) for k in ("qa", "robot", "qa", "qa")]
    rows = _chosen(tokens, find_samples(tokens, "pack", 64, ["qa"]), 0)
    assert rows == [(0, 0, 1, 0), (0, 2, 4, 2)]


@pytest.mark.parametrize("policy", ["rotate", "pack", "whole", "one"])
@pytest.mark.parametrize("max_tokens", [2, 5, 6, 8, 13, 16, 64])
@pytest.mark.parametrize("records", [CAPTIONS, TALKS, QUESTIONS])
def test_tokens_of_a_choice_are_counted_as_a_row_shows_them(records, policy, max_tokens):
    tokens = _tokens(records)
    found = find_samples(tokens, policy, max_tokens)
    for row in found.choices:
        turns = tokens.turns[int(row["first"]) :][: int(row["turns"])]
        shown, silent, learnt = [], 0, 0
        for number, turn in enumerate(turns):
            learns = number >= row["context"]
            shown += [False] * int(turn["prompt"]) + [learns] * int(turn["target"])
            silent += 0 if learns else int(turn["prompt"] + turn["target"])
        learnt = sum(shown[: max_tokens - 1])
        assert int(row["start"]) == int(turns[0]["start"])
        assert int(row["tokens"]) == min(len(shown), max_tokens - 1)
        assert (int(row["silent"]), int(row["targets"])) == (silent, learnt)


@pytest.mark.parametrize("records", [CAPTIONS, TALKS, QUESTIONS])
def test_sums_of_a_pass_are_means_over_passes(records) -> None:
    tokens = _tokens(records)
    for policy in ("rotate", "pack", "whole", "one"):
        found = find_samples(tokens, policy, 64)
        turns = targets = 0
        for number in range(6):  # of 1, 2 and 3 threads a record
            sample = np.arange(len(found))
            _, choice = found.choose(tokens, sample, np.full(len(found), number))
            rows = found.choices[choice]
            turns += int(rows["turns"].sum() - rows["context"].sum())
            targets += int(rows["targets"].sum())
        assert found.totals.records == len(records)
        assert found.totals.turns == pytest.approx(turns / 6)
        assert found.totals.targets == pytest.approx(targets / 6)


def test_tables_are_made_once_and_damage_is_told(tmp_path) -> None:
    tokens = _tokens(QUESTIONS)
    found = open_samples(tmp_path, tokens, "pack", 13, ["caption"])
    assert isinstance(found.samples, np.memmap)
    folder = tmp_path / "pack-13-caption"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = open_samples(tmp_path, tokens, "pack", 13, ["caption"])
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert np.array_equal(again.choices, found.choices) and again.totals == found.totals
    short = _tokens(QUESTIONS[:1])  # tables of another cache
    with pytest.raises(DamageError, match="pack-13-caption is damaged; remove it"):
        open_samples(tmp_path, short, "pack", 13, ["caption"])
    path = folder / "choices.bin"
    right = path.read_bytes()
    path.write_bytes(right[:8] + bytes([right[8] ^ 1]) + right[9:])  # where words begin
    with pytest.raises(DamageError, match="pack-13-caption is damaged; remove it"):
        open_samples(tmp_path, tokens, "pack", 13, ["caption"])
    path.write_bytes(right)
    (folder / "totals.json").unlink()
    with pytest.raises(DamageError, match="pack-13-caption is damaged .*totals.json"):
        open_samples(tmp_path, tokens, "pack", 13, ["caption"])


@pytest.mark.parametrize("policy", ["rotate", "pack", "whole", "one"])
def test_a_source_without_records_has_no_samples(policy) -> None:
    assert len(find_samples(_tokens([]), policy, 64)) == 0


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
    found = find_samples(_tokens(records), policy, max_tokens)
    assert found.totals.truncated == truncated


def test_one_loses_words_only_where_a_turn_alone_is_too_long():
    # The thread of 15 tokens loses context, which is not learnt; its turns of 5 tokens lose none.
    assert find_samples(_tokens(TALKS), "one", 15).totals.truncated == 0
    assert find_samples(_tokens(TALKS), "one", 8).totals.truncated == 1
    assert find_samples(_tokens(TALKS), "one", 5).totals.truncated == 4
