"""Measures of a sealed data set: lengths of texts, sizes of pictures, duplicates, leaks.

    found = stats(folder)               # .places: a corpus and split each; .shared; .leaks

Reads every record once, verified, front to back, and keeps of each turn 8 bytes.
"""

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import xxhash

from manifests.schema import Record
from manifests.seal import Shard
from shards import jpeg, tokens
from shards.duplicates import Shared, find_duplicates
from shards.inspect import read
from shards.reader import Dataset, Source
from shards.rows import written

_COLUMNS = ("key", "corpus", "shard", "offset", "nbytes", "digest", "width", "height")
_CHUNK = 512  # records tokenised at a time
_NOT_WORDS = re.compile(r"[^\w]+")


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Whole numbers in short; `p95`: 95 of 100 are not above it. All are 0 if there is none."""

    total: int
    mean: float
    p50: int
    p95: int
    max: int


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """The lengths of prompts, or of targets, turn by turn.

    `tokens` is by tokenizer: 12 hex of one with a cache, or "given". A cache counts templates and
    special tokens too. `histogram`: turns of 0, 1, 2-3, 4-7, 8-15 ... words.
    """

    words: Spread
    characters: Spread
    tokens: dict[str, Spread]
    histogram: list[int]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One corpus and split. A sample is a record and some of its turns: how many there are is the
    mixture's choice, from one a record to one a thread.

    `width`, `height`: of the sources, upright; `stored`: "224x224" -> records. `distinct`: targets
    that differ in more than case and punctuation. `repeated`: records whose picture is another's.
    """

    corpus: str
    split: str
    records: int
    turns: int
    threads: int
    nbytes: Spread
    width: Spread
    height: Spread
    stored: dict[str, int]
    prompts: Text
    targets: Text
    distinct: int
    repeated: int

    @property
    def name(self) -> str:
        return f"{self.corpus}/{self.split}"


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """`shared`: pictures in two corpora, one split. `leaks`: pictures and groups in two splits."""

    root: str
    places: list[Place]
    shared: list[Shared]
    leaks: list[Shared]


def stats(
    folder: Path | str,
    corpora: Sequence[str] = (),
    tokenizer: Path | None = None,
    progress: Callable[[int], None] = lambda records: None,
) -> Stats:
    """Measure some corpora of a data set, or all; tokens also by the `tokenizer.json` given.

    `progress` is told how many records more were read. Raises SealError, DamageError, ValueError.
    """
    data = Dataset(folder)
    there = sorted({corpus for corpus, _ in data.names})
    if unknown := set(corpora) - set(there):
        raise ValueError(f"{folder} has no corpus {min(unknown)}; it has {', '.join(there)}")
    names = [name for name in data.names if name[0] in (corpora or there)]
    encode = None if tokenizer is None else _encoder(tokenizer)
    alike = find_duplicates(data.folder, corpora or there)
    places = []
    for corpus, split in names:
        source = data.source(corpus, split)
        measure = _Measure(encode)
        for shard in source.shards:
            _read(data.folder, shard, measure, progress)
        places.append(measure.place(data.folder, source, alike.repeated.get(source.name, 0)))
    return Stats(root=data.seal.root, places=places, shared=alike.shared, leaks=alike.leaks)


Encode = Callable[[list[str]], list[int]]


def _encoder(path: Path) -> Encode:
    """How many tokens texts have. Raises ValueError if the file is no tokenizer, or not there."""
    import tokenizers

    try:
        description = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"--tokenizer {path} cannot be read: {error.strerror}; expected a tokenizer.json"
        ) from error
    try:
        bpe = tokenizers.Tokenizer.from_buffer(description)
    except Exception as error:  # the library raises no narrower one
        raise ValueError(f"--tokenizer {path} is no tokenizer.json: {error}") from error
    bpe.no_truncation()
    bpe.no_padding()

    def encode(texts: list[str]) -> list[int]:
        return [len(found) for found in bpe.encode_batch(texts, add_special_tokens=False)]

    return encode


def _read(folder: Path, shard: Shard, measure: "_Measure", progress: Callable[[int], None]) -> None:
    rows = written(folder, shard, *_COLUMNS).to_pylist()
    for begin in range(0, len(rows), _CHUNK):
        chunk = rows[begin : begin + _CHUNK]
        measure.add(chunk, [read(folder, row) for row in chunk])
        progress(len(chunk))


class _Measure:
    """What is counted of the records of a place while they pass."""

    def __init__(self, encode: Encode | None) -> None:
        self._encode = encode
        self._rows: dict[str, Counter[int]] = {}
        self._texts: dict[tuple[str, str], Counter[int]] = {}
        self._stored = Counter[str]()
        self._threads = 0
        self._targets = array("Q")  # a hash of each

    def add(self, rows: list[dict[str, Any]], records: list[Record]) -> None:
        for column in ("nbytes", "width", "height"):
            self._rows.setdefault(column, Counter()).update(row[column] for row in rows)
        for record in records:
            header = jpeg.header(record.image)
            self._stored[f"{header.width}x{header.height}"] += 1
            self._threads += len({turn.thread for turn in record.turns})
        turns = [turn for record in records for turn in record.turns]
        self._targets.extend(_hash(turn.target) for turn in turns)
        for part in ("prompt", "target"):
            texts = [getattr(turn, part) for turn in turns]
            self._count(part, "words", (len(text.split()) for text in texts))
            self._count(part, "characters", map(len, texts))
            if self._encode:
                self._count(part, "tokens", self._encode(texts))

    def _count(self, part: str, what: str, lengths: Iterable[int]) -> None:
        self._texts.setdefault((part, what), Counter()).update(lengths)

    def place(self, folder: Path, source: Source, repeated: int) -> Place:
        """All of it, once every record has passed."""
        caches = tokens.cached(folder, source)
        return Place(
            corpus=source.corpus,
            split=source.split,
            records=sum(self._stored.values()),
            turns=len(self._targets),
            threads=self._threads,
            **{name: spread(self._rows.get(name, {})) for name in ("nbytes", "width", "height")},
            stored=dict(self._stored.most_common()),
            prompts=self._text("prompt", caches),
            targets=self._text("target", caches),
            distinct=len(np.unique(np.frombuffer(self._targets, np.uint64))),
            repeated=repeated,
        )

    def _text(self, part: str, caches: dict[str, tokens.Tokens]) -> Text:
        counted = {}
        for name, cache in caches.items():
            lengths, times = np.unique(cache.turns[part], return_counts=True)
            counted[name] = spread(dict(zip(lengths.tolist(), times.tolist(), strict=True)))
        if self._encode:
            counted["given"] = spread(self._texts.get((part, "tokens"), {}))
        words = self._texts.get((part, "words"), Counter())
        histogram = [0] * (max(words, default=0).bit_length() + 1)
        for length, times in words.items():
            histogram[length.bit_length()] += times
        return Text(
            words=spread(words),
            characters=spread(self._texts.get((part, "characters"), {})),
            tokens=counted,
            histogram=histogram,
        )


def _hash(text: str) -> int:
    """Texts that differ in case, punctuation or white space alone have one."""
    return xxhash.xxh3_64_intdigest(_NOT_WORDS.sub(" ", text.casefold()).strip().encode())


def spread(times: Mapping[int, int]) -> Spread:
    """The spread of values, each with how often it comes."""
    if not times:
        return Spread(total=0, mean=0, p50=0, p95=0, max=0)
    values = np.array(sorted(times), np.int64)
    often = np.array([times[value] for value in values.tolist()], np.int64)
    upto, total = np.cumsum(often), int(values @ often)
    p50, p95 = (int(values[np.searchsorted(upto * 100, p * upto[-1])]) for p in (50, 95))
    return Spread(total=total, mean=total / int(upto[-1]), p50=p50, p95=p95, max=int(values[-1]))
