"""Two data sets of tiny pictures, in data/bench/tiny: made once, and kept.

small    50,000 records in 50 shards
large    5,000,000 records in 5,000 shards, which are all one: its tar and its manifest, by
         links. So what a manifest says of its shard's name is right for one shard alone
"""

import os
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
from harness.sealing import seal, write_shard
from PIL import Image
from rich.console import Console

from manifests import store
from manifests.seal import NAME, Seal, Shard
from shards.images import ImagePolicy

HOME = Path("data/bench/tiny")
SIDE = 32
_A_SHARD, _SMALL, _LARGE, _DRAWN = 1000, 50, 5000, 500


def small(console: Console) -> Path:
    """The small data set, built unless it is there."""
    out = HOME / "small"
    if not (out / NAME).is_file():
        console.print(f"building {out} ...")
        draw = np.random.default_rng(0)
        pictures = [_picture(draw) for _ in range(_DRAWN)]
        shards = []
        for number in range(_SMALL):
            counts = range(number * _A_SHARD, (number + 1) * _A_SHARD)
            part = [(count, pictures[count % _DRAWN]) for count in counts]
            shards.append(write_shard(out, "coco", number, part, SIDE))
        seal(out, shards, ImagePolicy(size=SIDE))
    return out


def large(console: Console) -> Path:
    """The large data set, linked together unless it is there."""
    out, source = HOME / "large", small(console)
    if not (out / NAME).is_file():
        console.print(f"linking {out} ...")
        one = Seal.read(source).shards[0]
        linked = [_linked(source, out, one, f"{number:05d}") for number in range(_LARGE)]
        seal(out, linked, ImagePolicy(size=SIDE))
    return out


def _linked(source: Path, out: Path, one: Shard, shard_id: str) -> Shard:
    """The shard `one` of another data set, under another id."""
    place = (one.corpus, one.split, shard_id)
    names = {
        "tar": store.tar_name(*place, one.sha256),
        "manifest": store.manifest_name(*place, one.manifest_sha256),
    }
    for kind, name in names.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).unlink(missing_ok=True)
        os.link(source / getattr(one, kind), out / name)
    return msgspec.structs.replace(one, id=shard_id, **names)


def _picture(draw: np.random.Generator) -> bytes:
    coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8))
    sink = BytesIO()
    coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(sink, "JPEG", quality=90)
    return sink.getvalue()
