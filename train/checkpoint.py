"""Checkpoints: a folder of safetensors and JSON that appears whole or not at all.

R/checkpoint-000200/  config.json model.safetensors   the model, as EmberVLM.from_pretrained reads
                      optimizer.safetensors           AdamW's state by parameter name
                      state.json                      the step, and what it was a step of
"""

import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from embervlm import EmberVLM
from embervlm.weights import load_strict
from manifests import store

KEPT = 2
_NAME = re.compile(r"checkpoint-(\d+)")


class CheckpointError(ValueError):
    """A checkpoint that cannot be gone on from."""


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a run stands. `step` steps are done; the order of all others follows from the rest."""

    step: int
    stage: dict[str, Any]
    root: str  # of the data set's seal
    tokenizer: str  # digest
    shares: dict[str, int]
    lengths: dict[str, int]  # samples a pass, by source
    schema: int = 1


def save(run: Path, model: EmberVLM, optimiser: torch.optim.Optimizer, state: State) -> Path:
    """Write a checkpoint of `state.step`, and drop all but the newest two."""
    final = run / f"checkpoint-{state.step:06d}"
    if not final.exists():
        with store.new_folder(final) as folder:
            model.save_pretrained(folder)
            save_file(_moments(model, optimiser), folder / "optimizer.safetensors")
            data = msgspec.json.format(msgspec.json.encode(state))
            (folder / "state.json").write_bytes(data + b"\n")
    for old in found(run)[:-KEPT]:
        shutil.rmtree(old)
    return final


def found(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    named = ((_NAME.fullmatch(path.name), path) for path in run.glob("checkpoint-*"))
    return [path for _, path in sorted((int(name[1]), path) for name, path in named if name)]


def read_state(checkpoint: Path) -> State:
    """Raises CheckpointError if `state.json` is not there or not readable."""
    try:
        return msgspec.json.decode((checkpoint / "state.json").read_bytes(), type=State)
    except (OSError, msgspec.DecodeError) as error:
        raise CheckpointError(f"{checkpoint} is not a checkpoint: {error}") from error


def resume(
    checkpoint: Path, model: EmberVLM, optimiser: torch.optim.Optimizer, expected: State
) -> int:
    """Load a checkpoint into model and optimiser; returns the step to go on at.

    Raises CheckpointError if it is of another stage, data set or tokenizer than `expected`, naming
    what differs: the order of samples would be another.
    """
    state = read_state(checkpoint)
    for name in ("schema", "root", "tokenizer", "shares", "lengths", "stage"):
        then, now = getattr(state, name), getattr(expected, name)
        if then != now:
            raise CheckpointError(
                f"{checkpoint} was made with another {name}: {_difference(then, now)}. "
                f"Give this run another --out, or remove {checkpoint.parent}"
            )
    load_strict(model, load_file(checkpoint / "model.safetensors"), str(checkpoint))
    _restore(model, optimiser, load_file(checkpoint / "optimizer.safetensors"), state.step)
    return state.step


def _difference(then: Any, now: Any) -> str:
    if isinstance(then, dict) and isinstance(now, dict):
        keys = sorted(k for k in then.keys() | now.keys() if then.get(k) != now.get(k))
        return "; ".join(f"{key} was {then.get(key)}, is {now.get(key)}" for key in keys)
    return f"{then}, now {now}"


def _moments(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """AdamW's two moments as `<moment>/<parameter>`."""
    return {
        f"{moment}/{name}": optimiser.state[parameter][moment].contiguous()
        for name, parameter in model.named_parameters()
        if parameter in optimiser.state
        for moment in ("exp_avg", "exp_avg_sq")
    }


def _restore(
    model: nn.Module, optimiser: torch.optim.Optimizer, moments: dict[str, torch.Tensor], step: int
) -> None:
    for name, parameter in model.named_parameters():
        if f"exp_avg/{name}" in moments:
            optimiser.state[parameter] = {
                "step": torch.tensor(float(step)),
                "exp_avg": moments[f"exp_avg/{name}"].to(parameter.device),
                "exp_avg_sq": moments[f"exp_avg_sq/{name}"].to(parameter.device),
            }
