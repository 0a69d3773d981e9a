"""How fast pictures become shards, beside a bare codec loop, `tar` and img2dataset.

    make bench NAME=build [CORPUS=folder] [PEERS=python]

CORPUS is a COCO folder (annotations/captions_train2017.json, train2017/); without one, 4,000
photo-like JPEGs of 640x480 are drawn into data/bench/drawn, the same on every machine. PEERS is
the Python of an environment with img2dataset. All run by turns in the same rounds on two workers
and on files that the page cache holds; medians are compared.

- bare: two processes that decode, scale and encode bytes they hold in memory; the best codec counts
- tar: `tar cf` of the folder, one process
- squash, keep: the pipeline itself; "pack" is its node that opens images, "whole" all of the build
  but the start of its helper processes, which is told apart: it is the same for a million pictures.
  All write beside the corpus, to the page cache; fsync is done afterwards and told apart.
- img2dataset: `download` of file:// addresses, resized to 224 on the short side, two processes
"""

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import photos
import simplejpeg
from PIL import Image
from rich.console import Console
from rich.table import Table

from manifests import disk
from pipelines import build as building
from pipelines.build import build
from pipelines.config import BuildConfig, CorpusConfig
from pipelines.engine import Threads, prepare_helper
from pipelines.protect import Protect
from shards.images import ImagePolicy

_ROUNDS, _WORKERS, _SIZE, _QUALITY = 3, 2, 224, 90
_BITS = {"squash": 4, "keep": 2}  # the longer a shard takes, the more, so that workers end together
_IMG2DATASET = """
import sys, time
from img2dataset import download
if __name__ == "__main__":
    begun = time.perf_counter()
    download(
        url_list=sys.argv[1], input_format="txt", output_folder=sys.argv[2],
        output_format="webdataset", processes_count=2, thread_count=16, image_size=224,
        resize_mode="keep_ratio", encode_quality=90, number_sample_per_shard=500,
        compute_hash=None, enable_wandb=False,
    )
    print(time.perf_counter() - begun)
"""


def main() -> None:
    console = Console(width=100)
    corpus = Path(os.environ.get("CORPUS") or photos.drawn(console)).resolve()
    pictures = sorted((corpus / "train2017").iterdir())
    nbytes = sum(len(path.read_bytes()) for path in pictures)  # which also warms the page cache
    console.print(f"{len(pictures):,} pictures, {nbytes / len(pictures) / 1000:.1f} kB each")
    seconds: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        seconds.setdefault(name, []).append(value)

    spawn = get_context("spawn")
    with (
        tempfile.TemporaryDirectory(dir=corpus.parent) as folder,
        ProcessPoolExecutor(_WORKERS, spawn, _hold, (pictures,)) as pool,
    ):
        out = Path(folder)
        for turn in range(_ROUNDS + 1):  # the first one warms up
            for name in CODECS:
                note(f"bare {name}", _timed(lambda name=name: _bare(pool, name)))
            note("tar", _timed(lambda: _tar(corpus, out)))
            for policy in ("squash", "keep"):
                for name, value in _build(corpus, ImagePolicy(policy=policy), out).items():
                    note(f"{policy} {name}", value)
            if peers := os.environ.get("PEERS"):
                note("img2dataset", _img2dataset(peers, pictures, out))
            if turn == 0:
                seconds.clear()
    _report(console, len(pictures), seconds)


def _report(console: Console, pictures: int, seconds: dict[str, list[float]]) -> None:
    """The table, then the figures as one line of JSON."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    rates = {name: pictures / median for name, median in medians.items()}
    table = Table("", "pictures/s", "seconds: median", "least", "most")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in seconds.items():
        shown = (medians[name], min(values), max(values))
        table.add_row(name, f"{rates[name]:,.0f}", *(f"{value:.3f}" for value in shown))
    console.print(table)
    if "img2dataset" not in rates:
        console.print("img2dataset: not run; name its Python with PEERS=...", highlight=False)
    best = max((name for name in rates if name.startswith("bare ")), key=rates.__getitem__)
    ratios = {
        "squash_over_bare_codec": rates["squash pack"] / rates[best],
        "squash_whole_over_bare_codec": rates["squash whole"] / rates[best],
        "keep_over_tar": rates["keep pack"] / rates["tar"],
        "keep_whole_over_tar": rates["keep whole"] / rates["tar"],
    }
    if "img2dataset" in rates:
        ratios["squash_over_img2dataset"] = rates["squash whole"] / rates["img2dataset"]
    found = {
        "bench": "build",
        "rounds": _ROUNDS,
        "bare_codec": best.removeprefix("bare "),
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "median_seconds": {name: round(median, 4) for name, median in medians.items()},
    }
    print(json.dumps(found))


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


# What is measured


def _build(corpus: Path, policy: ImagePolicy, out: Path) -> dict[str, float]:
    """Seconds until helpers have started, of packing, of the whole but the start, and of fsync."""
    config = BuildConfig(
        root=str(corpus.parent),
        corpora={"coco": CorpusConfig(path=str(corpus), bits=_BITS[policy.policy])},
        image=policy,
        protect=Protect(near_duplicates="off"),  # the others compare no pictures either
        workers=_WORKERS,
    )
    shards = out / "shards"
    with _unsynced():
        whole = _timed(lambda: build(config, shards, Threads(_WORKERS), Console(quiet=True)))
    nodes = {
        n["node"]: n["seconds"] for n in json.loads((shards / "build.json").read_text())["nodes"]
    }
    files = [path for path in shards.rglob("*") if path.is_file()]
    synced = _timed(lambda: [disk.sync(path) for path in files])
    shutil.rmtree(shards)
    started = nodes.get("start", 0)
    return {"start": started, "pack": nodes["pack"], "whole": whole - started, "fsync": synced}


@contextmanager
def _unsynced() -> Iterator[None]:
    """Files are written as ever, but nobody waits for the disk, in this process or a helper's."""
    sync, helpers = disk.sync, building.helpers
    disk.sync, building.helpers = _no_sync, _unsynced_helpers
    try:
        yield
    finally:
        disk.sync, building.helpers = sync, helpers


@contextmanager
def _unsynced_helpers(count: int) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(count, get_context("spawn"), _stop_syncing) as pool:
        yield pool


def _stop_syncing() -> None:
    prepare_helper()
    disk.sync = _no_sync


def _no_sync(path: Path) -> None:
    pass


def _tar(corpus: Path, out: Path) -> None:
    path = out / "pictures.tar"
    subprocess.run(["tar", "cf", str(path), "-C", str(corpus), "train2017"], check=True)
    path.unlink()


def _img2dataset(python: str, pictures: list[Path], out: Path) -> float:
    """Seconds of its `download`; raises ValueError if it lost a picture."""
    addresses, shards, script = out / "addresses.txt", out / "img2dataset", out / "peer.py"
    addresses.write_text("".join(f"{path.as_uri()}\n" for path in pictures))
    script.write_text(_IMG2DATASET)
    done = subprocess.run(
        [python, str(script), str(addresses), str(shards)],
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    said = [json.loads(path.read_text()) for path in shards.glob("*_stats.json")]
    if (stored := sum(one["successes"] for one in said)) != len(pictures):
        raise ValueError(f"img2dataset stored {stored} of {len(pictures)} pictures")
    shutil.rmtree(shards)
    return float(done.stdout.split()[-1])


# The bare codec loops, in two processes

_held: list[bytes] = []


def _hold(pictures: list[Path]) -> None:
    cv2.setNumThreads(1)
    _held.extend(path.read_bytes() for path in pictures)


def _bare(pool: ProcessPoolExecutor, name: str) -> None:
    list(pool.map(_loop, [name] * _WORKERS, range(_WORKERS)))


def _loop(name: str, worker: int) -> None:
    for data in _held[worker::_WORKERS]:
        CODECS[name](data)


def _with_pillow(data: bytes) -> bytes:
    image = Image.open(BytesIO(data))
    image.draft("RGB", (_SIZE, _SIZE))
    sink = BytesIO()
    image.resize((_SIZE, _SIZE), Image.Resampling.BICUBIC).save(sink, "JPEG", quality=_QUALITY)
    return sink.getvalue()


def _with_opencv(data: bytes) -> bytes:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_2)
    assert pixels is not None
    small = cv2.resize(pixels, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _with_simplejpeg(data: bytes, fast: bool = False) -> bytes:
    pixels = simplejpeg.decode_jpeg(
        data, "RGB", fastdct=fast, fastupsample=fast, min_width=_SIZE, min_height=_SIZE
    )
    small = cv2.resize(pixels, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)
    return simplejpeg.encode_jpeg(small, _QUALITY, "RGB", "420", fastdct=fast)


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "Pillow, draft": _with_pillow,
    "opencv, reduced by 2": _with_opencv,
    "simplejpeg, scaled": _with_simplejpeg,
    "simplejpeg, scaled, fast DCT": lambda data: _with_simplejpeg(data, fast=True),
}


if __name__ == "__main__":
    main()
