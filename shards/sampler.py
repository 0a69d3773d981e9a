"""Positions -> rows: all of a batch but its pixels, gathered many rows at a time.

Everything here follows from (seal, mixture, seed, position): who asks, and in what pieces, changes
nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from manifests.schema import MAX_STEPS, ROBOTS, SITE_FACTS
from shards.order import Order
from shards.reader import ENTRY, Source
from shards.slot import NO_LOSS, Slot
from shards.tokens import TARGET, Tokens
from shards.turns import Samples


class Rows(NamedTuple):
    """`fields`: those of a Slot but the images, [N, ...] each. `images`: ENTRY [N], where each
    row's picture lies, in the source with the ordinal `corpus`. `sample`, `passes` int64 [N]: which
    sample of its source a row is, in which pass (from 0)."""

    fields: dict[str, np.ndarray]
    images: np.ndarray
    sample: np.ndarray
    passes: np.ndarray

    def part(self, begin: int, end: int) -> "Rows":
        """Rows begin..end-1, sharing memory."""
        fields = {name: array[begin:end] for name, array in self.fields.items()}
        return Rows(fields, self.images[begin:end], self.sample[begin:end], self.passes[begin:end])

    def copy_to(self, slot: Slot) -> None:
        """Put all but the images into a slot of as many rows."""
        for name, array in self.fields.items():
            getattr(slot, name)[...] = array


class Part(NamedTuple):
    """What is sampled of one source, and in which order."""

    source: Source
    tokens: Tokens
    samples: Samples
    order: Order


def sample_rows(
    parts: Sequence[Part], corpus: np.ndarray, index: np.ndarray, max_tokens: int, ids: tuple
) -> Rows:
    """The rows of indices int64 [N] in the order of their sources `corpus` int64 [N].

    `ids`: the ids of padding and of the image. Raises DamageError for a damaged index.
    """
    sample, passes = np.empty_like(index), np.empty_like(index)
    for number in np.unique(corpus):
        at = np.flatnonzero(corpus == number)
        sample[at], passes[at] = parts[number].order.at(index[at])
    return chosen_rows(parts, corpus, sample, passes, max_tokens, ids)


def chosen_rows(
    parts: Sequence[Part],
    corpus: np.ndarray,
    sample: np.ndarray,
    passes: np.ndarray,
    max_tokens: int,
    ids: tuple,
) -> Rows:
    """The rows of chosen samples int64 [N] of sources `corpus`, in passes; see `sample_rows`."""
    count = len(corpus)
    pad, image = ids
    fields = {
        "tokens": np.full((count, max_tokens), pad, np.int64),
        "labels": np.full((count, max_tokens), NO_LOSS, np.int64),
        "thread": np.zeros((count, max_tokens), np.int64),
        "plan": np.empty((count, MAX_STEPS, 2), np.int64),
        "caption_at": np.empty(count, np.int64),
        "corpus": corpus,
        "record": np.empty(count, np.int64),
        "group": np.empty(count, np.int64),
        "robots": np.empty((count, len(ROBOTS)), np.float32),
        "site": np.empty((count, len(SITE_FACTS)), np.float32),
        "single": np.empty(count, np.bool_),
        "has_image": np.ones(count, np.bool_),
    }
    fields["tokens"][:, 0] = image
    rows = Rows(fields, np.empty(count, ENTRY), sample, passes)
    for number in np.unique(corpus):
        at = np.flatnonzero(corpus == number)
        _gather(rows, at, parts[number], sample[at], passes[at])
    return rows


def _gather(rows: Rows, at: np.ndarray, part: Part, sample: np.ndarray, passes: np.ndarray) -> None:
    """Samples of one source into the rows `at`."""
    fields = rows.fields
    record, choice = part.samples.choose(part.tokens, sample, passes)
    chosen, described = part.samples.choices[choice], part.tokens.records[record]
    facts = part.tokens.facts[described["facts"]]
    rows.images[at] = part.source.entries(record)
    for name in ("robots", "single", "plan", "site"):
        fields[name][at] = facts[name]
    fields["record"][at], fields["group"][at] = record, described["group"]
    caption = chosen["caption"].astype(np.int64)
    fields["caption_at"][at] = np.where(caption > 0, caption, -1)
    # Token by token: where it stands in its row, and where it comes from.
    count = chosen["tokens"].astype(np.int64)
    inside = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    found = part.tokens.tokens[np.repeat(chosen["start"].astype(np.int64), count) + inside]
    learnt = (found["mark"] >= TARGET) & (inside >= np.repeat(chosen["silent"], count))
    width = fields["tokens"].shape[1]
    where = np.repeat(at * width + 1, count) + inside
    fields["tokens"].ravel()[where] = found["id"]
    fields["labels"].ravel()[where[learnt]] = found["id"][learnt]
    thread = found["mark"] - np.repeat(chosen["thread"], count)  # uint16, wrapping
    fields["thread"].ravel()[where] = thread % TARGET + 1
