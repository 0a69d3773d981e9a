"""Scenes a second on one core, and how that compares with only encoding as many pictures.

python tests/bench/scenes.py
"""

import io
import json
import time
from pathlib import Path

from PIL import Image

from manifests.schema import seen_site
from pipelines.robots.scene import scene_jpeg

SET = Path(__file__).parents[2] / "robot-selection-dataset" / "single_robot_selection.json"
_COUNT, _ROUNDS = 400, 3


def main() -> None:
    records = json.loads(SET.read_text(encoding="utf-8"))[:_COUNT]
    sites = [(seen_site(record), record["id"]) for record in records]
    pictures = [Image.open(io.BytesIO(scene_jpeg(*site))).convert("RGB") for site in sites]
    drawing = min(_seconds(lambda: [scene_jpeg(*site) for site in sites]) for _ in range(_ROUNDS))
    encoding = min(
        _seconds(lambda: [p.save(io.BytesIO(), "JPEG", quality=90) for p in pictures])
        for _ in range(_ROUNDS)
    )
    found = {
        "scenes_per_s": round(_COUNT / drawing, 1),
        "encoded_per_s": round(_COUNT / encoding, 1),
        "drawing_over_encoding": round(drawing / encoding, 2),
    }
    print(json.dumps(found))


def _seconds(work) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


if __name__ == "__main__":
    main()
