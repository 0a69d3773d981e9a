"""The loop: steps of the stream, in order, and what is done between them.

After some steps a line is logged, the val split judged, a checkpoint saved. Nothing that is learnt
depends on when that is.
"""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import NoReturn

import msgspec
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from embervlm import EmberVLM
from shards.ring import Ring
from shards.stream import Stream
from train import checkpoint, figures, optim
from train.batches import Feed, pinned
from train.batchnorm import estimate_batchnorm
from train.checkpoint import Best, Saver, State
from train.distributed import Place, wait
from train.health import Health, ready
from train.objectives import Aids
from train.stage import Stage
from train.step import Objectives, Step, autocast, narrow
from train.stop import Stop, Stopped
from train.track import Meter, Tracker, TrainingError
from train.validation import Validation

_ESTIMATED = 64  # pools of pictures that BatchNorm's statistics are estimated from


class Session:
    """A run of `steps` steps from where `state` stands to its end, or until it is told to stop."""

    def __init__(
        self,
        stage: Stage,
        stream: Stream,
        model: EmberVLM,
        aids: Aids,
        place: Place,
        out: Path,
        state: State,
        steps: int,
    ) -> None:
        self._stage, self._stream, self._model, self._place = stage, stream, model, place
        self._out, self._state, self._steps = out, state, steps
        self._objectives = Objectives(model, stage, len(stream.names), aids)
        self._optimiser = optim.optimiser(self._objectives, stage.optim)
        self._module: nn.Module = self._objectives
        if place.world > 1:
            with warnings.catch_warnings(action="ignore", category=FutureWarning):
                # The name that releases of torch before forward_sync_buffers know too.
                self._module = DistributedDataParallel(
                    self._objectives,
                    broadcast_buffers=not model.encoder.frozen,  # nothing else has any that move
                    gradient_as_bucket_view=True,
                )
        self._stop = Stop()
        self._health = Health(stream, place, self._stop)
        self._meter = Meter(stage, stream, place, state.step)
        self._tracker: Tracker | None = None
        self._saver: Saver | None = None

    def resume(self, path: Path, known: State) -> None:
        """Take over the weights and the optimiser of a checkpoint, which had the state `known`."""
        checkpoint.resume(path, known, self._objectives, self._optimiser)

    def go(self, judge: Validation | None, until: int, console: Console) -> State:
        """Take the steps up to `until`; what was reached and saved. Raises as train.loop.train."""
        stage, place, first = self._stage, self._place, self._state.step
        feed = Feed(place.device)
        step = Step(self._module, self._optimiser, stage, self._model, place)
        ring = Ring(
            self._stream,
            range(first, until),
            rank=place.rank,
            world=place.world,
            fill=stage.fill or ("processes" if place.device.type == "cuda" else "threads"),
            threads=place.threads,
        )
        self._module.train()
        with ExitStack() as opened:
            if place.leads:
                self._saver = opened.enter_context(Saver(self._out, stage.async_saves))
                self._tracker = opened.enter_context(self._track(console))
            opened.enter_context(ring)
            opened.enter_context(pinned(ring.memory, place.device))
            for number, slots in self._meter.timed(ring):
                counts, asked = self._health.exchange(step.counts(slots))
                if asked:
                    self._leave()
                rate = optim.learning_rate(number, self._steps, stage.optim)
                shares, *wells = step(slots, feed.batches(slots), counts, rate)
                self._health.computed(number, *wells)
                self._meter.add(slots, shares)
                feed.issued()
                self._state = msgspec.structs.replace(self._state, step=number + 1)
                if self._tracker:
                    self._tracker.step(number)
                self._between(number, rate, judge, last=number + 1 == until)
                if number == first:  # before, nothing would be lost, and making kernels takes long
                    opened.enter_context(self._stop.heard())
            if self._health.exchange([])[1]:  # in the last step: another stage might follow
                self._leave()
        wait(place)  # until the last checkpoint is written, which all may go on to read
        return self._state

    def _between(self, step: int, rate: float, judge: Validation | None, last: bool) -> None:
        """What is due after a step: a line, a judgement, a checkpoint."""
        stage, done = self._stage, step + 1
        ended = done == self._steps
        judges = judge and stage.eval_steps and (done % stage.eval_steps == 0 or ended)
        saves = done % stage.save_steps == 0 or last
        if not (saves or judges or done % stage.log_steps == 0):
            return
        self._settle(rate)
        if ended and not self._model.encoder.frozen:
            self._estimate()
        if judge and judges:
            saves = self._judge(step, judge) or saves
        if saves:
            self._save()

    def _settle(self, rate: float) -> None:
        """All steps that were begun are done, were well, and are logged: none is saved before."""
        ready(self._place.device)
        self._health.exchange([], settled=True)
        if self._meter.steps:
            line = self._meter.line(self._state.step - 1, rate)
            if self._tracker:
                self._tracker.line(line)

    def _judge(self, step: int, judge: Validation) -> bool:
        """Judge the val split; whether the model is the best so far."""
        on = narrow(self._stage, self._place)
        try:
            # Only alone at once: others would wait for what this rank has found.
            at_once = self._stop.at_once() if self._place.world == 1 else nullcontext()
            with at_once, autocast(on, self._place):
                result = judge(self._model)
        except Stopped:
            self._leave()
        if self._tracker:
            drawn = figures.validation_figures(result, self._out, step)
            self._tracker.evaluated(step, result, drawn)
        best, score = self._state.best, result["score"]
        if score is None or (best and score <= best.score):
            return False
        best = Best(step=step + 1, score=score, of=result["score_of"])
        self._state = msgspec.structs.replace(self._state, best=best)
        return True

    def _save(self) -> None:
        _check_finite(self._model, self._state.step - 1)
        if self._saver:
            self._saver.save(self._objectives, self._optimiser, self._state)
        wait(self._place)

    def _leave(self) -> NoReturn:
        """Save where the run stands, and end it."""
        self._settle(optim.learning_rate(self._state.step - 1, self._steps, self._stage.optim))
        self._save()
        raise Stopped(
            f"told to stop: {self._state.step} of {self._steps} steps are done and saved in "
            f"{self._out}. Run the same again to go on"
        )

    def _estimate(self) -> None:
        """BatchNorm's statistics of the encoder anew, of the weights as they are now; the same on
        all ranks."""
        estimate_batchnorm(self._model.encoder, self._pictures())

    def _pictures(self) -> Iterator[Tensor]:
        """Pools of the run's first pictures."""
        stream = self._stream
        slot = stream.slot(stream.batching.pool)
        pools = (pool for step in range(self._steps) for pool in stream.positions(step, 0, 1))
        for _, positions in zip(range(_ESTIMATED), pools, strict=False):
            part = slot.part(0, len(positions))
            stream.fill(part, positions)
            yield torch.from_numpy(part.images).to(self._place.device).permute(0, 3, 1, 2)

    def _track(self, console: Console) -> Tracker:
        self._out.mkdir(parents=True, exist_ok=True)
        stage, stream, world = self._stage, self._stream, self._place.world
        total = self._model.num_parameters()["total"]
        trained = sum(p.numel() for p in self._model.parameters() if p.requires_grad)
        facts = {
            "parameters": total,
            "trained": trained,
            "ranks": world,
            "device": _name(self._place.device),
            "root": self._state.root,
        }
        first, steps = self._state.step, self._steps
        tracker = Tracker(stage, facts, run=self._out, first=first, steps=steps, console=console)
        period = stream.schedule.period
        shares = ", ".join(
            f"{name} {part.share}/{period} (asked {part.asked:.4%})"
            for name, part in stream.mixture.parts.items()
        )
        batch, ranks = stage.batch, f"{world} ranks" if world > 1 else "1 rank"
        pools = f"{batch.pools} pools of {batch.pool}" if batch.pools > 1 else "1 pool"
        tracker.say(
            f"stage {stage.name}: {total:,} parameters, {trained:,} trained; global batch "
            f"{batch.global_}, in {pools} on {ranks}; mixture {shares}"
        )
        for name, totals in stream.totals.items():
            if totals.truncated:
                cut = f"{name}: {totals.truncated} threads are cut to {stage.max_tokens} tokens"
                tracker.say(cut)
        return tracker


def _check_finite(model: nn.Module, step: int) -> None:
    """Raise TrainingError rather than save weights that are no numbers."""
    for name, tensor in model.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                f"after step {step}, {name} is not finite and is not saved. Start again with a "
                f"lower optim.lr and another --out"
            )


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
