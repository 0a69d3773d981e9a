"""What stood at each position of a step, as a line or as JSON."""

from typing import Any

from rich.table import Table
from rich.text import Text

from shards.stream import Picked
from shards.tables import printable

_TEXT = 60  # characters of ids, and of learnt text, in a table


def line(step: int, pool: int, one: Picked) -> dict[str, Any]:
    """What stands at a position, in full."""
    return {
        "step": step,
        "position": one.position,
        "pool": pool,
        "source": one.source,
        "pass": one.passes,
        "sample": one.sample,
        "record": one.number,
        "shard": one.shard,
        "key": one.record.key,
        "turns": [
            {
                "id": turn.id,
                "thread": turn.thread,
                "kind": turn.kind,
                "prompt": turn.prompt,
                "target": turn.target,
                "learnt": place >= one.context,
            }
            for place, turn in enumerate(one.turns)
        ],
    }


def table(picked: list[tuple[int, Picked]]) -> Table:
    """A line a position; a terminal that is too narrow folds it."""
    printed = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("position", "pool", "source", "pass", "sample", "shard", "key", "turns", "learnt"):
        right = head in ("position", "pool", "pass", "sample")
        printed.add_column(head, justify="right" if right else "left", overflow="fold")
    for pool, one in picked:
        ids = ", ".join(turn.id for turn in one.turns)
        learnt = " | ".join(turn.target for turn in one.turns[one.context :])
        cells = (one.position, pool, one.source, one.passes, one.sample, one.shard)
        cells += (one.record.key, _short(ids), _short(learnt))
        printed.add_row(*(Text(printable(str(cell))) for cell in cells))
    return printed


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TEXT else f"{line[: _TEXT - 4]} ..."
