"""Images known by their addresses -> shards in the layout of img2dataset.

    TO/00000.tar            KEY.jpg, KEY.txt, KEY.json of each image that came; bytes as they came
    TO/00000.parquet        a row for every address, with the reason where no image came
    TO/00000_stats.json     written last: a shard that has it is whole and is not fetched again

The addresses are anyone's, so only public hosts are asked, for a few images at a time each.
"""

import hashlib
import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pyarrow as pa
from PIL import Image

from manifests import store
from manifests.schema import canonical_json
from pipelines.download import addresses, web
from pipelines.download.addresses import Chunk
from pipelines.download.web import Policy, TransientError, WebError
from shards import tar

MAX_BYTES = 20_000_000  # of one image
SECONDS = 60.0  # for one image, however slowly it trickles
PUBLIC = Policy(hosts=None, schemes=("https", "http"), attempts=2, timeout=10.0, longest=5.0)
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
_SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("caption", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
    ]
)


class CrawlError(ValueError):
    """A shard of which no image came."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows a shard has, and of how many the image came."""

    rows: int
    images: int


class _Got(NamedTuple):
    row: dict[str, Any]
    data: bytes | None


class Crawler:
    """Fetches shards, with at most `threads` images under way and `per_host` from one host."""

    def __init__(self, policy: Policy = PUBLIC, threads: int = 32, per_host: int = 4) -> None:
        self._policy = policy
        self._threads = threads
        self._client = web.client(policy)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="image")
        self._per_host = per_host
        self._hosts: dict[str, threading.BoundedSemaphore] = {}

    def __enter__(self) -> "Crawler":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def shard(self, chunk: Chunk, report: Callable[[int], None]) -> Counts:
        """Fetch one shard, unless it is there; `report` is told the rows done, and may raise.

        Raises CrawlError if no image at all came of 100 rows or more: then it is the network.
        """
        folder, name = Path(chunk.to), f"{chunk.shard:05d}"
        stats = folder / f"{name}_stats.json"
        if stats.exists():
            said = msgspec.json.decode(stats.read_bytes())
            return Counts(rows=said["count"], images=said["successes"])
        begun, rows = datetime.now(UTC), []
        with store.new_file(folder) as file:
            for got in self._each(_blank_rows(chunk)):
                rows.append(got.row)
                report(len(rows))
                if got.data is not None:
                    file.write(_members(got.row, got.data))
            file.write(tar.END)
            images = sum(row["status"] == "success" for row in rows)
            if not images and len(rows) >= 100:
                raise CrawlError(
                    f"none of {len(rows):,} images of {stats.with_name(name)} came; the first: "
                    f"{rows[0]['error_message']}. Is the network there? Run the same command again"
                )
            file.publish(folder / f"{name}.tar")
        rows.sort(key=lambda row: row["key"])
        schema = pa.schema([*_SCHEMA, *addresses.kept_fields(chunk)])
        table = pa.Table.from_pylist(rows, schema=schema)
        store.write(folder / f"{name}.parquet", store.parquet_bytes(table))
        store.write(stats, canonical_json(_stats(rows, begun)).encode())
        return Counts(rows=len(rows), images=images)

    def _each(self, rows: Iterator[dict[str, Any]]) -> Iterator[_Got]:
        """Each row's image, as they come; few more are asked for than are under way."""
        running: set[Future[_Got]] = set()
        try:
            while True:
                ahead = 2 * self._threads - len(running)
                running |= {self._pool.submit(self._one, row) for row in islice(rows, ahead)}
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in running:
                future.cancel()

    def _one(self, row: dict[str, Any]) -> _Got:
        """A row and its image, or a row that says why there is none."""
        try:
            data = self._fetch(row["url"])
            width, height = _size(data)
        except (ValueError, OSError, httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error).replace(row["url"], "").lstrip(" :")
            failed = {"status": "failed_to_download", "error_message": reason}
            return _Got({**row, **failed}, None)
        sha256 = hashlib.sha256(data).hexdigest()
        found = {"status": "success", "width": width, "height": height, "sha256": sha256}
        return _Got({**row, **found}, data)

    def _fetch(self, url: str) -> bytes:
        if not url:
            raise WebError("the row has no address")
        host = httpx.URL(url).host
        with self._hosts.setdefault(host, threading.BoundedSemaphore(self._per_host)):
            for failures in range(1, self._policy.attempts):
                try:
                    return self._bytes(url)
                except TransientError as error:
                    self._policy.pause(failures, error.wait)
            return self._bytes(url)

    def _bytes(self, url: str) -> bytes:
        begun, data = time.monotonic(), bytearray()
        with web.get(self._client, url, self._policy) as response:
            for piece in response.iter_bytes():
                data += piece
                if len(data) > MAX_BYTES:
                    raise WebError(f"{url} is over {MAX_BYTES:,} bytes")
                if time.monotonic() - begun > SECONDS:
                    raise WebError(f"{url} took over {SECONDS:.0f} seconds")
        return bytes(data)


def _blank_rows(chunk: Chunk) -> Iterator[dict[str, Any]]:
    """A shard's rows, before anything is known of their images."""
    unknown = dict.fromkeys(("error_message", "width", "height", "sha256"))
    for place, fields in enumerate(addresses.read(chunk)):
        yield {**fields, "key": f"{chunk.shard:05d}{place:04d}", "status": "", **unknown}


def _size(data: bytes) -> tuple[int, int]:
    """Width and height as an image's header says. Raises WebError for what is no image."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise WebError(f"not an image: it begins with {data[:16]!r}") from error


def _members(row: Mapping[str, Any], data: bytes) -> bytes:
    """An image's three files in a tar."""
    key = row["key"]
    return (
        tar.member(f"{key}.jpg", data)
        + tar.member(f"{key}.txt", row["caption"].encode())
        + tar.member(f"{key}.json", canonical_json(row).encode())
    )


def _stats(rows: list[dict[str, Any]], begun: datetime) -> dict[str, Any]:
    ended = datetime.now(UTC)
    states = Counter(row["error_message"] or row["status"] for row in rows)
    successes = sum(row["status"] == "success" for row in rows)
    return {
        "count": len(rows),
        "successes": successes,
        "failed_to_download": len(rows) - successes,
        "failed_to_resize": 0,
        "duration": (ended - begun).total_seconds(),
        "start_time": begun.timestamp(),
        "end_time": ended.timestamp(),
        "status_dict": dict(states.most_common(100)),
    }
