"""What a stage optimises: one function each, named in the stage's YAML.

An objective gives a loss as sum and count (embervlm.losses.Loss), so that the loop can divide by
the counts of the whole global batch. `COUNTS` says the same count before the forward pass, from the
slot's numpy buffers.
"""

from collections.abc import Callable

import numpy as np

from embervlm import losses
from embervlm.losses import Loss
from embervlm.outputs import Outputs
from shards.slot import NO_LOSS, Slot
from train.batches import Batch
from train.stage import COMPONENTS


def language(outputs: Outputs, batch: Batch) -> Loss:
    """Next token, on targets only."""
    return losses.next_token(outputs.hidden, outputs.head, batch.labels)


def robots(outputs: Outputs, batch: Batch) -> Loss:
    """The robots that suit: softmax where one is enough, independent yes or no for a team."""
    return losses.robot(outputs.robot_logits, batch.robots, batch.single)


def _targets(slot: Slot) -> int:
    return int(np.count_nonzero(slot.labels[:, 1:] != NO_LOSS))


def _decided(slot: Slot) -> int:
    return int(slot.robots.any(1).sum())


OBJECTIVES: dict[str, Callable[[Outputs, Batch], Loss]] = {"language": language, "robots": robots}
# The components that an objective's gradient comes to; no other may be listed as trainable.
REACHES: dict[str, frozenset[str]] = {
    "language": frozenset({"encoder", "projection", "language"}),
    "robots": frozenset(COMPONENTS),
}
COUNTS: dict[str, Callable[[Slot], int]] = {"language": _targets, "robots": _decided}
