"""From what the eye sees to what the language model reads."""

from torch import Tensor, nn


class Projection(nn.Module):
    """LayerNorm, then Linear-GELU-Linear, token by token."""

    def __init__(self, encoder_width: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(encoder_width)
        self.enter = nn.Linear(encoder_width, encoder_width)
        self.gelu = nn.GELU(approximate="tanh")
        self.leave = nn.Linear(encoder_width, width)

    def forward(self, features: Tensor) -> Tensor:
        """[B,49,encoder width] -> [B,49,width]."""
        return self.leave(self.gelu(self.enter(self.norm(features))))
