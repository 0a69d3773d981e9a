"""The authored tasks: their counts, their shapes, their balance, and no answer in a question."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from manifests.schema import MAX_STEPS, ROBOTS, SITE_FACTS
from pipelines.robots.site import site_from_text

FOLDER = Path(__file__).parents[2] / "robot-selection-dataset"
TELLTALE = re.compile(
    r"\b(drones?|uavs?|quadcopters?|rovers?|rovs?|auvs?|robots?|robotic|humanoids?|android|"
    r"wheel(s|ed)?|legs?|legged|quadrupeds?|underwater robot)\b",
    re.IGNORECASE,
)


def _read(name: str) -> list[dict]:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


SINGLE = _read("single_robot_selection.json")
MULTI = _read("multi_robot_selection_dataset.json")
TASKS = {r["id"]: r["input"].removeprefix("Task: ") for r in SINGLE + MULTI}


def test_there_are_200_and_100_with_ids_in_order():
    assert [r["id"] for r in SINGLE] == [f"single-{i:04d}" for i in range(1, 201)]
    assert [r["id"] for r in MULTI] == [f"multi-{i:04d}" for i in range(1, 101)]


def test_records_have_the_published_shape():
    for record in SINGLE:
        assert set(record) == {"id", "instruction", "input", "output"}
    for record in MULTI:
        assert set(record) == {"id", "instruction", "input", "subtasks"}
        for step in record["subtasks"]:
            assert set(step) == {"subtask", "assigned_robot", "execution_order"}
    assert all(r["input"].startswith("Task: ") for r in SINGLE + MULTI)


@pytest.mark.parametrize(
    "name", ["single_robot_selection.json", "multi_robot_selection_dataset.json"]
)
def test_files_are_pretty_printed_and_end_with_a_newline(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"


def test_every_name_is_a_robot_of_ours():
    for record in SINGLE:
        names = record["output"].split(", ")
        assert set(names) <= set(ROBOTS), record["id"]
        assert names == sorted(set(names), key=ROBOTS.index), record["id"]
    assert {s["assigned_robot"] for r in MULTI for s in r["subtasks"]} == set(ROBOTS)


def test_single_labels_are_balanced():
    outputs = Counter(r["output"] for r in SINGLE)
    assert sum(n for output, n in outputs.items() if ", " in output) < 20
    for robot in ROBOTS:
        assert 0.15 <= outputs[robot] / len(SINGLE) <= 0.25, f"{robot}: {outputs[robot]}"
    steps = Counter(s["assigned_robot"] for r in MULTI for s in r["subtasks"])
    assert min(steps.values()) > 0.1 * sum(steps.values())


def test_orders_start_at_one_and_have_no_gaps():
    for record in MULTI:
        orders = {s["execution_order"] for s in record["subtasks"]}
        assert orders == set(range(1, len(orders) + 1)), record["id"]
        assert 2 <= len(record["subtasks"]) <= MAX_STEPS, record["id"]
        assert len({s["assigned_robot"] for s in record["subtasks"]}) >= 2, record["id"]


def test_no_task_names_a_robot():
    texts = TASKS | {f"{r['id']} step": s["subtask"] for r in MULTI for s in r["subtasks"]}
    for name, text in texts.items():
        assert not TELLTALE.search(text), f"{name}: {text}"


def test_tasks_have_5_to_35_words():
    for name, task in TASKS.items():
        assert 5 <= len(task.split()) <= 35, f"{name}: {len(task.split())} words"
        assert task == task.strip()


def test_no_two_tasks_are_near_duplicates():
    words = {name: set(re.findall(r"\w+", task.lower())) for name, task in TASKS.items()}
    for (a, left), (b, right) in combinations(words.items(), 2):
        assert len(left & right) / len(left | right) < 0.6, f"{a} and {b}"


def test_one_word_does_not_give_the_robot_away():
    """A word in five or more tasks may lean to a robot, but few tasks start or end alike."""
    openings = Counter(" ".join(task.split()[:2]).lower() for task in TASKS.values())
    assert openings.most_common(1)[0][1] <= 0.1 * len(TASKS)


def test_sites_read_from_the_tasks_agree_with_the_labels():
    """The reader is rough, so nearly all: a dive is below the surface, hands work indoors."""
    sites = [(r["output"], site_from_text(r["input"])) for r in SINGLE]
    assert all(set(s) - {"terrain"} <= set(SITE_FACTS) for _, s in sites)
    below = [(s.get("water_depth_m") or 0) > 0 for o, s in sites if o == "Underwater Robot"]
    assert sum(below) >= 0.9 * len(below)
    above = [(s.get("water_depth_m") or 0) > 0 for o, s in sites if o != "Underwater Robot"]
    assert sum(above) <= 0.05 * len(above)
    inside = [s["indoor"] for o, s in sites if o == "Humanoid"]
    assert sum(inside) >= 0.8 * len(inside)


def test_the_card_tells_the_counts():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    outputs = Counter(r["output"] for r in SINGLE)
    steps = Counter(s["assigned_robot"] for r in MULTI for s in r["subtasks"])
    for robot in ROBOTS:
        row = next(line for line in card.splitlines() if line.startswith(f"| {robot} |"))
        cells = [int(cell) for cell in row.strip("| ").split(" | ")[1:]]
        assert cells[0] == outputs[robot]
        assert cells[2] == steps[robot]
