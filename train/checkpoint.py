"""Checkpoints: folders of safetensors and JSON that appear whole or not at all.

R/checkpoint-000200/  config.json model.safetensors    the model, as EmberVLM.from_pretrained reads
                      tokenizer.json tokenizer_config.json
                      training.safetensors             what else training goes on from (learner.py)
                      state.json                       the step, what it was a step of, and digests
"""

import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import msgspec
import safetensors.torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from embervlm import EmberVLM
from manifests import disk, store
from train import learner as learners
from train import state as states
from train.learner import Tensors
from train.state import Best, CheckpointError, Digest, Sealed, State

__all__ = ["Best", "CheckpointError", "Saver", "State"]

KEPT = 2
_NAME = re.compile(r"checkpoint-(\d+)")
_MODEL, _TRAINING = "model.safetensors", "training.safetensors"


def name(step: int) -> str:
    """What the checkpoint after so many steps is called in its run."""
    return f"checkpoint-{step:06d}"


def found(run: Path) -> list[Path]:
    """The checkpoints of a run, whole or damaged, oldest first."""
    named = (path for path in run.glob("checkpoint-*") if _NAME.fullmatch(path.name))
    return sorted(named, key=lambda path: (_step(path), path))


def newest(run: Path, tell: Callable[[str], None]) -> tuple[Path, State] | None:
    """The newest whole checkpoint of a run; None if it has none at all.

    `tell` hears of every newer one that cannot be gone on from. Raises CheckpointError, naming what
    is wrong with each, if all are like that.
    """
    faults: list[tuple[Path, CheckpointError]] = []
    for path in reversed(found(run)):
        try:
            state = read_state(path)
        except CheckpointError as error:
            faults.append((path, error))
            continue
        for damaged, fault in faults:
            tell(
                f"{fault}. Its place takes {path}, the newest that is whole; the next save removes "
                f"{damaged.name}, as does: rm -r {damaged}"
            )
        return path, state
    if faults:
        said = ". ".join(str(fault) for _, fault in faults)
        raise CheckpointError(
            f"{said}. {run} has no whole checkpoint to go on from: name another --out, or begin "
            f"anew in this one after: rm -r {' '.join(str(path) for path, _ in faults)}"
        )
    return None


def read_state(checkpoint: Path) -> State:
    """The state of a checkpoint, all of whose files are checked. Raises CheckpointError if one is
    damaged, if it is no checkpoint, or one of another release."""
    return states.read(checkpoint).state


def rewrite_state(checkpoint: Path, state: State) -> None:
    """Replace the state of a checkpoint, at once; its other files stay. Raises CheckpointError."""
    Sealed.of(state, states.read(checkpoint).files).write(checkpoint)


def check(
    checkpoint: Path,
    state: State,
    stage: dict[str, Any],
    root: str,
    tokenizer: str,
    allow_change: bool = False,
) -> list[str]:
    """What a run would go on with that is not as the checkpoint has it, a line each.

    Raises CheckpointError if there is anything, as the order of samples would be another, unless
    `allow_change`.
    """
    then = {"root": state.root, "tokenizer": state.tokenizer, "stage": state.stage}
    now = {"root": root, "tokenizer": tokenizer, "stage": stage}
    changes = [
        f"another {key}: {'; '.join(_differences(then[key], now[key]))}"
        for key in then
        if then[key] != now[key]
    ]
    if changes and not allow_change:
        raise CheckpointError(
            f"{checkpoint} was made with {', and '.join(changes)}. Give this run another --out, "
            f"or go on with what is new by --allow-change"
        )
    return changes


def resume(checkpoint: Path, state: State, learner: nn.Module, optimiser: Optimizer) -> None:
    """Load a checkpoint, of this `state` when it was read, into a learner and its optimiser.

    Raises CheckpointError if it is no longer so or no longer whole: hours may lie between. Raises
    ValueError, naming the tensors, if the learner has others.
    """
    if read_state(checkpoint) != state:
        raise CheckpointError(f"{checkpoint} was replaced meanwhile; does another run write there?")
    tensors = Tensors(load_file(checkpoint / _MODEL), load_file(checkpoint / _TRAINING))
    learners.restore(learner, optimiser, tensors, checkpoint)


class Saver:
    """Writes a run's checkpoints, and keeps the newest two and the best. One of a run at a time.

    In the background, `save` returns when all is copied, and a thread writes the copy; an error is
    raised by the next `save`, or by `close`.
    """

    def __init__(self, run: Path, in_background: bool = False) -> None:
        self._run = run
        self._thread = ThreadPoolExecutor(1, "saver") if in_background else None
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def save(self, learner: nn.Module, optimiser: Optimizer, state: State) -> None:
        """Save `state.step`, once the one before is written. Where its checkpoint is already, it
        gets this state; one that is damaged, or not of these weights, is replaced."""
        self._wait()
        model, rest = learners.tensors_of(learner, optimiser)
        # Bytes of their own, complete before anything is trained on: no later value can be stored.
        data = {_MODEL: _as_bytes(model), _TRAINING: _as_bytes(rest)}
        ember = learners.model_of(learner)
        frozen = ember.encoder.frozen
        if self._thread:
            self._writing = self._thread.submit(self._write, data, ember, frozen, state)
        else:
            self._write(data, ember, frozen, state)

    def close(self) -> None:
        """Return when the last one is written. Raises what prevented that."""
        try:
            self._wait()
        finally:
            if self._thread:
                self._thread.shutdown()

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing:
            writing.result()

    def _write(self, data: dict[str, bytes], model: EmberVLM, frozen: bool, state: State) -> None:
        final, spare = self._run / name(state.step), self._run / f"checkpoint-0{state.step:06d}"
        for unfinished in self._run.glob(f"{disk.TEMPORARY}*/"):  # by one that was killed
            disk.remove_folder(unfinished)
        digests = {part: Digest.of(content) for part, content in data.items()}
        there = _whole(final)
        if there and digests.items() <= there.files.items():
            rewrite_state(final, state)
        else:
            if there:  # until it is replaced it stays a checkpoint of this step, by another name
                _remove(spare)
                disk.rename(final, spare)
            _remove(final)
            with store.new_folder(final) as folder:
                model.config.replace(encoder_frozen=frozen).save_pretrained(folder)
                model.tokenizer.save(folder)
                beside = {path.name: Digest.read(path) for path in sorted(folder.iterdir())}
                for part, content in data.items():
                    store.write(folder / part, content)
                Sealed.of(state, {**beside, **digests}).write(folder)
        _remove(spare)
        self._drop(state)

    def _drop(self, state: State) -> None:
        """Remove all but the newest two that are whole, which are read again to be sure, and the
        best. What is damaged, or of a step that this run has yet to come to, is in nobody's way."""
        whole = 0
        for path in reversed(found(self._run)):
            kept = state.best is not None and path.name == name(state.best.step)
            if whole < KEPT and _step(path) <= state.step and _whole(path):
                kept, whole = True, whole + 1
            if not kept:
                _remove(path)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _whole(checkpoint: Path) -> Sealed | None:
    try:
        return states.read(checkpoint)
    except CheckpointError:
        return None


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint that may be there: its name at once, then its files."""
    if checkpoint.exists():
        doomed = checkpoint.with_name(f"{disk.TEMPORARY}{checkpoint.name}")
        disk.rename(checkpoint, doomed)
        disk.sync(doomed.parent)
        disk.remove_folder(doomed)


def _as_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """A safetensors file. Waits for a GPU that is still computing them."""
    host = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    return safetensors.torch.save(host)


def _differences(then: Any, now: Any, at: str = "") -> list[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        below = f"{at}." if at else ""
        keys = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
        parts = (_differences(then.get(key), now.get(key), f"{below}{key}") for key in keys)
        return [line for part in parts for line in part]
    return [f"{at} was {_said(then)}, is {_said(now)}" if at else f"{then}, now {now}"]


def _said(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
