"""All that training goes on from, as tensors by name, and back to the bit.

A learner is a module that has an EmberVLM as its `model`, and perhaps parts that learn beside it.
`model` are the tensors of the EmberVLM alone, adapters merged. `rest` is what the learner has that
is not among them (`weight/<name>`), and what its optimiser keeps of each parameter
(`exp_avg/<name>`, `exp_avg_sq/<name>`, `step/<name>`).
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from embervlm import EmberVLM
from embervlm.weights import load_strict
from train import adapters

_WEIGHT = "weight"


class Tensors(NamedTuple):
    """Of a learner and its optimiser; see above."""

    model: Mapping[str, Tensor]
    rest: Mapping[str, Tensor]


def model_of(learner: nn.Module) -> EmberVLM:
    """The EmberVLM of a learner."""
    model = learner.get_submodule("model")
    assert isinstance(model, EmberVLM)
    return model


def tensors_of(learner: nn.Module, optimiser: Optimizer) -> Tensors:
    """As they are in use: training changes them in place."""
    model = adapters.merged_state(model_of(learner))
    there = {f"model.{name}" for name in model}
    own = learner.state_dict().items()
    rest = {f"{_WEIGHT}/{name}": tensor for name, tensor in own if name not in there}
    for name, parameter in learner.named_parameters():
        for kind, tensor in optimiser.state.get(parameter, {}).items():
            rest[f"{kind}/{name}"] = tensor
    return Tensors(model, rest)


def restore(learner: nn.Module, optimiser: Optimizer, tensors: Tensors, source: object) -> None:
    """Give a learner and its optimiser back what `tensors_of` took. A parameter that had never been
    updated has nothing kept of it. ValueError, naming the tensors of `source`, if they are not the
    learner's; then nothing has changed."""
    kept: dict[str, dict[str, Tensor]] = defaultdict(dict)  # tensors by kind and parameter
    for key, tensor in tensors.rest.items():
        kind, _, name = key.partition("/")
        kept[kind][name] = tensor
    merged = {f"model.{name}": tensor for name, tensor in tensors.model.items()}
    weights = adapters.unmerged(merged, kept.pop(_WEIGHT, {}), learner.state_dict().keys())
    load_strict(learner, weights, source)
    names = {parameter: name for name, parameter in learner.named_parameters()}
    state = optimiser.state_dict()  # by numbers of parameters, counted through its groups
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state["state"] = {
        number: {
            kind: _own(found[names[parameter]], parameter, kind)
            for kind, found in kept.items()
            if names[parameter] in found
        }
        for number, parameter in enumerate(parameters)
        if any(names[parameter] in found for found in kept.values())
    }
    optimiser.load_state_dict(state)


def _own(tensor: Tensor, parameter: Tensor, kind: str) -> Tensor:
    """A copy: `tensor` may be a mapped file, which may be removed. Moments lie in memory as their
    parameter does, since in another order of axes the same sum may be rounded otherwise."""
    if kind == "step":  # where the optimiser wants it, which it knows itself
        return tensor.clone()
    return torch.empty_like(parameter, requires_grad=False).copy_(tensor)
