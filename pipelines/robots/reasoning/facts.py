"""What writer and checker share: the form of a reasoning, and the facts of a record."""

from collections.abc import Mapping
from typing import Any

from pipelines.robots.capability import model
from pipelines.robots.lexicon import lexicon
from pipelines.robots.said import Item, Said

STEPS = (
    "Task analysis",
    "Environment assessment",
    "Robot capability matching",
    "Decision justification",
)
MIN_WORDS, MAX_WORDS = 40, 160
LOW_M = 1.8  # headroom under which nobody stands
_MORE_THAN = {"clutter": 0.3, "wind_ms": 8, "slope_deg": 9}  # up to here they bother nobody
_DEMANDED = ("height_m", "hours", "distance_m", "minutes", "quiet")  # the words always give these


class Facts:
    """What is so in a record, what its words say of that, and what its picture shows.

    `said` is the meaning of its words, None for words that the lexicon does not know; then its
    evidence tells what they say. `stated`: fact -> whether with a number. `items`: the jobs in the
    order of the subtasks; `here`: the places in it of those that are done where the site is.
    """

    def __init__(self, record: Mapping[str, Any], said: Said | None) -> None:
        self.text: str = record["input"].removeprefix("Task: ")
        self.site: Mapping[str, Any] = record.get("site", {})
        self.steps: list[dict[str, Any]] = record.get("subtasks") or []
        needs = record.get("requirements", {})
        self.needs: list[dict[str, Any]] = list(needs) if self.steps else [needs]
        self.robots: list[str] = record["output"].split(", ")
        self.where: Mapping[str, str] = record.get("evidence", {}).get("facts", {})
        self.stated = {fact: False for fact, where in self.where.items() if where != "picture"}
        self.denied, self.skipped, self.named = set[str](), set[str](), set[str]()
        self.items: list[Item] = []
        self.here: list[int] = []
        self.ordered = False
        if said is not None:
            self._understand(said)

    def _understand(self, said: Said) -> None:
        states = lexicon().states
        told = {f: value is not None for name, value in said.told for f in states[name].facts}
        self.stated = told
        self.denied = {fact for name in said.denied for fact in states[name].absent}
        self.skipped = {fact for name in said.skipped for fact in states[name].facts}
        if said.placed:
            self.named = {f for f, value in said.spot.base.items() if self.site.get(f) == value}
        plan = sorted(zip(said.plan, said.items, strict=True), key=lambda step: step[0])
        self.items = [item for _, item in plan]
        self.here = [i for i, item in enumerate(self.items) if item.job.spot is said.spot]
        self.ordered = said.orders is not None

    @property
    def told(self) -> set[str]:
        """The facts of the site that the words speak of, or give by the place that they name."""
        return {*self.stated, *self.denied, *self.skipped, *self.named}

    def seen(self, fact: str) -> bool:
        return fact in self.site and self.where.get(fact) != "text"

    def source(self, fact: str) -> str | None:
        """Where a fact is known from: told, seen, both, or named with the place; None: nowhere."""
        if fact in self.stated:
            return "both" if self.seen(fact) else "told"
        return "seen" if self.seen(fact) else "named" if fact in self.named else None

    def counted(self, fact: str) -> bool:
        """Whether words or picture give the number of a fact of the site."""
        return self.stated.get(fact, False) or self.seen(fact)

    @property
    def weighed(self) -> bool:
        """Whether the words give every load."""
        return all(item.value is not None or item.job.measured is None for item in self.items)

    def known(self, requirement: str, need: Mapping[str, Any]) -> bool:
        """Whether the number behind a requirement can be known."""
        fact = model()["requirements"][requirement]["fact"]
        if fact in _DEMANDED or (fact == "payload_kg" and self.weighed):
            return True
        return self.site.get(fact) == need[requirement] and self.counted(fact)

    def hinders(self, fact: str) -> bool:
        """Whether a fact of the site is one that hinders some robot."""
        value = self.site.get(fact)
        if fact in ("light", "ceiling_m"):
            return value is not None and value < (0.2 if fact == "light" else LOW_M)
        if fact == "water_depth_m":
            wet = any(need.get("grounds") == "water" for need in self.needs)
            return wet or bool(value) or self.site.get("terrain") == "water"
        return (value or 0) > _MORE_THAN.get(fact, 0)
