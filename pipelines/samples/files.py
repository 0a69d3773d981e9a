"""What all drawn corpora share: how their files are written, and COCO's pictures by number."""

import io
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from pipelines.samples.pictures import Scene, paint

URL = "http://example.org/drawn"


class CocoPicture(NamedTuple):
    """A picture of COCO: its number, the folder it lies in ("train2017"), what it shows."""

    number: int
    folder: str
    scene: Scene

    @property
    def name(self) -> str:
        return f"{self.number:012d}.jpg"

    @property
    def path(self) -> str:
        """Where it lies below the tree."""
        return f"coco/{self.folder}/{self.name}"


def put(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def put_json(path: Path, content: Any) -> None:
    put(path, json.dumps(content).encode())


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """A picture as the bytes of a file: a JPEG of quality 90, or another kind."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}) | options)
    return buffer.getvalue()


def painted(scene: Scene, rng: random.Random) -> bytes:
    """The JPEG of a scene."""
    return encoded(paint(scene, rng))


def some(
    pictures: Sequence[CocoPicture], share: float, least: int, stream: str
) -> list[CocoPicture]:
    """About `share` of the pictures, at least `least` of them, chosen by a random stream's name."""
    count = min(len(pictures), max(least, round(len(pictures) * share)))
    return random.Random(stream).sample(pictures, count)
