"""What a forward pass returns."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Decision:
    """What the robot path says. Also answers `decision["robot_logits"]`."""

    robot_logits: Tensor  # [B,robots]
    steps: Tensor  # [B,steps,D]
    fused: Tensor  # [B,queries,D]: `model.robot_head(fused)` is the decision without reasoning

    def __getitem__(self, name: str) -> Tensor:
        if name.startswith("_") or not hasattr(self, name):
            raise KeyError(name)
        return getattr(self, name)


@dataclass
class Outputs(Decision):
    """All of a forward pass. hidden[:, t] predicts input_ids[:, t + 1]."""

    hidden: Tensor  # [B,T,D]; at `<image>` that of its last visual token
    head: Tensor  # [V,D], the tied head's weight

    @property
    def logits(self) -> Tensor:
        """[B,T,V], computed when asked for: losses need only the rows of their targets."""
        return self.hidden @ self.head.T
