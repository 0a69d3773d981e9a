"""The stream of a mixture is one sequence, whoever fills it, and its rows are what was written."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from manifests.schema import ROBOTS
from shards.mixing import SourceSpec
from shards.reader import Dataset
from shards.slot import NO_LOSS
from shards.stream import Stream
from tests.shards.streams import SOURCES, arrays, equal

STEPS = 6


def _filled(stream: Stream, positions: np.ndarray) -> dict[str, np.ndarray]:
    slot = stream.slot(len(positions))
    for _, array in slot.arrays():
        array.fill(1)  # as if an older batch had left something everywhere
    stream.fill(slot, positions)
    return arrays([slot])


@pytest.fixture(scope="module")
def sequence(stream) -> list[dict[str, np.ndarray]]:
    """What each step holds, in the order of positions."""
    return [_filled(stream, np.arange(step * 20, step * 20 + 20)) for step in range(STEPS)]


@pytest.mark.parametrize("world", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("pool", [5, 10, 20])
def test_positions_of_all_ranks_tile_exactly(make_stream, world, pool):
    stream = make_stream(pool=pool)
    for step in (0, 3):
        ranks = [stream.positions(step, rank, world) for rank in range(world)]
        assert {len(positions) for positions in ranks} == {20 // pool}
        pools = zip(*ranks, strict=True)  # rank after rank, pool by pool
        joined = np.concatenate([part for pool in pools for part in pool])
        assert joined.tolist() == list(range(step * 20, step * 20 + 20))
        sizes = [len(positions[0]) for positions in ranks]
        assert max(sizes) - min(sizes) <= 1


def test_golden_positions(stream):
    found = [part.tolist() for part in stream.positions(2, 1, 3)]
    assert found == [[43, 44, 45], [53, 54, 55]]
    with pytest.raises(ValueError, match=r"11 ranks cannot share a pool of 10; raise batch.pool"):
        stream.positions(0, 0, 11)


def test_rows_do_not_depend_on_their_neighbours(stream, sequence):
    for place in (0, 7, 19):
        row = _filled(stream, np.array([place + 20]))
        assert equal(row, {name: a[place : place + 1] for name, a in sequence[1].items()})


def test_seeds_differ(make_stream, sequence):
    assert not equal(_filled(make_stream(seed=2), np.arange(20)), sequence[0])


def test_every_sample_comes_once_a_pass_and_shares_are_exact(stream):
    assert stream.mixture.shares == {"coco": 4, "vqa": 3, "talk": 2, "robots": 1}
    assert stream.mixture.lengths == {"coco": 40, "vqa": 24, "talk": 12, "robots": 18}
    filled = _filled(stream, np.arange(180))
    assert np.bincount(filled["corpus"]).tolist() == [72, 54, 36, 18]
    for number, length in enumerate([40, 24, 12]):
        records = filled["record"][filled["corpus"] == number][:length]
        assert sorted(records) == list(range(length))
    robots = Counter(filled["record"][filled["corpus"] == 3].tolist())
    assert robots == dict.fromkeys(range(9), 2), "two turns a record, each a sample"


def _expected(encoder, turns, learn: int, size: int) -> tuple[list[int], list[int], list[int]]:
    """Tokens, labels and threads of a row that says `turns`, the first `learn` without loss."""
    tokens, labels, threads = [1], [NO_LOSS], [0]
    numbers = {thread: i + 1 for i, thread in enumerate(dict.fromkeys(t.thread for t in turns))}
    for place, turn in enumerate(turns):
        prompt, target = encoder.ids(turn.prompt), [*encoder.ids(turn.target), 2]
        tokens += prompt + target
        labels += [NO_LOSS] * len(prompt) + (target if place >= learn else [NO_LOSS] * len(target))
        threads += [numbers[turn.thread]] * len(prompt + target)
    rows = (tokens, 0), (labels, NO_LOSS), (threads, 0)
    tokens, labels, threads = ((row + [fill] * size)[:size] for row, fill in rows)
    return tokens, labels, threads


def test_rows_are_what_was_written_and_labels_stand_on_targets_unshifted(stream, whole, encoder):
    filled = _filled(stream, np.arange(100))
    data, seen = Dataset(whole), Counter()
    sources = [data.source(s.corpus or n, "train") for n, s in SOURCES.items()]
    for place in range(100):
        name = list(SOURCES)[filled["corpus"][place]]
        record = sources[filled["corpus"][place]].record(int(filled["record"][place]))
        turns = record.turns
        if name == "coco":
            choices = [((turn,), 0) for turn in turns]
        elif name == "robots":
            choices = [(turns[:1], 0), (turns, 1)]
        else:
            choices = [(turns, 0)]
        row = tuple(filled[n][place].tolist() for n in ("tokens", "labels", "thread"))
        assert row in [_expected(encoder, *choice, 64) for choice in choices]
        seen[name] += 1
        learnt = filled["labels"][place] != NO_LOSS
        assert np.array_equal(filled["labels"][place][learnt], filled["tokens"][place][learnt])
        caption_at = filled["caption_at"][place]
        assert caption_at == (list(row[0]).index(2) if name == "coco" else -1)
    assert seen == {"coco": 40, "vqa": 30, "talk": 20, "robots": 10}


def test_a_row_too_long_is_cut_at_the_end(make_stream, encoder, whole):
    stream = make_stream(max_tokens=8, sources={"vqa": SourceSpec(turns="pack")})
    record = Dataset(whole).source("vqa", "train").record(0)
    last = int(
        np.flatnonzero(stream.records_of("vqa", np.arange(stream.mixture.lengths["vqa"])) == 0)[-1]
    )
    slot = stream.slot(1)
    stream.fill_samples(slot, "vqa", np.array([last]))
    tokens, labels, threads = _expected(encoder, record.turns[-1:], 0, 8)
    assert slot.tokens[0].tolist() == tokens
    assert slot.labels[0].tolist() == labels
    assert slot.thread[0].tolist() == threads
    assert stream.totals["vqa"].truncated == sum(
        len(encoder.ids(turn.prompt + " " + turn.target)) + 2 > 8
        for record in Dataset(whole).records("vqa", "train")
        for turn in record.turns
    )


def test_pixels_and_what_is_known_of_a_picture(stream, sequence, whole):
    sources = [Dataset(whole).source(s.corpus or n, "train") for n, s in SOURCES.items()]
    groups = set()
    for step in sequence:
        for place in range(20):
            number, row = int(step["corpus"][place]), int(step["record"][place])
            record = sources[number].record(row)
            assert stream.key_of(list(SOURCES)[number], row) == record.key
            picture = np.asarray(Image.open(io.BytesIO(record.image)).convert("RGB"))
            assert np.abs(picture.astype(int) - step["images"][place]).max() <= 2
            assert step["has_image"][place]
            assert step["robots"][place].tolist() == [robot in record.robots for robot in ROBOTS]
            assert step["single"][place] == (bool(record.robots) and not record.plan)
            plan = [[ROBOTS.index(s.robot), s.order] for s in record.plan]
            assert step["plan"][place].tolist() == plan + [[-1, -1]] * (5 - len(plan))
            assert np.isnan(step["site"][place]).all() == (record.corpus != "robots")
            groups.add((record.group, int(step["group"][place])))
    assert len(dict(groups)) == len({number for _, number in groups}) == len(groups)


def test_chosen_samples_and_pictures_of_others(stream, whole):
    source = Dataset(whole).source("robots", "train")
    samples = np.array([4, 0, 17])
    own, other = stream.slot(3), stream.slot(3)
    stream.fill_samples(own, "robots", samples)
    assert own.record.tolist() == stream.records_of("robots", samples).tolist() == [2, 0, 8]
    stream.fill_samples(other, "robots", samples, images_of=np.array([0, 2, 8]))
    one, two = arrays([own]), arrays([other])
    assert np.array_equal(one["images"][[1, 0, 2]], two["images"])
    assert equal({**one, "images": two["images"]}, two), "only the pictures are others'"
    assert stream.key_of("robots", 2) == source.record(2).key


def test_mixtures_that_cannot_be_are_refused(make_stream):
    with pytest.raises(KeyError, match="has no gqa/train; it has coco/train"):
        make_stream(sources={"gqa": SourceSpec()})
    with pytest.raises(ValueError, match="source coco has weight 0"):
        make_stream(sources={"coco": SourceSpec(weight=0)})
    with pytest.raises(ValueError, match=r"batch.global 20 is not a multiple of pool 7"):
        make_stream(pool=7)
    with pytest.raises(ValueError, match=r"batch.global 20 is not a multiple of pool 0"):
        make_stream(pool=0)
    with pytest.raises(ValueError, match=r"batch.global 0 is not a multiple of pool 10"):
        make_stream(total=0)


def test_what_stands_at_a_position_is_what_a_slot_shows(stream, encoder):
    filled = _filled(stream, np.arange(60))
    for place, found in enumerate(stream.picked(np.arange(60))):
        assert found.position == place
        assert found.source == list(SOURCES)[filled["corpus"][place]]
        assert found.number == filled["record"][place]
        expected = _expected(encoder, found.turns, found.context, 64)
        shown = tuple(filled[n][place].tolist() for n in ("tokens", "labels", "thread"))
        assert shown == expected
        assert f"/{found.record.corpus}-train-" in found.shard
