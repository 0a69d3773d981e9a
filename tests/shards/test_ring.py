"""The stream of a mixture is one sequence, whoever fills it, and its rows are what was written."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manifests.schema import ROBOTS
from shards.reader import DamageError, Dataset
from shards.ring import NO_LOSS, Batching, Ring, Slot, SourceSpec, Stream

SOURCES = {
    "coco": SourceSpec(weight=0.4, turns="rotate"),
    "vqa": SourceSpec(weight=0.3, turns="pack"),
    "talk": SourceSpec(corpus="llava", weight=0.2, turns="whole"),
    "robots": SourceSpec(weight=0.1, turns="one"),
}
STEPS = 6


@pytest.fixture(scope="module")
def make_stream(whole, encoder):
    def make_stream(
        folder: Path = whole, pool: int = 10, max_tokens: int = 64, seed: int = 1, **sources
    ) -> Stream:
        return Stream(
            Dataset(folder),
            sources or SOURCES,
            encoder,
            seed=seed,
            batching=Batching(global_=20, pool=pool),
            max_tokens=max_tokens,
            window=2,
        )

    return make_stream


@pytest.fixture(scope="module")
def stream(make_stream) -> Stream:
    return make_stream()


def _arrays(slots: list[Slot]) -> dict[str, np.ndarray]:
    """Copies of all rows of slots, one after another."""
    return {name: np.concatenate([vars(slot)[name] for slot in slots]) for name in vars(slots[0])}


def _equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    assert one.keys() == other.keys()
    return all(np.array_equal(one[n], other[n], equal_nan=n == "site") for n in one)


def _filled(stream: Stream, positions: np.ndarray) -> dict[str, np.ndarray]:
    slot = stream.slot(len(positions))
    for array in vars(slot).values():
        array.fill(1)  # as if an older batch had left something everywhere
    stream.fill(slot, positions)
    return _arrays([slot])


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
        joined = np.concatenate(ranks, axis=1)  # rank after rank, pool by pool
        assert joined.ravel().tolist() == list(range(step * 20, step * 20 + 20))
        sizes = [positions.shape[1] for positions in ranks]
        assert max(sizes) - min(sizes) <= 1


def test_golden_positions(stream):
    assert stream.positions(2, 1, 3).tolist() == [[43, 44, 45], [53, 54, 55]]
    with pytest.raises(ValueError, match=r"11 ranks cannot share a pool of 10; raise batch.pool"):
        stream.positions(0, 0, 11)


@pytest.mark.parametrize(
    ("world", "threads", "ahead"),
    [(1, 1, 0), (1, 3, 2), (2, 2, 1), (3, 4, 3), (4, 1, 2), (5, 7, 2)],
)
def test_the_sequence_is_the_same_for_every_world_and_thread(
    stream, sequence, world, threads, ahead
):
    rings = [
        Ring(stream, range(STEPS), rank=rank, world=world, threads=threads, ahead=ahead)
        for rank in range(world)
    ]
    steps = 0
    for of_ranks in zip(*rings, strict=True):
        (step,) = {step for step, _ in of_ranks}
        slots = [slots[pool] for pool in range(2) for _, slots in of_ranks]
        assert _equal(_arrays(slots), sequence[step])
        steps += 1
    assert steps == STEPS


def test_a_ring_begun_in_the_middle_gives_the_same_remainder(make_stream, sequence):
    ring = Ring(make_stream(), range(3, STEPS), rank=0, world=1, threads=2)
    found = {step: _arrays(slots) for step, slots in ring}
    assert list(found) == [3, 4, 5]
    assert all(_equal(found[step], sequence[step]) for step in found)


def test_a_slot_stays_as_it_is_until_the_next_but_one_step_is_asked_for(stream, sequence):
    previous: list[Slot] = []
    for step, slots in Ring(stream, range(STEPS), rank=0, world=1, threads=2, ahead=1):
        if step:
            assert _equal(_arrays(previous), sequence[step - 1])
        previous = slots


def test_rows_do_not_depend_on_their_neighbours(stream, sequence):
    for place in (0, 7, 19):
        row = _filled(stream, np.array([place + 20]))
        assert _equal(row, {name: a[place : place + 1] for name, a in sequence[1].items()})


def test_seeds_differ(make_stream, sequence):
    assert not _equal(_filled(make_stream(seed=2), np.arange(20)), sequence[0])


def test_every_sample_comes_once_a_pass_and_shares_are_exact(stream):
    assert stream.shares == {"coco": 4, "vqa": 3, "talk": 2, "robots": 1}
    assert stream.lengths == {"coco": 40, "vqa": 24, "talk": 12, "robots": 18}
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
    stream = make_stream(max_tokens=8, vqa=SourceSpec(turns="pack"))
    record = Dataset(whole).source("vqa", "train").record(0)
    last = int(np.flatnonzero(stream.records_of("vqa", np.arange(stream.lengths["vqa"])) == 0)[-1])
    slot = stream.slot(1)
    stream.fill_samples(slot, "vqa", np.array([last]))
    tokens, labels, threads = _expected(encoder, record.turns[-1:], 0, 8)
    assert slot.tokens[0].tolist() == tokens
    assert slot.labels[0].tolist() == labels
    assert slot.thread[0].tolist() == threads
    assert stream.truncated["vqa"] == sum(
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
    one, two = _arrays([own]), _arrays([other])
    assert np.array_equal(one["images"][[1, 0, 2]], two["images"])
    assert _equal({**one, "images": two["images"]}, two), "only the pictures are others'"
    assert stream.key_of("robots", 2) == source.record(2).key


def test_damage_stops_the_ring(copy, make_stream):
    stream = make_stream(copy, coco=SourceSpec(turns="rotate"))
    source = Dataset(copy).source("coco", "train")
    shard = source.shards[2]
    key = source.record(int(source.starts[2])).key
    data = bytearray((copy / shard.tar).read_bytes())
    data[1000] ^= 4
    (copy / shard.tar).write_bytes(data)
    ring = Ring(stream, range(2), rank=0, world=1, threads=2)
    with pytest.raises(DamageError, match=f"{shard.tar}: record {key} at byte 0 is damaged"):
        for _ in ring:
            pass


def test_mixtures_that_cannot_be_are_refused(make_stream):
    with pytest.raises(KeyError, match="has no gqa/train; it has coco/train"):
        make_stream(gqa=SourceSpec())
    with pytest.raises(ValueError, match="source coco has weight 0"):
        make_stream(coco=SourceSpec(weight=0))
    with pytest.raises(ValueError, match=r"batch.global 20 is not a multiple of pool 7"):
        make_stream(pool=7)
    with pytest.raises(ValueError, match=r"batch.global 20 is not a multiple of pool 0"):
        make_stream(pool=0)
