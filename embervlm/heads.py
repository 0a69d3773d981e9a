"""Heads: which robots suit, and who does what when."""

import torch
from torch import Tensor, nn

from embervlm.language import initialise


class RobotHead(nn.Module):
    """One logit for each robot from each state: a vote, of which the decision is the mean."""

    def __init__(self, width: int, robots: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, robots)

    def forward(self, states: Tensor) -> Tensor:
        """[B,N,D] -> [B,N,robots]."""
        return self.linear(states)


class PlanHead(nn.Module):
    """Action planning: a slot for each step that a plan can have.

    The slots look at the step states and at all that was fused (see ReasoningModule), as the object
    queries of DETR do (Carion et al. 2020, arXiv:2005.12872); here slot i is subtask i, so nothing
    has to be matched.
    """

    def __init__(self, width: int, robots: int, steps: int) -> None:
        super().__init__()
        self.slots = nn.Parameter(0.02 * torch.randn(steps, width))
        self.robot = nn.Linear(width, robots + 1)
        self.order = nn.Linear(width, steps)
        initialise(self, blocks=1)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Slots [B,P,D] as they have looked -> robots or none [B,P,robots + 1], ranks [B,P,P]."""
        return self.robot(states), self.order(states)
