"""ReasoningModule: four step states, one for each step of a chain of thought."""

import torch
from torch import Tensor, nn

from embervlm.language import Block, initialise


class ReasoningModule(nn.Module):
    """Learned step states (task analysis, environment assessment, capability matching, decision
    justification), the fused text and picture, and the plan's slots attend to one another.

    Nothing attends to the slots but they themselves: robots are chosen alike with or without a
    plan.
    """

    def __init__(self, width: int, heads: int, blocks: int, steps: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        initialise(self, blocks)
        self.states = nn.Parameter(0.02 * torch.randn(steps, width))

    def forward(self, fused: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        """fused [B,queries,D], slots [P,D] -> step states [B,steps,D], slots [B,P,D]."""
        steps = self.states.shape[0]
        seers = steps + fused.shape[1]  # then come the slots
        states, slots = (
            own.to(fused.dtype).expand(fused.shape[0], -1, -1) for own in (self.states, slots)
        )
        x = torch.cat([states, fused, slots], dim=1)
        seen = torch.arange(x.shape[1], device=x.device) < seers
        mask = seen[None, :] | ~seen[:, None]  # [query, key]
        for block in self.blocks:
            x = block(x, mask[None, None])
        x = self.norm(x)
        return x[:, :steps], x[:, seers:]
