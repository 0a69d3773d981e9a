"""A COCO folder that is drawn, the same on every machine: 4,000 photo-like JPEGs of 640x480, five
captions each. `python tests/bench/photos.py` draws it, if it is not there."""

import json
import random
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from manifests import store

PHOTOS = Path("data/bench/drawn")
COUNT = 4000
CAPTIONS = "annotations/captions_train2017.json"
_WORKERS = 2
_FIELD = 1024  # pixels a side of the noise that pictures are cut from
_COUNTS = ("two", "three", "a few", "several", "some", "a row of", "a group of")
_KINDS = ("small", "large", "old", "wooden", "wet", "bright", "colorful", "broken", "round", "tall")
_THINGS = ("boats", "plates", "trees", "umbrellas", "birds", "cars", "stones", "chairs", "lamps")
_DOING = ("lying", "standing", "hanging", "floating", "waiting", "piled up", "seen")
_WHERE = ("next to", "in front of", "behind", "on top of", "far away from", "in the middle of")
_PLACES = ("street", "lake", "kitchen table", "field", "harbor", "brick wall", "train station")
_WHEN = ("at night", "on a sunny day", "in the rain", "under a cloudy sky", "early in the morning")


def drawn(console: Console) -> Path:
    """The folder of the drawn corpus, drawn now if it is not there."""
    if not PHOTOS.is_dir():
        console.print(f"drawing {COUNT:,} pictures into {PHOTOS} ...", highlight=False)
        spawn = get_context("spawn")
        with store.new_folder(PHOTOS) as folder:
            (folder / "train2017").mkdir()
            with ProcessPoolExecutor(_WORKERS, spawn, prepare) as pool:
                for number, jpeg in enumerate(pool.map(photo, range(COUNT), chunksize=50)):
                    (folder / f"train2017/{number:012d}.jpg").write_bytes(jpeg)
            (folder / "annotations").mkdir()
            (folder / CAPTIONS).write_text(json.dumps(captions(range(COUNT))))
    return PHOTOS


def captions(pictures: range) -> dict[str, list[dict[str, object]]]:
    """COCO's annotation file of some of the pictures, by their numbers."""
    said = [
        {"id": 5 * number + i, "image_id": number, "caption": caption(5 * number + i)}
        for number in pictures
        for i in range(5)
    ]
    return {"images": [{"id": number} for number in pictures], "annotations": said}


def caption(number: int) -> str:
    """Ten to fifteen words or so, as people write of a picture."""
    one = random.Random(number).choice
    end = f"{one(_WHERE)} a {one(_KINDS)} {one(_PLACES)} {one(_WHEN)}"
    return f"{one(_COUNTS)} {one(_KINDS)} {one(_THINGS)} {one(_DOING)} {end}.".capitalize()


_clouds: list[np.ndarray] = []


def prepare() -> None:
    """Fields of noise whose amplitude falls with frequency, as in photographs: rough to smooth."""
    random = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(_FIELD)[:, None], np.fft.rfftfreq(_FIELD))
    frequency[0, 0] = np.inf
    for slope in np.linspace(1.1, 1.6, 10):
        spectrum = np.exp(2j * np.pi * random.random(frequency.shape)) / frequency**slope
        field = np.fft.irfft2(spectrum)
        _clouds.append((field / field.std()).astype(np.float32))


def photo(number: int) -> bytes:
    """A JPEG: coloured discs with texture before a textured ground, under a camera's noise."""
    random = np.random.default_rng(number)
    width, height = (480, 640) if number % 5 == 0 else (640, 480)

    def surface(width: int, height: int, contrast: float) -> np.ndarray:
        x, y = random.integers(_FIELD - width + 1), random.integers(_FIELD - height + 1)
        texture = _clouds[random.integers(len(_clouds))][y : y + height, x : x + width, None]
        shade, hue = random.uniform(30, 220, 3), random.uniform(0.5, 1.2, 3)
        return (shade + contrast * hue * texture).astype(np.float32)

    picture = surface(width, height, random.uniform(25, 60))
    for _ in range(random.integers(6, 14)):
        wide, high = random.integers(30, 280, 2)
        x, y = random.integers(width - wide + 1), random.integers(height - high + 1)
        across, down = np.linspace(-1, 1, wide), np.linspace(-1, 1, high)[:, None]
        edge = np.clip((1 - np.hypot(across, down)) * min(wide, high) / 2, 0, 1)[..., None]
        part = picture[y : y + high, x : x + wide]
        part += edge.astype(np.float32) * (surface(wide, high, random.uniform(5, 30)) - part)
    noise = random.standard_normal(picture.shape, np.float32)
    picture += noise * random.uniform(1, 7)
    sink = BytesIO()
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(sink, "JPEG", quality=90)
    return sink.getvalue()


if __name__ == "__main__":
    drawn(Console())
