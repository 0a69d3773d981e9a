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
from shards.mixing import Mixture

KEPT = 2
SCHEMA = 2
_NAME = re.compile(r"checkpoint-(\d+)")


class CheckpointError(ValueError):
    """A checkpoint that cannot be gone on from."""


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a run stands. `step` steps are done; the order of all others follows from the rest.

    `mixture` was resolved when the run began, and is not resolved again when it goes on.
    """

    step: int
    stage: dict[str, Any]
    root: str  # of the data set's seal
    tokenizer: str  # digest
    mixture: Mixture
    schema: int = SCHEMA


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
    """Raises CheckpointError if `state.json` is not there, not readable or of another release."""
    try:
        data = (checkpoint / "state.json").read_bytes()
        if (schema := msgspec.json.decode(data).get("schema")) != SCHEMA:
            raise CheckpointError(
                f"{checkpoint} is of schema {schema}; this code reads {SCHEMA}. Train anew"
            )
        return msgspec.json.decode(data, type=State)
    except (OSError, msgspec.DecodeError) as error:
        raise CheckpointError(f"{checkpoint} is not a checkpoint: {error}") from error


def check(checkpoint: Path, state: State, stage: dict[str, Any], root: str, tokenizer: str) -> None:
    """Raise CheckpointError if a checkpoint is of another stage, data set or tokenizer, naming what
    differs: the order of samples would be another."""
    then = {"root": state.root, "tokenizer": state.tokenizer, "stage": state.stage}
    now = {"root": root, "tokenizer": tokenizer, "stage": stage}
    for name in then:
        if then[name] != now[name]:
            raise CheckpointError(
                f"{checkpoint} was made with another {name}: {_difference(then[name], now[name])}. "
                f"Give this run another --out, or remove {checkpoint.parent}"
            )


def resume(
    checkpoint: Path, state: State, model: EmberVLM, optimiser: torch.optim.Optimizer
) -> None:
    """Load a checkpoint into model and optimiser."""
    load_strict(model, load_file(checkpoint / "model.safetensors"), str(checkpoint))
    _restore(model, optimiser, load_file(checkpoint / "optimizer.safetensors"), state.step)


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
