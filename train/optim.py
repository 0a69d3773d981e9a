"""AdamW and its learning rate."""

import math

import torch
from torch import nn

from train.stage import Optim


def optimiser(model: nn.Module, settings: Optim) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; gains, biases and positions (fewer than two axes, or
    named as embeddings of position) do not decay."""
    trainable = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    decays = [p for n, p in trainable if p.ndim >= 2 and "wpe" not in n]
    stays = [p for n, p in trainable if p.ndim < 2 or "wpe" in n]
    groups = [
        {"params": decays, "weight_decay": settings.weight_decay},
        {"params": stays, "weight_decay": 0.0},
    ]
    fused = all(parameter.is_cuda for _, parameter in trainable)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=fused)


def learning_rate(step: int, steps: int, settings: Optim) -> float:
    """The rate of `step` (from 0) in a run of `steps`: up linearly, then a half cosine down."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    done = min(1.0, (step - settings.warmup) / max(1, steps - settings.warmup))
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return settings.lr * (settings.final + (1 - settings.final) * cosine)
