"""One file from a server that breaks off, lies, stalls and changes its mind."""

import base64
import hashlib
import json
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.download.fetch import Fetched, FetchError, Source, fetch
from pipelines.download.web import Policy
from tests.pipelines.server import Server, chunked, file, redirect, status

DATA = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()
MD5 = hashlib.md5(DATA).hexdigest()
OTHER = DATA[::-1]


class Desk:
    """A server, a folder, and how long was waited between attempts."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.path = server, folder / "a.zip"
        self.part, self.note = folder / "a.zip.part", folder / "a.zip.part.json"
        self.waits: list[float] = []
        self.told: list[int] = []
        self.policy = Policy(
            hosts=("127.0.0.1",),
            schemes=("http",),
            attempts=3,
            timeout=5.0,
            backoff=1.0,
            sleep=self.waits.append,
        )

    def fetch(self, url: str, **known: int | str | None) -> Fetched:
        source = Source(url=url, **known)  # type: ignore[arg-type]
        return fetch(source, self.path, self.policy, lambda done, total: self.told.append(done))

    def left(self) -> list[str]:
        return sorted(path.name for path in self.path.parent.iterdir())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Server() as server:
        yield Desk(server, tmp_path)


def test_a_file_comes_whole_and_nothing_else_stays(desk):
    url = desk.server.serve("/a.zip", file(DATA))
    found = desk.fetch(url, nbytes=256_000, sha256=SHA256)
    assert found == Fetched(nbytes=256_000, sha256=SHA256, checked="sha256")
    assert desk.path.read_bytes() == DATA
    assert desk.left() == ["a.zip"]
    assert (desk.told[0], desk.told[-1]) == (0, 256_000)
    assert desk.server.headers("Accept-Encoding") == ["identity"]
    assert desk.server.headers("Range") == [None]
    assert desk.waits == []


def test_a_dropped_connection_is_resumed_where_it_broke(desk):
    url = desk.server.serve("/a.zip", file(DATA, drop=100_000), file(DATA))
    desk.fetch(url, sha256=SHA256)
    assert desk.path.read_bytes() == DATA
    assert desk.server.headers("Range") == [None, "bytes=100000-"]
    assert desk.server.headers("If-Range") == [None, '"1"']
    assert len(desk.waits) == 1 and 0.5 <= desk.waits[0] <= 1.5


def test_another_run_goes_on_from_the_part(desk):
    url = desk.server.serve("/a.zip", file(DATA, drop=100_000))

    def interrupt(done: int, total: int | None) -> None:
        if done >= 50_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(Source(url=url), desk.path, desk.policy, interrupt)
    assert desk.left() == ["a.zip.part", "a.zip.part.json"]
    there = desk.part.stat().st_size
    assert 50_000 <= there <= 100_000
    desk.server.serve("/a.zip", file(DATA))
    desk.fetch(url, sha256=SHA256)
    assert desk.path.read_bytes() == DATA
    assert desk.server.headers("Range") == [None, f"bytes={there}-"]


def test_a_part_that_is_whole_is_checked_and_named_without_asking(desk):
    desk.part.write_bytes(DATA)
    url = desk.server.serve("/a.zip", status(500))
    said = {"url": url, "etag": '"1"', "modified": None, "nbytes": 256_000}
    desk.note.write_text(json.dumps({**said, "md5": None, "sha256": None}))
    assert desk.fetch(url, sha256=SHA256).nbytes == 256_000
    assert desk.server.asked == []
    assert desk.left() == ["a.zip"]


def test_a_server_that_ignores_range_makes_it_start_over(desk):
    url = desk.server.serve("/a.zip", file(DATA, drop=100_000), file(DATA, ranges=False))
    desk.fetch(url, sha256=SHA256)
    assert desk.path.read_bytes() == DATA
    assert desk.server.headers("Range") == [None, "bytes=100000-"]


@pytest.mark.parametrize("if_range", [True, False])
def test_a_file_that_changed_in_between_is_never_spliced(desk, if_range):
    desk.server.serve(
        "/a.zip", file(OTHER, drop=100_000), file(DATA, etag='"2"', if_range=if_range)
    )
    desk.fetch(desk.server.url("/a.zip"))
    assert desk.path.read_bytes() == DATA
    # Without If-Range the server sends the rest of the other file, which is thrown away.
    assert len(desk.server.asked) == (2 if if_range else 3)


def test_without_etag_or_date_nothing_is_resumed(desk):
    url = desk.server.serve("/a.zip", file(DATA, etag=None, drop=9), file(DATA, etag=None))
    desk.fetch(url, sha256=SHA256)
    assert desk.server.headers("Range") == [None, None]
    assert desk.path.read_bytes() == DATA


def test_a_weak_etag_gives_way_to_the_date(desk):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    dated = {"Last-Modified": date}
    first = file(DATA, etag='W/"1"', headers=dated, drop=9)
    rest = file(DATA, etag='W/"1"', headers=dated, if_range=False)
    url = desk.server.serve("/a.zip", first, rest)
    desk.fetch(url, sha256=SHA256)
    assert desk.server.headers("If-Range") == [None, date]
    assert desk.server.headers("Range") == [None, "bytes=9-"]


def test_a_body_shorter_than_said_fails_after_the_attempts_and_keeps_the_part(desk):
    url = desk.server.serve("/a.zip", file(DATA, length=300_000, ranges=False))
    with pytest.raises(FetchError, match="tried 3 times, 256,000 bytes are kept; run the same"):
        desk.fetch(url)
    assert desk.left() == ["a.zip.part", "a.zip.part.json"]


def test_a_length_that_is_too_short_for_the_file_is_refused(desk):
    url = desk.server.serve("/a.zip", file(DATA, length=1000))
    with pytest.raises(FetchError, match="is 1,000 bytes, expected 256,000, twice"):
        desk.fetch(url, nbytes=256_000)
    assert desk.left() == []
    assert len(desk.server.asked) == 2


def test_a_file_of_another_size_is_refused_before_it_is_read(desk):
    url = desk.server.serve("/a.zip", file(DATA))
    with pytest.raises(FetchError, match="is 256,000 bytes, expected 255,999, twice"):
        desk.fetch(url, nbytes=255_999)
    assert desk.told == [0, 0]


def test_a_file_of_untold_length_and_another_size_is_refused(desk):
    url = desk.server.serve("/a.zip", chunked(DATA[:500]))
    with pytest.raises(FetchError, match="is 500 bytes, expected 256,000, twice"):
        desk.fetch(url, nbytes=256_000)
    assert desk.left() == []


def test_a_file_of_untold_length_is_taken_only_when_its_end_is_said(desk):
    url = desk.server.serve("/a.zip", chunked(DATA[:500], ended=False), chunked(DATA))
    assert desk.fetch(url, nbytes=256_000).checked == "size"
    assert desk.path.read_bytes() == DATA


def test_a_stall_is_given_up_and_resumed(desk):
    desk.policy = Policy(("127.0.0.1",), ("http",), timeout=0.2, backoff=0, sleep=desk.waits.append)
    desk.server.serve("/a.zip", desk.server.stalled(DATA, 5000, '"1"'), file(DATA))
    desk.fetch(desk.server.url("/a.zip"), sha256=SHA256)
    assert desk.server.headers("Range") == [None, "bytes=5000-"]


def test_wrong_bytes_are_fetched_once_more_and_then_refused(desk):
    url = desk.server.serve("/a.zip", file(OTHER))
    wrong = hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(FetchError) as caught:
        desk.fetch(url, sha256=SHA256)
    assert str(caught.value) == (
        f"{url} has sha256 {wrong}, expected {SHA256}, twice; nothing of it was kept"
    )
    assert len(desk.server.asked) == 2
    assert desk.left() == []


def test_wrong_bytes_once_are_mended(desk):
    url = desk.server.serve("/a.zip", file(OTHER), file(DATA))
    assert desk.fetch(url, md5=MD5).checked == "md5"
    assert desk.path.read_bytes() == DATA


@pytest.mark.parametrize("header", ["Content-MD5", "x-goog-hash"])
def test_the_server_s_own_md5_is_checked(desk, header):
    value = base64.b64encode(hashlib.md5(DATA).digest()).decode()
    value = value if header == "Content-MD5" else f"crc32c=AAAAAA==, md5={value}"
    wrong, right = (file(data, headers={header: value}) for data in (OTHER, DATA))
    url = desk.server.serve("/a.zip", wrong, right)
    assert desk.fetch(url).checked == "md5"
    assert desk.path.read_bytes() == DATA


def test_the_digest_that_hugging_face_says_where_it_redirects_is_checked(desk):
    linked = {"X-Linked-ETag": f'"{SHA256}"', "X-Linked-Size": "256000"}
    url = desk.server.serve("/a.zip", redirect("/cdn", linked))
    desk.server.serve("/cdn", file(OTHER), file(DATA))
    assert desk.fetch(url).checked == "sha256"
    assert desk.path.read_bytes() == DATA
    assert desk.server.paths() == ["/a.zip", "/cdn"] * 2


def test_a_body_shorter_than_the_linked_size_goes_on(desk):
    linked = {"X-Linked-ETag": f'"{SHA256}"', "X-Linked-Size": "256000"}
    url = desk.server.serve("/a.zip", redirect("/cdn", linked))
    desk.server.serve("/cdn", file(DATA, length=1000), file(DATA))
    desk.fetch(url)
    assert desk.server.headers("Range") == [None, None, "bytes=1000-", "bytes=1000-"]
    assert desk.path.read_bytes() == DATA


def test_503_is_tried_again_and_later_each_time(desk):
    url = desk.server.serve("/a.zip", status(503), status(503), file(DATA))
    desk.fetch(url)
    first, second = desk.waits
    assert 0.5 <= first <= 1.5
    assert 1.0 <= second <= 3.0


def test_429_waits_as_long_as_it_is_asked_to_but_not_for_ever(desk):
    busy = [status(429, {"Retry-After": seconds}) for seconds in ("7", "86400")]
    desk.fetch(desk.server.serve("/a.zip", *busy, file(DATA)))
    assert desk.waits == [7.0, 120.0]


def test_failures_in_a_row_are_bounded_but_a_file_that_moves_on_is_not_given_up(desk):
    drops = [file(DATA, drop=50_000) for _ in range(5)]
    url = desk.server.serve("/a.zip", *drops, file(DATA))
    desk.fetch(url, sha256=SHA256)
    assert len(desk.server.asked) == 6
    desk.path.unlink()
    desk.server.serve("/a.zip", status(502))
    with pytest.raises(FetchError, match="answered 502 Bad Gateway; tried 3 times, 0 bytes"):
        desk.fetch(url)


@pytest.mark.parametrize(
    ("code", "message"), [(404, "answered 404 Not Found"), (403, "it may want an account")]
)
def test_what_will_not_pass_is_not_tried_again(desk, code, message):
    url = desk.server.serve("/a.zip", status(code))
    with pytest.raises(FetchError, match=message):
        desk.fetch(url)
    assert len(desk.server.asked) == 1
    assert desk.waits == []


def test_bytes_that_are_packed_on_the_way_are_refused(desk):
    url = desk.server.serve("/a.zip", file(DATA, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(FetchError, match="is sent with Content-Encoding gzip"):
        desk.fetch(url)


def test_a_file_that_the_disk_has_no_room_for_is_not_begun(desk, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 9 * 10**5, 10**5))
    url = desk.server.serve("/a.zip", file(DATA))
    with pytest.raises(FetchError, match="needs 256,000 bytes more and 100,000 are free"):
        desk.fetch(url)
    assert not desk.path.exists()


def test_a_host_that_is_not_there_is_an_error_with_its_reason(desk):
    url = f"http://127.0.0.1:{desk.server.port}/a.zip"
    desk.server.__exit__()
    with pytest.raises(FetchError, match="ConnectError.*tried 3 times"):
        desk.fetch(url)
