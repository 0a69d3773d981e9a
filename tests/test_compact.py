"""The model that is shipped: small, readable, and right about tasks that it never learnt from."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from embervlm import EmberVLM
from embervlm.metrics import robot_accuracy
from manifests.place import split_of, task_group
from manifests.schema import ROBOTS, seen_site
from pipelines.robots.scene import scene_jpeg

ROOT = Path(__file__).parents[1]
COMPACT = ROOT / "checkpoints/compact"


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in COMPACT.rglob("*") if path.is_file()) < 25_000_000


def test_it_chooses_robots_for_held_out_tasks() -> None:
    part = json.loads((ROOT / "robot-selection-dataset/single_robot_selection.json").read_text())
    texts = [record["input"].removeprefix("Task: ") for record in part]
    held = [n for n, text in enumerate(texts) if split_of(task_group(text)) == "val"][:40]
    model = EmberVLM.from_pretrained(COMPACT).eval()
    tokenizer = model.tokenizer
    right = []
    for n in held:
        (words, _) = tokenizer.encode_turns(["robot"], [texts[n]], [""])[0]
        ids = torch.tensor([[tokenizer.image, *words]])
        picture = Image.open(BytesIO(scene_jpeg(seen_site(part[n]), part[n]["id"])))
        pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None]
        with torch.no_grad():
            logits = model(ids, pixels).robot_logits
        wanted = torch.tensor([[float(robot in _names(part[n])) for robot in ROBOTS]])
        right.append(float(robot_accuracy(logits, wanted)))
    assert len(right) == 40
    assert sum(right) >= 36


def _names(record: dict) -> list[str]:
    output = record["output"]
    return output.split(", ") if isinstance(output, str) else output
