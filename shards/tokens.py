"""The derived token cache: every turn of a source as ids, made once a tokenizer.

    OUT/tokens/<tokenizer>/<corpus>-<split>-<shards>/  ids turns records facts .bin, xxh3-128

`<tokenizer>` and `<shards>` are 12 hex of digests, so a cache of another tokenizer, template, build
or layout is never read. Records stand in the order of the source's index; all is memory-mapped.
"""

import hashlib
import mmap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np
import xxhash

from manifests import store
from manifests.schema import KINDS, MAX_STEPS, ROBOTS, SITE_FACTS, Record, site_vector
from shards.reader import Dataset, Source
from shards.rows import DamageError

# `mark` has TARGET set on what is learnt; its other bits are the ordinal of the turn's thread in
# its record, so that a row of several threads is copied without a look at its turns.
TOKENS = np.dtype([("id", "<u2"), ("mark", "<u2")])
TARGET = 0x8000
TURNS = np.dtype(
    [
        ("start", "<u8"),  # of the prompt in the tokens; the target follows it
        ("prompt", "<u2"),  # tokens
        ("target", "<u2"),  # tokens
        ("thread", "<u2"),
        ("kind", "<u2"),  # ordinal in KINDS
    ]
)
RECORDS = np.dtype(
    [
        ("first", "<u8"),  # turn
        ("key", "<u8"),  # xxh3-64 of the key
        ("group", "<i8"),  # xxh3-64 of the group
        ("turns", "<u4"),
        ("facts", "<u4"),  # row of the facts; row 0 is that of all records without any
    ]
)
FACTS = np.dtype(
    [
        ("robots", "<f4", (len(ROBOTS),)),  # multi-hot
        ("single", "?"),  # one robot is enough; the label may hold several that suit equally
        ("plan", "i1", (MAX_STEPS, 2)),  # (robot, order), -1 = none
        ("site", "<f4", (len(SITE_FACTS),)),  # NaN = unknown
    ]
)
_LAYOUT = 3  # of these arrays, and of those that shards.turns derives from them
_LONGEST = 65_535
_DIGESTS = "xxh3-128"
TOKEN_FILES = (*(f"{name}.bin" for name in ("tokens", "turns", "records", "facts")), _DIGESTS)
_CHUNK = 512  # records tokenised at a time


class Vocabulary(Protocol):
    """What reading a cache needs of a tokenizer; `digest` covers its templates too."""

    @property
    def digest(self) -> str: ...

    @property
    def pad(self) -> int: ...

    @property
    def image(self) -> int: ...


class Encoder(Vocabulary, Protocol):
    """What making a cache needs of a tokenizer."""

    @property
    def vocab_size(self) -> int: ...

    def encode_turns(
        self, kinds: Sequence[str], prompts: Sequence[str], targets: Sequence[str]
    ) -> list[tuple[list[int], list[int]]]: ...


class Tokens(NamedTuple):
    """A source's cache, memory-mapped: TOKENS [tokens], TURNS [turns], RECORDS [records], FACTS."""

    tokens: np.ndarray
    turns: np.ndarray
    records: np.ndarray
    facts: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """int64 [turns]: tokens of prompt and target together."""
        return self.turns["prompt"].astype(np.int64) + self.turns["target"]


_PARTS = {"tokens": TOKENS, "turns": TURNS, "records": RECORDS, "facts": FACTS}


def cache_of(dataset: Dataset, source: Source, vocabulary: Vocabulary) -> Path:
    """The folder of a source's cache, whether it is there or not."""
    return dataset.folder / "tokens" / vocabulary.digest[:12] / _name(source)


def open_tokens(folder: Path, checked: bool = True) -> Tokens:
    """The cache in `folder`. Raises DamageError if it is damaged.

    `checked` reads all of it, as fast as it can be read; of several processes one is enough.
    """
    again = "remove it, and it is made anew from the shards"
    try:
        if checked and not is_whole(folder):
            raise DamageError(f"{folder} is damaged; {again}")
        return Tokens(*(mapped(folder / f"{name}.bin", kind) for name, kind in _PARTS.items()))
    except FileNotFoundError as error:
        raise DamageError(f"{folder} is damaged ({error}); {again}") from None


def make_tokens(
    folder: Path,
    source: Source,
    encoder: Encoder,
    progress: Callable[[int], None] = lambda records: None,
) -> None:
    """Make the cache of a source in `folder`; `progress` is told how many records more are done.

    Raises ValueError for a vocabulary over 65,536 or a turn over 65,535 tokens, DamageError for a
    damaged record.
    """
    if encoder.vocab_size > _LONGEST + 1:
        raise ValueError(f"a vocabulary of {encoder.vocab_size} does not fit in uint16")
    try:
        with store.new_folder(folder) as temporary:
            with _Writer(temporary) as writer:
                for begin in range(0, len(source), _CHUNK):
                    end = min(begin + _CHUNK, len(source))
                    writer.add(source, [source.record(n) for n in range(begin, end)], encoder)
                    progress(end - begin)
            note_digests(temporary)
    except OSError:
        if not folder.exists():  # else another process made the same one first
            raise


def cached(dataset: Path, source: Source) -> dict[str, Tokens]:
    """The source's caches that are there, by the 12 hex of their tokenizers. Raises DamageError."""
    found = sorted((dataset / "tokens").glob(f"*/{_name(source)}"))
    return {folder.parent.name: open_tokens(folder) for folder in found}


def mapped(path: Path, kind: np.dtype) -> np.ndarray:
    """A file of rows, memory-mapped; an empty one cannot be, and is an empty array."""
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)


def _name(source: Source) -> str:
    named = "".join([f"{_LAYOUT}", *(shard.sha256 for shard in source.shards)])
    shards = hashlib.sha256(named.encode()).hexdigest()
    return f"{source.corpus}-{source.split}-{shards[:12]}"


def note_digests(folder: Path) -> None:
    """Write down the digests of a folder's arrays, beside them."""
    (folder / _DIGESTS).write_text(_digests(folder))


def is_whole(folder: Path) -> bool:
    """Whether a folder's arrays are as they were written. Raises OSError if they cannot be read."""
    return _digests(folder) == (folder / _DIGESTS).read_text()


def _digests(folder: Path) -> str:
    """xxh3-128 of each array's file, read by mapping it: as fast as it can be."""
    lines = []
    for path in sorted(folder.glob("*.bin")):
        with path.open("rb") as file:
            empty = not file.seek(0, 2)
            data = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            lines.append(f"{xxhash.xxh3_128_hexdigest(data)}  {path.name}\n")
    return "".join(lines)


class _Writer:
    """Appends records to the four files of a cache."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, BinaryIO] = {
            name: (folder / f"{name}.bin").open("wb") for name in _PARTS
        }
        self._tokens = self._turns = 0
        nothing = np.zeros(1, FACTS)
        nothing["plan"], nothing["site"] = -1, np.nan
        self._facts = {nothing.tobytes(): 0}
        self._write("facts", nothing)

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files.values():
            file.close()

    def _write(self, name: str, rows: np.ndarray) -> None:
        self._files[name].write(rows.tobytes())

    def add(self, source: Source, records: Sequence[Record], encoder: Encoder) -> None:
        ordered = [sorted(record.turns, key=lambda turn: turn.thread) for record in records]
        said = [turn for turns in ordered for turn in turns]
        encoded = encoder.encode_turns(
            [t.kind for t in said], [t.prompt for t in said], [t.target for t in said]
        )
        for turn, halves in zip(said, encoded, strict=True):
            if max(*map(len, halves), turn.thread) > _LONGEST:
                raise ValueError(f"{source.name}: turn {turn.id} is over {_LONGEST} tokens long")
        lengths = np.array([[len(half) for half in halves] for halves in encoded])
        lengths = lengths.reshape(-1, 2)
        ends = np.cumsum(lengths.sum(1))
        turns = np.zeros(len(said), TURNS)
        turns["start"] = self._tokens + ends - lengths.sum(1)
        turns["prompt"], turns["target"] = lengths[:, 0], lengths[:, 1]
        turns["thread"] = [turn.thread for turn in said]
        turns["kind"] = [KINDS.index(turn.kind) for turn in said]
        marks = np.array([n for turns in ordered for n in _ordinals(turns)], np.int64) % TARGET
        tokens = np.zeros(int(ends[-1]), TOKENS)
        tokens["id"] = [number for halves in encoded for half in halves for number in half]
        tokens["mark"] = np.repeat(np.stack([marks, marks | TARGET], 1).ravel(), lengths.ravel())
        self._write("tokens", tokens)
        self._write("turns", turns)
        self._write("records", self._described(records))
        self._tokens += len(tokens)
        self._turns += len(turns)

    def _described(self, records: Sequence[Record]) -> np.ndarray:
        rows = np.zeros(len(records), RECORDS)
        rows["turns"] = [len(record.turns) for record in records]
        rows["first"] = self._turns + np.cumsum(rows["turns"]) - rows["turns"]
        rows["key"] = [xxhash.xxh3_64_intdigest(record.key.encode()) for record in records]
        groups = [xxhash.xxh3_64_intdigest(record.group.encode()) for record in records]
        rows["group"] = np.array(groups, np.uint64).astype(np.int64)
        for row, record in zip(rows, records, strict=True):
            facts = _facts(record)
            known = facts.tobytes()
            if known not in self._facts:
                self._facts[known] = len(self._facts)
                self._write("facts", facts)
            row["facts"] = self._facts[known]
        return rows


def _ordinals(turns: Sequence) -> list[int]:
    """The ordinal of each turn's thread among the threads of its record."""
    numbers = {thread: i for i, thread in enumerate(dict.fromkeys(t.thread for t in turns))}
    return [numbers[turn.thread] for turn in turns]


def _facts(record: Record) -> np.ndarray:
    """FACTS [1] of a record."""
    row = np.zeros(1, FACTS)
    row["robots"] = [robot in record.robots for robot in ROBOTS]
    row["single"] = bool(record.robots) and not record.plan
    row["plan"] = -1
    for place, step in enumerate(record.plan):
        row["plan"][0, place] = ROBOTS.index(step.robot), step.order
    row["site"] = site_vector(record.meta)
    return row
