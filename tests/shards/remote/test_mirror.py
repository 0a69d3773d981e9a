"""Data sets at a URL: what comes is what was sealed, however badly network and servers behave."""

import functools
import http.server
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from manifests.seal import Seal, SealError
from shards import origin
from shards.origin import TRIES, AbsentError, RemoteError
from shards.reader import Dataset
from shards.remote import Mirror
from shards.rows import DamageError
from tests.shards.remote.holder import Holder
from tests.shards.remote.server import Fault, Proxy, S3Server, as_user, hang_up

PLENTY = 10**9  # bytes
BIG = 700_000  # bytes of a shard of `big`, about, as in conftest.py


def manifests(mirror: Mirror) -> list[tuple[str, int, str]]:
    shards = Seal.read(mirror.folder).shards
    return [(one.manifest, one.manifest_nbytes, one.manifest_sha256) for one in shards]


def content(number: int) -> bytes:
    """All bytes of an open file, which is closed."""
    with os.fdopen(number, "rb") as file:
        return file.read()


def fetch_all(mirror: Mirror) -> None:
    mirror.fetch(manifests(mirror))
    for shard in Seal.read(mirror.folder).shards:
        os.close(mirror.hold(shard))


def kept(cache: Path) -> list[str]:
    """The tars that are in a cache, and whatever was begun and not ended."""
    found = [*cache.glob("*/*/*.tar"), *cache.glob("unfinished/*")]
    return sorted(path.name for path in found)


def is_same(mirrored: Path, sealed: Path) -> bool:
    shards = Seal.read(sealed).shards
    names = ["dataset.json", *(name for one in shards for name in (one.tar, one.manifest))]
    return all((mirrored / name).read_bytes() == (sealed / name).read_bytes() for name in names)


def test_over_s3_all_files_are_those_that_were_sealed(
    proxy: Proxy, whole: Path, tmp_path: Path
) -> None:
    mirror = Mirror("s3://data/whole/", tmp_path, PLENTY)
    told: list[int] = []
    mirror.fetch(manifests(mirror), told.append)
    assert told == [nbytes for _, nbytes, _ in manifests(mirror)]
    fetch_all(mirror)
    assert mirror.folder == tmp_path / Seal.read(whole).root[:16]
    assert is_same(mirror.folder, whole)
    assert not list(tmp_path.glob("unfinished/*"))
    ours, theirs = (list(Dataset(at).records("vqa", "train")) for at in (mirror.folder, whole))
    assert ours == theirs


def test_what_is_here_is_asked_for_once(proxy: Proxy, tmp_path: Path) -> None:
    fetch_all(Mirror("s3://data/whole", tmp_path, PLENTY))
    proxy.requests.clear()
    fetch_all(Mirror("s3://data/whole", tmp_path, PLENTY))
    assert {request.split()[1] for request in proxy.requests} == {"/data/whole/dataset.json"}


def test_a_dropped_connection_costs_one_range(
    proxy: Proxy, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "SMALLEST", 64 * 1024)
    mirror = Mirror("s3://data/big", tmp_path, PLENTY)
    hang_up()
    proxy.faults += [Fault("drop", after=300_000)] * 5
    beats: list[int] = []
    proxy.sent = 0
    shard = Seal.read(big).shards[0]
    data = content(mirror.hold(shard, lambda: beats.append(1)))
    assert data == (big / shard.tar).read_bytes()
    assert len(beats) > 6
    assert proxy.sent < 3 * len(data)


def test_what_stalls_is_asked_for_again(
    proxy: Proxy, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "STALL", 0.3)
    proxy.faults += [Fault("stall", after=0), Fault("stall", after=200)]
    mirror = Mirror("s3://data/big", tmp_path, PLENTY)
    hang_up()
    proxy.faults += [Fault("stall", after=20_000)]
    shard = Seal.read(big).shards[1]
    assert content(mirror.hold(shard)) == (big / shard.tar).read_bytes()


def test_a_slow_body_comes_in_smaller_ranges_and_each_is_told(
    proxy: Proxy, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "DEADLINE", 0.5)
    monkeypatch.setattr(origin, "_FAST", 0.1)
    monkeypatch.setattr(origin, "_SLOW", 0.3)
    monkeypatch.setattr(origin, "SMALLEST", 16 * 1024)
    proxy.always = Fault(rate=400_000)
    mirror = Mirror("s3://data/big", tmp_path, PLENTY)
    shard, beats = Seal.read(big).shards[2], [time.monotonic()]
    number = mirror.hold(shard, lambda: beats.append(time.monotonic()))
    assert content(number) == (big / shard.tar).read_bytes()
    assert max(np.diff(beats)) < 3
    assert len(beats) > 5


def test_a_busy_server_is_asked_again(proxy: Proxy, tmp_path: Path, whole: Path) -> None:
    proxy.faults += [Fault("busy")] * 3
    mirror = Mirror("s3://data/whole", tmp_path, PLENTY)
    fetch_all(mirror)
    assert is_same(mirror.folder, whole)


def test_a_server_that_stays_busy_is_named(proxy: Proxy, tmp_path: Path) -> None:
    proxy.always = Fault("busy")
    wanted = rf"s3://data/whole/dataset.json could not be fetched in {TRIES} tries.*request rate"
    with pytest.raises(RemoteError, match=wanted) as raised:
        Mirror("s3://data/whole", tmp_path, PLENTY)
    assert "aws s3 ls s3://data/whole/dataset.json" in str(raised.value)
    assert len(proxy.requests) == TRIES


def test_a_server_that_is_not_there_is_named(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match=f"{TRIES} tries.*127.0.0.1:9"):
        Mirror("s3://data/whole", tmp_path, PLENTY)


def test_an_answer_cut_short_is_none(proxy: Proxy, big: Path, tmp_path: Path) -> None:
    mirror = Mirror("s3://data/big", tmp_path, PLENTY)
    hang_up()
    proxy.faults += [Fault("cut")]
    shard = Seal.read(big).shards[0]
    assert content(mirror.hold(shard)) == (big / shard.tar).read_bytes()
    assert proxy.count(shard.tar) == 3  # the second time in two ranges


def test_bytes_that_came_wrong_once_are_fetched_again(
    proxy: Proxy, big: Path, tmp_path: Path
) -> None:
    mirror = Mirror("s3://data/big", tmp_path, PLENTY)
    hang_up()
    proxy.faults += [Fault("flip", after=100_000)]
    shard = Seal.read(big).shards[0]
    assert content(mirror.hold(shard)) == (big / shard.tar).read_bytes()
    assert proxy.count(shard.tar) == 2


def test_bytes_that_are_wrong_there_are_named(
    proxy: Proxy, copy: Path, put: Callable[[Path, str], None], tmp_path: Path
) -> None:
    shard = Seal.read(copy).select("coco", "train")[1]
    for name in (shard.tar, shard.manifest):
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 4
        (copy / name).write_bytes(data)
    put(copy, "data/wrong")
    mirror = Mirror("s3://data/wrong", tmp_path / "cache", PLENTY)
    with pytest.raises(DamageError, match=rf"s3://data/wrong/{shard.tar} .*{shard.sha256}"):
        mirror.hold(shard)
    with pytest.raises(DamageError, match=rf"s3://data/wrong/{shard.manifest} "):
        mirror.fetch(manifests(mirror))
    assert proxy.count(shard.tar) == 2
    assert not (mirror.folder / shard.manifest).exists()
    assert kept(tmp_path / "cache") == []


def test_a_tar_cut_short_there_is_never_taken(
    proxy: Proxy, copy: Path, put: Callable[[Path, str], None], tmp_path: Path
) -> None:
    shard = Seal.read(copy).select("coco", "train")[1]
    os.truncate(copy / shard.tar, shard.nbytes - 512)
    put(copy, "data/cut")
    mirror = Mirror("s3://data/cut", tmp_path / "cache", PLENTY)
    with pytest.raises(
        RemoteError, match=rf"{shard.nbytes - 512:,} bytes came of {shard.nbytes:,}"
    ):
        mirror.hold(shard)
    assert kept(tmp_path / "cache") == []


def test_a_seal_that_is_damaged_there_is_refused(
    proxy: Proxy, copy: Path, put: Callable[[Path, str], None], tmp_path: Path
) -> None:
    (copy / "dataset.json").write_bytes((copy / "dataset.json").read_bytes()[:-200])
    put(copy, "data/torn")
    with pytest.raises(SealError, match="s3://data/torn/dataset.json cannot be read"):
        Mirror("s3://data/torn", tmp_path / "cache", PLENTY)


@pytest.mark.parametrize("address", ["s3://data/nothing", "s3://nobucket/whole"])
def test_an_address_without_a_data_set_says_so(proxy: Proxy, tmp_path: Path, address: str) -> None:
    with pytest.raises(
        AbsentError, match=rf"{address} is no data set that we can see: .*not there"
    ):
        Mirror(address, tmp_path, PLENTY)
    assert len(proxy.requests) == 1  # another try would not help


def test_a_shard_that_went_since_it_was_sealed_says_so(
    proxy: Proxy, copy: Path, put: Callable[[Path, str], None], tmp_path: Path
) -> None:
    shard = Seal.read(copy).shards[0]
    (copy / shard.tar).unlink()
    put(copy, "data/gone")
    mirror = Mirror("s3://data/gone", tmp_path / "cache", PLENTY)
    with pytest.raises(AbsentError, match=rf"{shard.tar} is not there.*the same command again"):
        mirror.hold(shard)
    assert kept(tmp_path / "cache") == []


@pytest.mark.parametrize("who", ["stranger", "impostor", "nobody"])
def test_who_may_not_read_is_told_what_to_check(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    if who == "stranger":
        as_user(monkeypatch, who)
    elif who == "impostor":
        as_user(monkeypatch, "reader", "a guess")
    else:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AbsentError, match="may not be read.*AWS_PROFILE.*AWS_ENDPOINT_URL"):
        Mirror("s3://data/whole", tmp_path, PLENTY)
    assert len(proxy.requests) <= 1


def test_a_mirror_that_is_pickled_keeps_its_seal(
    proxy: Proxy, copy: Path, put: Callable[[Path, str], None], tmp_path: Path
) -> None:
    put(copy, "data/moving")
    mirror = pickle.dumps(Mirror("s3://data/moving", tmp_path / "cache", PLENTY))
    (copy / "dataset.json").write_text("another")
    put(copy / "dataset.json", "data/moving/dataset.json")
    proxy.requests.clear()
    fetch_all(pickle.loads(mirror))
    assert "GET /data/moving/dataset.json" not in proxy.requests


def test_several_processes_that_want_one_shard_fetch_it_once(
    proxy: Proxy, big: Path, tmp_path: Path
) -> None:
    shard = Seal.read(big).shards[3]
    proxy.always = Fault(rate=1_000_000)  # time for all to ask
    holders = [Holder("s3://data/big", tmp_path, PLENTY) for _ in range(3)]
    with ExitStack() as stack:
        for holder in holders:
            stack.enter_context(holder)
        for holder in holders:
            holder.tell("hold", 3)
        assert [holder.answer() for holder in holders] == ["held"] * 3
    assert proxy.count(shard.tar) == 1


def test_a_killed_download_leaves_nothing_and_the_next_goes_on(
    proxy: Proxy, big: Path, tmp_path: Path
) -> None:
    shard = Seal.read(big).shards[0]
    mirror = Mirror("s3://data/big", tmp_path, shard.nbytes)  # no room for a second
    proxy.always = Fault(rate=200_000)
    with Holder("s3://data/big", tmp_path, shard.nbytes) as holder:
        holder.tell("hold", 0)
        waited = threading.Event()
        proxy.always = Fault()
        number: list[int] = []
        next_one = threading.Thread(
            target=lambda: number.append(mirror.hold(shard, waited.set)), daemon=True
        )
        wait_until(lambda: bool(list(tmp_path.glob("unfinished/*"))))
        next_one.start()
        assert waited.wait(30)
    next_one.join(30)  # the holder was killed
    assert content(number[0]) == (big / shard.tar).read_bytes()
    assert kept(tmp_path) == [Path(shard.tar).name]


def wait_until(what: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_derived_folders_come_whole_or_not_at_all(
    proxy: Proxy, copy: Path, put: Callable[[Path, str], None], tmp_path: Path
) -> None:
    folder, names = "tokens/0123456789ab/coco-train-0123456789ab", ("ids.bin", "empty.bin", "xxh3")
    for place, data in zip(names, (b"1" * 99_999, b"", b"digest"), strict=True):
        (copy / folder).mkdir(parents=True, exist_ok=True)
        (copy / folder / place).write_bytes(data)
    put(copy, "data/tokens")
    mirror = Mirror("s3://data/tokens", tmp_path / "cache", PLENTY)
    assert not mirror.fetch_optional("tokens/elsewhere", names)
    assert not mirror.fetch_optional(folder, (*names, "more.bin"))
    assert not (mirror.folder / "tokens").exists()
    assert mirror.fetch_optional(folder, names)
    got = {path.name: path.read_bytes() for path in (mirror.folder / folder).iterdir()}
    assert got == {path.name: path.read_bytes() for path in (copy / folder).iterdir()}
    proxy.requests.clear()
    assert mirror.fetch_optional(folder, names)
    assert proxy.requests == []


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, whole files only."""

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def web(whole: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(whole))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_web_server_that_knows_no_ranges_will_do(web: str, whole: Path, tmp_path: Path) -> None:
    mirror = Mirror(web, tmp_path, PLENTY)
    fetch_all(mirror)
    assert is_same(mirror.folder, whole)
    with pytest.raises(AbsentError, match="http://127.0.0.1:[0-9]+/none is no data set.*curl -I"):
        Mirror(f"{web}/none", tmp_path, PLENTY)


def test_a_web_server_that_knows_ranges_will_do(
    s3: S3Server, sealed: None, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "SMALLEST", 64 * 1024)
    monkeypatch.setattr(origin, "LARGEST", 100_000)
    mirror = Mirror(f"http://127.0.0.1:{s3.filer}/buckets/data/big", tmp_path, PLENTY)
    mirror._origin._range = 100_000
    fetch_all(mirror)
    assert is_same(mirror.folder, big)


def test_a_web_server_that_refuses_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(_Quiet):
        def do_GET(self) -> None:
            self.send_error(403)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        port = server.server_address[1]
        with pytest.raises(AbsentError, match="may not be read") as raised:
            Mirror(f"http://me:secret@127.0.0.1:{port}/set", tmp_path, PLENTY)
        assert "me:secret" not in str(raised.value)
        server.shutdown()


def test_files_and_memory_will_do(whole: Path, tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(f"{whole}/", "/sets/whole/", recursive=True)
    for url in (f"file://{whole}", "memory://sets/whole"):
        cache = tmp_path / url.partition(":")[0]
        mirror = Mirror(url, cache, PLENTY)
        fetch_all(mirror)
        assert is_same(mirror.folder, whole)


def test_packages_that_are_missing_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("fsspec.core", "fsspec"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RemoteError, match=r"pip install 'embervlm\[remote\]'"):
        Mirror("s3://data/whole", tmp_path, PLENTY)


def test_addresses_that_none_knows_are_named(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="teleport://data is no URL that can be read.*teleport"):
        Mirror("teleport://data", tmp_path, PLENTY)
