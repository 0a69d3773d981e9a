"""Who notices one flipped bit? The same 30 records, in each library's own format.

    make bench NAME=flips [PEERS=python:python...]

700 bits, drawn with a fixed seed over all bytes of a format's data files, are flipped one at a
time; everything is read by the library's defaults, and the bit is flipped back. Reading raises
("noticed"), or gives fewer or other records without a word ("silent"), or the same ("harmless").
webdataset reads our own tar; "validate" and "reader" are ours. PEERS names Pythons that have
litdata or mosaicml-streaming; what none has is told.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from peers.flips import flip
from PIL import Image
from rich.console import Console
from rich.table import Table

from manifests import store
from manifests.schema import SCHEMA_VERSION, Record, Turn
from manifests.seal import FORMAT, Count, Seal, merkle_root
from shards.reader import Dataset
from shards.validate import validate
from shards.writer import ShardWriter, Source

_RECORDS, _FLIPS, _SEED, _SIDE = 30, 700, 5, 64
_FATES = ("noticed", "silent", "harmless")
_PEERS = {"webdataset": "webdataset", "litdata": "litdata", "MosaicML, sha1": "streaming"}


def main() -> None:
    console = Console(width=100)
    found: dict[str, dict[str, int]] = {}
    pythons = [sys.executable, *filter(None, os.environ.get("PEERS", "").split(":"))]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        sealed = _sealed(base / "ours")
        path = base / "ours" / sealed.shards[0].tar
        _loose(base, path)

        def check() -> None:
            if problems := list(validate(base / "ours")):
                raise ValueError(str(problems[0]))

        readers: dict[str, Callable[[], object]] = {
            "validate": check,
            "reader": lambda: list(Dataset(base / "ours").records("coco", "train")),
        }
        for name, read in readers.items():
            found[name] = flip([path], _FLIPS, _SEED, read)
        for name, module in _PEERS.items():
            python = next((python for python in pythons if _has(python, module)), None)
            if python is None:
                console.print(f"{name}: not run; name a Python that has {module} with PEERS=...")
                continue
            (out := base / module).mkdir()
            found[name] = _peer(python, module, base / "loose", out)
    table = Table(f"{_FLIPS} flips", *_FATES)
    for name, fates in found.items():
        table.add_row(name, *(str(fates.get(fate, 0)) for fate in _FATES))
    console.print(table)
    print(json.dumps({"bench": "flips", "flips": _FLIPS, "records": _RECORDS, "fates": found}))


def _has(python: str, module: str) -> bool:
    code = f"import importlib.util, sys; sys.exit(not importlib.util.find_spec('{module}'))"
    return not subprocess.run([python, "-c", code], check=False).returncode


def _peer(python: str, library: str, source: Path, out: Path) -> dict[str, int]:
    script = Path(__file__).with_name("peers") / "flips.py"
    command = [python, str(script), library, str(source), str(out), str(_FLIPS), str(_SEED)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _loose(base: Path, tar: Path) -> None:
    """The same records as files, with the tar, for the others."""
    (base / "loose").mkdir()
    (base / "loose" / "x.tar").write_bytes(tar.read_bytes())
    for record in Dataset(base / "ours").records("coco", "train"):
        (base / "loose" / f"{record.key}.jpg").write_bytes(record.image)
        (base / "loose" / f"{record.key}.json").write_bytes(record.encode())


def _sealed(out: Path) -> Seal:
    draw = np.random.default_rng(_SEED)
    with ShardWriter(out, "coco", "train", "00000") as writer:
        for number in range(_RECORDS):
            sink, key = BytesIO(), f"coco-{number:04d}"
            pixels = draw.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(sink, "JPEG", quality=90)
            target = f"Caption of picture {number}."
            turn = Turn(thread=0, id=key, prompt="", target=target, kind="caption")
            record = Record(
                key=key,
                corpus="coco",
                group=f"coco:{number}",
                split="train",
                image=sink.getvalue(),
                turns=(turn,),
            )
            writer.add(record, Source(locator=key, digest="0" * 32, width=_SIDE, height=_SIDE))
        shard = writer.close()
    fates = {"quarantined": 0, "duplicate": 0, "held_back": 0, "unannotated": 0}
    sums = {"read": _RECORDS, "written": _RECORDS, "records": _RECORDS}
    sealed = Seal(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        root=merkle_root([shard]),
        config_digest="0" * 64,
        image_policy={"policy": "squash", "size": _SIDE, "quality": 90},
        codecs={},
        bits={"coco/train": 0},
        ledger=(Count(corpus="coco", split="train", **sums, **fates),),
        reasons=store.write_named(out, "manifests/ledger", ".parquet", b"reasons"),
        shards=(shard,),
    )
    store.commit(out, sealed)
    return sealed


if __name__ == "__main__":
    main()
