"""Reading files of tensors, and loading them strictly: every name and shape fits or nothing does.

Never plain pickle: safetensors, or torch.load with weights_only=True. A tensor NAME in int8 stands
beside NAME.scale, fp32 [its rows], by which each row of it is to be multiplied.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

FILES = ("model.safetensors", "pytorch_model.bin")  # the first that is there is read
SCALE = ".scale"


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, or of the first of FILES in a directory, on the CPU; int8 as fp32.

    Raises FileNotFoundError if there is none of them, ValueError for int8 without its scale.
    """
    if path.is_dir():
        found = [path / name for name in FILES if (path / name).is_file()]
        if not found:
            raise FileNotFoundError(f"{path} holds neither {' nor '.join(FILES)}")
        path = found[0]
    if path.suffix == ".safetensors":
        return _dequantise(load_file(path), path)
    return _dequantise(torch.load(path, map_location="cpu", weights_only=True), path)


def _dequantise(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    for name in [name for name, tensor in tensors.items() if tensor.dtype == torch.int8]:
        steps, scale = tensors[name], tensors.pop(name + SCALE, None)
        if scale is None:
            raise ValueError(f"{path}: {name} is int8, and {name}{SCALE} is missing")
        if scale.dtype != torch.float32 or scale.shape != steps.shape[:1]:
            raise ValueError(
                f"{path}: {name}{SCALE} is {scale.dtype} {tuple(scale.shape)}, expected "
                f"torch.float32 {tuple(steps.shape[:1])}"
            )
        tensors[name] = steps * scale.view(-1, *[1] * (steps.dim() - 1))
    return tensors


def count(module: nn.Module) -> int:
    """Parameters of a module; one that is used twice counts once."""
    return sum(parameter.numel() for parameter in module.parameters())


def load_strict(module: nn.Module, tensors: dict[str, Tensor], source: object) -> None:
    """Copy `tensors` into `module`. ValueError, naming them, if one is missing, extra or misshapen.

    Nothing is copied unless everything fits.
    """
    own = module.state_dict()
    faults = [f"{name} is missing" for name in own if name not in tensors]
    faults += [f"{name} is not part of the model" for name in tensors if name not in own]
    faults += [
        f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if faults:
        more = f" and {len(faults) - 8} more" if len(faults) > 8 else ""
        raise ValueError(f"weights of {source} do not fit: {'; '.join(faults[:8])}{more}")
    module.load_state_dict(tensors, strict=True)
