"""One optimiser step over a rank's part of a global batch.

A step's losses are sums over its whole global batch divided by that batch's counts, so pools
(micro-batches) and ranks only cut the work up. The exception is an encoder that is being trained:
its BatchNorm sees one rank's part of a pool at a time.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from embervlm import EmberVLM
from shards.slot import Slot
from train.batches import Batch
from train.distributed import Place
from train.objectives import OBJECTIVES, Aids, Seen
from train.stage import Stage


class Objectives(nn.Module):
    """A model and its stage's objectives as one module, so that DDP sees one forward pass."""

    def __init__(self, model: EmberVLM, stage: Stage, sources: int, aids: Aids) -> None:
        super().__init__()
        self.model, self._stage, self._sources = model, stage, sources
        self.site_head = aids.site_head  # registered: it learns too
        self._aids = aids
        known = [OBJECTIVES[name] for name in stage.objectives]
        self._decides = any(one.decides for one in known)
        self._past = stage.vision_only and self._decides
        self._reads = any(one.reads for one in known)
        self._read, self._decide = model.forward_language, model.forward
        self._glance = model.forward_vision_only
        if stage.compile if stage.compile is not None else aids.place.device.type == "cuda":
            self._read = torch.compile(self._read, dynamic=False)
            self._decide = torch.compile(self._decide, dynamic=False)
            self._glance = torch.compile(self._glance, dynamic=False)

    def forward(self, batch: Batch, counts: Tensor, targets: int) -> tuple[Tensor, Tensor, Tensor]:
        """The loss to descend: each objective's sum over its count [objectives] in the global
        batch, weighted; and fp64, without gradient, [objectives, sources, 2] of (sum, count), and
        the rows' losses [B]. `targets`: tokens of this batch that are learnt."""
        seen = self._see(batch, targets)
        total = torch.zeros((), device=batch.tokens.device)
        rows = torch.zeros(len(batch.corpus), dtype=torch.float64, device=total.device)
        shape = (len(self._stage.objectives), self._sources, 2)
        shares = torch.zeros(shape, dtype=torch.float64, device=total.device)
        for place, (name, weight) in enumerate(self._stage.objectives.items()):
            loss = OBJECTIVES[name].loss(seen, self._aids)
            total = total + weight * loss.total / counts[place]
            each = torch.stack([loss.row_totals, loss.row_counts], 1).double()
            shares[place].index_add_(0, batch.corpus, each)
            rows += loss.row_totals
        return total, shares, rows

    def _see(self, batch: Batch, targets: int) -> Seen:
        given = {"has_image": batch.has_image}
        if self._stage.packs:
            given["thread"] = batch.thread
        if "contrast" in self._stage.objectives:
            given["caption_at"] = batch.caption_at
        if self._decides and not self._past:
            reads = "consistency" in self._stage.objectives
            outputs = self._decide(batch.tokens, batch.images, None, reads, **given)
            return Seen(batch, targets, outputs, outputs)
        said = self._read(batch.tokens, batch.images, **given) if self._reads else None
        decided = self._glance(batch.images) if self._past else None
        return Seen(batch, targets, said, decided)


class Step:
    """Forward, backward and update. Every rank calls it for the same steps."""

    def __init__(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        stage: Stage,
        model: EmberVLM,
        place: Place,
    ) -> None:
        self._module, self._optimiser, self._stage, self._place = module, optimiser, stage, place
        self._config = model.config
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._narrow = narrow(stage, place)

    def counts(self, slots: Sequence[Slot]) -> list[float]:
        """What each objective counts in this rank's samples."""
        known = [OBJECTIVES[name] for name in self._stage.objectives]
        return [float(sum(one.count(slot, self._config) for slot in slots)) for one in known]

    def __call__(
        self, slots: Sequence[Slot], batches: Sequence[Batch], counts: list[float], rate: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Update once; `counts` are those of all ranks. Gives (sum, count) fp64 [objectives,
        sources, 2] of this rank's samples, and what is a number, bool: its rows' losses [rows], the
        norm of all gradients."""
        place = self._place
        divisors = torch.tensor([max(1.0, count) for count in counts]).to(place.device)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        shares: Tensor | None = None
        losses = []
        for number, (slot, batch) in enumerate(zip(slots, batches, strict=True)):
            if isinstance(self._module, DistributedDataParallel):
                self._module.require_backward_grad_sync = number == len(slots) - 1
            targets = OBJECTIVES["language"].count(slot, self._config)
            with autocast(self._narrow, place):
                total, part, rows = self._module(batch, divisors, targets)
            (total * place.world).backward()  # DDP takes the mean over ranks; counts are global
            shares = part if shares is None else shares + part
            losses.append(rows)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._stage.optim.clip)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        assert shares is not None
        return shares, torch.cat(losses).isfinite(), norm.isfinite()


def narrow(stage: Stage, place: Place) -> bool:
    """Whether a stage computes in bf16 here."""
    return (stage.precision or ("bf16" if place.device.type == "cuda" else "fp32")) == "bf16"


def autocast(on: bool, place: Place) -> torch.autocast:
    """bf16 where it is safe, over weights in fp32, or nothing."""
    return torch.autocast(place.device.type, torch.bfloat16, enabled=on)
