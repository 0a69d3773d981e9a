"""Our stream, as ours.py, mixture.py and our_memory.py open it. Only what it needs is imported."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sizes import BATCH, TOKENS, WORKERS

from embervlm.tokens import Tokenizer
from shards import reader
from shards.mixing import SourceSpec
from shards.reader import Dataset
from shards.ring import Ring
from shards.stream import Batching, Stream

# Who does the work, by the name that tests/bench/stream.py gives it.
FILLS: dict[str, dict[str, Any]] = {
    "threads": {"fill": "threads"},
    "processes": {"fill": "processes", "helpers": 1},
    "processes2": {"fill": "processes", "helpers": 2},
}


def open_stream(
    folder: Path,
    weights: Mapping[str, float],
    verified: bool = True,
    progress: Callable[[str, int], None] = lambda source, records: None,
) -> Stream:
    """Corpora by weight; a step is one batch, a sample a picture and a caption."""
    if not verified:  # no user can say so
        reader.intact = lambda extent, digest: True
    return Stream(
        Dataset(folder),
        {name: SourceSpec(turns="rotate", weight=weight) for name, weight in weights.items()},
        Tokenizer.load("builtin"),
        seed=1,
        batching=Batching(global_=BATCH, pool=BATCH),
        max_tokens=TOKENS,
        progress=progress,
    )


def ring(stream: Stream, steps: range, fill: str) -> Ring:
    return Ring(stream, steps, rank=0, world=1, threads=WORKERS, **FILLS[fill])
