"""Opens one data set with four libraries and says what each found: libraries.py DIR BARE.

Run on its own, as the libraries read their settings when they are imported. The answer is one line
of JSON, last: {"found": {library: {split: {key: [sha256 of the picture, JSON]}}}, "examples": [what
each example of the card printed]}. BARE holds the same tars, which energon then prepares itself.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import wids
from megatron.energon import (
    Cooker,
    DefaultTaskEncoder,
    WorkerConfig,
    get_loader,
    get_train_dataset,
    get_val_dataset,
    stateless,
)
from megatron.energon.flavors.webdataset.prepare import WebdatasetPreparator
from webdataset.compat import WebDataset

Found = dict[str, tuple[str, dict]]
SPLITS = ("train", "val", "test")


def said(records: Iterable[tuple[str, bytes, bytes]]) -> Found:
    """Of (key, picture, JSON); a key that comes twice is an error."""
    found: Found = {}
    for key, image, text in records:
        assert key not in found, key
        found[key] = (hashlib.sha256(image).hexdigest(), json.loads(text))
    return found


@cache
def every_tar() -> list[str]:
    command = [sys.executable, "-m", "shards", "list", "."]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def listed(split: str) -> list[str]:
    return [tar for tar in every_tar() if f"-{split}-" in tar]


def with_webdataset(split: str) -> Found:
    opened: Any = WebDataset(listed(split), shardshuffle=False)
    return said((s["__key__"], s["jpg"], s["json"]) for s in opened)


def with_wids(split: str) -> Found:
    options: Any = {"localname": str, "transformations": []}
    opened: Any = wids.ShardListDataset(f"wids-{split}.json", **options)
    records = (opened[number] for number in range(len(opened)))
    return said((r["__key__"], r[".jpg"].read(), r[".json"].read()) for r in records)


def with_datasets(split: str, corpora: tuple[str, ...] = ()) -> Found:
    found: Found = {}
    for corpus in corpora or (None,):
        name = {"val": "validation"}.get(split, split)
        loaded: Any = datasets.load_dataset(str(Path.cwd()), corpus, split=name)
        opened = loaded.cast_column("jpg", datasets.Image(decode=False))
        found |= said(
            (r["__key__"], r["jpg"]["bytes"], json.dumps(r["json"]).encode()) for r in opened
        )
    return found


@stateless
def as_it_is(sample):
    return sample


class Bytes(DefaultTaskEncoder):
    decoder = None
    cookers = (Cooker(as_it_is),)


def energon(split: str, get: Any = get_val_dataset, **options: Any) -> Iterator[Any]:
    worker = WorkerConfig(rank=0, world_size=1, num_workers=0)
    opened = get(
        ".",
        split_part=split,
        batch_size=None,
        worker_config=worker,
        task_encoder=Bytes(),
        **options,
    )
    return ((s["__key__"], s["jpg"], s["json"]) for s in get_loader(opened))


def trained(records: int) -> Found:
    """The train split as energon's training loader gives it in one pass: the slices
    of four records come in any order."""
    options = {"shuffle_buffer_size": None, "max_samples_per_sequence": 4}
    loader = energon("train", get_train_dataset, **options)
    return said(next(loader) for _ in range(records))


def printed(example: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(example, {})
    return out.getvalue()


def main(folder: str, bare: Path) -> None:
    os.chdir(folder)
    found = {
        "webdataset": {split: with_webdataset(split) for split in SPLITS},
        "wids": {split: with_wids(split) for split in SPLITS},
        "datasets": {split: with_datasets(split) for split in SPLITS},
        "energon": {split: said(energon(split)) for split in SPLITS},
    }
    found["energon, training"] = {"train": trained(len(found["wids"]["train"]))}
    found["datasets, by corpus"] = {"train": with_datasets("train", ("coco", "robots"))}
    card = Path("README.md").read_text()
    examples = [printed(code) for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL)]
    names = list(json.loads(Path(".nv-meta/.info.json").read_text())["shard_counts"])
    parts = [(split, f".*-{split}-.*") for split in SPLITS]
    WebdatasetPreparator.prepare_dataset(bare, names, split_parts_patterns=parts, workers=1)
    sys.stdout.write(json.dumps({"found": found, "examples": examples}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
