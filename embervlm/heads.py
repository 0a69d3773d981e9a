"""RobotHead: which robots suit."""

from torch import Tensor, nn


class RobotHead(nn.Module):
    """The mean of some states, then one logit for each robot."""

    def __init__(self, width: int, robots: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, robots)

    def forward(self, states: Tensor) -> Tensor:
        """[B,N,D] -> [B,robots]."""
        return self.linear(states.mean(dim=1))
