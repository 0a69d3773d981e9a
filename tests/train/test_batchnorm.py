"""BatchNorm's statistics are those of the pictures, and nothing else has changed."""

import pytest
import torch
from torch import nn

from embervlm.vision import Encoder
from train.batchnorm import estimate_batchnorm

NAME = "repvit_m0_9.dist_450e_in1k"


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(1)
    return Encoder(NAME).train()


def pictures(count: int, size: int = 2) -> list[torch.Tensor]:
    chance = torch.Generator().manual_seed(3)
    shape = (size, 3, 224, 224)
    return [torch.randint(0, 256, shape, dtype=torch.uint8, generator=chance) for _ in range(count)]


def first_norm(encoder: Encoder) -> nn.BatchNorm2d:
    return next(part for part in encoder.modules() if isinstance(part, nn.BatchNorm2d))


def test_they_are_the_means_over_all_batches(encoder: Encoder) -> None:
    batches, seen = pictures(3), list[torch.Tensor]()
    norm = first_norm(encoder)
    assert norm.running_mean is not None
    norm.running_mean.fill_(7.0)  # of weights that no longer are
    hook = norm.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    assert estimate_batchnorm(encoder, iter(batches)) == 3
    hook.remove()
    means = torch.stack([part.mean((0, 2, 3)) for part in seen]).mean(0)
    variances = torch.stack([part.var((0, 2, 3)) for part in seen]).mean(0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)


def test_weights_modes_and_momenta_stay(encoder: Encoder) -> None:
    weights = {name: weight.clone() for name, weight in encoder.named_parameters()}
    momenta = [p.momentum for p in encoder.modules() if isinstance(p, nn.BatchNorm2d)]
    encoder.net.stem.eval()
    estimate_batchnorm(encoder, pictures(1))
    assert encoder.training
    assert not encoder.net.stem.training
    assert all(torch.equal(weight, weights[n]) for n, weight in encoder.named_parameters())
    assert [p.momentum for p in encoder.modules() if isinstance(p, nn.BatchNorm2d)] == momenta


def test_then_it_can_be_frozen(encoder: Encoder) -> None:
    estimate_batchnorm(encoder, pictures(1))
    encoder.freeze()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    encoder.train()
    encoder(pictures(1)[0])
    assert all(torch.equal(buffer, before[n]) for n, buffer in encoder.named_buffers())
    with pytest.raises(ValueError, match="before freezing"):
        estimate_batchnorm(encoder, pictures(1))
    assert all(torch.equal(buffer, before[n]) for n, buffer in encoder.named_buffers())


@pytest.mark.parametrize(
    ("batches", "told"),
    [([], "no pictures"), ([*pictures(1), pictures(1, 1)[0]], "batch 2 has 1 pictures")],
)
def test_too_little_is_refused_and_changes_nothing(encoder: Encoder, batches, told) -> None:
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    with pytest.raises(ValueError, match=told):
        estimate_batchnorm(encoder, batches)
    assert all(torch.equal(buffer, before[n]) for n, buffer in encoder.named_buffers())
    assert encoder.training
