"""BatchNorm's statistics of a trained encoder, estimated anew before it is frozen.

While an encoder is trained they are moving averages over weights that no longer are. With the
weights at rest, the means over many batches are taken instead: "precise BatchNorm", Wu and Johnson
2021 (arXiv:2105.07576).
"""

from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor, nn

from embervlm.vision import Encoder


@torch.no_grad()
def estimate_batchnorm(encoder: Encoder, pictures: Iterable[Tensor]) -> int:
    """Set running mean and variance of every BatchNorm to the means of what all batches of
    `pictures`, uint8 [B,3,224,224], have; returns how many batches there were.

    Nothing else changes, modes and momenta included. Batches count alike, so they should be of one
    size, and large. Raises ValueError for a frozen encoder, for no batch, or one of fewer than two
    pictures; then nothing has changed.
    """
    if encoder.frozen:
        raise ValueError("a frozen encoder's BatchNorm never changes; estimate it before freezing")
    norms = [part for part in encoder.modules() if isinstance(part, nn.BatchNorm2d)]
    batches = iter(pictures)
    first = next(batches, None)
    if first is None:
        raise ValueError("no pictures to estimate BatchNorm's statistics from")
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    modes = {part: part.training for part in encoder.modules()}
    momenta = [norm.momentum for norm in norms]
    count = 0
    try:
        encoder.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean of all batches, each as heavy as the others
            norm.training = True
        for count, batch in enumerate(chain((first,), batches), 1):
            if len(batch) < 2:
                raise ValueError(f"batch {count} has {len(batch)} pictures; expected 2 or more")
            encoder(batch)
    except BaseException:
        for name, buffer in encoder.named_buffers():
            buffer.copy_(before[name])
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for part, training in modes.items():
            part.training = training
    return count
