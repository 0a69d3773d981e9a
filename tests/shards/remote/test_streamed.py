"""Training samples straight from a bucket: the same as from a folder, whatever the network does."""

import pickle
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np
import pytest

from manifests.schema import Record
from manifests.seal import Seal, Shard
from shards import cache as caches
from shards import origin
from shards.cache import CacheError
from shards.mixing import Mixing, SourceSpec
from shards.origin import RemoteError
from shards.reader import Dataset
from shards.ring import Ring
from shards.rows import DamageError
from shards.slot import Slot
from shards.stream import Batching, Stream
from tests.shards.remote.server import Fault, Proxy
from tests.shards.streams import SOURCES, arrays, equal, open_stream

PLENTY = 10**9  # bytes
ONCE = Mixing(exhausted="drop")
STEPS = 5


@pytest.fixture(scope="session")
def local(whole, encoder) -> list[dict[str, np.ndarray]]:
    """What each step of a pass holds, from the folder."""
    return [batch for _, batch in _batches(open_stream(whole, encoder, mixing=ONCE), range(99))]


def _batches(
    stream: Stream, steps: range, world: int = 1, **how
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Each step of all ranks together; each goes its own way, as in a process of its own."""
    queues = [Queue[Any](1) for _ in range(world)]

    def run(rank: int) -> None:
        try:
            with Ring(_again(stream), steps, rank=rank, world=world, **how) as ring:
                for step, slots in ring:
                    queues[rank].put((step, [_copy(slot) for slot in slots]))
            queues[rank].put(None)
        except Exception as error:  # noqa: BLE001 - raised below
            queues[rank].put(error)

    for rank in range(world):
        Thread(target=run, args=(rank,), daemon=True).start()
    while True:
        of_ranks = [queue.get() for queue in queues]
        for said in of_ranks:
            if isinstance(said, Exception):
                raise said
        if of_ranks[0] is None:
            return
        pools = zip(*(slots for _, slots in of_ranks), strict=True)
        yield of_ranks[0][0], arrays(slot for pool in pools for slot in pool)


def _copy(slot: Slot) -> Slot:
    copied = object.__new__(Slot)
    copied.memory, copied.fields, copied.first = slot.memory, slot.fields, slot.first
    for name, array in slot.arrays():
        setattr(copied, name, array.copy())
    return copied


def _again(stream: Stream) -> Stream:
    return pickle.loads(pickle.dumps(stream))


def _remote(folder: Path, encoder, limit: int = PLENTY, **given) -> Stream:
    dataset = Dataset("s3://data/whole", cache=folder, cache_bytes=limit)
    small = {"seed": 1, "max_tokens": 64, "cache_bytes": 150_000, "mixing": ONCE, **given}
    batching = Batching(global_=20, pool=10)
    return Stream(dataset, SOURCES, encoder, batching=batching, **small)


def _tars(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9a-f]*/*/*.tar"))


def _nbytes(folder: Path) -> int:
    """Of all tars; those that go meanwhile are not counted."""
    found = 0
    for path in _tars(folder):
        with suppress(FileNotFoundError):
            found += path.stat().st_size
    return found


@pytest.mark.parametrize("fill", ["threads", "processes"])
@pytest.mark.parametrize("world", [1, 2])
def test_a_stream_from_a_bucket_is_that_from_a_folder(
    proxy, encoder, local, tmp_path, fill, world
) -> None:
    stream = _remote(tmp_path, encoder)
    found = dict(_batches(stream, range(99), world, fill=fill, threads=2))
    assert len(found) == len(local) == STEPS
    assert all(equal(found[step], local[step]) for step in found)
    mirrored = Seal.read(stream.dataset.folder)
    trained = [s for s in mirrored.shards if s.split == "train" and s.records]
    assert {path.name for path in _tars(tmp_path)} >= {Path(s.tar).name for s in trained}
    for shard in trained:  # each was asked for once, by whatever process
        assert proxy.count(f"/data/whole/{shard.tar}") == 1


def test_a_second_run_fetches_the_seal_alone(proxy, encoder, local, tmp_path) -> None:
    for _ in _batches(_remote(tmp_path, encoder), range(99)):
        pass
    before = len(proxy.requests)
    found = dict(_batches(_remote(tmp_path, encoder), range(2, 99)))
    assert all(equal(found[step], local[step]) for step in (2, 3, 4))
    asked = [request for request in proxy.requests[before:] if "/tokens/" not in request]
    assert {request.rpartition("/")[2] for request in asked} == {"dataset.json"}


def test_dropped_connections_slow_bodies_and_errors_change_nothing(
    proxy: Proxy, encoder, local, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(origin, "STALL", 1.0)
    bad = [Fault("drop", 3000), Fault("busy"), Fault(rate=60_000), Fault("stall", 900), Fault()]
    proxy.faults = bad * 8
    found = dict(_batches(_remote(tmp_path, encoder), range(99), threads=2))
    assert all(equal(found[step], local[step]) for step in found) and len(found) == STEPS
    assert len(proxy.faults) <= 7 * len(bad), "each was met"


def test_token_caches_that_lie_in_the_bucket_are_fetched(
    proxy, put, whole, encoder, local, tmp_path
) -> None:
    made = shutil.copytree(whole, tmp_path / "made")
    open_stream(made, encoder)  # makes them
    put(made, "data/with-tokens")

    class Deaf(type(encoder)):
        def encode_turns(self, *_):
            raise AssertionError("they are there")

    dataset = Dataset("s3://data/with-tokens", cache=tmp_path / "cache", cache_bytes=PLENTY)
    batching = Batching(global_=20, pool=10)
    stream = Stream(
        dataset,
        SOURCES,
        Deaf(),
        seed=1,
        max_tokens=64,
        cache_bytes=150_000,
        mixing=ONCE,
        batching=batching,
    )
    assert _tars(tmp_path / "cache") == [], "no shard has to be read for them"
    found = dict(_batches(stream, range(99)))
    assert all(equal(found[step], local[step]) for step in found)


def test_damage_in_the_cache_is_removed_and_fetched_anew(proxy, encoder, local, tmp_path) -> None:
    for _ in _batches(_remote(tmp_path, encoder), range(99)):
        pass
    path = next(path for path in _tars(tmp_path) if "coco-train" in path.name)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamageError, match="damaged on this machine's disk; it is removed, and f"):
        for _ in _batches(_remote(tmp_path, encoder), range(99)):
            pass
    assert not path.exists()
    found = dict(_batches(_remote(tmp_path, encoder), range(99)))
    assert all(equal(found[step], local[step]) for step in found)


@pytest.fixture(scope="session")
def long(
    tmp_path_factory: pytest.TempPathFactory,
    make_record: Callable[..., Record],
    write_shard: Callable[..., Shard],
    seal_shards: Callable[..., Seal],
    put: Callable[[Path, str], None],
) -> Path:
    """A data set of 24 shards of coco, of about 12 kB each, in the bucket too."""
    out = tmp_path_factory.mktemp("long")
    shards = []
    for place in range(24):
        records = [make_record("coco", 6 * place + i) for i in range(6)]
        shards.append(write_shard(out, records, f"{place:05d}"))
    seal_shards(out, shards)
    put(out, "data/long")
    return out


def _long(folder: Path, encoder, limit: int, windows_for: int | None = None) -> Stream:
    dataset = Dataset("s3://data/long", cache=folder, cache_bytes=limit)
    return Stream(
        dataset,
        {"coco": SourceSpec(turns="rotate")},
        encoder,
        seed=1,
        max_tokens=64,
        batching=Batching(global_=4, pool=4),
        cache_bytes=windows_for or limit,
    )


@pytest.mark.parametrize("fill", ["threads", "processes"])
def test_the_disk_holds_two_windows_which_come_one_after_another(
    proxy, encoder, long, tmp_path, fill
) -> None:
    largest = max(shard.nbytes for shard in Seal.read(long).shards)
    limit = 8 * largest
    stream = _long(tmp_path, encoder, limit)
    assert stream.mixture.parts["coco"].window == 4
    begun = len(proxy.requests)  # those for the caches of tokens
    here = open_stream(
        long,
        encoder,
        sources={"coco": SourceSpec(turns="rotate")},
        total=4,
        pool=4,
        cache_bytes=limit,
    )
    steps = 2 * 24 * 6 // 4  # two passes
    most = 0
    pairs = zip(
        _batches(stream, range(steps), 2, fill=fill, threads=2, ahead=1),
        _batches(here, range(steps), 2),
        strict=True,
    )
    for (_, ours), (_, theirs) in pairs:
        assert equal(ours, theirs)
        most = max(most, _nbytes(tmp_path))
    assert 6 * largest < most <= limit
    asked = [r.rpartition("/")[2] for r in proxy.requests[begun:] if r.endswith(".tar")]
    order = stream._parts[0].order
    names = [Path(shard.tar).name for shard in Seal.read(long).shards]
    windows = [{names[shard] for shard in window} for window in islice(order.windows(0), 13)]
    now, strays = 0, []
    for name in asked:
        found = [w for w in range(max(0, now - 1), min(13, now + 2)) if name in windows[w]]
        if found:
            now = max(now, found[0])
        else:
            strays.append((name, [w for w in range(13) if name in windows[w]], now))
    # Windows so short may be over while one fetch waits for another of its shard, and repeats it.
    assert len(strays) <= 4, strays
    assert now >= 11  # the one after the last may be on its way


def test_a_window_is_fetched_while_the_one_before_it_is_read(
    proxy, encoder, long, tmp_path
) -> None:
    largest = max(shard.nbytes for shard in Seal.read(long).shards)
    stream = _long(tmp_path, encoder, 8 * largest)
    with Ring(stream, range(99), threads=1, ahead=0) as ring:
        next(iter(ring))
        deadline = time.monotonic() + 20
        while len(_tars(tmp_path)) < 8 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert len(_tars(tmp_path)) == 8, "the first step needs four at most"


def test_a_cache_that_shrank_below_what_is_read_says_so(
    proxy, encoder, long, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(caches, "PATIENCE", 0.5)
    largest = max(shard.nbytes for shard in Seal.read(long).shards)
    stream = _long(tmp_path, encoder, 2 * largest, windows_for=16 * largest)
    message = r"no room for a shard .* running processes use .* --set cache_gb=1"
    with pytest.raises(CacheError, match=message):
        for _ in _batches(stream, range(99), threads=1):
            pass


@pytest.mark.parametrize("fill", ["threads", "processes"])
def test_a_shard_that_is_gone_stops_the_run_and_is_named(
    proxy, put, whole, encoder, tmp_path, fill
) -> None:
    made = shutil.copytree(whole, tmp_path / "made")
    open_stream(made, encoder)  # makes the caches of tokens
    shard = Dataset(made).source("vqa", "train").shards[0]
    (made / shard.tar).unlink()
    put(made, f"data/gone-{fill}")
    dataset = Dataset(f"s3://data/gone-{fill}", cache=tmp_path / "cache", cache_bytes=PLENTY)
    batching = Batching(global_=20, pool=10)
    gone = Stream(dataset, SOURCES, encoder, seed=1, max_tokens=64, batching=batching)
    with pytest.raises(RemoteError, match=rf"{shard.tar}.*The seal lists it"):
        for _ in _batches(gone, range(99), fill=fill):
            pass
