"""The loop: batches from the stream, one optimiser step a global batch, log and checkpoints.

A step's losses are sums over its whole global batch divided by that batch's counts, so pools
(micro-batches) and ranks only cut the work up. The exception is an encoder that is being trained:
its BatchNorm sees one rank's part of a pool at a time. Where a run stands is one integer, the step.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from embervlm import EmberVLM, Tokenizer
from manifests.settings import SettingsError
from shards.ring import Ring
from shards.slot import Slot
from shards.stream import Stream
from train import checkpoint, optim
from train.batches import Batch, Pace, pinned
from train.checkpoint import CheckpointError, State
from train.data import open_data, open_stream
from train.distributed import Place, add_up, agree, wait
from train.objectives import COUNTS, OBJECTIVES, REACHES
from train.stage import INCIDENTAL, Stage
from train.track import Log, Meter, TrainingError


class Objective(nn.Module):
    """A model and its stage's objectives as one module, so that DDP sees one forward pass."""

    def __init__(self, model: EmberVLM, weights: Mapping[str, float], sources: int, packs: bool):
        super().__init__()
        self.model, self._weights = model, dict(weights)
        self._sources, self._packs = sources, packs

    def forward(self, batch: Batch, counts: Tensor) -> tuple[Tensor, Tensor]:
        """The loss to descend: each objective's sum over its count [objectives] in the global
        batch, weighted; and fp64 [objectives, sources, 2] of (sum, count) without gradient."""
        outputs = self.model(
            batch.tokens,
            batch.images,
            has_image=batch.has_image,
            thread=batch.thread if self._packs else None,
        )
        total = torch.zeros((), device=batch.tokens.device)
        shares = torch.zeros(
            len(self._weights), self._sources, 2, dtype=torch.float64, device=total.device
        )
        for place, (name, weight) in enumerate(self._weights.items()):
            loss = OBJECTIVES[name](outputs, batch)
            total = total + weight * loss.total / counts[place]
            rows = torch.stack([loss.row_totals, loss.row_counts], 1).double()
            shares[place].index_add_(0, batch.corpus, rows)
        return total, shares


def train(
    stage: Stage,
    data: Path | str,
    out: Path,
    place: Place,
    console: Console,
    start: Path | None = None,
) -> Path:
    """Run a stage to its end, from its newest checkpoint in `out` if there is one.

    `start` is the checkpoint of another stage whose weights a new run begins with. Returns the last
    checkpoint. Raises SettingsError, SealError, CheckpointError, DamageError or TrainingError.
    """
    _check(stage)
    dataset = open_data(stage, data, place)
    tokenizer = Tokenizer.load(stage.model.config.tokenizer)
    settings = _settings(stage)
    known: State | None = None
    if found := checkpoint.found(out):
        known = checkpoint.read_state(found[-1])
        checkpoint.check(found[-1], known, settings, dataset.seal.root, tokenizer.digest)
    if not agree(hashlib.sha256(msgspec.json.encode(known)).hexdigest(), place):
        raise CheckpointError(
            f"ranks find different checkpoints in {out}: it must be one folder for all machines. "
            f"Name such a one with --out"
        )
    stream = open_stream(stage, dataset, tokenizer, place, console, known and known.mixture)
    steps = stage.length(sum(stream.mixture.lengths.values()), stream.steps)
    model = _model(stage, tokenizer, start).to(place.device)
    optimiser = optim.optimiser(model, stage.optim)
    if known:
        checkpoint.resume(found[-1], known, model, optimiser)
        if place.leads:
            console.print(f"going on from {found[-1]} at step {known.step}", highlight=False)
        if known.step >= steps:
            return found[-1]
    state = known or State(
        step=0,
        stage=settings,
        root=dataset.seal.root,
        tokenizer=tokenizer.digest,
        mixture=stream.mixture,
    )
    log = _open_log(stage, stream, model, out, state.step, console) if place.leads else None
    objective = Objective(model, stage.objectives, len(stream.names), stage.packs)
    module = DistributedDataParallel(objective) if place.world > 1 else objective
    meter = Meter(stage, stream, place, state.step)
    module.train()
    pace = Pace(place.device)
    ring = Ring(
        stream,
        range(state.step, steps),
        rank=place.rank,
        world=place.world,
        fill=stage.fill or ("processes" if place.device.type == "cuda" else "threads"),
        threads=place.threads,
    )
    with ring, pinned(ring.memory, place.device):
        for step, slots in meter.timed(ring):
            rate = optim.learning_rate(step, steps, stage.optim)
            for group in optimiser.param_groups:
                group["lr"] = rate
            meter.add(slots, _step(module, optimiser, slots, stage, place))
            pace.issued()
            saves = (step + 1) % stage.save_steps == 0 or step + 1 == steps
            if saves or (step + 1) % stage.log_steps == 0:  # no step is saved that is not logged
                line = meter.line(step, rate)
                if log:
                    log.write(line, steps)
            if saves:
                _check_finite(model, step)
                if place.leads:
                    done = msgspec.structs.replace(state, step=step + 1)
                    checkpoint.save(out, model, optimiser, done)
                wait(place)
    return checkpoint.found(out)[-1]


def _check(stage: Stage) -> None:
    """Raise SettingsError for objectives that are not there, or that miss what is trainable."""
    if unknown := set(stage.objectives) - set(OBJECTIVES):
        raise SettingsError(
            f"objectives has {', '.join(sorted(unknown))}; there are {', '.join(OBJECTIVES)}"
        )
    reached = frozenset().union(*(REACHES[name] for name in stage.objectives))
    if missed := [name for name in stage.trainable if name not in reached]:
        kept = [name for name in stage.trainable if name in reached]
        raise SettingsError(
            f"trainable lists {', '.join(missed)}, which {' and '.join(stage.objectives)} do not "
            f"reach; leave them out with --set trainable=[{','.join(kept)}]"
        )


def _check_finite(model: nn.Module, step: int) -> None:
    """Raise TrainingError rather than save weights that are no numbers."""
    for name, tensor in model.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                f"after step {step}, {name} is not finite and is not saved. Start again with a "
                f"lower optim.lr and another --out"
            )


def _model(stage: Stage, tokenizer: Tokenizer, start: Path | None) -> EmberVLM:
    """The model a stage starts from, its untrained components frozen."""
    config = stage.model.config
    if config.vocab_size != tokenizer.vocab_size:
        raise SettingsError(
            f"model has a vocabulary of {config.vocab_size}, the tokenizer {config.tokenizer!r} "
            f"of {tokenizer.vocab_size}; set model.set.vocab_size"
        )
    torch.manual_seed(stage.seed)
    if start is None:
        model = EmberVLM.build(config)
    else:
        model = EmberVLM.from_state(config, load_file(start / "model.safetensors"))
    for name, component in model.named_children():
        if name not in stage.trainable:
            component.requires_grad_(False)
    if "encoder" not in stage.trainable:
        model.encoder.freeze()  # its BatchNorm too; refuses a random one
    return model


def _settings(stage: Stage) -> dict[str, Any]:
    """What is computed of a stage, as it reads back from disk."""
    settings = msgspec.json.decode(msgspec.json.encode(stage))
    return {name: value for name, value in settings.items() if name not in INCIDENTAL}


def _open_log(
    stage: Stage, stream: Stream, model: EmberVLM, out: Path, first: int, console: Console
) -> Log:
    out.mkdir(parents=True, exist_ok=True)
    total = model.num_parameters()["total"]
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    period = stream.schedule.period
    shares = ", ".join(
        f"{name} {part.share}/{period} (asked {part.asked:.4%})"
        for name, part in stream.mixture.parts.items()
    )
    console.print(
        f"stage {stage.name}: {total:,} parameters, {trained:,} trained; global batch "
        f"{stage.batch.global_}; mixture {shares}",
        highlight=False,
        soft_wrap=True,
    )
    for name, totals in stream.totals.items():
        if totals.truncated:
            cut = f"{name}: {totals.truncated} threads are cut to {stage.max_tokens} tokens"
            console.print(cut, highlight=False)
    return Log(out, first, console)


def _step(
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    slots: list[Slot],
    stage: Stage,
    place: Place,
) -> Tensor:
    """One optimiser step over a rank's part of a global batch; sums and counts for the meter."""
    own = [[float(COUNTS[name](slot)) for slot in slots] for name in stage.objectives]
    counts = add_up(torch.tensor(own).sum(1).to(place.device), place).clamp(min=1)
    shares: Tensor | None = None
    for number, slot in enumerate(slots):
        batch = Batch.of(slot, place.device)
        if isinstance(module, DistributedDataParallel):
            module.require_backward_grad_sync = number == len(slots) - 1
        with torch.autocast("cuda", torch.bfloat16, enabled=place.device.type == "cuda"):
            total, part = module(batch, counts)
        (total * place.world).backward()  # DDP takes the mean over ranks; counts are global
        shares = part if shares is None else shares + part
    parameters = [p for p in module.parameters() if p.requires_grad]
    nn.utils.clip_grad_norm_(parameters, stage.optim.clip)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    assert shares is not None
    return shares
