"""Positions -> batches: the stream of a mixture, filled straight into reused buffers.

    stream = Stream(dataset, sources, encoder, seed=1, batching=Batching(...), max_tokens=64)
    stream.positions(step, rank, world)   -> which samples a rank takes at a step
    stream.fill(slot, positions)          -> reads, checks and decodes them into a slot
    for step, slots in Ring(stream, ...): ...   -> the same by threads, ahead of the trainer

The order is a function of (seal, sources, seed, step) alone: whoever fills a slot, and with how
many ranks, threads or restarts, cannot change it.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import local

import msgspec
import numpy as np

from manifests.schema import KINDS, MAX_STEPS, ROBOTS, SITE_FACTS, Kind, Split
from shards import tar
from shards.images import decode_into
from shards.order import Order
from shards.reader import Dataset, Source
from shards.schedule import Schedule, shares
from shards.tokens import Encoder, Tokens, open_tokens, unpack_robots
from shards.turns import Policy, Samples

NO_LOSS = -100
_CAPTION = KINDS.index("caption")


class SourceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source of a mixture: a corpus (by default of the source's name) and split, its weight,
    which turns a sample takes, and of which kinds (none named: of all)."""

    corpus: str | None = None
    split: Split = "train"
    weight: float = 1.0
    turns: Policy = "one"
    kinds: tuple[Kind, ...] = ()


class Batching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`global_` samples a step in pools of `pool`; ranks share every pool."""

    global_: int = msgspec.field(name="global")
    pool: int

    def __post_init__(self) -> None:
        if self.pool < 1 or self.global_ % self.pool:
            raise ValueError(f"batch.global {self.global_} is not a multiple of pool {self.pool}")


class Slot:
    """Buffers for `size` samples of at most `max_tokens` tokens.

    images uint8 [B,H,W,3]; tokens, labels, thread int64 [B,T] (label -100 = no loss; thread 0 = the
    prefix that all threads of the row see, and padding); robots float32 [B,5] multi-hot; single,
    has_image bool [B]; plan int64 [B,5,2] (robot, order; -1 = none); site float32 [B,F] (NaN =
    unknown); caption_at int64 [B] (where the first caption ends, -1 = none); corpus (the source's
    ordinal), record (its number in the source), group int64 [B].
    """

    def __init__(self, size: int, max_tokens: int, pixels: int) -> None:
        self.images = np.zeros((size, pixels, pixels, 3), np.uint8)
        self.tokens = np.zeros((size, max_tokens), np.int64)
        self.labels = np.zeros((size, max_tokens), np.int64)
        self.thread = np.zeros((size, max_tokens), np.int64)
        self.robots = np.zeros((size, len(ROBOTS)), np.float32)
        self.single = np.zeros(size, bool)
        self.plan = np.zeros((size, MAX_STEPS, 2), np.int64)
        self.site = np.zeros((size, len(SITE_FACTS)), np.float32)
        self.caption_at = np.zeros(size, np.int64)
        self.has_image = np.zeros(size, bool)
        self.corpus = np.zeros(size, np.int64)
        self.record = np.zeros(size, np.int64)
        self.group = np.zeros(size, np.int64)

    def __len__(self) -> int:
        return len(self.tokens)

    def part(self, begin: int, end: int) -> "Slot":
        """Rows begin..end-1 as a slot that shares this one's memory."""
        view = object.__new__(Slot)
        for name, array in vars(self).items():
            setattr(view, name, array[begin:end])
        return view


class _Stream(msgspec.Struct):
    """What a stream holds of one source."""

    source: Source
    tokens: Tokens
    samples: Samples
    order: Order


class Stream:
    """The samples of a mixture over a sealed data set, by position.

    `sources` by name; `window` shards are read at a time. Raises KeyError for a source that the
    data set lacks, ValueError for a mixture that cannot be (see `shares`, `Order`).
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
        window: int = 16,
    ) -> None:
        self.names = tuple(sources)
        self.max_tokens, self._batching = max_tokens, batching
        self._pad, self._image = encoder.pad, encoder.image
        self.shares = shares({name: spec.weight for name, spec in sources.items()})
        self.schedule = Schedule(self.shares)
        self._streams: list[_Stream] = []
        for name, spec in sources.items():
            source = dataset.source(spec.corpus or name, spec.split)
            tokens = open_tokens(dataset.folder, source, encoder)
            samples = Samples(tokens, spec.turns, max_tokens, spec.kinds)
            starts, ids = samples.starts(source.starts), [s.id for s in source.shards]
            order = Order(starts, ids, seed=seed, source=name, window=window)
            self._streams.append(_Stream(source, tokens, samples, order))
        self.pixels = int(dataset.seal.image_policy["size"])
        self._buffers = local()

    @property
    def lengths(self) -> dict[str, int]:
        """Samples of each source in one pass."""
        return {n: len(s.samples) for n, s in zip(self.names, self._streams, strict=True)}

    @property
    def truncated(self) -> dict[str, int]:
        """Threads (under `one`: turns) of each source that do not fit and lose their end."""
        return {n: s.samples.truncated for n, s in zip(self.names, self._streams, strict=True)}

    def slot(self, size: int) -> Slot:
        """Buffers for `size` samples of this stream."""
        return Slot(size, self.max_tokens, self.pixels)

    def positions(self, step: int, rank: int, world: int) -> np.ndarray:
        """int64 [pools, n]: the positions that a rank takes at a step, pool by pool.

        Rank r of W takes floor(rP/W)..floor((r+1)P/W) of each pool of P, so that all ranks together
        take every position once, in the same order for every W.
        """
        pool, pools = self._batching.pool, self._batching.global_ // self._batching.pool
        if world > pool:
            raise ValueError(f"{world} ranks cannot share a pool of {pool}; raise batch.pool")
        taken = np.arange(rank * pool // world, (rank + 1) * pool // world)
        first = step * self._batching.global_ + np.arange(pools) * pool
        return first[:, None] + taken[None, :]

    def fill(self, slot: Slot, positions: np.ndarray) -> None:
        """Read, check and decode the samples at `positions` int64 [n] into the slot's n rows."""
        source, index = self.schedule.at(positions)
        for number in np.unique(source):
            rows = np.flatnonzero(source == number)
            samples, passes = self._streams[number].order.at(index[rows])
            for row, sample, pass_number in zip(rows, samples, passes, strict=True):
                self._fill_row(slot, int(row), int(number), int(sample), int(pass_number))

    def fill_samples(
        self, slot: Slot, name: str, samples: np.ndarray, images_of: np.ndarray | None = None
    ) -> None:
        """The same for chosen samples int64 [n] of one source, as in pass 0.

        `images_of` int64 [n]: records whose images are shown instead of their own.
        """
        number = self.names.index(name)
        for row, sample in enumerate(samples.tolist()):
            self._fill_row(slot, row, number, sample, 0)
            if images_of is not None:
                self._fill_image(
                    slot.images[row], self._streams[number].source, int(images_of[row])
                )

    def records_of(self, name: str, samples: np.ndarray) -> np.ndarray:
        """int64 [n]: the records that samples of a source are of."""
        return self._streams[self.names.index(name)].samples.record[samples]

    def key_of(self, name: str, record: int) -> str:
        """The key of a record of a source."""
        return self._streams[self.names.index(name)].source.record(record).key

    def _fill_row(self, slot: Slot, row: int, number: int, sample: int, pass_number: int) -> None:
        stream = self._streams[number]
        choice = stream.samples.choose(sample, pass_number)
        record = stream.tokens.records[choice.record]
        self._fill_image(slot.images[row], stream.source, choice.record)
        self._fill_tokens(slot, row, stream.tokens, choice)
        slot.has_image[row] = True
        slot.robots[row] = unpack_robots(int(record["robots"]))
        slot.single[row] = record["single"]
        slot.plan[row] = record["plan"]
        slot.site[row] = record["site"]
        slot.corpus[row], slot.record[row] = number, choice.record
        slot.group[row] = record["group"]

    def _fill_image(self, pixels: np.ndarray, source: Source, record: int) -> None:
        buffer = getattr(self._buffers, "memory", b"")
        if len(buffer) < source.largest:
            buffer = self._buffers.memory = bytearray(source.largest)
        view = source.read_into(memoryview(buffer), record)
        # The digest was checked: the header is as written, so its size field can be trusted.
        size = int(bytes(view[124:135]), 8)
        decode_into(view[tar.BLOCK : tar.BLOCK + size], pixels)

    def _fill_tokens(self, slot: Slot, row: int, tokens: Tokens, choice: tuple) -> None:
        _, first, last, learn = choice
        ids, labels, thread = slot.tokens[row], slot.labels[row], slot.thread[row]
        ids[:], labels[:], thread[:] = self._pad, NO_LOSS, 0
        ids[0], at = self._image, 1
        slot.caption_at[row] = -1
        packed, previous = 0, -1
        for number in range(first, last):
            turn = tokens.turns[number]
            start, prompt, target = int(turn["start"]), int(turn["prompt"]), int(turn["target"])
            if int(turn["thread"]) != previous:
                packed, previous = packed + 1, int(turn["thread"])
            end = min(at + prompt + target, len(ids))
            ids[at:end] = tokens.ids[start : start + end - at]
            thread[at:end] = packed
            if number >= learn:
                labels[at + prompt : end] = ids[at + prompt : end]
            at = end
            if turn["kind"] == _CAPTION and slot.caption_at[row] < 0:
                slot.caption_at[row] = at - 1


class Ring:
    """Steps of a stream, filled by threads up to `ahead` steps before they are asked for.

    Iterating gives (step, [a Slot a pool]). Slots are reused: work on a step's slots must be done
    before the next but one step is asked for.
    """

    def __init__(
        self, stream: Stream, steps: range, *, rank: int, world: int, threads: int, ahead: int = 2
    ) -> None:
        self._stream, self._steps = stream, steps
        self._rank, self._world = rank, world
        self._threads, self._ahead = threads, ahead

    def __iter__(self) -> Iterator[tuple[int, list[Slot]]]:
        shape = self._stream.positions(0, self._rank, self._world).shape
        slots = [[self._stream.slot(shape[1]) for _ in range(shape[0])] for _ in range(self._turns)]
        with ThreadPoolExecutor(self._threads, thread_name_prefix="fill") as pool:
            pending: deque[list[Future[None]]] = deque()
            for place, step in enumerate(self._steps):
                while len(pending) <= self._ahead and place + len(pending) < len(self._steps):
                    due = place + len(pending)
                    pending.append(self._begin(pool, self._steps[due], slots[due % self._turns]))
                for filled in pending.popleft():
                    filled.result()
                yield step, slots[place % self._turns]

    @property
    def _turns(self) -> int:
        # One slot in use, `ahead` being filled, one that an asynchronous copy may still read.
        return self._ahead + 2

    def _begin(self, pool: ThreadPoolExecutor, step: int, slots: list[Slot]) -> list[Future[None]]:
        positions = self._stream.positions(step, self._rank, self._world)
        cut = max(1, -(-positions.shape[1] // self._threads))
        return [
            pool.submit(self._stream.fill, slot.part(at, at + cut), row[at : at + cut])
            for slot, row in zip(slots, positions, strict=True)
            for at in range(0, len(row), cut)
        ]
