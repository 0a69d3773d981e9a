"""The walk: raw COCO JSON and pictures -> shards -> a falling loss that needs the pictures."""

import json
import random
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from rich.console import Console

from pipelines import config as configs
from pipelines.build import build
from pipelines.engine import Threads
from shards.validate import validate
from train import stage as stages
from train import track
from train.distributed import Place
from train.evaluate import Judge
from train.loop import train

COLOURS = {"red": (220, 30, 30), "green": (20, 160, 40), "blue": (30, 60, 220), "white": (245,) * 3}
QUIET = Console(quiet=True)


def write_coco(root: Path, name: str, count: int) -> None:
    """COCO's layout: pictures of two coloured halves, with two true captions each."""
    chance = random.Random(name)
    images, annotations = [], []
    (root / "coco" / name).mkdir(parents=True)
    (root / "coco" / "annotations").mkdir(exist_ok=True)
    for number in range(1, count + 1):
        identity = number + (0 if name == "train2017" else 10_000)
        left, right = chance.sample(sorted(COLOURS), 2)
        pixels = np.zeros((90, 120, 3), np.uint8)
        pixels[:, :60], pixels[:, 60:] = COLOURS[left], COLOURS[right]
        file = f"{identity:012d}.jpg"
        Image.fromarray(pixels).save(root / "coco" / name / file, quality=90)
        images.append({"id": identity, "file_name": file, "width": 120, "height": 90, "license": 1})
        for place, text in enumerate((f"{left} beside {right}", f"{right} on the right of {left}")):
            annotations.append({"id": 10 * identity + place, "image_id": identity, "caption": text})
    licences = [{"id": 1, "name": "MIT", "url": ""}]
    file = {"info": {}, "licenses": licences, "images": images, "annotations": annotations}
    (root / "coco" / "annotations" / f"captions_{name}.json").write_text(json.dumps(file))


def test_raw_json_to_a_falling_loss_that_needs_the_pictures(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    write_coco(tmp_path / "raw", "train2017", 60)
    write_coco(tmp_path / "raw", "val2017", 24)
    config = tmp_path / "build.yaml"
    config.write_text(yaml.safe_dump({"root": str(tmp_path / "raw"), "corpora": {"coco": {}}}))
    sealed = build(configs.load(config), tmp_path / "shards", Threads(2), QUIET)
    ledger = {count.split: (count.read, count.written, count.records) for count in sealed.ledger}
    assert ledger == {"train": (120, 120, 60), "val": (48, 48, 24)}
    assert list(validate(tmp_path / "shards")) == []

    mixture = tmp_path / "walk.yaml"
    settings = {
        "name": "walk",
        "steps": 40,
        "model": {"preset": "compact", "set": {"layers": 2, "reasoning_blocks": 1}},
        "sources": {"coco": {"turns": "rotate"}},
        "objectives": {"language": 1.0},
        "trainable": ["encoder", "projection", "language"],
        "batch": {"global": 12, "pool": 12},
        "max_tokens": 24,
        "optim": {"lr": 1e-3, "warmup": 4},
        "log_steps": 1,
    }
    mixture.write_text(yaml.safe_dump(settings))
    place = Place(0, 1, torch.device("cpu"))
    last = train(stages.load(str(mixture)), tmp_path / "shards", tmp_path / "run", place, QUIET)
    losses = [line["loss"] for line in track.read(tmp_path / "run")]
    assert len(losses) == 40
    assert np.mean(losses[-10:]) < 0.4 * np.mean(losses[:10])

    judged = Judge(last, tmp_path / "shards", "val", limit=0).judge()
    assert judged["gain"] > judged["spread"]
    assert judged["gain"] > 0.2  # nats a token: the colours are in the picture alone
