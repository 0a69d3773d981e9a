"""Annotations to placed and gated rows: time against a bare parse of the same bytes, peak memory.

python tests/bench/table.py [--questions 2000000] [--pairs 3000000]

GQA's train_all is imitated by ten files of questions with fields as long as the real ones; CC3M by
a Hugging Face Arrow cache of captions and pictures of a few bytes. Each step is a process of its
own, so that its peak is its own.
"""

import argparse
import gc
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
from rich.console import Console
from rich.table import Table as Printed

from pipelines import config as configs
from pipelines.config import BuildConfig
from pipelines.engine import Threads
from pipelines.prepare import Prepared, prepare, survey, tabulate

_FILES = 10
# 16 shards, as a plan proposes for all of train_all; what is gated at a time is whole shards.
_GQA = {"bits": 4, "splits": {"train_all": "train", "train_balanced": None}}
_WORDS = ("what", "color", "is", "the", "small", "shirt", "of", "man", "standing", "near", "tree")


def write_gqa(folder: Path, questions: int) -> None:
    """`questions` in ten files, each with the fields, and about the length, of a real one."""
    target = folder / "gqa/train_all_questions"
    target.mkdir(parents=True)
    (folder / "gqa/images").mkdir()
    rng, per_file = random.Random("gqa"), questions // _FILES
    for number in range(_FILES):
        with (target / f"train_all_questions_{number}.json").open("w") as file:
            for i in range(per_file):
                identity, image = number * per_file + i, rng.randrange(2_300_000, 2_374_942)
                item = json.dumps(_question(f"{identity:08d}", str(image), rng))
                file.write(f'{"," if i else "{"}"{identity:08d}":{item}')
            file.write("}")
    for image in range(2_300_000, 2_374_942):
        (folder / f"gqa/images/{image}.jpg").touch()


def _question(identity: str, image: str, rng: random.Random) -> dict:
    words = " ".join(rng.choices(_WORDS, k=9))
    things = [str(rng.randrange(10**6)) for _ in range(3)]
    steps = [
        {"operation": "select", "dependencies": [], "argument": f"man ({things[0]})"},
        {"operation": "relate", "dependencies": [0], "argument": f"_,near,s ({things[1]})"},
        {"operation": "filter color", "dependencies": [1], "argument": "red"},
        {"operation": "query", "dependencies": [2], "argument": "name"},
    ]
    return {
        "semantic": steps,
        "entailed": [f"{rng.randrange(10**8):08d}" for _ in range(4)],
        "equivalent": [identity],
        "question": f"{words}?",
        "imageId": image,
        "isBalanced": False,
        "groups": {"global": "thing", "local": "13-shirt_man"},
        "answer": rng.choice(_WORDS),
        "semanticStr": "->".join(f"{s['operation']}: {s['argument']} [0]" for s in steps),
        "annotations": {
            "answer": {"0": things[0]},
            "question": {"4": things[1], "7:9": things[2]},
            "fullAnswer": {"1": things[0]},
        },
        "types": {"detailed": "relS", "semantic": "rel", "structural": "query"},
        "fullAnswer": f"The {words} is here.",
    }  # fmt: skip


def write_cc3m(folder: Path, pairs: int) -> None:
    """An Arrow cache of `pairs`, 6,000 a file, as many as fill one of 500 MB."""
    target = folder / "cc3m"
    target.mkdir(parents=True)
    columns = ("__key__", "__url__", "jpg", "json", "txt")
    kinds = {name: pa.string() for name in columns} | {
        "jpg": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        "json": pa.struct([("url", pa.string()), ("key", pa.string())]),
    }
    schema = pa.schema(kinds)
    rng, per_file = random.Random("cc3m"), 6000
    count = -(-pairs // per_file)
    for number in range(count):
        keys = [f"{n:09d}" for n in range(number * per_file, min(pairs, (number + 1) * per_file))]
        tar = f"hf://datasets/pixparse/cc3m-wds/cc3m-train-{number:04d}.tar"
        batch = {
            "__key__": keys,
            "__url__": [tar] * len(keys),
            "jpg": [{"bytes": bytes(rng.randrange(64)), "path": f"{k}.jpg"} for k in keys],
            "json": [{"url": f"http://example.org/{k}.jpg", "key": k} for k in keys],
            "txt": [" ".join(rng.choices(_WORDS, k=10)) for _ in keys],
        }  # fmt: skip
        name = f"cc3m-wds-train-{number:05d}-of-{count:05d}.arrow"
        with pa.OSFile(str(target / name), "wb") as sink, pa.ipc.new_stream(sink, schema) as out:
            for batch_of in pa.Table.from_pydict(batch, schema=schema).to_batches(1000):
                out.write_batch(batch_of)


def config_of(root: Path, corpus: str) -> BuildConfig:
    """The build that a step is part of."""
    text = root / f"{corpus}.yaml"
    said = {
        "root": str(root),
        "max_quarantined": 1,
        "protect": {"image": [], "text": [], "near_duplicates": "off"},  # no image is opened
        "corpora": {corpus: _GQA if corpus == "gqa" else {}},
    }
    text.write_text(json.dumps(said))
    return configs.load(text)


def step(root: Path, corpus: str, name: str) -> dict[str, float]:
    """Seconds and peak bytes of one step, and the rows that it read."""
    config, rows = config_of(root, corpus), 0
    begun = time.perf_counter()
    if name == "parse":
        gc.disable()  # at its best: collecting so many dictionaries would double it
        for path in sorted(root.glob("gqa/**/*.json")):
            rows += len(msgspec.json.decode(path.read_bytes()))
    else:
        with tempfile.TemporaryDirectory(dir=root) as folder:
            if name == "tabulate":
                rows = tabulate(survey(corpus, config), config, Path(folder)).read
            else:
                found = _prepare(config, Path(folder))
                rows = sum(plan.annotations for plan in found.plans)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "peak_bytes": peak, "rows": rows}


def _prepare(config: BuildConfig, work: Path) -> Prepared:
    threads = Threads(config.workers)

    def each(node, function, specs, labels) -> list:
        return threads.each(node, function, specs, labels, lambda: None)

    return prepare(config, work, each, work / "fingerprints")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=2_000_000)
    parser.add_argument("--pairs", type=int, default=3_000_000)
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.step:
        root, corpus, name = said.step
        print(json.dumps(step(Path(root), corpus, name)))
        return
    with tempfile.TemporaryDirectory(prefix="table-") as folder:
        root = Path(folder)
        write_gqa(root, said.questions)
        write_cc3m(root, said.pairs)
        found = dict(_measure(root))
    table = Printed(box=None)
    for head in ("step", "rows", "seconds", "us a row", "peak GB"):
        table.add_column(head, justify="right" if head != "step" else "left")
    for name, got in found.items():
        a_row = got["seconds"] / got["rows"] * 1e6
        table.add_row(name, f"{got['rows']:,}", f"{got['seconds']:.1f}", f"{a_row:.2f}",
                      f"{got['peak_bytes'] / 1e9:.2f}")  # fmt: skip
    Console().print(table)
    ratio = found["gqa tabulate"]["seconds"] / found["gqa parse"]["seconds"]
    print(json.dumps({"tabulate_over_parse": round(ratio, 2), **found}))


def _measure(root: Path) -> Iterator[tuple[str, dict[str, float]]]:
    for corpus, name in (("gqa", "parse"), ("gqa", "tabulate"), ("gqa", "prepare"),
                         ("cc3m", "tabulate"), ("cc3m", "prepare")):  # fmt: skip
        command = [sys.executable, __file__, "--step", str(root), corpus, name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        yield f"{corpus} {name}", json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
