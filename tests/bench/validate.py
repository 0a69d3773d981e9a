"""How fast `validate` reads a data set, beside sha256sum on the same files and cores.

    make bench NAME=validate

A data set of 20 KB records is drawn into data/bench, and removed after. All run by turns in the
same rounds on files that the page cache holds; medians are compared.

- sha256sum: coreutils, one process a core: `xargs -P`
- OpenSSL: Python's hashlib, one process a core, read in blocks: the limit of this machine
- validate: every check of `python -m shards validate`; "start" is that of its helper processes,
  which is the same for a terabyte, "checks" the rest of "whole".
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from manifests import store
from manifests.schema import SCHEMA_VERSION, Record, Turn
from manifests.seal import FORMAT, Count, Seal, Shard, merkle_root
from shards.damage import check_shard
from shards.pool import ordered_map
from shards.validate import validate
from shards.writer import ShardWriter, Source

_SHARDS, _RECORDS, _ROUNDS, _SIDE = 16, 3000, 5, 224
_CORES = len(os.sched_getaffinity(0))
_OPENSSL = """
import hashlib, sys
block = memoryview(bytearray(1 << 20))
for path in sys.argv[1:]:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while got := file.readinto(block):
            digest.update(block[:got])
    print(digest.hexdigest(), path)
"""


def main() -> None:
    console = Console(width=100)
    base = Path("data/bench")
    base.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=base) as folder:
        out = Path(folder)
        console.print(f"drawing {_SHARDS * _RECORDS:,} records ...")
        sealed = _drawn(out)
        nbytes = sum(shard.nbytes for shard in sealed.shards)
        tars = [str(out / shard.tar) for shard in sealed.shards]
        console.print(
            f"{nbytes / 1e6:,.0f} MB in {_SHARDS} shards, {_CORES} cores", highlight=False
        )
        measured: dict[str, Callable[[], object]] = {
            "sha256sum": partial(_xargs, ["sha256sum"], tars),
            "OpenSSL": partial(_xargs, [sys.executable, "-c", _OPENSSL], tars),
            "start": partial(_start, out, sealed.shards),
            "whole": partial(_validate, out),
        }
        for turn in range(_ROUNDS + 1):  # the first one warms up
            for name, work in measured.items():
                begun = time.perf_counter()
                work()
                if turn:
                    seconds.setdefault(name, []).append(time.perf_counter() - begun)
    both = zip(seconds["whole"], seconds["start"], strict=True)
    seconds["checks"] = [whole - start for whole, start in both]
    _report(console, nbytes, seconds)


def _report(console: Console, nbytes: int, seconds: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    rates = {name: nbytes / 1e6 / median for name, median in medians.items() if name != "start"}
    table = Table("", "MB/s", "seconds: median", "least", "most")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in seconds.items():
        shown = (medians[name], min(values), max(values))
        rate = f"{rates[name]:,.0f}" if name in rates else ""
        table.add_row(name, rate, *(f"{value:.3f}" for value in shown))
    console.print(table)
    found = {
        "bench": "validate",
        "cores": _CORES,
        "bytes": nbytes,
        "rounds": _ROUNDS,
        "ratios": {
            "checks_over_sha256sum": round(rates["checks"] / rates["sha256sum"], 3),
            "whole_over_sha256sum": round(rates["whole"] / rates["sha256sum"], 3),
            "checks_over_openssl": round(rates["checks"] / rates["OpenSSL"], 3),
        },
        "median_seconds": {name: round(median, 4) for name, median in medians.items()},
    }
    print(json.dumps(found))


def _xargs(command: list[str], paths: list[str]) -> None:
    names = "\0".join(paths).encode()
    xargs = ["xargs", "-0", "-P", str(_CORES), "-n", str(-(-len(paths) // _CORES))]
    subprocess.run([*xargs, *command], input=names, stdout=subprocess.DEVNULL, check=True)


def _validate(out: Path) -> None:
    if problems := list(validate(out)):
        raise ValueError(f"a whole data set is found damaged: {problems[0]}")


def _start(out: Path, shards: tuple[Shard, ...]) -> None:
    """Start the helpers of `validate`; each checks a shard that is not there."""
    gone = [(shard, None) for shard in shards[:_CORES]]
    list(ordered_map(partial(check_shard, out / "none"), gone, 10**12))


def _drawn(out: Path) -> Seal:
    random_bytes = np.random.default_rng(0)
    pictures = [_picture(random_bytes) for _ in range(50)]
    shards = [_shard(out, number, pictures) for number in range(_SHARDS)]
    records = sum(shard.records for shard in shards)
    turns = sum(shard.turns for shard in shards)
    count = Count(
        corpus="coco",
        split="train",
        read=turns,
        written=turns,
        quarantined=0,
        duplicate=0,
        held_back=0,
        records=records,
        unannotated=0,
    )
    sealed = Seal(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        root=merkle_root(shards),
        config_digest="0" * 64,
        image_policy={"policy": "squash", "size": _SIDE, "quality": 90},
        codecs={},
        bits={},
        ledger=(count,),
        reasons=store.write_named(out, "manifests/ledger", ".parquet", b"reasons"),
        shards=tuple(shards),
    )
    store.commit(out, sealed)
    return sealed


def _picture(draw: np.random.Generator) -> bytes:
    """A JPEG of about 18 KB, as photographs of this size are."""
    small = draw.integers(0, 256, (44, 44, 3), np.uint8)
    sink = BytesIO()
    Image.fromarray(small).resize((_SIDE, _SIDE)).save(sink, "JPEG", quality=90)
    return sink.getvalue()


def _shard(out: Path, number: int, pictures: list[bytes]) -> Shard:
    with ShardWriter(out, "coco", "train", f"{number:05d}") as shard:
        for place in range(_RECORDS):
            key = f"coco-{number:05d}-{place:06d}"
            turns = tuple(
                Turn(
                    thread=i,
                    id=f"{key}-{i}",
                    prompt="",
                    target=f"A caption of some ten words for picture {place}, number {i}.",
                    kind="caption",
                )
                for i in range(5)
            )
            record = Record(
                key=key,
                corpus="coco",
                group=f"coco:{number}-{place}",
                split="train",
                image=pictures[place % len(pictures)],
                turns=turns,
                licence="CC BY 4.0",
            )
            shard.add(record, Source(locator=key, digest="0" * 32, width=640, height=480))
        return shard.close()


if __name__ == "__main__":
    main()
