"""The set as files: two JSON lists, one record a line, in the fields of SEED and five of our own.

    id  instruction  input  output | subtasks  site  requirements  evidence  pair

`site` is the whole site; `evidence` says what decides and where each deciding fact is, and a fact
of the site that stands there as "text" is not drawn. `pair` names records of the same words.
Nothing else is kept: what a text means is read back from it.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from pipelines.robots.choose import Form, Group
from pipelines.robots.evidence import evidence
from pipelines.robots.language import subtask
from pipelines.robots.scenarios import Scenario

FILES: dict[Form, str] = {
    "single": "single_robot_selection.json",
    "multi": "multi_robot_selection_dataset.json",
}
_INSTRUCTION = {
    "single": "Select the most appropriate robot for the given task.",
    "multi": "Select robots and assign subtasks for complex scenario.",
}


def records(groups: Iterable[Group]) -> Iterator[tuple[Form, dict[str, Any]]]:
    """(form, record) of each scenario of each group, numbered by form from 1."""
    count = {"single": 0, "multi": 0, "pair": 0}
    for group in groups:
        pair = None
        if len(group.scenarios) > 1:
            count["pair"] += 1
            pair = f"pair-{count['pair']:04d}"
        for scenario in group.scenarios:
            count[group.form] += 1
            yield group.form, _record(scenario, f"{group.form}-{count[group.form]:04d}", pair)


def _record(scenario: Scenario, identity: str, pair: str | None) -> dict[str, Any]:
    single = len(scenario.said.items) == 1
    record: dict[str, Any] = {
        "id": identity,
        "instruction": _INSTRUCTION["single" if single else "multi"],
        "input": f"Task: {scenario.text}",
        "output": ", ".join(scenario.robots),
    }
    needs = scenario.needs
    if not single:
        steps = sorted(enumerate(scenario.said.plan), key=lambda step: step[1])
        record["subtasks"] = [_subtask(scenario, place) for place, _ in steps]
        needs = [needs[place] for place, _ in steps]
    return record | {
        "site": dict(sorted(scenario.site.items())),
        "requirements": needs[0] if single else needs,
        "evidence": evidence(scenario),
        "pair": pair,
    }


def _subtask(scenario: Scenario, place: int) -> dict[str, Any]:
    item, (robot,) = scenario.said.items[place], scenario.answer[place]
    elsewhere = item.job.spot is not scenario.said.spot
    where = scenario.said.where(item.job.spot) if elsewhere else None
    return {
        "subtask": subtask(item, where, Random(scenario.text)),
        "assigned_robot": robot,
        "execution_order": scenario.said.plan[place],
    }


def write(folder: Path, groups: Iterable[Group]) -> dict[Form, int]:
    """Write both files into `folder`; returns how many records each has."""
    lines: dict[Form, list[str]] = {form: [] for form in FILES}
    for form, record in records(groups):
        lines[form].append(json.dumps(record, ensure_ascii=False))
    folder.mkdir(parents=True, exist_ok=True)
    for form, name in FILES.items():
        body = ",\n".join(lines[form])
        (folder / name).write_text(f"[\n{body}\n]\n", encoding="utf-8")
    return {form: len(found) for form, found in lines.items()}
