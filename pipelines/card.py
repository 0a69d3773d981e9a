"""The robot-selection set with its data card: written, measured, described.

Every number on the card is counted from the files beside it or measured by the audit; the template
has none of its own.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from rich.console import Console
from rich.progress import Progress

from manifests import store
from manifests.place import split_of, task_group
from manifests.schema import ROBOTS, SPLITS
from pipelines.robots import choose, dataset
from pipelines.robots.capability import model
from pipelines.robots.choose import Group
from pipelines.robots.lexicon import lexicon
from pipelines.robots.profile import kinds_table, profile

_TEMPLATE = Path(__file__).with_name("card.md.jinja")
_NAME = "README.md"


def write_set(
    folder: Path, seed: int, single: int, multi: int, console: Console
) -> dict[choose.Form, int]:
    """Write a set of so many tasks into `folder`; returns how many records each file has."""
    if single < 0 or multi < 0 or single + multi == 0:
        raise ValueError(f"{single} single and {multi} multi tasks; ask for at least one")

    def counted() -> Iterator[Group]:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("scenarios", total=single + multi)
            for group in choose.groups(seed, single, multi):
                progress.advance(task, len(group.scenarios))
                yield group

    return dataset.write(folder, counted())


def write_card(folder: Path, audit: bool, console: Console) -> bool:
    """Describe the set in `folder` in its README.md; returns whether a control of the audit failed.

    Without `audit` the card says that its controls were not measured.
    """
    records = {
        form: msgspec.json.decode((folder / name).read_bytes(), type=list[dict[str, Any]])
        for form, name in dataset.FILES.items()
    }
    every = [record for of_form in records.values() for record in of_form]
    controls = None
    if audit:
        from pipelines.audit import audit as measure  # needs scikit-learn, and minutes

        controls = measure(folder, console)
    template = jinja2.Template(
        _TEMPLATE.read_text(encoding="utf-8"), trim_blocks=True, lstrip_blocks=True
    )
    language = profile([record["input"] for record in every])
    console.print(
        f"{language['words']:,} words, {language['verbs']:,} verbs, {language['fourgrams']:,} "
        f"4-grams; near-twins {language['near_twins']:.1%}; commonest frame "
        f"{language['frame_share']:.2%}: {language['frame']}",
        highlight=False,
        markup=False,
    )
    text = template.render(
        files=dataset.FILES,
        robots=ROBOTS,
        splits=SPLITS,
        capability=model()["robots"],
        records=records,
        counts={form: _counts(of_form) for form, of_form in records.items()},
        profile=language,
        kinds=kinds_table(every),
        controls=controls,
        domains=len(lexicon().domains),
    )
    store.write(folder / _NAME, text.encode())
    return controls is not None and "FAILED" in controls


def _counts(records: list[dict[str, Any]]) -> dict[str, Any]:
    """By split, by what decides, by robot, by subtasks; and how many stand in pairs."""
    return {
        "splits": Counter(split_of(task_group(record["input"])) for record in records),
        "decided": Counter(record["evidence"]["decided"] for record in records),
        "alone": Counter(r["output"] for r in records if ", " not in r["output"]),
        "in_any": Counter(robot for r in records for robot in r["output"].split(", ")),
        "ties": sum("subtasks" not in r and ", " in r["output"] for r in records),
        "paired": sum(record["pair"] is not None for record in records),
        "subtasks": Counter(len(r["subtasks"]) for r in records if "subtasks" in r),
        "assigned": Counter(s["assigned_robot"] for r in records for s in r.get("subtasks", ())),
    }
