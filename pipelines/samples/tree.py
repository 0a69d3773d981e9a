"""A written tree that traps are added to: their pictures, and entries in its annotation files.

Ids of traps lie above those of the other samples, so none of these is changed. Entries of one file
are collected and written at the end, by `save`.
"""

import json
import pickle
import random
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.samples.caches import cache_folder, pair_row, refer_row, stream
from pipelines.samples.coco import listing
from pipelines.samples.files import CocoPicture, painted, put, put_json
from pipelines.samples.odd_pictures import Draw
from pipelines.samples.pairs import Pair, write_shard
from pipelines.samples.pictures import NUMBERS, PLURALS, Scene, box, compose
from pipelines.samples.refer import Ref, authors, expressions

CAPTIONS = "coco/annotations/captions_train2017.json"
_FIRST = 600_000  # COCO's own numbers end at 581,929
_SHARD = 90_000  # of CC3M and LAION


class Tree:
    """A sample tree below `root`, in the official layouts or as a downloader's disk has it."""

    def __init__(self, root: Path, as_on_disk: bool) -> None:
        self.root, self.as_on_disk = root, as_on_disk
        self._files: dict[str, Any] = {}
        self._pictures = 0
        self._refs: list[Ref] = []
        self._pairs: dict[str, list[Pair]] = {"cc3m": [], "laion": []}

    def json(self, path: str) -> Any:
        """The content of a JSON file, to be changed in place."""
        if path not in self._files:
            self._files[path] = json.loads((self.root / path).read_bytes())
        return self._files[path]

    def picture(self, draw: Draw | None = painted, number: int | None = None) -> CocoPicture:
        """A new picture of train2017, of which nothing is said yet; without `draw`, no file."""
        if number is None:
            self._pictures += 1
            number = _FIRST + self._pictures
        rng = random.Random(f"trap {number}")
        picture = CocoPicture(number, "train2017", compose(rng))
        if draw:
            put(self.root / picture.path, draw(picture.scene, rng))
        self.json(CAPTIONS)["images"].append(listing(picture, 4))
        return picture

    def caption(self, picture: CocoPicture, *said: Any) -> list[str]:
        """Captions of a picture; returns their ids."""
        annotations = self.json(CAPTIONS)["annotations"]
        before = sum(a["image_id"] == picture.number for a in annotations[-20:])
        ids = [picture.number * 10 + before + k for k in range(len(said))]
        for identity, text in zip(ids, said, strict=True):
            annotations.append({"image_id": picture.number, "id": identity, "caption": text})
        return [str(identity) for identity in ids]

    def refer(self, picture: CocoPicture, xywh: tuple[int, int, int, int], split: str) -> list[str]:
        """The last thing of a picture as an object of RefCOCO; returns its annotation's id."""
        thing, identity = picture.scene.things[-1], picture.number * 10
        said = expressions(picture.scene, thing, "refcoco")[:1]
        self._refs.append(Ref(picture, split, identity, thing.shape, xywh, tuple(said)))
        return [str(identity)]

    def pair(self, corpus: str, pair: Pair) -> list[str]:
        """A pair of CC3M's train split or of LAION; returns its key."""
        self._pairs[corpus].append(pair)
        return [f"{_SHARD:05d}{len(self._pairs[corpus]) - 1:04d}"]

    def save(self) -> None:
        """Write what was collected."""
        for path, content in self._files.items():
            put_json(self.root / path, content)
        if self.as_on_disk:
            rows = [refer_row((self.root / ref.picture.path).read_bytes(), ref, 0)
                    for ref in self._refs]  # fmt: skip
            once = [{**row, "answer": row["answer"][:1]} for row in rows]
            self._append("refcoco", "*-testA.arrow", once)
            pairs = [pair_row(pair, f"{_SHARD:05d}{i:04d}", "hf://cc3m-train-9000.tar")
                     for i, pair in enumerate(self._pairs["cc3m"])]  # fmt: skip
            self._append("cc3m", "*-train-*.arrow", pairs)
        else:
            self._add_refs()
            write_shard(self.root / "cc3m/train", _SHARD, self._pairs["cc3m"])
            write_shard(self.root / "laion", _SHARD, self._pairs["laion"])

    def _append(self, corpus: str, pattern: str, rows: list[dict[str, Any]]) -> None:
        """More rows at the end of a split's last Arrow file."""
        path = sorted(cache_folder(self.root, corpus).glob(pattern))[-1]
        with pa.ipc.open_stream(path.read_bytes()) as reader:
            schema, there = reader.schema, reader.read_all().to_pylist()
        put(path, stream(there + rows, schema.remove_metadata()))

    def _add_refs(self) -> None:
        folder = self.root / "refcoco"
        instances, listed = authors(self._refs, 9_000_000)
        there = json.loads((folder / "instances.json").read_bytes())
        for name in ("images", "annotations"):
            there[name] += instances[name]
        put_json(folder / "instances.json", there)
        refs = pickle.loads((folder / "refs(unc).p").read_bytes())  # written a moment ago
        put(folder / "refs(unc).p", pickle.dumps(refs + listed, protocol=2))


def shapes(scene: Scene) -> str:
    """What a scene holds, without colours or place: true of it in grey or cut out, too."""
    if scene.alike:
        return f"{NUMBERS[len(scene.things)]} {PLURALS[scene.things[0].shape]}"
    return " and ".join(f"a {thing.shape}" for thing in scene.things)


def last_box(scene: Scene) -> tuple[int, int, int, int]:
    """x, y, width and height of a scene's last thing."""
    x0, y0, x1, y1 = box(scene, scene.things[-1])
    return x0, y0, x1 - x0, y1 - y0
