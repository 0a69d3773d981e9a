"""The derived token cache: every turn of a source as uint16 ids, made once a tokenizer.

    OUT/tokens/<tokenizer>/<corpus>-<split>-<shards>/  ids.npy turns.npy records.npy xxh3-128

`<tokenizer>` and `<shards>` are 12 hex of digests, so a cache of another tokenizer, template or
build is never read. Records stand in the order of the source's index; all three are memory-mapped.
"""

import hashlib
import mmap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import xxhash

from manifests import store
from manifests.schema import KINDS, MAX_STEPS, ROBOTS, SITE_FACTS, Record, site_vector
from shards.reader import DamageError, Source

TURNS = np.dtype(
    [
        ("start", "<u8"),  # of the prompt in ids; the target follows it
        ("prompt", "<u2"),  # tokens
        ("target", "<u2"),  # tokens
        ("thread", "<u2"),
        ("kind", "<u2"),  # ordinal in KINDS
    ]
)
RECORDS = np.dtype(
    [
        ("first", "<u8"),  # turn
        ("turns", "<u4"),
        ("key", "<u8"),  # xxh3-64 of the key
        ("group", "<i8"),  # xxh3-64 of the group
        ("robots", "u1"),  # bit i: ROBOTS[i] suits
        ("single", "u1"),  # one robot is enough; the label may hold several that suit equally
        ("plan", "i1", (MAX_STEPS, 2)),  # (robot, order), -1 = none
        ("site", "<f4", (len(SITE_FACTS),)),  # NaN = unknown
    ]
)
_LONGEST = 65_535
_DIGESTS = "xxh3-128"
_CHUNK = 512  # records tokenised at a time


class Encoder(Protocol):
    """What the cache needs of a tokenizer; `digest` covers its templates too."""

    @property
    def digest(self) -> str: ...

    @property
    def vocab_size(self) -> int: ...

    @property
    def pad(self) -> int: ...

    @property
    def image(self) -> int: ...

    def encode_turns(
        self, kinds: Sequence[str], prompts: Sequence[str], targets: Sequence[str]
    ) -> list[tuple[list[int], list[int]]]: ...


class Tokens(NamedTuple):
    """A source's cache: `ids` uint16 [tokens], `turns` TURNS [turns], `records` RECORDS."""

    ids: np.ndarray
    turns: np.ndarray
    records: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """int64 [turns]: tokens of prompt and target together."""
        return self.turns["prompt"].astype(np.int64) + self.turns["target"]


def open_tokens(
    dataset: Path,
    source: Source,
    encoder: Encoder,
    progress: Callable[[int], None] = lambda n: None,
) -> Tokens:
    """The source's cache under `dataset`, made first if it is not there.

    `progress` is told how many records are done. Raises ValueError for a vocabulary over 65,536 or
    a turn over 65,535 tokens, DamageError for a damaged record or cache.
    """
    if encoder.vocab_size > _LONGEST + 1:
        raise ValueError(f"a vocabulary of {encoder.vocab_size} does not fit in uint16")
    folder = dataset / "tokens" / encoder.digest[:12] / _name(source)
    if not folder.exists():
        try:
            with store.new_folder(folder) as temporary:
                _write(temporary, source, encoder, progress)
        except OSError:
            if not folder.exists():  # else another process made the same one first
                raise
    return _open(folder)


def cached(dataset: Path, source: Source) -> dict[str, Tokens]:
    """The source's caches that are there, by the 12 hex of their tokenizers. Raises DamageError."""
    found = sorted((dataset / "tokens").glob(f"*/{_name(source)}"))
    return {folder.parent.name: _open(folder) for folder in found}


def _name(source: Source) -> str:
    shards = hashlib.sha256("".join(s.sha256 for s in source.shards).encode()).hexdigest()
    return f"{source.corpus}-{source.split}-{shards[:12]}"


def _open(folder: Path) -> Tokens:
    noted = folder / _DIGESTS
    if not noted.exists() or _digests(folder) != noted.read_text():
        raise DamageError(f"{folder} is damaged; remove it, and it is made anew from the shards")
    parts = (np.load(folder / f"{part}.npy", mmap_mode="r") for part in Tokens._fields)
    return Tokens(*parts)


def _digests(folder: Path) -> str:
    """xxh3-128 of each array's file, by mapping it: as fast as it can be read."""
    lines = []
    for part in Tokens._fields:
        with (folder / f"{part}.npy").open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        lines.append(f"{xxhash.xxh3_128_hexdigest(data)}  {part}.npy\n")
    return "".join(lines)


def _write(folder: Path, source: Source, encoder: Encoder, progress: Callable[[int], None]) -> None:
    ids: list[np.ndarray] = []
    turns: list[np.ndarray] = []
    records = np.zeros(len(source), RECORDS)
    tokens = count = 0
    for begin in range(0, len(source), _CHUNK):
        chunk = [source.record(n) for n in range(begin, min(begin + _CHUNK, len(source)))]
        said = [turn for record in chunk for turn in sorted(record.turns, key=lambda t: t.thread)]
        encoded = encoder.encode_turns(
            [t.kind for t in said], [t.prompt for t in said], [t.target for t in said]
        )
        part = np.zeros(len(said), TURNS)
        for row, turn, (prompt, target) in zip(part, said, encoded, strict=True):
            if max(len(prompt), len(target), turn.thread) > _LONGEST:
                raise ValueError(f"{source.name}: turn {turn.id} is over {_LONGEST} tokens long")
            row["start"], row["prompt"], row["target"] = tokens, len(prompt), len(target)
            row["thread"], row["kind"] = turn.thread, KINDS.index(turn.kind)
            tokens += len(prompt) + len(target)
        turns.append(part)
        ids.append(np.array([i for pair in encoded for half in pair for i in half], np.uint16))
        for row, record in zip(records[begin:], chunk, strict=False):
            row["first"], row["turns"] = count, len(record.turns)
            count += len(record.turns)
            _describe(row, record)
        progress(begin + len(chunk))
    empty_ids, empty_turns = np.zeros(0, np.uint16), np.zeros(0, TURNS)
    np.save(folder / "ids.npy", np.concatenate([empty_ids, *ids]))
    np.save(folder / "turns.npy", np.concatenate([empty_turns, *turns]))
    np.save(folder / "records.npy", records)
    (folder / _DIGESTS).write_text(_digests(folder))


def _describe(row: np.void, record: Record) -> None:
    row["key"] = xxhash.xxh3_64_intdigest(record.key.encode())
    row["group"] = np.uint64(xxhash.xxh3_64_intdigest(record.group.encode())).astype(np.int64)
    row["robots"] = sum(1 << ROBOTS.index(robot) for robot in set(record.robots))
    row["single"] = bool(record.robots) and not record.plan
    row["plan"] = -1
    for place, step in enumerate(record.plan):
        row["plan"][place] = ROBOTS.index(step.robot), step.order
    row["site"] = site_vector(record.meta)


def unpack_robots(bits: int) -> np.ndarray:
    """float32 [len(ROBOTS)], 1 where the bit is set."""
    return np.array([bits >> i & 1 for i in range(len(ROBOTS))], np.float32)
