"""ReasoningModule: four step states, one for each step of a chain of thought."""

import torch
from torch import Tensor, nn

from embervlm.language import Block, initialise


class ReasoningModule(nn.Module):
    """Learned step states and the fused tokens attend to one another; the states come out."""

    def __init__(self, width: int, heads: int, blocks: int, steps: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        initialise(self, blocks)
        self.states = nn.Parameter(0.02 * torch.randn(steps, width))

    def forward(self, fused: Tensor) -> Tensor:
        """fused [B,queries,D] -> [B,steps,D]."""
        x = torch.cat([self.states.expand(fused.shape[0], -1, -1).to(fused.dtype), fused], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, : self.states.shape[0]])
