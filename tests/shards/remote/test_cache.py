"""The cache of tars: never above its limit, and nothing goes that a living process uses."""

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from manifests.schema import Record
from manifests.seal import Seal, Shard
from shards import cache
from shards.cache import Cache, CacheError
from shards.remote import Mirror
from tests.shards.remote.holder import Holder

COUNT = 12  # shards of `many`, all of the same size


def _many(
    out: Path, seed: int, make_record: Callable, write_shard: Callable, seal_shards: Callable
) -> Path:
    noise = np.random.default_rng(seed)
    shards = [
        write_shard(out, [make_record("coco", 0, image=noise.bytes(40_000))], f"{number:05d}")
        for number in range(COUNT)
    ]
    seal_shards(out, shards)
    assert len({shard.nbytes for shard in shards}) == 1
    return out


@pytest.fixture(scope="module")
def many(
    tmp_path_factory: pytest.TempPathFactory,
    make_record: Callable[..., Record],
    write_shard: Callable[..., Shard],
    seal_shards: Callable[..., Seal],
) -> Path:
    """A sealed data set of COUNT shards of one size."""
    return _many(tmp_path_factory.mktemp("many"), 1, make_record, write_shard, seal_shards)


@pytest.fixture(scope="module")
def others(
    tmp_path_factory: pytest.TempPathFactory,
    make_record: Callable[..., Record],
    write_shard: Callable[..., Shard],
    seal_shards: Callable[..., Seal],
) -> Path:
    """Another one, of other shards of the same size."""
    return _many(tmp_path_factory.mktemp("others"), 2, make_record, write_shard, seal_shards)


def mirror_of(folder: Path, tmp_path: Path, count: float) -> tuple[Mirror, tuple[Shard, ...]]:
    """A mirror with room for `count` shards, and the shards."""
    shards = Seal.read(folder).shards
    return Mirror(f"file://{folder}", tmp_path, int(count * shards[0].nbytes)), shards


def here(folder: Path) -> list[int]:
    """The numbers of the shards that are in a mirrored folder."""
    return sorted(int(path.name.split("-")[2]) for path in folder.glob("*/*.tar"))


def taken(folder: Path) -> int:
    """Bytes of all tars and unfinished files, none counted twice if it gets its name meanwhile."""
    sizes: dict[int, int] = {}
    for pattern in ("unfinished/*", "[0-9a-f]*/*/*.tar"):
        for path in folder.glob(pattern):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file():
                sizes[found.st_ino] = found.st_size
    return sum(sizes.values())


def test_the_least_recently_used_go_first(many: Path, tmp_path: Path) -> None:
    mirror, shards = mirror_of(many, tmp_path, 3)
    for number in (0, 1, 2, 0, 3):
        os.close(mirror.hold(shards[number]))
    assert here(mirror.folder) == [0, 2, 3]
    os.close(mirror.hold(shards[1]))
    assert here(mirror.folder) == [0, 1, 3]


def test_what_is_held_stays(many: Path, tmp_path: Path) -> None:
    mirror, shards = mirror_of(many, tmp_path, 3.5)
    held = mirror.hold(shards[0])
    for shard in shards[1:]:
        os.close(mirror.hold(shard))
    assert here(mirror.folder) == [0, COUNT - 2, COUNT - 1]
    assert os.fstat(held).st_nlink == 1
    os.close(held)


def test_who_waits_for_room_gets_it_when_it_is_free(many: Path, tmp_path: Path) -> None:
    mirror, shards = mirror_of(many, tmp_path, 2)
    held = [mirror.hold(shard) for shard in shards[:2]]
    beats: list[None] = []

    def beat() -> None:
        beats.append(None)
        if len(beats) == 3:
            os.close(held[1])

    os.close(mirror.hold(shards[2], beat))
    assert here(mirror.folder) == [0, 2]
    os.close(held[0])


def test_a_cache_too_small_for_what_is_in_use_says_what_to_set(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "PATIENCE", 0.2)
    mirror, shards = mirror_of(many, tmp_path, 2.5)
    held = [mirror.hold(shard) for shard in shards[:2]]
    in_use = 2 * shards[0].nbytes
    with pytest.raises(CacheError, match=rf"use {in_use:,} of its .*--set cache_gb=1$"):
        mirror.hold(shards[2])
    assert here(mirror.folder) == [0, 1]
    for number in held:
        os.close(number)
    os.close(mirror.hold(shards[2]))


def test_a_shard_that_can_never_have_room_is_an_error_at_once(many: Path, tmp_path: Path) -> None:
    mirror, shards = mirror_of(many, tmp_path, 0.9)
    with pytest.raises(CacheError, match=rf"{shards[0].nbytes:,} bytes can never.*cache_gb=1"):
        mirror.hold(shards[0])


def test_data_sets_share_the_limit(many: Path, others: Path, tmp_path: Path) -> None:
    ours, our_shards = mirror_of(many, tmp_path, 3)
    theirs, their_shards = mirror_of(others, tmp_path, 3)
    for number in range(3):
        os.close(ours.hold(our_shards[number]))
    for number in range(2):
        os.close(theirs.hold(their_shards[number]))
    assert (here(ours.folder), here(theirs.folder)) == ([2], [0, 1])


def test_what_nobody_writes_to_any_more_is_removed(many: Path, tmp_path: Path) -> None:
    mirror, shards = mirror_of(many, tmp_path, 1.5)
    dead, written = (tmp_path / "unfinished" / f".tmp-{letter * 16}" for letter in "ab")
    dead.mkdir()
    (dead / "half").write_bytes(b"1" * 9)
    (dead.parent / f".tmp-{'c' * 16}").write_bytes(b"1" * shards[0].nbytes)
    written.write_bytes(b"1")
    with written.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.close(mirror.hold(shards[0]))
        assert [*dead.parent.iterdir()] == [written]
    os.close(mirror.hold(shards[1]))
    assert [*dead.parent.iterdir()] == []


def test_files_of_a_user_in_the_same_folder_are_left_alone(many: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "old" / "coco" / "coco-train-00000-01234567.tar"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"1" * 500_000)
    mirror, shards = mirror_of(many, tmp_path, 2)
    for shard in shards:
        os.close(mirror.hold(shard))
    assert theirs.exists()


def test_a_tar_that_was_cut_here_is_fetched_again(many: Path, tmp_path: Path) -> None:
    mirror, shards = mirror_of(many, tmp_path, 3)
    os.close(mirror.hold(shards[0]))
    os.truncate(mirror.folder / shards[0].tar, 700)
    number = mirror.hold(shards[0])
    assert os.read(number, 10**6) == (many / shards[0].tar).read_bytes()
    os.close(number)


def test_a_tar_that_is_removed_before_it_is_locked_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock = tmp_path / "one.tar", fcntl.flock
    path.write_bytes(b"data")

    def late(number: int, how: int) -> None:
        path.unlink()  # as another process does that looks for room
        flock(number, how)

    before = len([*Path("/proc/self/fd").iterdir()])
    monkeypatch.setattr(cache.fcntl, "flock", late)
    assert Cache(tmp_path, 10).open(path, 4) is None
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_a_cache_that_was_cleared_meanwhile_is_filled_again(many: Path, tmp_path: Path) -> None:
    mirror, shards = mirror_of(many, tmp_path / "cache", 3)
    os.close(mirror.hold(shards[0]))
    shutil.rmtree(tmp_path / "cache")
    os.close(mirror.hold(shards[0]))
    assert here(mirror.folder) == [0]


def test_processes_keep_the_limit_and_take_nothing_from_each_other(
    many: Path, tmp_path: Path
) -> None:
    nbytes = Seal.read(many).shards[0].nbytes
    limit = 7 * nbytes  # each of three holds one and fetches one
    most, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.is_set():
            most.append(taken(tmp_path))
            time.sleep(0.001)

    holders = [Holder(f"file://{many}", tmp_path, limit) for _ in range(3)]
    watcher = threading.Thread(target=watch)
    watcher.start()
    with ExitStack() as stack:
        stack.callback(watcher.join)
        stack.callback(ended.set)
        for holder, stride in zip(holders, (1, 5, 7), strict=True):
            stack.enter_context(holder)
            holder.tell("walk", *[step * stride % COUNT for step in range(8 * COUNT)])
        assert [holder.answer() for holder in holders] == ["held"] * 3
    assert limit - nbytes < max(most) <= limit
    assert not list(tmp_path.glob("unfinished/*"))


def test_what_a_killed_process_held_is_free(many: Path, tmp_path: Path) -> None:
    mirror, shards = mirror_of(many, tmp_path, 1)
    with Holder(f"file://{many}", tmp_path, shards[0].nbytes, {"patience": 0.1}) as holder:
        assert holder.ask("hold", 0) == "held"
        assert "no room" in holder.ask("hold", 1)
    os.close(mirror.hold(shards[1]))
    assert here(mirror.folder) == [1]
