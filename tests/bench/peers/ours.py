"""Our stream, measured like the peers: a process, batches as torch tensors, two threads.

    python tests/bench/peers/ours.py FOLDER NAME=WEIGHT,... FILL SECONDS [unverified]

FOLDER is a sealed data set, NAME a corpus in it. FILL is who does the work: `threads` of this
process, one helper process (`processes`), or two of one thread each (`processes2`).
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from measure import Batch, measure
from our_stream import open_stream, ring

_ENDLESS = range(10**9)  # steps


def main() -> None:
    folder, weights, fill, seconds, *unverified = sys.argv[1:]
    named = (pair.split("=") for pair in weights.split(","))
    sources = {name: float(weight) for name, weight in named}
    measure(_batches(Path(folder), sources, fill, not unverified), float(seconds))


def _batches(folder: Path, weights: dict[str, float], fill: str, verified: bool) -> Iterator[Batch]:
    import torch

    torch.set_num_threads(1)
    with ring(open_stream(folder, weights, verified), _ENDLESS, fill) as batches:
        for _, (slot,) in batches:
            images = torch.from_numpy(slot.images).permute(0, 3, 1, 2)  # channels last in memory
            yield images, torch.from_numpy(slot.tokens)


if __name__ == "__main__":
    main()
