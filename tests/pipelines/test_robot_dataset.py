"""The committed set: its counts, labels, splits and balance, and that its seed gives it again."""

import json
import re
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from manifests.place import split_of, task_group
from manifests.schema import MAX_STEPS, ROBOTS, SITE_FACTS, TERRAINS
from pipelines.robots import dataset
from pipelines.robots.capability import suited
from pipelines.robots.choose import groups, typed_list
from pipelines.robots.profile import kinds_table, profile
from pipelines.robots.reading import read
from pipelines.robots.twins import LIMIT, jaccard, words_of

FOLDER = Path(__file__).parents[2] / "robot-selection-dataset"
SEED = 1
TELLTALE = re.compile(
    r"\b(drones?|uavs?|quadcopters?|rovers?|rovs?|auvs?|robots?|robotic|humanoids?|android|"
    r"wheel(s|ed)?|legs?|legged|quadrupeds?|underwater robot)\b",
    re.IGNORECASE,
)


def _read(name: str) -> list[dict[str, Any]]:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


SINGLE = _read(dataset.FILES["single"])
MULTI = _read(dataset.FILES["multi"])
EVERY = SINGLE + MULTI


def test_there_are_1252_and_6886_with_ids_in_order():
    assert [r["id"] for r in SINGLE] == [f"single-{i:04d}" for i in range(1, 1253)]
    assert [r["id"] for r in MULTI] == [f"multi-{i:04d}" for i in range(1, 6887)]


def test_records_have_the_published_shape():
    fields = ["id", "instruction", "input", "output", "site", "requirements", "evidence", "pair"]
    for record in SINGLE:
        assert list(record) == fields
    for record in MULTI:
        assert list(record) == [*fields[:4], "subtasks", *fields[4:]]
        assert len(record["requirements"]) == len(record["subtasks"])
        for step in record["subtasks"]:
            assert list(step) == ["subtask", "assigned_robot", "execution_order"]
    assert all(r["input"].startswith("Task: ") for r in EVERY)
    assert all(set(r["site"]) <= {*SITE_FACTS, "terrain"} for r in EVERY)
    assert all(r["site"]["terrain"] in TERRAINS for r in EVERY)


def test_every_label_is_what_the_capability_model_gives_for_the_requirements():
    for record in SINGLE:
        assert record["output"] == ", ".join(suited(record["requirements"])), record["id"]
    for record in MULTI:
        robots = [step["assigned_robot"] for step in record["subtasks"]]
        assert robots == [", ".join(suited(need)) for need in record["requirements"]], record["id"]
        team = [robot for robot in ROBOTS if robot in robots]
        assert len(team) >= 2 and record["output"] == ", ".join(team), record["id"]


def test_requirements_follow_from_words_and_site():
    for record in EVERY:
        said = read(record["input"])
        needs = json.loads(json.dumps([said.need(item, record["site"]) for item in said.items]))
        steps = sorted(zip(said.plan, needs, strict=True), key=lambda step: step[0])
        found = record["requirements"]
        assert [need for _, need in steps] == (found if "subtasks" in record else [found])
        if "subtasks" in record:
            assert [s["execution_order"] for s in record["subtasks"]] == [o for o, _ in steps]


def test_most_single_tasks_have_one_robot_and_every_robot_its_share():
    labels = Counter(record["output"] for record in SINGLE)
    assert sum(labels[robot] for robot in ROBOTS) >= 0.85 * len(SINGLE)
    assert sum(labels.values()) > sum(labels[robot] for robot in ROBOTS), "some suit equally well"
    for robot in ROBOTS:
        assert 0.12 <= labels[robot] / len(SINGLE) <= 0.30, robot


def test_plans_have_2_to_5_subtasks_and_orders_without_gaps():
    for record in MULTI:
        orders = {step["execution_order"] for step in record["subtasks"]}
        assert orders == set(range(1, len(orders) + 1)), record["id"]
        assert 2 <= len(record["subtasks"]) <= MAX_STEPS, record["id"]


def test_subtask_lists_are_many_and_none_is_worn_out():
    lists = Counter(typed_list(read(record["input"])) for record in MULTI)
    assert len(lists) >= 1000 and max(lists.values()) <= 20


def test_the_split_is_5696_1628_814():
    assert Counter(split_of(task_group(r["input"])) for r in EVERY) == {
        "train": 5696, "val": 1628, "test": 814,
    }  # fmt: skip


def test_no_task_has_a_near_twin_in_another_split():
    """Every text of val and test with all others that share a word."""
    texts = sorted({task_group(record["input"]) for record in EVERY})
    by_word: dict[str, list[int]] = defaultdict(list)
    sets = [words_of(text) for text in texts]
    for place, words in enumerate(sets):
        for word in words:
            by_word[word].append(place)
    for place, words in enumerate(sets):
        if split_of(texts[place]) == "train":
            continue
        shared = Counter(other for word in words for other in by_word[word])
        del shared[place]
        for other, count in shared.items():
            if count >= LIMIT * len(words) and split_of(texts[other]) != split_of(texts[place]):
                assert jaccard(words, sets[other]) < LIMIT, (texts[place], texts[other])


def test_pairs_are_the_same_words_with_other_sites_and_other_answers():
    pairs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in EVERY:
        if record["pair"]:
            pairs[record["pair"]].append(record)
    assert sum(map(len, pairs.values())) >= 1000
    for records in pairs.values():
        assert len(records) >= 2
        assert len({record["input"] for record in records}) == 1
        assert len({record["output"] for record in records}) == len(records)
        assert len({json.dumps(record["site"]) for record in records}) == len(records)
        assert {record["evidence"]["decided"] for record in records} == {"picture"}


def test_at_least_40_percent_of_single_tasks_need_what_only_the_picture_has():
    paired = [record for record in SINGLE if record["pair"]]
    assert len(paired) >= 0.4 * len(SINGLE)
    for record in paired:
        assert set(record["evidence"]["facts"].values()) & {"picture", "both"}


def test_deciding_facts_are_somewhere():
    for record in EVERY:
        for fact, where in record["evidence"]["facts"].items():
            assert where in ("text", "picture", "both")
            if where == "both":
                assert fact in record["site"], (record["id"], fact)


def test_no_kind_of_site_goes_with_one_label_too_often():
    for kind, (count, label, part) in kinds_table(EVERY)["kinds"]["all"].items():
        assert part <= 0.6, f"{kind}: {label} in {part:.0%} of {count}"


@pytest.fixture(scope="module")
def language() -> dict[str, Any]:
    return profile([record["input"] for record in EVERY])


def test_the_language_has_breadth(language):
    assert language["domains"] >= 40
    assert language["verbs"] >= 300 and language["jobs"] >= 1000
    assert language["frame_share"] < 0.01
    assert language["near_twins"] == 0


def test_tasks_have_4_to_40_words_and_name_no_robot(language):
    assert language["lengths"][0] >= 4 and language["lengths"][2] <= 40
    for record in EVERY:
        said = [record["input"], *(s["subtask"] for s in record.get("subtasks", ()))]
        for text in said:
            assert not TELLTALE.search(text), f"{record['id']}: {text}"


def test_the_seed_gives_the_same_set_again():
    """A slice: the first single tasks, byte for byte."""
    again = islice(dataset.records(groups(SEED)), 60)
    lines = (FOLDER / dataset.FILES["single"]).read_text(encoding="utf-8").splitlines()
    for line, (form, record) in zip(lines[1:], again, strict=False):
        assert form == "single"
        assert line.rstrip(",") == json.dumps(record, ensure_ascii=False)


def test_the_card_tells_the_counts_and_that_its_controls_held():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "| both | 8,138 | 5,696 | 1,628 | 814 |" in card
    assert "17,088 in all" in card
    labels = Counter(record["output"] for record in SINGLE)
    for robot in ROBOTS:
        row = next(line for line in card.splitlines() if line.startswith(f"| {robot} |"))
        assert f"| {labels[robot]} (" in row
    assert "oracle" in card and "FAILED" not in card and "Not measured" not in card
