"""CC3M and LAION-COCO: pictures with their captions, in shards as img2dataset writes them.

A shard is `00000.tar` (KEY.jpg, KEY.txt, KEY.json), `00000.parquet` (all rows, those that could not
be downloaded too) and `00000_stats.json`, which is written last; KEY is shard and index.
"""

import hashlib
import json
import random
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.samples.files import URL, painted, put, put_json
from pipelines.samples.pictures import PLURALS, Scene, captions, compose
from shards import tar

_HYPERNYMS = {"boat": "vehicle", "car": "vehicle", "house": "building", "tree": "plant",
              "ball": "toy", "box": "container"}  # fmt: skip
_FAILURES = (
    ("failed_to_download", "HTTP Error 404: Not Found"),
    ("failed_to_download", "<urlopen error [Errno -2] Name or service not known>"),
    ("failed_to_resize", "Image decoding error"),
)
_SCHEMA = pa.schema(
    [("url", pa.string()), ("caption", pa.string()), ("key", pa.string()),
     ("status", pa.string()), ("error_message", pa.string()), ("width", pa.int64()),
     ("height", pa.int64()), ("original_width", pa.int64()), ("original_height", pa.int64()),
     ("exif", pa.string()), ("sha256", pa.string())]
)  # fmt: skip
_COCO_COLUMNS = pa.schema(  # what the laion-coco re-captions add
    [("TEXT", pa.string()), ("top_caption", pa.string()), ("all_captions", pa.list_(pa.string())),
     ("all_similarities", pa.list_(pa.float64())), ("similarity", pa.float64()),
     ("hash", pa.int64()), ("pwatermark", pa.float64()), ("punsafe", pa.float64()),
     ("WIDTH", pa.float64()), ("HEIGHT", pa.float64())]
)  # fmt: skip


class Pair(NamedTuple):
    """A picture of the web: `image` None if it could not be fetched, with `failure` (status, why);
    `more` are the columns that LAION-COCO has besides."""

    url: str
    caption: str | None
    image: bytes | None
    width: int
    height: int
    failure: tuple[str, str | None] = ("success", None)
    more: dict[str, Any] | None = None

    def row(self, key: str) -> dict[str, Any]:
        """Its row in the Parquet file, and its KEY.json."""
        status, error = self.failure
        there = self.image is not None
        size = {"width": self.width, "height": self.height}
        size |= {f"original_{name}": value for name, value in size.items()}
        return {
            "url": self.url, "caption": self.caption, "key": key, "status": status,
            "error_message": error, **(size if there else dict.fromkeys(size)),
            "exif": "{}" if there else None,
            "sha256": hashlib.sha256(self.image).hexdigest() if self.image is not None else None,
            **(self.more or {}),
        }  # fmt: skip


def cc3m(count: int, split: str, seed: int) -> list[Pair]:
    """Pictures with captions in the manner of CC3M: lower case, tokenised, things by their kind."""
    return [_pair(i, random.Random(f"cc3m {split} {seed} {i}"), f"cc3m/{split}/{seed}")
            for i in range(count)]  # fmt: skip


def laion(count: int, seed: int) -> list[Pair]:
    """Pictures with several generated captions each, and the original alt text."""
    pairs = []
    for i in range(count):
        rng = random.Random(f"laion {seed} {i}")
        pair, scene = _drawn(i, rng, f"laion/{seed}")
        said = [text.rstrip(".") for text in rng.sample(captions(scene), 5)]
        scores = sorted((round(rng.uniform(0.2, 0.4), 6) for _ in said), reverse=True)
        more = {
            "TEXT": alt_text(scene, rng), "top_caption": said[0], "all_captions": said,
            "all_similarities": scores, "similarity": scores[0],
            "hash": rng.randrange(-(2**63), 2**63), "pwatermark": round(rng.uniform(0, 0.4), 6),
            "punsafe": round(rng.uniform(0, 0.05), 6), "WIDTH": float(scene.width),
            "HEIGHT": float(scene.height) if i % 7 else None,
        }  # fmt: skip
        pairs.append(pair._replace(caption=more["TEXT"], more=more))
    return pairs


def alt_text(scene: Scene, rng: random.Random) -> str:
    """An alternative text as CC3M cleans it: true, and less than all there is to say."""
    first = rng.choice(scene.things)
    many = len(scene.things) if scene.alike else 1
    shape = _HYPERNYMS.get(first.shape, first.shape) if rng.random() < 0.5 else first.shape
    kind = f"{first.colour} {PLURALS.get(shape, f'{shape}s') if many > 1 else shape}"
    one = kind if many > 1 else f"{'an' if first.colour == 'orange' else 'a'} {kind}"
    where = scene.place.phrase
    forms = [f"{one} {where} .", f"illustration of {one} {where} .", f"cartoon with {one} .",
             f"{one} , drawn {where} ."]  # fmt: skip
    return rng.choice(forms if many > 1 else [*forms, f"it 's {one} {where} ."])


def _pair(place: int, rng: random.Random, where: str) -> Pair:
    pair, scene = _drawn(place, rng, where)
    return pair._replace(caption=alt_text(scene, rng))


def _drawn(place: int, rng: random.Random, where: str) -> tuple[Pair, Scene]:
    """A pair without words; every tenth could not be fetched."""
    scene, url = compose(rng), f"{URL}/{where}/{place}.jpg"
    if place % 10 == 3:
        return Pair(url, None, None, 0, 0, rng.choice(_FAILURES)), scene
    return Pair(url, None, painted(scene, rng), scene.width, scene.height), scene


def write_pairs(out: Path, seed: int, images: int, counts: dict[str, int]) -> None:
    """cc3m/{train,validation} and laion, a few shards each."""
    for split, count, shards in (("train", images // 6, 2), ("validation", images // 30 + 4, 1)):
        counts["cc3m_pairs"] += count
        _write_shards(out / "cc3m" / split, cc3m(count, split, seed), shards)
    pairs = laion(images // 10 + 8, seed)
    counts["laion_pairs"] += len(pairs)
    _write_shards(out / "laion", pairs, 2)


def _write_shards(folder: Path, pairs: list[Pair], shards: int) -> None:
    size = -(-len(pairs) // shards)
    for shard in range(shards):
        write_shard(folder, shard, pairs[shard * size : (shard + 1) * size])


def write_shard(folder: Path, shard: int, pairs: list[Pair]) -> None:
    """One shard, its three files."""
    schema = _SCHEMA
    if any(pair.more for pair in pairs):
        schema = pa.unify_schemas([_SCHEMA, _COCO_COLUMNS])
    rows = [pair.row(f"{shard:05d}{i:04d}") for i, pair in enumerate(pairs)]
    put(folder / f"{shard:05d}.tar", archive(pairs, shard))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    put(folder / f"{shard:05d}.parquet", sink.getvalue().to_pybytes())
    status = [pair.failure[0] for pair in pairs]
    reasons = ["success" if p.failure[1] is None else p.failure[1] for p in pairs]
    put_json(folder / f"{shard:05d}_stats.json", {
        "count": len(pairs), "successes": status.count("success"),
        "failed_to_download": status.count("failed_to_download"),
        "failed_to_resize": status.count("failed_to_resize"),
        "duration": 60.0, "start_time": 1639958400.0, "end_time": 1639958460.0,  # fixed times
        "status_dict": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
    })  # fmt: skip


def archive(pairs: list[Pair], shard: int, end: bytes = tar.END) -> bytes:
    """The shard's tar: three files for each pair that was fetched; "" is the text of none."""
    members = []
    for i, pair in enumerate(pairs):
        key = f"{shard:05d}{i:04d}"
        if pair.image is not None:
            members += [
                tar.member(f"{key}.jpg", pair.image),
                tar.member(f"{key}.txt", (pair.caption or "").encode()),
                tar.member(f"{key}.json", json.dumps(pair.row(key)).encode()),
            ]
    return b"".join(members) + end
