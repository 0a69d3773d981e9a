"""What `generate_reasoning` gives: reasonings as ids and as words, robots and plans as names."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from embervlm.config import STEPS
from embervlm.metrics import chosen
from embervlm.outputs import Decision

_KEYS = (
    "selected_robot",
    "selected_robots",
    "confidence",
    "robot_probabilities",
    "reasoning",
    "plan",
)
_HEADING = re.compile("|".join(rf"(\b{step}\b\s*:)" for step in STEPS), re.IGNORECASE)


@dataclass
class Answers:
    """Answers to a batch: `answers[0]` are the ids of row 0's reasoning, `answers["plan"]` is a
    list by row, `answers.row(0)` all of one row.

    Whether one robot is enough is what the plan head says: a plan without steps. Then the robots'
    probabilities are a softmax, and the likeliest is sent. Of a team they are each robot's own
    chance to be in it, and the likeliest is sent with all that are more likely than not.
    """

    ids: Tensor  # int64 [B,N]; `<pad>` after a row's end
    decision: Decision
    robots: tuple[str, ...]
    decode: Callable[[list[int]], str]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, int):
            return self.ids[key]
        if key not in _KEYS:
            raise KeyError(f"{key!r}; there are {', '.join(_KEYS)}, and rows by number")
        return [self.row(number)[key] for number in range(len(self))]

    def row(self, number: int) -> dict[str, Any]:
        """selected_robot, selected_robots (the likeliest first), confidence (in the former),
        robot_probabilities by name, reasoning (four steps, "" if not written), plan: (robot, rank)
        of each step, equal ranks at the same time."""
        plan = self._plan(number)
        logits = self.decision.robot_logits[number].float()
        one = self.decision.plan_robots.new_tensor([not plan]).bool()
        scores = (logits.softmax(0) if not plan else logits.sigmoid()).tolist()
        sent = chosen(logits[None], one)[0].tolist()
        ranked = sorted(range(len(scores)), key=lambda robot: -scores[robot])
        selected = [self.robots[robot] for robot in ranked if sent[robot]]
        return {
            "selected_robot": selected[0],
            "selected_robots": selected,
            "confidence": scores[ranked[0]],
            "robot_probabilities": dict(zip(self.robots, scores, strict=True)),
            "reasoning": steps_of(self.decode(self.ids[number].tolist())),
            "plan": plan,
        }

    def _plan(self, number: int) -> list[tuple[str, int]]:
        plan: list[tuple[str, int]] = []
        who = self.decision.plan_robots[number].argmax(1).tolist()
        when = self.decision.plan_orders[number].argmax(1).tolist()
        for robot, rank in zip(who, when, strict=True):
            if robot == len(self.robots):
                break
            plan.append((self.robots[robot], rank))
        return plan


def steps_of(text: str) -> list[str]:
    """The four steps of a written reasoning, each from its heading to the next; "" where a heading
    is missing."""
    found = [""] * len(STEPS)
    headings = list(_HEADING.finditer(text))
    for place, here in enumerate(headings):
        step = (here.lastindex or 1) - 1
        end = headings[place + 1].start() if place + 1 < len(headings) else len(text)
        found[step] = found[step] or text[here.start() : end].strip()
    return found
