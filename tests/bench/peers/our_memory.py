"""What our stream takes of memory: over many samples, and to open a large data set.

    python tests/bench/peers/our_memory.py caches FOLDER
    python tests/bench/peers/our_memory.py curve FOLDER FILL SAMPLES
    python tests/bench/peers/our_memory.py open FOLDER STEP

Run by `tests/bench/memory.py`. `caches` makes index and tokens, and the samples found from them,
unless they are there; it says on stderr how far it is. `curve` streams SAMPLES, and looks at all of
its processes at every hundredth of them; torch is not among what they hold. `open` opens a data set
and takes the batch of a step; it counts from when all that is needed has been imported. FILL: see
our_stream.py.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from machine import family, pss, uss
from our_stream import open_stream, ring
from sizes import BATCH

_WEIGHTS = {"coco": 1.0}


def main() -> None:
    what, folder, *rest = sys.argv[1:]
    said = {"caches": _caches, "curve": _curve, "open": _open}[what](Path(folder), *rest)
    print(json.dumps(said))


def _caches(folder: Path) -> dict[str, float]:
    begun, done, told = time.perf_counter(), 0, 0

    def progress(source: str, records: int) -> None:
        nonlocal done, told
        done += records
        if done - told >= 500_000:
            told = done
            print(f"{done:,} records after {time.perf_counter() - begun:.0f} s", file=sys.stderr)

    open_stream(folder, _WEIGHTS, progress=progress)
    return {"records": done, "seconds": time.perf_counter() - begun}


def _curve(folder: Path, fill: str, samples: str) -> dict[str, Any]:
    steps = int(samples) // BATCH
    stream = open_stream(folder, _WEIGHTS)
    points: list[dict[str, float]] = []
    begun = time.perf_counter()
    with ring(stream, range(steps), fill) as batches:
        for step, _ in batches:
            if (step + 1) * 100 // steps > len(points):
                points.append({"samples": (step + 1) * BATCH, **_memory()})
        processes = len(family())
    return {"seconds": time.perf_counter() - begun, "processes": processes, "points": points}


def _open(folder: Path, step: str) -> dict[str, float]:
    before, begun = pss(), time.perf_counter()
    stream = open_stream(folder, _WEIGHTS)
    opened, memory = time.perf_counter() - begun, pss() - before
    with ring(stream, range(int(step), int(step) + 1), "threads") as batches:
        for _, (slot,) in batches:
            assert len(slot) == BATCH and slot.images.any()
            return {"opened": opened, "first": time.perf_counter() - begun, "memory": memory}
    raise ValueError(f"step {step} has no batch")


def _memory() -> dict[str, float]:
    return {"pss": pss(), "uss": uss()}


if __name__ == "__main__":
    main()
