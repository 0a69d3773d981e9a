"""Who should fill batches, and with which decoder? On all cores of this machine.

    make bench NAME=fill [PICTURES=2000] [WINDOW=3]

The same drawn photographs, stored at 640x480 (keep) and at 224x224 (squash). First the bare
decoders on bytes in memory, a process a core: simplejpeg, torchvision.io, Pillow; where there is a
GPU, also nvJPEG through torchvision, in batches of 128. Then our ring: threads in the trainer's
process, and one, two or (from eight cores on) four helper processes, while Python's lock is free
and while another thread holds it for 62 % of the time, as a trainer does that launches many small
kernels. Each figure is the median of three windows of WINDOW seconds, in pictures a second.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread

import numpy as np
from harness.sealing import seal, write_shard
from photos import photo, prepare
from PIL import Image
from rich.console import Console
from rich.table import Table

from embervlm.tokens import Tokenizer
from shards import shrink
from shards.images import ImagePolicy, store_image
from shards.mixing import SourceSpec
from shards.reader import Dataset
from shards.ring import Fill, Ring
from shards.stream import Batching, Stream

_PICTURES = int(os.environ.get("PICTURES", "2000"))
_WINDOW = float(os.environ.get("WINDOW", "3"))
_SIZE, _SHARDS, _BATCH, _LOCKED = 224, 8, 512, 0.62
_CORES = len(os.sched_getaffinity(0))
_POLICIES = {"squash": ImagePolicy(policy="squash"), "keep": ImagePolicy(policy="keep")}


def main() -> None:
    console = Console(width=110)
    spawn = get_context("spawn")
    found: dict[str, dict[str, float]] = {name: {} for name in _POLICIES}
    with tempfile.TemporaryDirectory() as folder:
        console.print(f"{_CORES} cores; drawing {_PICTURES:,} pictures ...", highlight=False)
        with ProcessPoolExecutor(_CORES, spawn, prepare) as pool:
            photos = list(pool.map(photo, range(_PICTURES), chunksize=20))
        for name, policy in _POLICIES.items():
            data = Path(folder) / name
            stored = _sealed(data, photos, policy)
            with ProcessPoolExecutor(_CORES, spawn, _hold, (stored,)) as pool:
                for decoder in _DECODERS:
                    found[name][f"bare {decoder}"] = _bare(pool, decoder)
            if gpu := _on_gpu(stored):
                found[name]["nvJPEG"] = gpu
            for how, rate in _rings(data):
                found[name][how] = rate
                console.print(f"{name} {how}: {rate:,.0f}", highlight=False)
    _report(console, found)


def _report(console: Console, found: dict[str, dict[str, float]]) -> None:
    table = Table("pictures/s", *found)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = {name for rates in found.values() for name in rates}
    for name in sorted(rows, key=lambda n: list(found["squash"]).index(n)):
        table.add_row(name, *(f"{rates.get(name, 0):,.0f}" for rates in found.values()))
    console.print(table)
    rates = {n: {k: round(v) for k, v in part.items()} for n, part in found.items()}
    print(json.dumps({"bench": "fill", "cores": _CORES, "pictures_per_s": rates}))


def _sealed(out: Path, photos: list[bytes], policy: ImagePolicy) -> list[bytes]:
    """Seal the pictures, each with a caption; the JPEGs as they are stored."""
    stored = [store_image(data, policy).jpeg for data in photos]
    numbered = list(enumerate(stored))
    shards = [
        write_shard(out, "coco", number, numbered[number::_SHARDS], _SIZE)
        for number in range(_SHARDS)
    ]
    seal(out, shards, policy)
    return stored


# The ring


def _rings(data: Path) -> Iterator[tuple[str, float]]:
    stream = Stream(
        Dataset(data),
        {"coco": SourceSpec(turns="rotate")},
        Tokenizer.load("builtin"),
        seed=1,
        batching=Batching(global_=_BATCH, pool=_BATCH),
        max_tokens=64,
    )
    ways: list[tuple[Fill, int]] = [("threads", 0), ("processes", 1), ("processes", 2)]
    if _CORES >= 8:
        ways.append(("processes", 4))
    for fill, helpers in ways:
        for locked in (0.0, _LOCKED):
            steps = range(10**9)
            with Ring(stream, steps, fill=fill, threads=_CORES, helpers=helpers or None) as ring:
                who = f"{helpers} helpers" if helpers else "threads"
                trainer = f"{locked:.0%} of the lock held" if locked else "the lock free"
                yield f"ring, {who}, {trainer}", _rate(ring, locked)


def _rate(ring: Ring, locked: float) -> float:
    ended = Event()
    Thread(target=_hold_lock, args=(ended, locked), daemon=True).start()
    rates, samples, begun = [], 0, 0.0
    for step, slots in ring:
        now = time.perf_counter()
        samples += sum(map(len, slots))
        if step == 4:  # the first are of the start
            samples, begun = 0, now
        elif step > 4 and now - begun > _WINDOW:
            rates.append(samples / (now - begun))
            samples, begun = 0, now
            if len(rates) == 3:
                break
    ended.set()
    return statistics.median(rates)


def _hold_lock(ended: Event, locked: float) -> None:
    """Hold Python's lock for a part of the time, 5 ms by 5 ms."""
    while locked and not ended.is_set():
        ends = time.perf_counter() + locked * 0.005
        while time.perf_counter() < ends:
            pass
        time.sleep((1 - locked) * 0.005)


# The bare decoders

_held: list[bytes] = []
_pixels = np.empty((_SIZE, _SIZE, 3), np.uint8)


def _hold(stored: list[bytes]) -> None:
    _held.extend(stored)


def _bare(pool: ProcessPoolExecutor, decoder: str) -> float:
    rates = []
    for _ in range(3):
        rates.append(sum(pool.map(_loop, [decoder] * _CORES, [_WINDOW / 2] * _CORES)))
    return statistics.median(rates)


def _loop(decoder: str, seconds: float) -> float:
    decode = _DECODERS[decoder]
    for data in _held[:10]:
        decode(data)
    begun, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - begun) < seconds:
        for data in _held[count % len(_held) :][:20]:
            decode(data)
            count += 1
    return count / passed


def _with_simplejpeg(data: bytes) -> None:
    import simplejpeg

    if simplejpeg.decode_jpeg_header(data)[:2] == (_SIZE, _SIZE):
        simplejpeg.decode_jpeg(data, "RGB", buffer=_pixels)
        return
    scaled = simplejpeg.decode_jpeg(data, "RGB", min_width=_SIZE, min_height=_SIZE)
    shrink.scale_into(scaled, _pixels)


def _with_torchvision(data: bytes) -> None:
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms.v2.functional import resize

    torch.set_num_threads(1)
    pixels = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
    assert isinstance(pixels, torch.Tensor)  # one JPEG, not a list of them
    if pixels.shape[1:] != (_SIZE, _SIZE):
        resize(pixels, [_SIZE, _SIZE])


def _with_pillow(data: bytes) -> None:
    image = Image.open(BytesIO(data)).convert("RGB")
    if image.size != (_SIZE, _SIZE):
        image = image.resize((_SIZE, _SIZE), Image.Resampling.BILINEAR)
    np.asarray(image)


_DECODERS: dict[str, Callable[[bytes], None]] = {
    "simplejpeg": _with_simplejpeg,
    "torchvision.io": _with_torchvision,
    "Pillow": _with_pillow,
}


def _on_gpu(stored: list[bytes]) -> float | None:
    """nvJPEG: batches of 128 of bytes in memory to pixels of 224x224 on the GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms.v2.functional import resize

    held = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in stored[:1024]]
    rates = []
    for turn in range(4):
        begun, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - begun) < _WINDOW / 2:
            part = held[count % len(held) :][:128]
            for pixels in decode_jpeg(part, ImageReadMode.RGB, device="cuda"):
                if pixels.shape[1:] != (_SIZE, _SIZE):
                    resize(pixels, [_SIZE, _SIZE])
            count += len(part)
            torch.cuda.synchronize()
        if turn:
            rates.append(count / passed)
    return statistics.median(rates)


if __name__ == "__main__":
    main()
