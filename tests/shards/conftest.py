"""A small sealed data set, written as the pipeline writes one, and a tokenizer of whole words."""

import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from manifests import store
from manifests.place import order_in_shard, shard_of
from manifests.schema import ROBOTS, SCHEMA_VERSION, Record, Split, Step, Turn, canonical_json
from manifests.seal import FORMAT, Count, Seal, Shard, merkle_root
from shards import images, writer
from shards.stream import Stream
from shards.writer import ShardWriter, Source
from tests.shards.streams import open_stream

SIZE = 32


class Part(NamedTuple):
    """One corpus and split of a data set to build: `count` records in 2**`bits` shards."""

    corpus: str
    split: Split
    count: int
    bits: int


PARTS = (
    Part("coco", "train", 40, 2),
    Part("coco", "val", 6, 0),
    Part("vqa", "train", 24, 1),
    Part("llava", "train", 12, 0),
    Part("robots", "train", 9, 3),  # fewer records than fill its shards: some are empty
)


def _picture(number: int) -> bytes:
    """A JPEG of coloured squares, another for each number."""
    squares = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    image = Image.fromarray(np.kron(squares, np.ones((SIZE // 4, SIZE // 4, 1), np.uint8)))
    return images.encode(image, 90)


def _turns(corpus: str, number: int) -> Iterable[Turn]:
    def turn(place: int, thread: int, prompt: str, target: str, kind: Any) -> Turn:
        return Turn(thread=thread, id=f"{number}.{place}", prompt=prompt, target=target, kind=kind)

    if corpus == "coco":
        for i in range(5):
            yield turn(i, i, "", f"caption {i} of picture {number}" + " indeed" * i, "caption")
    elif corpus == "vqa":
        for i in range(2 + number % 3):
            yield turn(i, i, f"what is {i} in {number} " + "please " * (i + 1), f"a{number}", "qa")
    elif corpus == "llava":
        for i in range(2 + number % 4):
            yield turn(i, 0, f"tell {i}", f"it is {i} " * (1 + i), "instruction")
    else:
        yield turn(0, 0, f"inspect site {number}", ROBOTS[number % 5], "robot")
        yield turn(1, 0, "why", f"because of {number}", "reasoning")


def _record(corpus: str, number: int, split: Split = "train", **fields: Any) -> Record:
    robots: dict[str, Any] = {}
    if corpus == "robots":
        suit = tuple(ROBOTS[i] for i in range(5) if (number + 1) >> i & 1)
        steps = tuple(Step(text=f"go {i}", robot=suit[0], order=i) for i in range(number % 3))
        site = {"terrain": "mud", "wind_ms": float(number)}
        robots = {"robots": suit, "plan": steps, "meta": canonical_json({"site": site})}
    whole: dict[str, Any] = {
        "key": f"{corpus}-{split}-{number:04d}",
        "corpus": corpus,
        "group": f"coco:{number}" if corpus in ("coco", "vqa") else f"{corpus}:{number}",
        "split": split,
        "image": _picture(number),
        "turns": tuple(_turns(corpus, number)),
        "licence": "CC0",
        **robots,
        **fields,
    }
    return Record(**whole)


def _write_shard(
    out: Path, records: Sequence[Record], shard_id: str = "00000", failures: Sequence[dict] = ()
) -> Shard:
    first = records[0]
    with ShardWriter(out, first.corpus, first.split, shard_id) as shard:
        for record in records:
            where = f"file:{record.key}.jpg"
            shard.add(record, Source(locator=where, digest="0" * 32, width=640, height=480))
        return shard.close(failures)


def _seal(out: Path, shards: Sequence[Shard], failures: Sequence[dict] = ()) -> Seal:
    """Seal shards with the ledger that follows from them and the failures among their rows."""
    sums: dict[tuple[str, Split], Counter[str]] = {}
    for shard in shards:
        fates = {"written": shard.turns, "records": shard.records}
        sums.setdefault((shard.corpus, shard.split), Counter()).update(fates)
    for row in failures:
        fate = {row["status"]: row["turns"] or 1}
        sums[row["corpus"], row["split"]].update(fate)
    names = {"held_back": "held back"}
    fates = ("written", "quarantined", "duplicate", "held_back", "records", "unannotated")
    ledger = [
        Count(
            corpus=corpus,
            split=split,
            read=sum(count[names.get(fate, fate)] for fate in fates[:4]),
            **{fate: count[names.get(fate, fate)] for fate in fates},
        )
        for (corpus, split), count in sorted(sums.items())
    ]
    seal = Seal(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        root=merkle_root(shards),
        config_digest="0" * 64,
        image_policy={"policy": "squash", "size": SIZE, "quality": 90},
        codecs=images.codecs(),
        bits={},
        ledger=tuple(ledger),
        reasons=store.write_named(out, "manifests/ledger", ".parquet", b"reasons"),
        shards=tuple(shards),
    )
    store.commit(out, seal)
    return seal


def _build(out: Path, parts: Sequence[Part] = PARTS) -> Path:
    """A sealed data set in `out`; coco/train has one failure of each kind in its shard 00000."""
    shards: list[Shard] = []
    failures = [
        writer.row(key=f"bad-{i}", corpus="coco", split="train", turns=i, status=status, error=why)
        for i, (status, why) in enumerate(
            [
                ("unannotated", "no caption names it"),
                ("quarantined", "0 bytes"),
                ("duplicate", "as coco-train-0001"),
                ("held back", "protected by coco/val"),
            ]
        )
    ]
    for part in parts:
        placed: dict[str, list[Record]] = {f"{i:05d}": [] for i in range(2**part.bits)}
        for number in range(part.count):
            record = _record(part.corpus, number, part.split)
            placed[shard_of(record.group, part.bits)].append(record)
        for shard_id, records in placed.items():
            records.sort(key=lambda record: order_in_shard(record.key))
            with ShardWriter(out, part.corpus, part.split, shard_id) as shard:
                for record in records:
                    where = f"file:{record.key}.jpg"
                    shard.add(record, Source(locator=where, digest="0" * 32, width=64, height=48))
                mine = (part.corpus, part.split, shard_id) == ("coco", "train", "00000")
                shards.append(shard.close(failures if mine else ()))
    _seal(out, shards, failures if any(p[:2] == ("coco", "train") for p in parts) else ())
    return out


class WordEncoder:
    """Words as ids: 2 for the end of a target, then a hash of the word."""

    vocab_size, pad, image = 5000, 0, 1
    digest = "f" * 64

    @staticmethod
    def ids(text: str) -> list[int]:
        return [3 + zlib.crc32(word.encode()) % 4997 for word in text.split()]

    def encode_turns(
        self, kinds: Sequence[str], prompts: Sequence[str], targets: Sequence[str]
    ) -> list[tuple[list[int], list[int]]]:
        assert len(kinds) == len(prompts) == len(targets)
        both = zip(prompts, targets, strict=True)
        return [(self.ids(prompt), [*self.ids(target), 2]) for prompt, target in both]


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    """make_record(corpus, number, split="train", **fields)"""
    return _record


@pytest.fixture(scope="session")
def write_shard() -> Callable[..., Shard]:
    """write_shard(out, records in their order, shard_id="00000", failures=())"""
    return _write_shard


@pytest.fixture(scope="session")
def seal_shards() -> Callable[..., Seal]:
    """seal_shards(out, shards, failures=())"""
    return _seal


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sealed data set of PARTS. Tests read it, and copy it to do harm."""
    return _build(tmp_path_factory.mktemp("data") / "shards")


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy of `whole` that a test may damage."""
    return shutil.copytree(whole, tmp_path / "copy", ignore=shutil.ignore_patterns("index", "tok*"))


@pytest.fixture(scope="session")
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture(scope="session")
def make_stream(whole: Path, encoder: WordEncoder) -> Callable[..., Stream]:
    """make_stream(sources=..., total=20, pool=10, ...): a stream over `whole`."""
    return partial(open_stream, whole, encoder)


@pytest.fixture(scope="session")
def stream(make_stream: Callable[..., Stream]) -> Stream:
    return make_stream()
