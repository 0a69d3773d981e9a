"""How near a training run comes to what the chip can do.

    make bench NAME=train

On GPUs: the flagship, 49 visual and 64 text positions, the encoder frozen, projection and all
language layers trained, 200 steps after 50. "from shards" is the trainer itself, a run of a stage
on a sealed data set of 224-pixel JPEGs, as its log tells; "from memory" the very same step on
batches that lie in the GPU's memory. At 30 % and at 100 % of text positions as targets; from shards
on every number of GPUs there is (1, 2, 4 ...), as many samples on each.

On CPUs: the demo's stage on its own shards (make demo makes them), beside the same step on batches
in memory.

MFU counts the products of one forward and backward pass (torch's own counter) over 989 TFLOP/s, an
H200's dense bf16 rate. Energy is what nvidia-smi reads while it runs. PROFILE=1 also prints where
the time of a step goes; POOL (1024) is the samples on a GPU at a time.
"""

import sys
from pathlib import Path

# This file's folder comes last, for it has a module that is called as the package is.
sys.path[0] = str(Path(__file__).parents[2])
sys.path.append(str(Path(__file__).parent))

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from multiprocessing import get_context
from typing import Any

import msgspec
import torch
from harness.sealing import seal, write_shard
from photos import photo, prepare
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from embervlm import EmberVLM, Tokenizer
from embervlm.tokens import BUILTIN
from embervlm.vision import Encoder
from manifests.schema import Turn
from shards.images import ImagePolicy, store_image
from shards.reader import Dataset
from train import optim, start, track
from train import stage as stages
from train.batches import Batch, Feed
from train.data import open_stream
from train.distributed import Place
from train.stage import Stage
from train.step import Objectives, Step, autocast, narrow

_ROOT = Path(__file__).parents[2]
_POOL = int(os.environ.get("POOL", "1024"))
_PICTURES, _SHARDS, _TEXT = 4096, 32, 64
_WARM, _TIMED, _HELD = 50, 200, 4
_PEAK = 989e12
_STAGE1 = 5_000_000, 3  # turns, passes: 48 to 72 h on two A100s, it was said
_DEMO = Path("data/demo/shards")


def main() -> None:
    console = Console(width=110, highlight=False)
    if not torch.cuda.is_available():
        found = {"demo": _cpu(console)}
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = _gpu(Path(folder), console)
    print(json.dumps({"bench": "train", **found}))


# On GPUs


def _gpu(home: Path, console: Console) -> dict[str, Any]:
    gpus = torch.cuda.device_count()
    name = torch.cuda.get_device_name()
    cores = len(os.sched_getaffinity(0))
    console.print(f"{gpus} x {name}, {cores} cores; drawing {_PICTURES:,} pictures ...")
    _prepare(home)
    found: dict[str, Any] = {"gpu": name, "gpus": gpus, "pool": _POOL}
    table = Table("targets", "fed", "GPUs", "samples/s", "of memory", "wait", "MFU", "mJ a sample")
    for column in table.columns[2:]:
        column.justify = "right"
    rates: dict[tuple[str, int], float] = {}
    for share in ("30", "100"):
        memory = _child(home, "memory", share)
        flops = memory["flops"]
        many = [n for n in (1, 2, 4, 8) if n <= gpus] if share == "30" else [1]
        for fed, n in [("memory", 1), *(("shards", n) for n in many)]:
            one = memory if fed == "memory" else _from_shards(home, share, n)
            rates[fed + share, n] = one["rate"]
            mfu = one["rate"] * flops / (n * _PEAK)
            joules = one["watts"] / one["rate"]
            found[f"{fed} {share} % on {n}"] = {**one, "mfu": mfu, "joules": joules}
            of = f"{one['rate'] / (n * memory['rate']):.3f}" if fed == "shards" else ""
            wait = f"{one['wait']:.2%}" if fed == "shards" else ""
            cells = (f"{one['rate']:,.0f}", of, wait, f"{mfu:.1%}", f"{1e3 * joules:.2f}")
            table.add_row(f"{share} %", fed, str(n), *cells)
            console.print(f"{share} % targets, from {fed}, {n} GPUs: {one['rate']:,.0f} samples/s")
        console.print(f"{share} %: {memory['profile']}" if memory["profile"] else "")
    console.print(table)
    console.print(f"{flops / 1e9:.2f} GFLOP a sample at 100 %")
    best = rates["shards30", 1]
    turns, passes = _STAGE1
    minutes = turns * passes / best / 60
    console.print(
        f"stage 1: {turns:,} turns x {passes} passes / {best:,.0f} samples/s on one GPU = "
        f"{minutes:,.1f} min"
    )
    for n in (n for n in (2, 4, 8) if n <= gpus):
        console.print(f"{n} GPUs: {rates['shards30', n] / best:.2f} x one")
    return found


def _prepare(home: Path) -> None:
    """A tokenizer of the flagship's size, an encoder's weights, and sealed shards of both kinds."""
    (home / "tokenizer").mkdir()
    description = json.loads(BUILTIN.read_text(encoding="utf-8"))
    vocabulary = description["model"]["vocab"]
    special = {token["content"] for token in description["added_tokens"]}
    plain = {text: number for text, number in vocabulary.items() if text not in special}
    for number in range(len(plain), 50_256):
        plain[f"<{number}>"] = number  # never merged to, and so never said
    description["model"]["vocab"] = plain
    end = {"content": "<|endoftext|>", "id": 50_256, "special": True, "single_word": False}
    end |= {"lstrip": False, "rstrip": False, "normalized": False}
    description["added_tokens"] = [end]
    (home / "tokenizer/tokenizer.json").write_text(json.dumps(description), encoding="utf-8")
    tokenizer = Tokenizer.load(home / "tokenizer")
    (home / "encoder").mkdir()
    eye = Encoder("repvit_m0_9.dist_450e_in1k")
    with torch.no_grad():
        eye(torch.randint(0, 256, (8, 3, 224, 224), dtype=torch.uint8))
    save_file(
        {n: t.contiguous() for n, t in eye.net.state_dict().items()},
        home / "encoder/model.safetensors",
    )
    policy = ImagePolicy(policy="squash")
    with ProcessPoolExecutor(None, get_context("spawn"), prepare) as pool:
        stored = list(pool.map(_stored, range(_PICTURES), chunksize=16))
    for share in ("30", "100"):
        targets = round(_TEXT * int(share) / 100)
        words = _words(tokenizer)

        def said(number: int, words: list[str] = words, targets: int = targets) -> Turn:
            chosen = cycle(words[number % len(words) :] + words)
            prompt = "".join(islice(chosen, max(0, _TEXT - targets - 1)))
            target = "".join(islice(chosen, min(targets, _TEXT - 1) - 1))[1:]
            return Turn(thread=0, id=str(number), prompt=prompt, target=target, kind="instruction")

        numbered = list(enumerate(stored))
        shards = [
            write_shard(home / share, "bench", n, numbered[n::_SHARDS], 224, said)
            for n in range(_SHARDS)
        ]
        seal(home / share, shards, policy)


def _stored(number: int) -> bytes:
    return store_image(photo(number), ImagePolicy(policy="squash")).jpeg


def _words(tokenizer: Tokenizer) -> list[str]:
    """Words of one token each, a space before them."""
    candidates = (tokenizer.decode([number]) for number in range(300, 3000))
    whole = [text for text in candidates if text[:1] == " " and text[1:].isalpha()]
    pairs = tokenizer.encode_turns(
        ["instruction"] * len(whole), [""] * len(whole), [text[1:] for text in whole]
    )
    return [text for text, (_, target) in zip(whole, pairs, strict=True) if len(target) == 2]


def _stage(home: Path, share: str, gpus: int, **changed: Any) -> Stage:
    overrides = [
        f"batch.global={_POOL * gpus}",
        f"batch.pool={_POOL * gpus}",
        "sources={bench: {turns: one}}",
        "objectives={language: 1.0}",
        "trainable=[projection,language]",
        "lora=null",
        "passes=null",
        f"steps={_WARM + _TIMED}",
        "optim.warmup=10",
        f"log_steps={_WARM}",
        f"save_steps={_WARM + _TIMED}",
        "eval_steps=null",
        "wandb=null",
        f"max_tokens={_TEXT}",
        "mixing.temperature=1",
        "model.set.backbone=scratch",
        f"model.set.tokenizer={home / 'tokenizer'}",
        f"model.set.encoder_weights={home / 'encoder'}",
        *(f"{name}={value}" for name, value in changed.items()),
    ]
    return stages.load("stage1.yaml", overrides)


def _child(home: Path, what: str, share: str) -> dict[str, Any]:
    """This file again, in a process of its own that has the GPU to itself."""
    command = [sys.executable, __file__, what, str(home), share]
    with _watts() as read:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    return {**found, "watts": read(found["began"], found["ended"])}


def _from_shards(home: Path, share: str, gpus: int) -> dict[str, Any]:
    """The trainer as people start it."""
    out = home / f"run-{share}-{gpus}"
    stage = msgspec.to_builtins(_stage(home, share, gpus))
    (home / "bench.yaml").write_text(json.dumps(stage), encoding="utf-8")  # JSON is YAML
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc_per_node={gpus}", str(_ROOT / "train/run.py")]
    command += ["--mixture", str(home / "bench.yaml"), "--data", str(home / share)]
    with _watts() as read:
        done = subprocess.run(
            [*command, "--out", str(out)], capture_output=True, text=True, check=False
        )
        ended = time.time()
    if done.returncode:
        sys.exit(done.stderr[-6000:])
    lines = track.read(out)[1:]
    seconds = [_WARM * _POOL * gpus / line["samples_per_s"] for line in lines]
    waited = sum(s * line["wait"] for s, line in zip(seconds, lines, strict=True))
    return {
        "rate": len(lines) * _WARM * _POOL * gpus / sum(seconds),
        "wait": waited / sum(seconds),
        "memory_gb": lines[-1].get("memory_gb"),
        "watts": gpus * read(ended - sum(seconds) - 3, ended - 3),
    }


@contextmanager
def _watts() -> Iterator[Callable[[float, float], float]]:
    """While the block runs a GPU's power is read; then what it yielded tells the mean between two
    times."""
    query = ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits", "-lms", "200"]
    read: list[float] = []
    began = ended = time.time()

    def mean(begin: float, end: float) -> float:
        each = (ended - began) / max(1, len(read))
        within = [w for place, w in enumerate(read) if begin <= began + place * each <= end]
        return statistics.mean(within) if within else 0.0

    with tempfile.TemporaryFile("w+") as sink:
        with subprocess.Popen(query, stdout=sink) as process:
            yield mean
            process.terminate()
        ended = time.time()
        sink.seek(0)
        gpus = torch.cuda.device_count()
        read += map(float, sink.read().split()[::gpus])  # the first GPU's


# One step, fed from memory


def _memory(stage: Stage, data: Path, device: torch.device, timed: int = _TIMED) -> dict[str, Any]:
    place = Place(0, 1, device)
    tokenizer = Tokenizer.load(stage.model.config.tokenizer)
    stream = open_stream(stage, Dataset(data), tokenizer, place, Console(quiet=True))
    model = start.model_of(stage, tokenizer, None, place)
    aids = start.aids_of(stage, stream, model, place)
    objectives = Objectives(model, stage, 1 + len(stream.names), aids)
    optimiser = optim.optimiser(objectives, stage.optim)
    step = Step(objectives, optimiser, stage, model, place)
    objectives.train()
    feed, held = Feed(device), []
    for number in range(_HELD):
        slots = []
        for positions in stream.positions(number, 0, 1):
            slots.append(stream.slot(len(positions)))
            stream.fill(slots[-1], positions)
        held.append((slots, [Batch.of(slot, device) for slot in slots]))

    def take(count: int) -> None:
        for slots, batches in islice(cycle(held), count):
            step(slots, batches, step.counts(slots), 1e-4)
            feed.issued()

    warm = _WARM if device.type == "cuda" else 4
    take(warm)
    _finish(device)
    began = time.time()
    take(timed)
    _finish(device)
    ended = time.time()
    rate = timed * stage.batch.global_ / (ended - began)
    profile = ""
    if os.environ.get("PROFILE") and device.type == "cuda":
        kinds = [torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=kinds) as taken:
            take(3)
            _finish(device)
        profile = taken.key_averages().table(
            sort_by="self_device_time_total", row_limit=30, max_name_column_width=70
        )
    return {
        "rate": rate,
        "began": began,
        "ended": ended,
        "profile": profile,
        "flops": _flops(model, stage, held[0][1][0], held[0][0][0], place),
    }


def _flops(model: EmberVLM, stage: Stage, batch: Batch, slot: Any, place: Place) -> float:
    """Of one sample's forward and backward pass, by the products that are counted."""
    few = 8
    counter = FlopCounterMode(display=False)
    with counter, autocast(narrow(stage, place), place):
        said = model.forward_language(batch.tokens[:few], batch.images[:few])
        said.hidden.float().sum().backward()
    targets = (slot.labels[:, 1:] >= 0).sum() / len(slot)
    head = 3 * 2 * targets * model.config.vocab_size * model.config.width
    return float(counter.get_total_flops() / few + head)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# On CPUs


def _cpu(console: Console) -> dict[str, Any]:
    if not _DEMO.exists():
        sys.exit(f"{_DEMO} is not there; make it with: make demo")
    overrides = ["steps=24", "save_steps=24", "log_steps=4", "eval_steps=null"]
    stage = stages.load("demo.yaml", overrides)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(_ROOT / "train/run.py"), "--mixture", "demo.yaml"]
        command += ["--data", str(_DEMO), "--out", folder]
        for override in overrides:
            command += ["--set", override]
        rates: dict[str, list[float]] = {"memory": [], "shards": []}
        for turn in range(3):
            rates["memory"].append(_memory(stage, _DEMO, torch.device("cpu"), 20)["rate"])
            out = Path(folder) / str(turn)
            subprocess.run(
                [*command[: -1 - 2 * len(overrides)], str(out), *command[-2 * len(overrides) :]],
                check=True,
                capture_output=True,
            )
            lines = track.read(out)[1:]
            rates["shards"].append(statistics.median(line["samples_per_s"] for line in lines))
    ratio = [
        shards / memory for shards, memory in zip(rates["shards"], rates["memory"], strict=True)
    ]
    found = {name: statistics.median(each) for name, each in rates.items()}
    console.print(
        f"the demo on {torch.get_num_threads()} cores: {found['shards']:.1f} samples/s from "
        f"shards, {found['memory']:.1f} from memory: {statistics.median(ratio):.2f} (asked 0.8)"
    )
    return {**found, "ratio": statistics.median(ratio)}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _, _, where, share = sys.argv
        device = torch.device("cuda")
        print(json.dumps(_memory(_stage(Path(where), share, 1), Path(where) / share, device)))
    else:
        main()
