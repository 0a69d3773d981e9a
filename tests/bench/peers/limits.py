"""How fast two processes decode JPEGs that they hold in memory, and do nothing else.

    python tests/bench/peers/limits.py simplejpeg|torchvision|Pillow FOLDER SECONDS

FOLDER has tars with .jpg members. A picture of 224x224 is decoded as it is; a larger one is scaled
to that by the decoder as far as it can, then by OpenCV (Pillow: by itself). Prints pictures a
second, of both together, as JSON.
"""

import json
import statistics
import sys
import tarfile
import time
from collections.abc import Callable
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from machine import Others
from PIL import Image
from sizes import SIDE, WORKERS

_WINDOWS, _HELD = 3, 1000


def main() -> None:
    decoder, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    jpegs = _held(folder)
    cv2.setNumThreads(1)
    context = get_context("fork")
    barrier, results, over = context.Barrier(WORKERS), context.SimpleQueue(), context.Event()
    work = _DECODERS[decoder](np.empty((SIDE, SIDE, 3), np.uint8))
    parts = [jpegs[number::WORKERS] for number in range(WORKERS)]
    workers = [
        context.Process(target=_loop, args=(work, part, seconds, barrier, results, over))
        for part in parts
    ]
    for worker in workers:
        worker.start()
    others = Others()
    rates = [sum(pair) for pair in zip(*(results.get() for _ in workers), strict=True)]
    cores = others.cores()
    over.set()
    for worker in workers:
        worker.join()
    print(json.dumps({"rate": statistics.median(rates), "others": cores}))


def _held(folder: Path) -> list[bytes]:
    held: list[bytes] = []
    for path in sorted(folder.glob("**/*.tar")):
        with tarfile.open(path) as tar:
            pictures = (tar.extractfile(member) for member in tar if member.name.endswith(".jpg"))
            held += [picture.read() for picture in pictures if picture]
        if len(held) >= _HELD:
            break
    return held[:_HELD]


def _loop(
    work: Callable[[bytes], object], jpegs: list[bytes], seconds: float, barrier, results, over
) -> None:
    rates = []
    for jpeg in jpegs[:50]:
        work(jpeg)
    for _ in range(_WINDOWS):
        barrier.wait()
        begun, done = time.perf_counter(), 0
        while (passed := time.perf_counter() - begun) < seconds:
            for jpeg in jpegs[done % len(jpegs) :][:32]:
                work(jpeg)
                done += 1
        rates.append(done / passed)
    results.put(rates)
    over.wait()  # until the parent has looked at the processors' time


def _simplejpeg(pixels: np.ndarray) -> Callable[[bytes], object]:
    def work(jpeg: bytes) -> None:
        height, width = simplejpeg.decode_jpeg_header(jpeg)[:2]
        if (height, width) == (SIDE, SIDE):
            simplejpeg.decode_jpeg(jpeg, "RGB", buffer=pixels)
            return
        whole = simplejpeg.decode_jpeg(jpeg, "RGB", min_width=SIDE, min_height=SIDE, min_factor=1)
        cv2.resize(whole, (SIDE, SIDE), dst=pixels, interpolation=cv2.INTER_LINEAR)

    return work


def _torchvision(pixels: np.ndarray) -> Callable[[bytes], object]:
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    torch.set_num_threads(1)

    def work(jpeg: bytes) -> None:
        data = torch.frombuffer(bytearray(jpeg), dtype=torch.uint8)
        whole = torch.as_tensor(decode_jpeg(data, ImageReadMode.RGB)).permute(1, 2, 0).numpy()
        if whole.shape != pixels.shape:
            cv2.resize(whole, (SIDE, SIDE), dst=pixels, interpolation=cv2.INTER_LINEAR)

    return work


def _pillow(pixels: np.ndarray) -> Callable[[bytes], object]:
    def work(jpeg: bytes) -> object:
        image = Image.open(BytesIO(jpeg))
        if image.size != (SIDE, SIDE):
            image.draft("RGB", (SIDE, SIDE))
            return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        return np.asarray(image)

    return work


_DECODERS = {"simplejpeg": _simplejpeg, "torchvision": _torchvision, "Pillow": _pillow}

if __name__ == "__main__":
    main()
