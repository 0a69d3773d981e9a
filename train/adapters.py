"""Low-rank adapters in the language model's layers: Hu et al. 2021 (arXiv:2106.09685), by peft.

A layer y = W x + b becomes y = W x + b + (alpha / rank) B A x, of which only A and B are trained;
B begins as zero, so nothing changes at first. What is saved for others is W + (alpha / rank) B A.
"""

from collections.abc import Container, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from embervlm import EmberVLM
from manifests.settings import SettingsError
from train.stage import Lora

_ADAPTED = ("c_attn", "c_proj", "c_fc")  # every linear layer of a block
_NAME = "default"  # peft's, of the one adapter that a layer has
_BASE = ".base_layer."  # between an adapted layer's name and its W or b


def attach(model: EmberVLM, spec: Lora) -> None:
    """Give each layer of the language model an adapter, and freeze the rest of it: the layers' own
    weights, embeddings and LayerNorms. Other components stay as they are.

    A is random, by torch's global generator. Call it after `train_only`, and before an optimiser is
    made. Raises SettingsError if peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model  # takes seconds; few stages need it
    except ImportError as error:
        raise SettingsError(
            f"lora: adapters need peft, which cannot be imported ({error}). Install it with "
            f"pip install peft, or train all of the language model with --set lora=null"
        ) from error
    chosen = LoraConfig(r=spec.rank, lora_alpha=spec.alpha, target_modules=list(_ADAPTED))
    inject_adapter_in_model(chosen, model.language)


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors by the names that it has without adapters, what those have learnt merged
    in: what EmberVLM.from_pretrained reads. Without adapters it is the state_dict.

    Merged in fp64, so that W is rounded once, however exactly a device multiplies fp32.
    """
    tensors = dict(model.state_dict())
    for name, layer in _adapted(model):
        own = {part: tensors.pop(part) for part in list(tensors) if part.startswith(f"{name}.")}
        a, b = (own[f"{name}.{part}.{_NAME}.weight"].double() for part in ("lora_A", "lora_B"))
        weight = own[f"{name}{_BASE}weight"]
        learnt = layer.scaling[_NAME] * (b @ a)
        tensors[f"{name}.weight"] = (weight.double() + learnt).to(weight.dtype)
        tensors[f"{name}.bias"] = own[f"{name}{_BASE}bias"]
    return tensors


def unmerged(
    merged: Mapping[str, Tensor], apart: Mapping[str, Tensor], own: Container[str]
) -> dict[str, Tensor]:
    """The state_dict that was saved in two: as `merged_state` gives it, and, to the bit, those of
    its tensors that are not in there, `apart`. For a model whose tensors have the names `own`:
    where its layers are not adapted, both are given, so that loading names what is too much."""
    adapted = {name.replace(_BASE, ".") for name in apart if _BASE in name}
    plain = {name: t for name, t in merged.items() if name not in adapted or name in own}
    return {**plain, **apart}


def _adapted(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Layers with an adapter, by name; peft's classes need not be imported to know them."""
    return ((name, part) for name, part in model.named_modules() if hasattr(part, "lora_A"))
