"""Images by address: what comes, what does not, and the shards that say so."""

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.download import addresses, crawl
from pipelines.download.addresses import AddressList, ListError
from pipelines.download.crawl import Crawler, CrawlError
from pipelines.download.web import Policy
from shards import tar
from tests.pipelines.server import Server, file, redirect, status


def picture(width: int, kind: str = "JPEG") -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (width, 20), "teal").save(sink, kind)
    return sink.getvalue()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def local(**changes: object) -> Policy:
    fields = {"hosts": ("127.0.0.1",), "schemes": ("http",), "attempts": 2, "timeout": 5.0}
    return Policy(**{**fields, "backoff": 0.0, **changes})  # type: ignore[arg-type]


def run(
    rows: Path, to: Path, policy: Policy, images: AddressList | None = None
) -> list[crawl.Counts]:
    found = addresses.chunks(rows, to, images or AddressList(to=to.name), 0)
    with Crawler(policy, threads=4) as crawler:
        return [crawler.shard(chunk, lambda done: None) for chunk in found]


def contents(path: Path) -> dict[str, bytes]:
    data = path.read_bytes()
    return {m.name: data[m.content : m.content + m.size] for m in tar.members(data)}


def test_what_came_is_in_the_tar_and_every_row_is_in_the_table(server, tmp_path):
    red, png = picture(30), picture(40, "PNG")
    server.serve("/red.jpg", file(red))
    server.serve("/png.jpg", redirect("/else.png"))
    server.serve("/else.png", file(png))
    server.serve("/page.jpg", file(b"<!DOCTYPE html><html>"))
    server.serve("/flaky.jpg", status(503), file(red))
    server.serve("/down.jpg", status(503))
    lines = [
        f"a red  boat\t{server.url('/red.jpg')}",
        f"gone\t{server.url('/gone.jpg')}",
        f"it 's a page\t{server.url('/page.jpg')}",
        f"drawn\t{server.url('/png.jpg')}",
        f"flaky\t{server.url('/flaky.jpg')}",
        f"down\t{server.url('/down.jpg')}",
        "a caption without address",
        "elsewhere\thttp://localhost:1/x.jpg",
    ]
    rows = tmp_path / "Train_GCC-training.tsv"
    rows.write_text("\n".join(lines) + "\n")
    to = tmp_path / "train"
    assert run(rows, to, local()) == [crawl.Counts(rows=8, images=3)]
    assert sorted(p.name for p in to.iterdir()) == [
        "00000.parquet",
        "00000.tar",
        "00000_stats.json",
    ]
    inside = contents(to / "00000.tar")
    assert {name: inside[name] for name in inside if name.endswith((".jpg", ".txt"))} == {
        "000000000.jpg": red,
        "000000000.txt": b"a red  boat",
        "000000003.jpg": png,
        "000000003.txt": b"drawn",
        "000000004.jpg": red,
        "000000004.txt": b"flaky",
    }
    table = pq.read_table(to / "00000.parquet")
    names = ["url", "caption", "key", "status", "error_message", "width", "height", "sha256"]
    assert table.column_names == names
    by_key = {row["key"]: row for row in table.to_pylist()}
    assert list(by_key) == [f"00000000{n}" for n in range(8)]
    assert by_key["000000000"] == {
        "url": server.url("/red.jpg"),
        "caption": "a red  boat",
        "key": "000000000",
        "status": "success",
        "error_message": None,
        "width": 30,
        "height": 20,
        "sha256": hashlib.sha256(red).hexdigest(),
    }
    assert json.loads(inside["000000003.json"]) == by_key["000000003"]
    failed = {key: row["error_message"] for key, row in by_key.items() if row["error_message"]}
    assert failed == {
        "000000001": "answered 404 Not Found",
        "000000002": "not an image: it begins with b'<!DOCTYPE html><'",
        "000000005": "answered 503 Service Unavailable",
        "000000006": "the row has no address",
        "000000007": "is not asked: the host localhost is not among those allowed",
    }
    assert {by_key[key]["status"] for key in failed} == {"failed_to_download"}
    stats = json.loads((to / "00000_stats.json").read_text())
    said = {name: stats[name] for name in ("count", "successes", "failed_to_download")}
    assert said == {"count": 8, "successes": 3, "failed_to_download": 5}
    assert stats["status_dict"]["success"] == 3
    assert server.paths().count("/down.jpg") == 2, "one retry"
    assert server.paths().count("/gone.jpg") == 1, "and none for what will not pass"


def test_parquet_lists_keep_their_columns_and_shards_go_on_across_row_groups(
    server, tmp_path, monkeypatch
):
    monkeypatch.setattr(addresses, "ROWS", 4)
    for number in range(10):
        server.serve(f"/{number}.jpg", file(picture(number + 1)))
    table = pa.table(
        {
            "URL": [server.url(f"/{number}.jpg") for number in range(10)],
            "TEXT": [f"alt {number}" for number in range(10)],
            "top_caption": [f"caption {number}" for number in range(9)] + [None],
            "all_captions": [[f"a {number}", f"b {number}"] for number in range(10)],
            "hash": list(range(10)),
        }
    )
    rows = tmp_path / "laion.parquet"
    pq.write_table(table, rows, row_group_size=3)
    keep = ("TEXT", "all_captions")
    images = AddressList(to="train", address="URL", caption="top_caption", keep=keep)
    to = tmp_path / "train"
    counts = run(rows, to, local(), images)
    assert [count.images for count in counts] == [4, 4, 2]
    shards = [pq.read_table(to / f"0000{shard}.parquet").to_pylist() for shard in range(3)]
    assert [row["key"] for shard in shards for row in shard] == [
        *("000000000", "000000001", "000000002", "000000003"),
        *("000010000", "000010001", "000010002", "000010003"),
        *("000020000", "000020001"),
    ]
    assert [row["width"] for shard in shards for row in shard] == list(range(1, 11))
    assert shards[1][0]["TEXT"] == "alt 4"
    assert shards[1][0]["all_captions"] == ["a 4", "b 4"]
    assert shards[2][1]["caption"] == ""
    assert json.loads(contents(to / "00002.tar")["000020001.json"])["all_captions"] == [
        "a 9",
        "b 9",
    ]


def test_a_tsv_is_cut_by_lines_wherever_their_bytes_lie(tmp_path, monkeypatch):
    monkeypatch.setattr(addresses, "ROWS", 2)
    rows = tmp_path / "a.tsv"
    rows.write_bytes("é\u2028 one\tu1\ntwo\tu2\r\n\xff\tu3".encode("latin-1", "replace"))
    first, second = addresses.chunks(rows, tmp_path, AddressList(to="x"), 5)
    assert (first.shard, first.count, second.shard, second.count) == (5, 2, 6, 1)
    assert [row["url"] for row in addresses.read(first)] == ["u1", "u2"]
    assert list(addresses.read(second)) == [{"url": "u3", "caption": "\ufffd"}]


def test_a_shard_with_stats_is_not_asked_for_again_and_one_without_is_made_anew(server, tmp_path):
    url = server.serve("/a.jpg", file(picture(9)))
    rows, to = tmp_path / "a.tsv", tmp_path / "train"
    rows.write_text(f"a\t{url}\n")
    to.mkdir()
    (to / "00000.tar").write_bytes(b"half a t")
    assert run(rows, to, local())[0].images == 1
    whole = (to / "00000.tar").read_bytes()
    assert run(rows, to, local()) == [crawl.Counts(rows=1, images=1)]
    assert server.paths() == ["/a.jpg"]
    assert "000000000.jpg" in contents(to / "00000.tar")
    (to / "00000_stats.json").unlink()
    run(rows, to, local())
    assert server.paths() == ["/a.jpg", "/a.jpg"]
    assert (to / "00000.tar").read_bytes() == whole


def test_an_interrupted_shard_leaves_nothing(server, tmp_path):
    url = server.serve("/a.jpg", file(picture(9)))
    rows, to = tmp_path / "a.tsv", tmp_path / "train"
    rows.write_text(f"a\t{url}\n" * 5)

    def interrupt(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    (chunk,) = addresses.chunks(rows, to, AddressList(to="x"), 0)
    with Crawler(local(), threads=2) as crawler, pytest.raises(KeyboardInterrupt):
        crawler.shard(chunk, interrupt)
    assert list(to.iterdir()) == []


def test_an_image_that_is_too_large_or_too_slow_is_a_failed_row(server, tmp_path, monkeypatch):
    rows, to = tmp_path / "a.tsv", tmp_path / "train"
    urls = [server.serve("/big", file(picture(500))), server.serve("/ok", file(picture(9)))]
    monkeypatch.setattr(crawl, "MAX_BYTES", len(picture(500)) - 1)
    rows.write_text("".join(f"a\t{url}\n" for url in urls))
    assert run(rows, to, local())[0].images == 1
    first = pq.read_table(to / "00000.parquet").to_pylist()[0]
    assert first["error_message"] == f"is over {len(picture(500)) - 1:,} bytes"
    monkeypatch.setattr(crawl, "SECONDS", -1.0)
    run(rows, tmp_path / "slow", local())
    slow = pq.read_table(tmp_path / "slow" / "00000.parquet").to_pylist()
    assert [row["status"] for row in slow] == ["failed_to_download"] * 2
    assert slow[1]["error_message"].startswith("took over -1 seconds")


def test_private_addresses_are_never_asked(server, tmp_path):
    rows, to = tmp_path / "a.tsv", tmp_path / "train"
    rows.write_text(f"a\t{server.serve('/a.jpg', file(picture(9)))}\n")
    assert run(rows, to, crawl.PUBLIC) == [crawl.Counts(rows=1, images=0)]
    (row,) = pq.read_table(to / "00000.parquet").to_pylist()
    assert row["error_message"] == ("is not asked: 127.0.0.1 is at 127.0.0.1, not a public address")
    assert server.asked == []


def test_of_one_host_only_a_few_images_are_asked_for_at_a_time(server, tmp_path):
    lock, now, most = threading.Lock(), [0], [0]
    send, second, third = file(picture(9)), threading.Event(), threading.Event()

    def counted(handler) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            if now[0] == 2:
                second.set()
            if now[0] == 3:
                third.set()
        second.wait(10)
        third.wait(0.2)  # it must not come
        with lock:
            now[0] -= 1
        send(handler)

    rows = tmp_path / "a.tsv"
    rows.write_text(f"a\t{server.serve('/a.jpg', counted)}\n" * 4)
    (chunk,) = addresses.chunks(rows, tmp_path / "train", AddressList(to="x"), 0)
    with Crawler(local(), threads=8, per_host=2) as crawler:
        assert crawler.shard(chunk, lambda done: None).images == 4
    assert most == [2]


def test_a_shard_of_which_nothing_came_is_an_error_not_a_result(server, tmp_path):
    rows, to = tmp_path / "a.tsv", tmp_path / "train"
    rows.write_text(f"a\t{server.url('/none.jpg')}\n" * 100)
    with pytest.raises(CrawlError, match="none of 100 images of .*00000 came; the first: answered"):
        run(rows, to, local())
    assert list(to.iterdir()) == []


def test_a_list_without_the_columns_says_which_it_has(tmp_path):
    rows = tmp_path / "a.parquet"
    pq.write_table(pa.table({"link": ["x"], "text": ["y"]}), rows)
    with pytest.raises(ListError, match="has no column caption, url; it has link, text"):
        run(rows, tmp_path / "train", local())
    rows.write_bytes(b"version https://git-lfs")
    with pytest.raises(ListError, match="is not Parquet"):
        run(rows, tmp_path / "train", local())
