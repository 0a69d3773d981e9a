"""What a stage optimises: one function each, named in the stage's YAML.

An objective gives a loss as sum and count (embervlm.losses.Loss), so that the loop can divide by
the counts of the whole global batch. It says the same count before the forward pass, from the
slot's numpy buffers, and which components its gradient comes to.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from embervlm import EmberVLM, losses
from embervlm.config import EmberVLMConfig
from embervlm.losses import Loss
from embervlm.outputs import Decision, Outputs, Text
from manifests.schema import TERRAINS
from shards.slot import NO_LOSS, Slot
from train.batches import Batch
from train.distributed import Place, gather_rows
from train.site import SiteHead, site_loss
from train.stage import RobotLoss


class Seen(NamedTuple):
    """What an objective may look at of a pool. Where an objective asks for words there is `said`,
    where one asks for robots `decided`; mostly both are one Outputs."""

    batch: Batch
    targets: int  # in this pool, known without asking the device
    said: Text | None
    decided: Decision | None


class Aids(NamedTuple):
    """What objectives need besides the model."""

    place: Place
    robot_loss: RobotLoss = RobotLoss()
    robot_weights: Tensor | None = None  # [5], where robot_loss is balanced
    teacher: EmberVLM | None = None
    temperature: float = 1.0  # of distillation
    site_head: SiteHead | None = None


def language(seen: Seen, aids: Aids) -> Loss:
    """Next token, on targets only."""
    said = _said(seen)
    return losses.next_token(said.hidden, said.head, seen.batch.labels, seen.targets)


def contrast(seen: Seen, aids: Aids) -> Loss:
    """Pictures and captions find each other in the whole pool, the parts of all ranks."""
    found = _said(seen).embeddings
    assert found is not None
    rows = torch.cat([found.image, found.text], 1)
    whole, first = gather_rows(rows, aids.place)
    names = torch.stack([seen.batch.group, found.there.long()], 1)
    group, there = gather_rows(names, aids.place)[0].unbind(1)
    image, text = whole.chunk(2, 1)
    return losses.contrastive(
        image, text, found.log_temperature, group, there.bool(), first, len(rows)
    )


def distil(seen: Seen, aids: Aids) -> Loss:
    """A teacher's distribution of the next token, on targets only."""
    said, batch, teacher = _said(seen), seen.batch, aids.teacher
    assert teacher is not None
    with torch.no_grad():
        taught = teacher.forward_language(
            batch.tokens, batch.images, has_image=batch.has_image, thread=batch.thread
        )
    return losses.distil(
        said.hidden, said.head, taught.logits, batch.labels, aids.temperature, seen.targets
    )


def robots(seen: Seen, aids: Aids) -> Loss:
    """The robots that suit: softmax where one is enough, independent yes or no for a team."""
    batch, how = seen.batch, aids.robot_loss
    logits = _decided(seen).robot_logits
    return losses.robot(logits, batch.robots, batch.single, aids.robot_weights, how.smoothing)


def plan(seen: Seen, aids: Aids) -> Loss:
    """Who does what when; nothing where one robot is enough."""
    decided, batch = _decided(seen), seen.batch
    rows = batch.robots.any(1)
    return losses.plan(decided.plan_robots, decided.plan_orders, batch.plan, rows)


def consistency(seen: Seen, aids: Aids) -> Loss:
    """What the written reasoning decides is what the head decides."""
    decided, batch = _decided(seen), seen.batch
    assert isinstance(decided, Outputs) and decided.read_logits is not None
    assert decided.written is not None
    rows = decided.written & batch.robots.any(1)
    return losses.consistency(decided.read_logits, decided.robot_logits, batch.single, rows)


def site(seen: Seen, aids: Aids) -> Loss:
    """The facts of the site that the picture shows, read off its visual tokens."""
    features, batch = _said(seen).features, seen.batch
    assert aids.site_head is not None and features is not None
    shown = batch.site.masked_fill(~batch.has_image[:, None], torch.nan)
    return site_loss(aids.site_head(features), shown)


def _said(seen: Seen) -> Text:
    assert seen.said is not None
    return seen.said


def _decided(seen: Seen) -> Decision:
    assert seen.decided is not None
    return seen.decided


def _targets(slot: Slot, config: EmberVLMConfig) -> int:
    return int(np.count_nonzero(slot.labels[:, 1:] != NO_LOSS))


def _compared(slot: Slot, config: EmberVLMConfig) -> int:
    return int(np.count_nonzero((slot.caption_at >= 0) & slot.has_image))


def _labelled(slot: Slot, config: EmberVLMConfig) -> int:
    return int(slot.robots.any(1).sum())


def _reasoned(slot: Slot, config: EmberVLMConfig) -> int:
    """Rows with robots, and something right after their last `<reasoning_start>`, if only its
    end."""
    ids, thread = slot.tokens, slot.thread
    place = np.arange(ids.shape[1])
    start = np.where(ids == config.reasoning_start_id, place, -1).max(1)
    there = (start >= 0) & (start + 1 < ids.shape[1])
    at = np.where(there, start, 0)[:, None]
    own, after = (np.take_along_axis(thread, where, 1)[:, 0] for where in (at, at + 1))
    there &= after == own  # padding is of no thread
    return int(np.count_nonzero(there & slot.robots.any(1)))


def _shown(slot: Slot, config: EmberVLMConfig) -> int:
    known = ~np.isnan(slot.site)
    grounds = len(TERRAINS)
    told = known[:, :grounds].all(1) | known[:, grounds:].any(1)
    return int(np.count_nonzero(told & slot.has_image))


class Objective(NamedTuple):
    """`count` of a slot is that of `loss`; `reaches` names components (embervlm.COMPONENTS).

    `reads`: it asks for words of the language model; `decides`: it asks for robots.
    """

    loss: Callable[[Seen, Aids], Loss]
    count: Callable[[Slot, EmberVLMConfig], int]
    reaches: frozenset[str]
    reads: bool = True
    decides: bool = False


_WORDS = frozenset({"encoder", "projection", "language"})
_ROBOTS = _WORDS | {"fusion", "reasoning"}
OBJECTIVES: dict[str, Objective] = {
    "language": Objective(language, _targets, _WORDS),
    "contrast": Objective(contrast, _compared, _WORDS | {"contrast"}),
    "distil": Objective(distil, _targets, _WORDS),
    "robots": Objective(robots, _labelled, _ROBOTS | {"robot_head"}, reads=False, decides=True),
    "plan": Objective(plan, _labelled, _ROBOTS | {"plan_head"}, reads=False, decides=True),
    "consistency": Objective(consistency, _reasoned, _ROBOTS | {"robot_head"}, decides=True),
    "site": Objective(site, _shown, frozenset({"encoder"})),
}


def reached(names: Iterable[str], vision_only: bool) -> frozenset[str]:
    """The components that these objectives teach; with `vision_only` robots are decided past the
    language model."""
    components: frozenset[str] = frozenset()
    for name in names:
        past = vision_only and not OBJECTIVES[name].reads
        components |= OBJECTIVES[name].reaches - ({"language"} if past else set())
    return components
