"""The samples of a mixture over a sealed data set, by position.

    stream = Stream(dataset, sources, encoder, seed=1, batching=Batching(...), max_tokens=64)
    stream.positions(step, rank, world)   -> which samples a rank takes at a step
    stream.fill(slot, positions)          -> reads, checks and decodes them into a slot

The order is a function of (seal, mixture, seed, step) alone. A stream has no state: there is
nothing to save of it but the step, and the mixture, so that no later release resolves it anew.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from manifests.schema import Record, Turn
from shards.ahead import Ahead
from shards.fill import Pictures
from shards.mixing import BY_SAMPLES, Mixing, Mixture, SourceSpec, resolve, windows
from shards.order import Order
from shards.reader import CACHE_BYTES, Dataset
from shards.rows import DamageError
from shards.sampler import Part, Rows, chosen_rows, sample_rows
from shards.schedule import Schedule
from shards.slot import Slot
from shards.tokens import (
    TOKEN_FILES,
    Encoder,
    Tokens,
    Vocabulary,
    cache_of,
    is_whole,
    make_tokens,
    open_tokens,
)
from shards.turns import Samples, Totals, open_samples


class Batching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`global_` samples a step in pools of `pool`; ranks share every pool."""

    global_: int = msgspec.field(name="global")
    pool: int

    def __post_init__(self) -> None:
        if self.global_ < 1 or self.pool < 1 or self.global_ % self.pool:
            raise ValueError(f"batch.global {self.global_} is not a multiple of pool {self.pool}")

    @property
    def pools(self) -> int:
        return self.global_ // self.pool


class Words(NamedTuple):
    """What is known of a tokenizer where there is none: see shards.tokens.Vocabulary."""

    digest: str
    pad: int
    image: int


class Picked(NamedTuple):
    """What stands at a position: turns of a record, which is `number` in its source, lies in
    `shard` and is verified. Turns before `turns[context]` are not learnt."""

    position: int
    source: str
    passes: int
    sample: int
    number: int
    shard: str
    record: Record
    turns: tuple[Turn, ...]
    context: int


class _Settings(NamedTuple):
    """All that a stream follows from, as another process is told it."""

    sources: Mapping[str, SourceSpec]
    words: Words
    seed: int
    batching: Batching
    max_tokens: int
    mixture: Mixture


class Stream:
    """`sources` by name, mixed as `mixing` says; `cache_bytes` is the room for shards that windows
    are sized for. `mixture`, of a checkpoint, is taken as it is in place of these two.

    Caches that are not there are made first; `progress` is told the source and how many records
    more are done. `checked` reads those that are there whole; of several processes one is enough.
    Raises KeyError for a source that the data set lacks, ValueError for a mixture that cannot be,
    DamageError for damaged caches and records.
    """

    def __init__(
        self,
        dataset: Dataset,
        sources: Mapping[str, SourceSpec],
        encoder: Encoder,
        *,
        seed: int,
        batching: Batching,
        max_tokens: int,
        mixing: Mixing = BY_SAMPLES,
        cache_bytes: int = CACHE_BYTES,
        mixture: Mixture | None = None,
        checked: bool = True,
        progress: Callable[[str, int], None] = lambda source, records: None,
    ) -> None:
        if mixture is not None:  # sources are numbered in its order, whatever the YAML's is now
            sources = {name: sources[name] for name in mixture.parts}
        for name, spec in sources.items():
            source = dataset.source(spec.corpus or name, spec.split)
            folder = cache_of(dataset, source, encoder)
            if not dataset.files.has(folder, TOKEN_FILES, is_whole):
                make_tokens(folder, source, encoder, lambda n, name=name: progress(name, n))
        words = Words(encoder.digest, encoder.pad, encoder.image)
        parts = _open_parts(dataset, sources, words, max_tokens, checked)
        for source, _, _ in parts.values():
            _ = source.index  # made here if it is stale, not by helpers that are watched
        if mixture is None:
            mixture = resolve(
                mixing,
                {name: spec.weight for name, spec in sources.items()},
                {name: len(samples) for name, (_, _, samples) in parts.items()},
                {name: samples.totals.targets for name, (_, _, samples) in parts.items()},
                windows(
                    {n: [s.nbytes for s in source.shards] for n, (source, _, _) in parts.items()},
                    cache_bytes,
                ),
            )
        self._set(dataset, _Settings(sources, words, seed, batching, max_tokens, mixture), parts)

    def _set(self, dataset: Dataset, settings: _Settings, parts: dict) -> None:
        self.dataset, self._settings = dataset, settings
        self.names = tuple(settings.sources)
        self.mixture, self.max_tokens = settings.mixture, settings.max_tokens
        self.batching = settings.batching
        self.schedule = Schedule(self.mixture.shares, self.mixture.lengths, self.mixture.exhausted)
        self._parts = []
        for name, (source, tokens, samples) in parts.items():
            known = self.mixture.parts[name]
            if len(samples) != known.samples:
                raise DamageError(
                    f"source {name} has {len(samples)} samples; its mixture was resolved for "
                    f"{known.samples}. Remove {dataset.folder / 'tokens'}: it is made anew"
                )
            starts = samples.starts(source.starts)
            ids = [shard.id for shard in source.shards]
            order = Order(starts, ids, seed=settings.seed, source=name, window=known.window)
            self._parts.append(Part(source, tokens, samples, order))
        policy = dataset.seal.image_policy
        self.pixels = int(policy["size"])
        self._pictures = Pictures(
            [part.source for part in self._parts], policy["policy"] == "squash"
        )

    def __reduce__(self) -> tuple:
        return _reopened, (self.dataset, self.dataset.seal.root, self._settings)

    @property
    def steps(self) -> int | None:
        """Steps until the mixture ends; None if it never does. The last one may be smaller."""
        length = self.schedule.length
        return None if length is None else -(-length // self.batching.global_)

    def slot(self, size: int) -> Slot:
        """Buffers for `size` samples of this stream."""
        return Slot(size, self.max_tokens, self.pixels)

    def positions(self, step: int, rank: int, world: int) -> list[np.ndarray]:
        """The positions int64 [n] that a rank takes of each pool of a step.

        Rank r of W takes floor(rP/W)..floor((r+1)P/W) of each pool of P, so that all ranks together
        take every position once, in the same order for every W. Where the mixture ends, the last
        pool is smaller, and a rank's part of it may be empty.
        """
        whole, size = self.batching.global_, self.batching.pool
        if world > size:
            raise ValueError(f"{world} ranks cannot share a pool of {size}; raise batch.pool")
        first, end = step * whole, (step + 1) * whole
        if self.schedule.length is not None:
            end = min(end, self.schedule.length)
        taken = []
        for begin in range(first, end, size):
            pool = min(size, end - begin)
            taken.append(begin + np.arange(rank * pool // world, (rank + 1) * pool // world))
        return taken

    def rows(self, positions: np.ndarray) -> Rows:
        """The rows of positions int64 [N]: all but their pixels."""
        corpus, index = self.schedule.at(positions)
        words = self._settings.words
        return sample_rows(self._parts, corpus, index, self.max_tokens, (words.pad, words.image))

    def fill_rows(self, slot: Slot, rows: Rows) -> None:
        """Put rows, and their pictures, into a slot of as many."""
        rows.copy_to(slot)
        self._pictures.fill(slot.images, rows.fields["corpus"], rows.images)

    def ahead(self) -> Ahead | None:
        """What fetches shards of a remote data set ahead of readers; None of a local one."""
        if not self.dataset.files.remote:
            return None
        sources = [part.source for part in self._parts]
        orders = [part.order for part in self._parts]
        ends = None if self.schedule.length is None else list(self.mixture.lengths.values())
        return Ahead(sources, orders, self.schedule, self.batching.global_, ends)

    def fill(self, slot: Slot, positions: np.ndarray) -> None:
        """Read, check and decode the samples at `positions` int64 [n] into the slot's n rows."""
        self.fill_rows(slot, self.rows(positions))

    def fill_samples(
        self, slot: Slot, name: str, samples: np.ndarray, images_of: np.ndarray | None = None
    ) -> None:
        """The same for chosen samples int64 [n] of one source, as in pass 0.

        `images_of` int64 [n]: records whose images are shown instead of their own.
        """
        number, words = self.names.index(name), self._settings.words
        corpus, passes = np.full(len(samples), number), np.zeros(len(samples), np.int64)
        rows = chosen_rows(
            self._parts, corpus, samples, passes, self.max_tokens, (words.pad, words.image)
        )
        if images_of is not None:
            rows = rows._replace(images=self._parts[number].source.entries(images_of))
        self.fill_rows(slot, rows)

    def picked(self, positions: np.ndarray) -> list[Picked]:
        """What stands at positions int64 [N], read from the shards. Raises DamageError."""
        found = []
        rows = self.rows(positions)
        for place, position in enumerate(positions.tolist()):
            name = self.names[int(rows.fields["corpus"][place])]
            part = self._parts[self.names.index(name)]
            sample, passes = rows.sample[place], rows.passes[place]
            _, choice = part.samples.choose(part.tokens, sample[None], passes[None])
            (chosen,) = part.samples.choices[choice]
            number = int(rows.fields["record"][place])
            record = part.source.record(number)
            first = int(chosen["first"]) - int(part.tokens.records["first"][number])
            said = sorted(record.turns, key=lambda turn: turn.thread)  # as the cache holds them
            found.append(
                Picked(
                    position=position,
                    source=name,
                    passes=int(passes),
                    sample=int(sample),
                    number=number,
                    shard=part.source.shards[int(rows.images["shard"][place])].tar,
                    record=record,
                    turns=tuple(said[first : first + int(chosen["turns"])]),
                    context=int(chosen["context"]),
                )
            )
        return found

    @property
    def totals(self) -> dict[str, Totals]:
        """Records, turns and target tokens of a pass, by source."""
        parts = zip(self.names, self._parts, strict=True)
        return {name: part.samples.totals for name, part in parts}

    @property
    def robots_wanted(self) -> np.ndarray:
        """float64 [robots]: how often each is wanted in a pass of every source."""
        facts = ((p.tokens.facts, p.tokens.records, p.samples.samples) for p in self._parts)
        wanted = (f["robots"][r["facts"][s["record"]]].sum(0, np.float64) for f, r, s in facts)
        return np.sum([*wanted], axis=0)

    def records_of(self, name: str, samples: np.ndarray) -> np.ndarray:
        """int64 [n]: the records that samples of a source are of."""
        part = self._parts[self.names.index(name)]
        return part.samples.samples["record"][samples].astype(np.int64)

    def key_of(self, name: str, record: int) -> str:
        """The key of a record of a source."""
        return self._parts[self.names.index(name)].source.record(record).key


def _open_parts(
    dataset: Dataset,
    sources: Mapping[str, SourceSpec],
    words: Vocabulary,
    max_tokens: int,
    checked: bool,
) -> dict:
    """(Source, Tokens, Samples) by name."""
    parts = {}
    for name, spec in sources.items():
        source = dataset.source(spec.corpus or name, spec.split)
        folder = cache_of(dataset, source, words)
        tokens = open_tokens(folder, checked)
        samples = open_samples(folder, tokens, spec.turns, max_tokens, spec.kinds, checked)
        # Seen as plain arrays, which are quicker to take rows from than memmaps.
        plain = Tokens(*map(np.asarray, tokens))
        first, second = np.asarray(samples.samples), np.asarray(samples.choices)
        parts[name] = (source, plain, Samples(first, second, samples.totals))
    return parts


def _reopened(dataset: Dataset, root: str, settings: _Settings) -> Stream:
    """A stream of another process, opened again in this one."""
    if dataset.seal.root != root:
        raise DamageError(
            f"{dataset.folder} was replaced by a newer data set after it was opened. Run the same "
            f"command again, to read the newer one"
        )
    stream = object.__new__(Stream)
    parts = _open_parts(
        dataset, settings.sources, settings.words, settings.max_tokens, checked=False
    )
    stream._set(dataset, settings, parts)
    return stream
