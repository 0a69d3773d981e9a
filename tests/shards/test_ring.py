"""Who fills a ring, how many they are and where it begins change nothing; who fails is named."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from manifests.schema import Record
from shards import reader, ring
from shards.helper import HelperError
from shards.mixing import Mixing, SourceSpec
from shards.reader import Dataset
from shards.ring import Ring
from shards.rows import DamageError
from shards.slot import Slot
from shards.stream import Stream
from tests.shards.streams import SOURCES, arrays, equal, open_stream

Batch = dict[str, np.ndarray]
ONCE = Mixing(exhausted="drop")  # every sample once, and the last step smaller
STEPS = 6
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def once(make_stream) -> Stream:
    return make_stream(mixing=ONCE)


def _in_order(stream: Stream, steps: int) -> list[Batch]:
    """What each step holds, in the order of positions, filled one row at a time."""
    batches = []
    for step in range(steps):
        slots = []
        for position in np.concatenate(stream.positions(step, 0, 1)):
            slots.append(stream.slot(1))
            stream.fill(slots[-1], np.array([position]))
        batches.append(arrays(slots))
    return batches


@pytest.fixture(scope="module")
def sequence(stream) -> list[Batch]:
    return _in_order(stream, STEPS)


@pytest.fixture(scope="module")
def one_pass(once) -> list[Batch]:
    assert once.steps == 5 and once.schedule.length == 94
    return _in_order(once, once.steps)


def _global(stream: Stream, steps: range, world: int, **how) -> Iterator[tuple[int, Batch]]:
    """Each step of all ranks together, in the order of positions."""
    with ExitStack() as stack:
        rings = [
            stack.enter_context(Ring(stream, steps, rank=rank, world=world, **how))
            for rank in range(world)
        ]
        for of_ranks in zip(*rings, strict=True):
            (step,) = {step for step, _ in of_ranks}
            pools = zip(*(slots for _, slots in of_ranks), strict=True)
            yield step, arrays(slot for pool in pools for slot in pool)


@pytest.mark.parametrize("fill", ["threads", "processes"])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_a_run_stopped_at_any_step_goes_on_on_any_number_of_ranks(once, one_pass, world, fill):
    for stop in range(len(one_pass) + 1):
        # What it was before the stop is of no account: there is no state but the step.
        found = dict(_global(once, range(stop, 99), world, fill=fill, threads=2, ahead=1))
        assert list(found) == list(range(stop, len(one_pass)))
        assert all(equal(found[step], one_pass[step]) for step in found)


@pytest.mark.parametrize("before", [1, 2, 3, 4])
@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_what_was_trained_before_and_after_a_stop_is_each_sample_once(
    once, one_pass, before, after
):
    for stop in range(len(one_pass) + 1):
        first = _global(once, range(stop), before, threads=1, ahead=2)
        then = _global(once, range(stop, 99), after, threads=3, ahead=0)
        batches = [batch for run in (first, then) for _, batch in run]
        assert all(map(equal, batches, one_pass)) and len(batches) == len(one_pass)
    samples = np.concatenate([b["corpus"] * 1000 + b["record"] for b in one_pass])
    assert len(samples) == 94
    for name, length in {"coco": 40, "talk": 12}.items():
        number = list(SOURCES).index(name)
        assert sorted(samples[samples // 1000 == number] % 1000) == list(range(length))


@pytest.mark.parametrize(
    ("fill", "world", "threads", "helpers", "ahead"),
    [
        ("threads", 1, 1, None, 0),
        ("threads", 1, 3, None, 2),
        ("threads", 3, 4, None, 3),
        ("threads", 5, 7, None, 2),
        ("processes", 1, 2, 1, 0),
        ("processes", 1, 3, 2, 2),
        ("processes", 2, 5, 3, 1),
    ],
)
def test_the_sequence_is_the_same_whoever_fills_it(
    stream, sequence, fill, world, threads, helpers, ahead
):
    how = {"fill": fill, "threads": threads, "helpers": helpers, "ahead": ahead}
    found = dict(_global(stream, range(STEPS), world, **how))
    assert all(equal(found[step], sequence[step]) for step in range(STEPS))


def test_rows_gathered_in_small_pieces_are_the_same(stream, sequence, monkeypatch):
    for gathered in (1, 70_000):
        monkeypatch.setattr("shards.filler._GATHERED", gathered)
        found = dict(_global(stream, range(2, STEPS), 2, threads=2))
        assert all(equal(found[step], sequence[step]) for step in range(2, STEPS))


def test_steps_far_on_come_as_soon_as_the_first(stream):
    far = 10**9
    ((step, batch),) = _global(stream, range(far, far + 1), 1, threads=2)
    assert step == far
    slot = stream.slot(20)
    stream.fill(slot, np.arange(20 * far, 20 * far + 20))
    assert equal(batch, arrays([slot]))


@pytest.mark.parametrize("fill", ["threads", "processes"])
def test_a_slot_stays_as_it_is_until_the_next_but_one_step_is_asked_for(stream, sequence, fill):
    previous: list[Slot] = []
    with Ring(stream, range(STEPS), threads=2, fill=fill, ahead=1) as filled:
        for step, slots in filled:
            if step:
                assert equal(arrays(previous), sequence[step - 1])
            previous = slots


@pytest.mark.parametrize("fill", ["threads", "processes"])
def test_all_slots_lie_in_one_memory(stream, fill):
    with Ring(stream, range(2), fill=fill) as filled:
        first = filled.memory.ctypes.data
        for _, slots in filled:
            for slot in slots:
                for _, array in slot.arrays():
                    assert 0 <= array.ctypes.data - first <= filled.memory.nbytes - array.nbytes


# Odd data sets


@pytest.fixture
def odd(tmp_path, make_record, write_shard, seal_shards):
    """odd(sizes of coco/train's shards) -> the folder of a data set."""

    def odd(*sizes: int) -> Path:
        numbers = iter(range(sum(sizes)))
        shards = []
        for place, size in enumerate(sizes):
            records: list[Record] = [make_record("coco", next(numbers)) for _ in range(size)]
            blank = records or [make_record("coco", 0)]
            shards.append(write_shard(tmp_path, blank, f"{place:05d}"))
        seal_shards(tmp_path, [s for s, size in zip(shards, sizes, strict=True) if size])
        return tmp_path

    return odd


@pytest.mark.parametrize("sizes", [(1,), (7,), (1, 1, 1), (1, 9, 2)])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["train", "evaluation"])
def test_nothing_is_lost_of_uneven_sets_and_few_shards(odd, encoder, sizes, world, kind):
    turns = "rotate" if kind == "train" else "one"
    sources = {"coco": SourceSpec(turns=turns)}
    stream = open_stream(odd(*sizes), encoder, sources=sources, total=8, pool=4, mixing=ONCE)
    length = sum(sizes) * (1 if kind == "train" else 5)
    assert stream.mixture.lengths == {"coco": length}
    drawn = [b["record"] for _, b in _global(stream, range(999), world)]
    records = np.concatenate(drawn)
    assert sorted(records) == sorted(np.repeat(np.arange(sum(sizes)), length // sum(sizes)))
    assert [len(part) for part in drawn[:-1]] == [8] * (len(drawn) - 1)


def test_shards_without_records_are_stepped_over(whole, encoder):
    shards = Dataset(whole).source("robots", "train").shards
    assert 0 in [shard.records for shard in shards]
    sources = {"robots": SourceSpec(turns="one")}
    stream = open_stream(whole, encoder, sources=sources, mixing=ONCE)
    records = np.concatenate([b["record"] for _, b in _global(stream, range(9), 2)])
    assert sorted(records) == sorted([*range(9)] * 2)


def test_a_mixture_that_stops_ends_with_its_first_source(make_stream):
    stream = make_stream(mixing=Mixing(exhausted="stop"))
    batches = [batch for _, batch in _global(stream, range(99), 3)]
    corpus = np.concatenate([batch["corpus"] for batch in batches])
    given = dict(zip(SOURCES, np.bincount(corpus).tolist(), strict=True))
    assert given["talk"] == 12 == stream.mixture.lengths["talk"]
    assert given["robots"] == 6 and len(corpus) == stream.schedule.length


# What goes wrong


@pytest.mark.parametrize("fill", ["threads", "processes"])
def test_damage_stops_the_ring_and_names_shard_record_and_command(copy, encoder, fill):
    stream = open_stream(copy, encoder, sources={"coco": SourceSpec(turns="rotate")})
    source = Dataset(copy).source("coco", "train")
    shard = source.shards[2]
    key = source.record(int(source.starts[2])).key
    data = bytearray((copy / shard.tar).read_bytes())
    data[1000] ^= 4
    (copy / shard.tar).write_bytes(data)
    with pytest.raises(DamageError) as caught, Ring(stream, range(2), fill=fill) as filled:
        for _ in filled:
            pass
    assert str(caught.value).startswith(f"{shard.tar}: record {key} at byte 0 is damaged: its dig")
    assert str(caught.value).endswith(f"Repair it with: python -m shards repair {copy}")


def test_a_picture_that_cannot_be_decoded_is_named(
    tmp_path, make_record, write_shard, seal_shards, encoder
):
    record = make_record("coco", 1)
    broken = make_record("coco", 2, image=record.image[:-200] + b"\xff\xd9")
    seal_shards(tmp_path, [write_shard(tmp_path, [record, broken])])
    stream = open_stream(tmp_path, encoder, sources={"coco": SourceSpec(turns="rotate")})
    message = r"the picture of record coco-train-0002 cannot be decoded .*policy squash"
    with pytest.raises(DamageError, match=message), Ring(stream, range(1)) as filled:
        for _ in filled:
            pass


def test_a_disk_that_cannot_read_names_shard_and_record(copy, encoder, monkeypatch):
    stream = open_stream(copy, encoder, sources={"coco": SourceSpec(turns="rotate")})

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(reader.os, "preadv", broken)
    message = r"tar: record coco-train-\d+ at byte \d+ cannot be read \(Input/output error\)"
    with pytest.raises(DamageError, match=message), Ring(stream, range(1)) as filled:
        list(filled)


def test_what_a_helper_cannot_begin_is_told_as_it_is(stream):
    with Ring(stream, range(1), rank=10, world=11, fill="processes") as filled:
        filled._workers.begin(0, 0)
        with pytest.raises(ValueError, match="11 ranks cannot share a pool of 10"):
            filled._workers.wait()


def _children() -> set[int]:
    """Processes that this one started and that still run."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for path in tasks for pid in path.read_text().split()}


def test_a_killed_helper_is_named_at_once(stream):
    before = _children()
    with (
        pytest.raises(HelperError, match=r"was killed \(exit code -9.* --set fill=threads starts"),
        Ring(stream, range(999), fill="processes", threads=2, helpers=2) as filled,
    ):
        for step, _ in filled:
            if step == 2:
                os.kill(max(_children() - before), signal.SIGKILL)
    assert _children() == before


def test_a_helper_that_does_nothing_is_named(stream, monkeypatch):
    monkeypatch.setattr(ring, "_PATIENCE", 1)
    before = _children()
    with (
        pytest.raises(HelperError, match=r"helper process \d+ has read nothing for 1 seconds"),
        Ring(stream, range(999), fill="processes") as filled,
    ):
        for step, _ in filled:
            if step == 2:
                (helper,) = _children() - before
                os.kill(helper, signal.SIGSTOP)
    assert _children() == before


def test_a_helper_that_works_slowly_is_left_alone(stream, monkeypatch):
    monkeypatch.setattr(ring, "_PATIENCE", 2)
    steps = []
    with Ring(stream, range(STEPS), fill="processes") as filled:
        for step, _ in filled:
            steps.append(step)
            time.sleep(0.6 if step < 5 else 0)  # a trainer that takes its time
    assert steps == list(range(STEPS))


def test_a_data_set_replaced_before_helpers_open_it_is_said(copy, encoder, seal_shards):
    stream = open_stream(copy, encoder, sources={"coco": SourceSpec(turns="rotate")})
    shards = Dataset(copy).source("coco", "train").shards
    seal_shards(copy, shards[:1])
    message = "was replaced by a newer data set after it was opened"
    with pytest.raises(DamageError, match=message), Ring(stream, range(1), fill="processes") as r:
        list(r)


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_nothing_is_left_behind_by_a_trainer_that(how, whole, tmp_path):
    script = tmp_path / "trainer.py"
    script.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.shards.conftest import WordEncoder\n"
        "from tests.shards.streams import open_stream\n"
        "from shards.ring import Ring\n"
        f"stream = open_stream(Path({str(whole)!r}), WordEncoder())\n"
        "with Ring(stream, range(10**9), fill='processes', threads=2, helpers=2) as ring:\n"
        "    for step, _ in ring:\n"
        "        if step == 3:\n"
        "            print('going', flush=True)\n"
        f"            {'break' if how == 'ends' else 'time.sleep(60)'}\n"
    )
    trainer = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert trainer.stdout and trainer.stdout.readline() == "going\n"
    helpers = [int(pid) for pid in _children_of(trainer.pid)]
    if how == "is killed":
        assert len(helpers) == 2
        for pid in (trainer.pid, *helpers):
            maps = Path(f"/proc/{pid}/maps").read_text()
            assert "/memfd:ring" in maps and "/dev/shm/" not in maps, "it has no name to leave"
        trainer.kill()
    assert trainer.wait(20) == (0 if how == "ends" else -9)
    deadline = time.monotonic() + 10
    while any(_runs(pid) for pid in helpers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in helpers)


def _children_of(pid: int) -> list[str]:
    return [
        child
        for path in Path(f"/proc/{pid}/task").glob("*/children")
        for child in path.read_text().split()
    ]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
