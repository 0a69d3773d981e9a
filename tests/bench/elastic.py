"""Is a run the same wherever it stops, and however it goes on? Tried at every step of a pass.

    make bench NAME=elastic [RECORDS=600]

Three drawn corpora of RECORDS records in all, mixed .6/.3/.1 until all are through. The pass is
first filled a sample at a time. Then, for every step: stop before it, go on with 1, 2, 3 or 4
ranks, by threads and by helper processes, and compare every array of every sample that is left.
Also every pair of world sizes before and after the stop, and the mixture's error at 100 prefixes.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import numpy as np
from harness.sealing import seal, write_shard
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from embervlm.tokens import Tokenizer
from shards.images import ImagePolicy
from shards.mixing import Mixing, SourceSpec
from shards.reader import Dataset
from shards.ring import Fill, Ring
from shards.slot import Slot
from shards.stream import Batching, Stream

_RECORDS = int(os.environ.get("RECORDS", "600"))
_WEIGHTS = {"first": 0.6, "second": 0.3, "third": 0.1}
_SIDE, _GLOBAL, _POOL, _SHARDS = 32, 24, 12, 5
_WORLDS = (1, 2, 3, 4)
_FILLS: tuple[Fill, ...] = ("threads", "processes")

Batch = list[dict[str, np.ndarray]]


def main() -> None:
    console = Console(width=100)
    with tempfile.TemporaryDirectory() as folder:
        stream = _stream(Path(folder))
        assert stream.steps is not None
        expected = [_alone(stream, step) for step in range(stream.steps)]
        stops = range(stream.steps + 1)
        tried: dict[str, dict[str, int]] = {}
        begun = time.perf_counter()
        for fill in _FILLS:
            for world in _WORLDS:
                wrong = compared = 0
                for stop in track(stops, f"{fill}, {world} ranks", console=console, transient=True):
                    found = list(_run(stream, range(stop, stream.steps), world, fill))
                    compared += sum(len(batch) for batch in expected[stop:])
                    wrong += _differing(found, expected[stop:])
                tried[f"on {world} by {fill}"] = _counts(len(stops), compared, wrong)
        for before in _WORLDS:
            for after in _WORLDS:
                wrong = compared = 0
                for stop in stops:
                    found = list(_run(stream, range(stop), before, "threads"))
                    found += _run(stream, range(stop, stream.steps), after, "threads")
                    compared += sum(map(len, expected))
                    wrong += _differing(found, expected)
                tried[f"{before} to {after} by threads"] = _counts(len(stops), compared, wrong)
        seconds = time.perf_counter() - begun
        errors = _mixture_errors()
    _report(console, tried, errors, seconds)


def _counts(stops: int, compared: int, wrong: int) -> dict[str, int]:
    return {"stops": stops, "samples": compared, "differing": wrong}


def _report(
    console: Console, tried: dict[str, dict[str, int]], errors: list[float], seconds: float
) -> None:
    table = Table("goes on", "stops tried", "samples compared", "differing")
    for name, counts in tried.items():
        table.add_row(name, *(f"{count:,}" for count in counts.values()))
    console.print(table)
    stops = sum(counts["stops"] for counts in tried.values())
    wrong = sum(counts["differing"] for counts in tried.values())
    console.print(
        f"{stops:,} stops, {wrong} samples differ; mixture .6/.3/.1: at 100 prefixes up to 10,016 "
        f"samples the largest error is {max(errors):.3f} samples",
        highlight=False,
    )
    found = {
        "bench": "elastic",
        "stops": stops,
        "differing": wrong,
        "seconds": round(seconds, 1),
        "mixture_error_at_100_prefixes": [round(error, 3) for error in errors],
        "tried": tried,
    }
    print(json.dumps(found))


def _stream(out: Path) -> Stream:
    draw = np.random.default_rng(3)
    shards = []
    for corpus, weight in _WEIGHTS.items():
        count = max(1, round(_RECORDS * weight))
        pictures = [(number, _picture(draw)) for number in range(count)]
        for number in range(_SHARDS):
            part = pictures[number::_SHARDS]
            if part:
                shards.append(write_shard(out, corpus, number, part, _SIDE))
    seal(out, shards, ImagePolicy(size=_SIDE))
    return Stream(
        Dataset(out),
        {name: SourceSpec(turns="rotate", weight=weight) for name, weight in _WEIGHTS.items()},
        Tokenizer.load("builtin"),
        seed=1,
        batching=Batching(global_=_GLOBAL, pool=_POOL),
        max_tokens=48,
        mixing=Mixing(exhausted="drop"),
        cache_bytes=300_000,  # windows of a shard or two
    )


def _picture(draw: np.random.Generator) -> bytes:
    sink = BytesIO()
    Image.fromarray(draw.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)).save(sink, "JPEG")
    return sink.getvalue()


def _alone(stream: Stream, step: int) -> Batch:
    """A step's samples, each filled by itself."""
    found = []
    for position in np.concatenate(stream.positions(step, 0, 1)):
        slot = stream.slot(1)
        stream.fill(slot, np.array([position]))
        found += _samples(slot)
    return found


def _run(stream: Stream, steps: range, world: int, fill: Fill) -> Iterator[Batch]:
    """Each step of all ranks, its samples in the order of positions."""
    with ExitStack() as stack:
        rings = [
            stack.enter_context(Ring(stream, steps, rank=rank, world=world, fill=fill, threads=2))
            for rank in range(world)
        ]
        for of_ranks in zip(*rings, strict=True):
            pools = zip(*(slots for _, slots in of_ranks), strict=True)
            yield [sample for pool in pools for slot in pool for sample in _samples(slot)]


def _samples(slot: Slot) -> Batch:
    return [{name: array[row].copy() for name, array in slot.arrays()} for row in range(len(slot))]


def _differing(found: list[Batch], expected: list[Batch]) -> int:
    """Samples that are not what they should be; all of a step that is not there."""
    wrong = abs(len(found) - len(expected)) * _GLOBAL
    for ours, theirs in zip(found, expected, strict=False):
        wrong += abs(len(ours) - len(theirs))
        for one, two in zip(ours, theirs, strict=False):
            same = (np.array_equal(one[n], two[n], equal_nan=one[n].dtype.kind == "f") for n in two)
            wrong += not all(same)
    return wrong


def _mixture_errors() -> list[float]:
    """The largest |samples given - share| of any source at 100 prefixes of 10,016 positions."""
    from shards.schedule import Schedule, shares

    schedule = Schedule(shares(_WEIGHTS))
    return [
        max(abs(given - _WEIGHTS[name] * n) for name, given in schedule.given(n).items())
        for n in np.linspace(1, 10_016, 100).astype(int).tolist()
    ]


if __name__ == "__main__":
    main()
