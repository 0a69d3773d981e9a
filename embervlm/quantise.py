"""A saved model in fewer bytes: the same directory, its weights in int8 or fp16.

`EmberVLM.from_pretrained` reads either without being told; it computes in fp32 as before.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from embervlm.model import EmberVLM
from embervlm.weights import SCALE, read


class Exported(NamedTuple):
    """Bytes of the whole directory in fp32 and as written. `error`: the largest |w - w'| / |w|
    (Euclidean norms) of a tensor, as read back; `worst`: that tensor's name."""

    before: int
    after: int
    error: float
    worst: str


def export(checkpoint: Path, to: str, out: Path) -> Exported:
    """Write the model of `checkpoint` to `out`, a new directory, whole or not at all.

    Of the checkpoint only what `EmberVLM.save_pretrained` writes comes along. Raises ValueError for
    an unknown `to` or weights that it cannot hold, FileExistsError if `out` is there, and what
    `EmberVLM.from_pretrained` raises.
    """
    if to not in TARGETS:
        raise ValueError(f"unknown target {to!r}; expected --to {' or '.join(TARGETS)}")
    if out.exists():
        raise FileExistsError(f"{out} is there already; name a new directory with --out")
    model = EmberVLM.from_pretrained(checkpoint)
    tensors = model.state_dict()
    encoded: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(
                f"{checkpoint}: {name} has values that are not finite; export an earlier checkpoint"
            )
        encoded |= TARGETS[to](name, tensor)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as beside:
        draft = Path(beside) / out.name
        model.save_pretrained(draft)
        before = _size(draft)
        save_file(encoded, draft / "model.safetensors")
        errors = {name: _error(tensors[name], t) for name, t in read(draft).items()}
        worst = max(errors, key=errors.__getitem__)
        exported = Exported(before, _size(draft), errors[worst], worst)
        draft.rename(out)
    return exported


def _int8(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Symmetric, a scale for each row or output channel (Krishnamoorthi 2018, arXiv:1806.08342).

    Vectors are few and decide much (norms, biases, BatchNorm's statistics): they stay as they are.
    """
    if tensor.dim() < 2:
        return {name: tensor}
    rows = tensor.flatten(1)
    tiny = torch.finfo(torch.float32).tiny  # a row of zeros has a scale too
    scale = (rows.abs().amax(1) / 127).clamp(min=tiny)
    steps = (rows / scale[:, None]).round().to(torch.int8)
    return {name: steps.view(tensor.shape), name + SCALE: scale}


def _fp16(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """BatchNorm's statistics, whose variances may be of any size, and its counts stay as they
    are."""
    if not tensor.is_floating_point() or name.endswith(("running_mean", "running_var")):
        return {name: tensor}
    half = tensor.half()
    if not half.isfinite().all():
        raise ValueError(
            f"{name} reaches {tensor.abs().max():.3g}, and fp16 ends at 65504; use --to int8"
        )
    return {name: half}


TARGETS: dict[str, Callable[[str, Tensor], dict[str, Tensor]]] = {"int8": _int8, "fp16": _fp16}


def _error(tensor: Tensor, stored: Tensor) -> float:
    apart = (tensor - stored).float().norm()
    return float(apart / tensor.float().norm()) if apart > 0 else 0.0


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())
