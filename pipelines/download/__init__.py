"""The official files of the corpora -> the root that builds read from.

    listing.yaml -> download -> extract -> images (of lists of addresses, with --images)

Plain functions on specs, run by an Engine as those of `build.py` are. What is finished is noted in
ROOT/.downloads.json, so a second run does only what is left, also after archives were unpacked and
removed. One file that fails does not keep the others from coming; it is reported at the end.
"""

import shutil
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console
from rich.filesize import decimal

from manifests import store
from pipelines.download import addresses, listing
from pipelines.download.addresses import Chunk
from pipelines.download.bars import Bars
from pipelines.download.crawl import PUBLIC, Crawler
from pipelines.download.fetch import Fetched, FetchError, Source, WrongFileError, fetch, verify
from pipelines.download.listing import LISTING, Listed
from pipelines.download.unpack import unpack
from pipelines.download.web import Policy
from pipelines.engine import Engine

RECEIPTS = ".downloads.json"
S = TypeVar("S")


class DownloadError(ValueError):
    """Files that could not be had, or that the disk has no room for."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was fetched and checked; `made` is what its archive left beside it."""

    url: str
    nbytes: int
    sha256: str
    checked: str
    made: tuple[str, ...] | None = None


def download(
    root: Path,
    corpora: Collection[str],
    minimal: bool,
    images: bool,
    engine: Engine,
    console: Console,
    *,
    listing_file: Path = LISTING,
    policy: Policy | None = None,
    public: Policy = PUBLIC,
) -> list[Listed]:
    """Have the files of `corpora` (all, if empty) below `root`; returns them.

    With `images`, also the images that they list by address. Ctrl-C leaves what came, and the next
    run goes on from there. `policy` replaces that of the listing's hosts, `public` that of images'.
    Raises DownloadError with every file that failed, ListingError, or OSError.
    """
    known = listing.load(listing_file)
    wanted = listing.downloads(known, corpora, minimal, images)
    with store.sole_writer(root), Bars(console) as bars:
        run = _Run(root, replace(policy or Policy(known.hosts), sleep=bars.sleep), bars)
        _check_room(root, wanted, run)
        left = [one for one in wanted if not run.is_fetched(one)]
        size = decimal(sum(one.nbytes or one.about or 0 for one in left))
        bars.say(f"{len(left)} of {len(wanted)} files to come, about {size}")
        run.each(engine, "download", run.fetch, wanted, [one.to for one in wanted])
        packed = [one for one in wanted if one.extract and run.is_fetched(one)]
        run.each(engine, "extract", run.extract, packed, [one.to for one in packed])
        if images:
            chunks = _chunks(root, wanted, run)
            labels = [_label(chunk, root) for chunk in chunks]
            with Crawler(replace(public, sleep=bars.sleep)) as crawler:
                crawl = partial(_crawl, root=root, crawler=crawler, bars=bars)
                run.each(engine, "images", crawl, chunks, labels)
    if run.failed:
        raise DownloadError(
            f"{len(run.failed)} failed:\n  " + "\n  ".join(run.failed) + "\n"
            "Run the same command again for those; what came is kept"
        )
    return wanted


class _Run:
    """One run: the functions of its nodes, the receipts, and what failed."""

    def __init__(self, root: Path, policy: Policy, bars: Bars) -> None:
        self.failed: list[str] = []
        self._root, self._policy, self._bars = root, policy, bars
        self._path, self._lock = root / RECEIPTS, threading.Lock()
        self._receipts = _read_receipts(self._path)

    def each(
        self,
        engine: Engine,
        node: str,
        function: Callable[[S], None],
        specs: Sequence[S],
        labels: Sequence[str],
    ) -> None:
        """Run a node. What fails as files and servers do is noted; any other error stops all."""

        def one(spec: S) -> None:
            try:
                function(spec)
            except ValueError as error:
                self.fail(str(error))
            except BaseException:
                self._bars.stop.set()
                raise

        engine.each(node, one, specs, labels, lambda: None)

    def fail(self, reason: str) -> None:
        self.failed.append(reason)
        self._bars.say(f"failed: {reason}")

    def fetch(self, listed: Listed) -> None:
        """Have one file, unless it is there or was."""
        if self.is_fetched(listed):
            return
        path = self._root / listed.to
        path.parent.mkdir(parents=True, exist_ok=True)
        source = Source(url=listed.url, nbytes=listed.nbytes, md5=listed.md5, sha256=listed.sha256)
        found = _adopt(source, path)
        if found is None:
            with self._bars.bar(listed.to) as progress:
                found = fetch(source, path, self._policy, progress)
        self._note(listed, Receipt(url=listed.url, **msgspec.structs.asdict(found)))
        self._bars.say(f"{listed.to}: {found.nbytes:,} bytes, {found.checked} checked")

    def extract(self, listed: Listed) -> None:
        """Unpack a fetched archive and remove it, unless that was done."""
        receipt, path = self._receipts[listed.to], self._root / listed.to
        if receipt.made is None:
            assert listed.extract is not None, "only archives are extracted"
            with self._bars.bar(f"unpack {listed.to}") as progress:
                made = unpack(path, listed.extract, progress)
            self._note(listed, msgspec.structs.replace(receipt, made=tuple(made)))
            self._bars.say(f"{listed.to}: unpacked to {', '.join(made[:4])}")
        path.unlink(missing_ok=True)

    def is_fetched(self, listed: Listed) -> bool:
        """Whether a file came in this run or another, and what it left is still there."""
        receipt, path = self._receipts.get(listed.to), self._root / listed.to
        if receipt is None or receipt.url != listed.url:
            return False
        if receipt.made is not None:
            return all((path.parent / name).exists() for name in receipt.made)
        return path.exists() and path.stat().st_size == receipt.nbytes

    def left(self, listed: Listed) -> int:
        """Bytes that a file still needs on disk, as far as is known."""
        receipt = self._receipts.get(listed.to)
        size = listed.nbytes or listed.about or 0
        if self.is_fetched(listed):
            return size if listed.extract and receipt and receipt.made is None else 0
        part = self._root / f"{listed.to}.part"
        there = part.stat().st_size if part.exists() else 0
        return max(0, size - there) + (size if listed.extract else 0)

    def _note(self, listed: Listed, receipt: Receipt) -> None:
        with self._lock:
            self._receipts[listed.to] = receipt
            data = msgspec.json.format(msgspec.json.encode(self._receipts, order="sorted"))
            store.write(self._path, data + b"\n")


def _crawl(chunk: Chunk, root: Path, crawler: Crawler, bars: Bars) -> None:
    """Have the images of one shard."""
    label = _label(chunk, root)
    with bars.bar(label, "images") as report:
        counts = crawler.shard(chunk, lambda done: report(done, chunk.count))
    bars.say(f"{label}: {counts.images:,} of {counts.rows:,} images")


def _label(chunk: Chunk, root: Path) -> str:
    """What a shard is called below the root: "cc3m/train/00000"."""
    return f"{Path(chunk.to).relative_to(root)}/{chunk.shard:05d}"


def _chunks(root: Path, wanted: Sequence[Listed], run: _Run) -> list[Chunk]:
    """The shards of all lists. Lists of one folder are numbered through, so all must be there."""
    chunks: list[Chunk] = []
    for to in dict.fromkeys(one.images.to for one in wanted if one.images):
        lists = [one for one in wanted if one.images and one.images.to == to]
        if missing := [one.to for one in lists if not run.is_fetched(one)]:
            run.fail(f"{to}: its images are not fetched before {', '.join(missing)} is there")
            continue
        shard = 0
        for one in lists:
            assert one.images is not None, "chosen for its images"
            found = addresses.chunks(root / one.to, root / to, one.images, shard)
            chunks, shard = chunks + found, shard + len(found)
    return chunks


def _adopt(source: Source, path: Path) -> Fetched | None:
    """A file that someone put there, if it can be told to be the one. Raises FetchError if not."""
    if not path.exists() or not (source.nbytes or source.md5 or source.sha256):
        return None
    try:
        return verify(source, path)
    except WrongFileError as error:
        raise FetchError(
            f"{path} is there, but is not the file listed: {error}; move it away"
        ) from error


def _check_room(root: Path, wanted: Sequence[Listed], run: _Run) -> None:
    """Raises DownloadError if the disk cannot hold what is to come; without images by address."""
    need, free = sum(run.left(one) for one in wanted), shutil.disk_usage(root).free
    if need > free:
        raise DownloadError(
            f"{need:,} bytes more are needed below {root} (archives twice: packed and unpacked), "
            f"{free:,} are free; choose fewer by --corpus or --minimal, or another --root"
        )


def _read_receipts(path: Path) -> dict[str, Receipt]:
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Receipt])
    except msgspec.DecodeError as error:
        raise DownloadError(f"{path} cannot be read: {error}; remove it to start over") from error
