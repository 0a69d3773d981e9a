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
    return EmberVLMConfig.preset(
        "compact", layers=2, heads=3, width=48, positions=160, reasoning_blocks=1
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
        for name in ("language", "fusion", "reasoning", "robot_head", "plan_head"):
            for parameter in getattr(model, name).parameters():
                parameter.mul_(3)  # louder than at the start, so that every input tells
    return model.eval()


@pytest.fixture(scope="session")
def ids_of(small: EmberVLMConfig):
    """'a b I c R .' -> ids: letters stand for themselves, I = <image>, R = <robot>, . = <pad>,
    S and E = <reasoning_start> and <reasoning_end>."""
    special = {
        "I": small.image_id,
        "R": small.robot_id,
        ".": small.pad_id,
        "S": small.reasoning_start_id,
        "E": small.reasoning_end_id,
    }

    def ids(*rows: str) -> torch.Tensor:
        return torch.tensor([[special.get(c, ord(c) - ord("a")) for c in r.split()] for r in rows])

    return ids
