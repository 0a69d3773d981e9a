"""Samples that nothing is learnt from, and what a model makes of each, measured by all ranks.

    held = HeldOut(dataset, sources, tokenizer, max_tokens, limit, place)
    rows = held.measure(model, Asked(language=True, robots=True))   # by source, a row each sample

The batches are the same for any number of ranks, each of which takes whole ones, and every rank
gets all rows in the order of the samples: how many ranks there are changes no number.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from embervlm import EmberVLM, Tokenizer
from embervlm.generate import evaluating
from embervlm.losses import Loss, next_token
from manifests.schema import ROBOTS
from shards.mixing import SourceSpec
from shards.reader import Dataset
from shards.slot import Slot
from shards.stream import Batching, Stream
from train.batches import Batch
from train.distributed import Place, all_said, wait_long

BATCH = 32  # samples a forward pass
MEASURED = np.dtype(
    [
        ("record", "<i8"),  # its number in the source
        ("loss", "<f8"),  # over the targets, nats
        ("targets", "<i8"),  # tokens
        ("decided", "?"),  # robots were asked for, and some suit
        ("robots", "?", (len(ROBOTS),)),  # that suit
        ("single", "?"),  # one of them is enough
        ("logits", "<f4", (len(ROBOTS),)),
    ]
)


class Asked(NamedTuple):
    """What a model is asked for: a sample's targets, and its robots (`vision_only`: as the picture
    alone has them). Nothing else is computed."""

    language: bool
    robots: bool
    vision_only: bool = False

    def answers(self, model: EmberVLM, batch: Batch) -> tuple[Loss | None, Tensor | None]:
        """The next-token loss, and the robots' logits [B,5]."""
        spoken = logits = None
        if self.robots and self.vision_only:
            logits = model.forward_vision_only(batch.images).robot_logits
        elif self.robots:
            spoken = model(batch.tokens, batch.images, has_image=batch.has_image)
            logits = spoken.robot_logits
        if not self.language:
            return None, logits
        if spoken is None:
            spoken = model.forward_language(batch.tokens, batch.images, has_image=batch.has_image)
        return next_token(spoken.hidden, spoken.head, batch.labels), logits


class Shown(NamedTuple):
    """Samples int64 [n] of a source, and the records whose pictures are shown with them; None:
    their own."""

    source: str
    samples: np.ndarray
    images_of: np.ndarray | None = None

    def batches(self) -> Iterator["Shown"]:
        """The same, BATCH samples at a time."""
        for begin in range(0, len(self.samples), BATCH):
            part = slice(begin, begin + BATCH)
            images_of = None if self.images_of is None else self.images_of[part]
            yield Shown(self.source, self.samples[part], images_of)


class HeldOut:
    """At most `limit` (0 = all) samples of each source, spread evenly, always the same: `chosen`.

    Every turn is a sample, after the earlier ones of its thread, whatever `turns` a source says.
    Token caches that are missing are made first, by one rank of each machine. Raises KeyError for
    a source that the data set lacks, DamageError for damaged records.
    """

    def __init__(
        self,
        dataset: Dataset,
        sources: Mapping[str, SourceSpec],
        tokenizer: Tokenizer,
        max_tokens: int,
        limit: int,
        place: Place,
    ) -> None:
        self._place = place
        self.sources = {
            n: dataset.source(spec.corpus or n, spec.split) for n, spec in sources.items()
        }
        if not place.leads_host:
            wait_long(place)
        self.stream = Stream(
            dataset,
            {
                name: SourceSpec(corpus=spec.corpus, split=spec.split, kinds=spec.kinds)
                for name, spec in sources.items()
            },
            tokenizer,
            seed=0,
            batching=Batching(global_=1, pool=1),
            max_tokens=max_tokens,
            checked=place.leads_host,
        )
        if place.leads_host:
            wait_long(place)
        self.chosen = {
            name: np.unique(np.linspace(0, n - 1, min(n, limit or n)).astype(np.int64))
            for name, n in self.stream.mixture.lengths.items()
        }

    @torch.no_grad()
    def measure(
        self, model: EmberVLM, asked: Asked, images_of: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """MEASURED [samples] of each source, on every rank; the model is in eval mode meanwhile.

        Precision is the caller's autocast. `images_of`, by source: the records int64 [samples]
        whose pictures are shown in place of the samples' own.
        """
        batches = [
            batch
            for name, samples in self.chosen.items()
            for batch in Shown(name, samples, (images_of or {}).get(name)).batches()
        ]
        rank, world = self._place.rank, self._place.world
        with evaluating(model):
            own = [
                _measured(model, asked, slot, self._place.device)
                for slot in self.slots(batches[rank::world])
            ]
        parts = all_said(own, self._place)
        rows = {name: [np.zeros(0, MEASURED)] for name in self.chosen}
        for number, batch in enumerate(batches):
            rows[batch.source].append(parts[number % world][number // world])
        return {name: np.concatenate(measured) for name, measured in rows.items()}

    def slots(self, batches: Iterable[Shown]) -> Iterator[Slot]:
        """The slot of each, filled ahead by as many threads as this process may use."""

        def fill(batch: Shown) -> Slot:
            slot = self.stream.slot(len(batch.samples))
            self.stream.fill_samples(slot, *batch)
            return slot

        filled: deque[Future[Slot]] = deque()
        with ThreadPoolExecutor(self._place.threads, thread_name_prefix="fill") as pool:
            for batch in batches:
                filled.append(pool.submit(fill, batch))
                if len(filled) > self._place.threads:
                    yield filled.popleft().result()
            while filled:
                yield filled.popleft().result()


def _measured(model: EmberVLM, asked: Asked, slot: Slot, device: torch.device) -> np.ndarray:
    """MEASURED [B] of a slot."""
    loss, logits = asked.answers(model, Batch.of(slot, device))
    rows = np.zeros(len(slot), MEASURED)
    rows["record"], rows["single"], rows["robots"] = slot.record, slot.single, slot.robots > 0
    if loss is not None:
        rows["loss"], rows["targets"] = loss.row_totals.cpu(), loss.row_counts.cpu()
    if logits is not None:
        rows["logits"] = logits.float().cpu()
        tasked = (slot.tokens == model.config.robot_id).any(1)  # not a caption of the same picture
        rows["decided"] = slot.robots.any(1) & (tasked | asked.vision_only)
    return rows
