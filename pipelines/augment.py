"""From robot-selection rows to what is trained on: checked, split, put in other words, reasoned.

Four nodes of a build, each from one table of rows to the next:

    scenarios   every label is what the capability model gives for its words and its site
    split       by md5 of the task's normal form; near-twins of val and test are held back
    paraphrase  each train task in other words, as records with scenes of their own
    reasoning   four steps from each task's facts to its robots, as a turn of their own

Rows of robot-selection files from elsewhere, without a site, pass through the first and get neither
paraphrases nor reasoning: there is nothing to check them against.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from manifests.place import split_of
from pipelines.robots.capability import suited
from pipelines.robots.paraphrase import paraphrases
from pipelines.robots.reading import UnreadableError, read
from pipelines.robots.reasoning import reason
from pipelines.robots.twins import Twins
from pipelines.table import Row, read_rows, write_rows

Node = Callable[[list[Row]], Iterable[Row]]
CORPUS = "robots"
_TRIES = 4000  # to put a task in other words that are near none of val and test


def nodes(count: int) -> dict[str, Node]:
    """The nodes in their order, with `count` paraphrases of each train task."""
    return {
        "scenarios": scenarios,
        "split": split,
        "paraphrase": partial(paraphrase, count=count),
        "reasoning": reasoning,
    }


def apply(node: Node, source: Path, target: Path) -> int:
    """Run a node on a table; returns how many annotations the new one has."""
    return write_rows(target, CORPUS, node(list(read_rows(source))))


def scenarios(rows: list[Row]) -> Iterator[Row]:
    """Quarantine a row whose robots are not those that the capability model gives for it."""
    for row in rows:
        if row.status is None and _ours(row) and (error := _contradiction(row)):
            row = msgspec.structs.replace(row, status="quarantined", error=error)
        yield row


def _contradiction(row: Row) -> str | None:
    """What of a row is not as its words and its site have it; None if all is."""
    meta = _meta(row)
    try:
        said = read(row.prompt)
    except UnreadableError as error:
        return f"unreadable task: it has requirements, but {error}"
    needs = [said.need(item, meta.get("site") or {}) for item in said.items]
    answers = [suited(need) for need in needs]
    if row.plan:
        steps = sorted(zip(said.plan, answers, strict=True), key=lambda step: step[0])
        expected = [(order, ", ".join(robots)) for order, robots in steps]
        found = [(step.order, step.robot) for step in row.plan]
    else:
        expected, found = [", ".join(answers[0])], [row.target]
    if found == expected:
        return None
    return f"contradicted label: {found}; the capability model gives {expected}"


def split(rows: list[Row]) -> Iterator[Row]:
    """Give each row its split; a train task that is nearly one of val or test is held back."""
    rows = [msgspec.structs.replace(row, split=row.split or split_of(row.group)) for row in rows]
    apart = kept_apart(rows)
    for row in rows:
        twin = None
        if row.split == "train" and row.status is None:
            twin = next(apart.of(row.prompt), None)
        if twin is not None:
            error = f"near-twin of a val or test task: {twin!r}"
            row = msgspec.structs.replace(row, status="held back", error=error)
        yield row


def kept_apart(rows: Iterable[Row]) -> Twins:
    """The tasks of val and test."""
    rows = list(rows)
    apart = Twins(row.prompt for row in rows)
    for row in rows:
        if row.split != "train" and row.status is None:
            apart.add(row.prompt)
    return apart


def paraphrase(rows: list[Row], count: int) -> Iterator[Row]:
    """Each row, and after a train row `count` that say the same in other words."""
    apart = kept_apart(rows)
    for row in rows:
        yield row
        if row.split != "train" or row.status is not None or not _ours(row):
            continue
        texts, status, error = [row.prompt] * count, None, None
        try:
            texts = paraphrases(row.prompt, count, apart, _TRIES)
        except ValueError as none_found:
            status, error = "quarantined", f"no paraphrase: {none_found}"
        for number, text in enumerate(texts, 1):
            identity = f"{row.id}-p{number}"
            yield msgspec.structs.replace(
                row,
                key=f"{row.key}-p{number}",
                id=identity,
                thread=identity,
                locator=f"scene:{row.key}-p{number}",
                prompt=text,
                status=status,
                error=error,
            )


def reasoning(rows: list[Row]) -> Iterator[Row]:
    """Each row, and after it the turn that says why."""
    for row in rows:
        yield row
        if row.status is None and _ours(row):
            name = f"{row.id}-why"
            yield msgspec.structs.replace(
                row, id=name, thread=name, kind="reasoning", target=reason(record(row))
            )


def record(row: Row) -> dict[str, Any]:
    """The row in the fields of the data set's files (`pipelines.robots.dataset`)."""
    subtasks = [
        {"subtask": s.text, "assigned_robot": s.robot, "execution_order": s.order} for s in row.plan
    ]
    return {
        "id": row.id,
        "input": f"Task: {row.prompt}",
        "output": row.target,
        **({"subtasks": subtasks} if subtasks else {}),
        **_meta(row),
    }


def _ours(row: Row) -> bool:
    """Whether a row says what it requires, so that it can be checked."""
    return bool(_meta(row).get("requirements"))


def _meta(row: Row) -> dict[str, Any]:
    return msgspec.json.decode(row.meta)
