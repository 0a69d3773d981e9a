"""The eye: RepViT-M0.9 (Wang et al. 2024, arXiv:2307.09283), 224 px pictures to 49 tokens of 384
channels."""

import json
from pathlib import Path
from typing import Any

import timm
import torch
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

from embervlm.config import IMAGE_SIZE
from embervlm.hub import locate
from embervlm.weights import load_strict, read

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


_RANDOM = (
    "a randomly initialised encoder must not be frozen: its features of different pictures agree "
    "to about 1e-7 (cosine distance), so nothing after it could tell pictures apart. Set "
    "encoder_weights to timm or a local directory, or train it first (stage0.yaml; any stage that "
    "lists the encoder as trainable), and begin with that checkpoint"
)


class Encoder(nn.Module):
    """A timm network without its classifier. `frozen` encoders never change, BatchNorm included,
    and look at nothing before they have weights."""

    net: Any  # timm's classes are not typed
    mean: Tensor
    std: Tensor

    def __init__(self, name: str) -> None:
        """Random weights, no network access. timm raises RuntimeError for an unknown `name`."""
        super().__init__()
        self.net = timm.create_model(name, pretrained=False, num_classes=0)
        self.width = int(self.net.num_features)
        self.frozen = False
        self._loaded = False
        self._fused: dict[torch.dtype, Any] = {}  # by precision; no part of the state
        self.register_load_state_dict_post_hook(_note_weights)
        # Constants, not state: kept out of checkpoints.
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """[B,3,224,224], uint8 (any memory layout) or float in 0..1 -> [B,49,384], row by row.

        Raises ValueError for other shapes, and if the encoder is frozen without weights.
        """
        if pixels.shape[1:] != (3, IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"pictures of shape {tuple(pixels.shape)}; expected [B,3,{IMAGE_SIZE},{IMAGE_SIZE}]"
            )
        scale = 255 if pixels.dtype == torch.uint8 else 1
        pictures = (pixels.to(self.mean.dtype) / scale - self.mean) / self.std
        if self.frozen:
            net, dtype = self.fused()
            with torch.no_grad():
                grid = net.forward_features(pictures.to(dtype))
        else:
            grid = self.net.forward_features(pictures)
        return grid.flatten(2).transpose(1, 2)

    def fused(self) -> tuple[Any, torch.dtype]:
        """A frozen network as it computes, and its precision: every BatchNorm and parallel branch
        in one convolution (Wang et al. 2024), channels last. Made when it is first asked for.

        ValueError if the encoder has no weights.
        """
        if not self._loaded:
            raise ValueError(_RANDOM)
        device, dtype = self.mean.device.type, self.mean.dtype
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        if dtype not in self._fused:
            net = reparameterize_model(self.net).to(dtype=dtype)
            self._fused[dtype] = net.to(memory_format=torch.channels_last)
        return self._fused[dtype], dtype

    def _apply(self, fn: Any, recurse: bool = True) -> "Encoder":
        self._fused.clear()  # it would stay on the device where it was
        return super()._apply(fn, recurse)

    @property
    def trained(self) -> bool:
        """Whether the weights come from somewhere.

        True after `load`, and whenever a BatchNorm's running mean has left its initial zero, which
        a checkpoint carries with it: so a trained encoder is known however it was loaded.
        """
        return self._loaded or any(bool(mean.any()) for mean in self._means())

    def freeze(self) -> None:
        """No gradient, eval mode for good. ValueError for a randomly initialised encoder."""
        if not self.trained:
            raise ValueError(_RANDOM)
        self._loaded = True
        self.hold()

    def hold(self) -> None:
        """Frozen before its weights are there: `forward` waits for load_state_dict, or refuses."""
        self.frozen = True
        self._fused.clear()
        self.requires_grad_(False)
        self.eval()

    def _means(self) -> list[Tensor]:
        return [buffer for name, buffer in self.named_buffers() if name.endswith("running_mean")]

    def train(self, mode: bool = True) -> "Encoder":
        """As nn.Module.train, but a frozen encoder stays in eval mode."""
        return super().train(mode and not self.frozen)

    def trust(self) -> None:
        """Take the weights for trained on the word of the checkpoint they came from."""
        self._loaded = True

    def load(self, source: str) -> None:
        """Weights from "timm" (its hub) or a local path in the hub's layout, strictly.

        The classifier's tensors (`head.*`) are dropped, as this encoder has none. Raises ValueError
        naming the tensors that do not fit, or the architecture if config.json tells of another.
        """
        hub_id = self.net.pretrained_cfg["hf_hub_id"]
        path = locate(hub_id if source == "timm" else source, ("model.safetensors", "config.json"))
        _check_architecture(path / "config.json", self.net.pretrained_cfg["architecture"])
        tensors = {n: t for n, t in read(path).items() if not n.startswith("head.")}
        load_strict(self.net, tensors, source)
        self._fused.clear()
        self.trust()


def _note_weights(encoder: Encoder, _: Any) -> None:
    """After load_state_dict: a network without BatchNorm is taken at its word."""
    encoder._fused.clear()
    if encoder.trained or not encoder._means():
        encoder.trust()


def _check_architecture(path: Path, expected: str) -> None:
    found = json.loads(path.read_text()).get("architecture") if path.is_file() else None
    if found not in (None, expected):
        raise ValueError(f"{path} describes a {found}; expected a {expected}")
