"""Small models that still have every part."""

import pytest
import torch

from embervlm.config import EmberVLMConfig
from embervlm.model import EmberVLM


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small models gain nothing from threads, and threads wait for one another on a busy machine"""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small() -> EmberVLMConfig:
    return EmberVLMConfig(
        vocab_size=64, layers=2, heads=3, width=48, positions=160, reasoning_blocks=1
    )


@pytest.fixture(scope="session")
def pictures() -> torch.Tensor:
    """Three pictures of coloured squares, uint8 [3,3,224,224]; noise alone would look alike."""
    generator = torch.Generator().manual_seed(1)
    squares = torch.randint(0, 256, (3, 3, 4, 4), dtype=torch.uint8, generator=generator)
    return squares.repeat_interleave(56, dim=2).repeat_interleave(56, dim=3)


@pytest.fixture(scope="session")
def model(small: EmberVLMConfig, pictures: torch.Tensor) -> EmberVLM:
    """In eval mode, its BatchNorm moved so that pictures differ. Tests leave it as it is."""
    torch.manual_seed(0)
    model = EmberVLM(small)
    model.train()
    for part in model.encoder.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0  # one pass is enough
    with torch.no_grad():
        model.look(pictures)
        for part in (model.language, model.fusion, model.reasoning, model.robot_head):
            for parameter in part.parameters():
                parameter.mul_(3)  # louder than at the start, so that every input tells
    return model.eval()
