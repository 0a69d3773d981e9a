"""What a forward pass returns. Each also answers by name: `outputs["robot_logits"]`."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor


class Embeddings(NamedTuple):
    """Pictures and captions side by side, for the contrastive loss and for retrieval."""

    image: Tensor  # fp32 [B,C], of length 1
    text: Tensor  # fp32 [B,C], of length 1
    there: Tensor  # bool [B]: the row has a picture and a caption; without, its rows are arbitrary
    log_temperature: Tensor  # scalar


class _ByName:
    def __getitem__(self, name: str) -> Any:
        if name.startswith("_") or getattr(self, name, None) is None:
            raise KeyError(name)
        return getattr(self, name)


@dataclass
class Decision(_ByName):
    """What the robot path says of each row, before any reasoning is written.

    The four step states each cast a vote, and `robot_logits` is the mean of their votes. A plan has
    a robot, or none after its last step, and a rank for each of its steps: equal ranks run together
    (see `losses.ranks`). Its first step being none says that one robot is enough.
    """

    robot_logits: Tensor  # [B,robots]
    step_logits: Tensor  # [B,steps,robots]
    steps: Tensor  # [B,steps,D]
    plan_robots: Tensor  # [B,plan steps,robots + 1]; the last class is none
    plan_orders: Tensor  # [B,plan steps,plan steps]
    fused: Tensor  # [B,queries,D]: `model.robot_head(fused)` are votes without reasoning


@dataclass
class Text(_ByName):
    """What the language model says. hidden[:, t] predicts input_ids[:, t + 1]."""

    hidden: Tensor  # [B,T,D]; at `<image>` that of its last visual token
    head: Tensor  # [V,D], the tied head's weight
    embeddings: Embeddings | None  # where `caption_at` was given
    features: Tensor | None  # [B,49,encoder's width]: what the encoder saw, where it saw pictures

    @property
    def logits(self) -> Tensor:
        """[B,T,V], computed when asked for: losses need only the rows of their targets."""
        return self.hidden @ self.head.T


@dataclass
class Outputs(Decision, Text):
    """All of a forward pass.

    `read_logits` and `written` are there with `return_reasoning`: the robots that the row's last
    written reasoning decides, read off its words by the same fusion, step states and head, and
    which rows have one (the others' logits are arbitrary).
    """

    read_logits: Tensor | None  # [B,robots]
    written: Tensor | None  # bool [B]
