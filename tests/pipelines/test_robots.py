"""Robot-selection JSON in every shape that such files have in the wild becomes these rows."""

import json

import pytest

from manifests.schema import ROBOTS, Step, canonical_json
from pipelines.corpora import CorpusError
from pipelines.robots.site import site_from_text
from pipelines.table import Row

PIPELINE = "Inspect the pipeline 6 m below the waterline"
UNKNOWN = "the robots are Drone, Underwater Robot, Humanoid, Robot with Wheels, Robot with Legs"


def scenario(identity, task, group, robots=(), plan=(), error=None):
    key = f"robots-{identity}".replace(".", "-")
    return Row(
        key=key,
        group=group,
        locator=f"scene:{key}",
        split=None,
        id=identity,
        thread=identity,
        kind="robot",
        prompt=task,
        target=", ".join(robots),
        robots=tuple(robots),
        plan=tuple(plan),
        licence="MIT",
        meta=canonical_json({"site": site_from_text(task)}),
        status="quarantined" if error else None,
        error=error,
    )


SINGLE = [
    scenario("single-00000", PIPELINE, PIPELINE.lower(), ["Underwater Robot"]),
    scenario("single-00001", "Carry six parcels across the paved car park",
             "carry six parcels across the paved car park",
             ["Robot with Wheels", "Robot with Legs"]),
    scenario("single-00002", "Survey the building\u2019s roof from above",
             "survey the buildings roof from above", ["Drone"]),
    scenario("single-00003", "Survey the building's roof from above",
             "survey the buildings roof from above", ["Drone"]),
    scenario("single-00004", "Open the door for the patient", "open the door for the patient",
             ["Humanoid"]),
    scenario("single-00005", PIPELINE, PIPELINE.lower(), ["Underwater Robot"]),
    scenario("single-00006", "Cross the mud flat with a sledge",
             "cross the mud flat with a sledge",
             error=f"unknown robot: 'Robot with Tracks'; {UNKNOWN}"),
    scenario("single-00007", "", "", ["Drone"], error="empty task"),
    scenario("single-00008", "Count the seals on the sandbank", "count the seals on the sandbank",
             error="no robot: neither subtasks nor output names one"),
]  # fmt: skip
MULTI = [
    scenario("multi-0001", "Search the collapsed school, then carry out the injured",
             "search the collapsed school then carry out the injured",
             ["Drone", "Humanoid", "Robot with Legs"],
             [Step(text="Map the rubble from the air", robot="Drone", order=1),
              Step(text="Crawl through the gaps", robot="Robot with Legs", order=1),
              Step(text="Carry the injured to the road", robot="Humanoid", order=2)]),
    scenario("multi.2", "Count the flock and mend the fence", "count the flock and mend the fence",
             ["Drone", "Humanoid"]),
    scenario("multi-0003", "Clear the beach after the storm", "clear the beach after the storm",
             error=f"unknown robot: 'Bulldozer'; {UNKNOWN}"),
    scenario("multi-0004", "Do six things one after another", "do six things one after another",
             plan=[Step(text=f"Thing {n}", robot="Drone", order=n) for n in range(1, 7)],
             error="too many subtasks: 6; a plan has at most 5"),
    scenario("multi-0005", "Survey the building's roof from above.",
             "survey the buildings roof from above", ["Drone", "Robot with Wheels"]),
]  # fmt: skip


def test_every_scenario_is_a_row_whatever_its_shape(shop):
    assert shop.rows("robots") == SINGLE + MULTI


def test_one_of_the_two_files_is_enough(shop):
    (shop.robots / "single_robot_selection.json").unlink()
    assert shop.rows("robots") == MULTI


def test_a_key_has_no_dot_and_the_id_keeps_its_own(shop):
    row = shop.rows("robots")[len(SINGLE) + 1]
    assert (row.key, row.locator, row.id) == ("robots-multi-2", "scene:robots-multi-2", "multi.2")


def only(shop, scenario):
    for path in shop.robots.iterdir():
        path.unlink()
    (shop.robots / "single_robot_selection.json").write_text(json.dumps([scenario]))
    (row,) = shop.rows("robots")
    return row


@pytest.mark.parametrize(
    "said",
    [
        {"output": "Drone, Humanoid"},
        {"output": "humanoid,DRONE"},
        {"output": ["Humanoid", "Drone", "drone "]},
        {"output": "", "original_single_robot_output": "Humanoid, Drone"},
        {"output": [], "original_single_robot_output": ["Humanoid", "Drone"]},
        {"output": None, "original_single_robot_output": ["humanoid", " drone\n"]},
        {"output": "Drone, Humanoid", "original_single_robot_output": "Robot with Legs"},
        {
            "output": "Robot with Legs",
            "subtasks": [
                {"subtask": "a", "assigned_robot": "humanoid", "execution_order": 2},
                {"subtask": "b", "assigned_robot": "Drone", "execution_order": 1},
            ],
        },
    ],
)
def test_a_set_is_read_from_every_shape_in_the_order_of_the_robots(shop, said):
    row = only(shop, {"input": "Task: Mow the lawn", **said})
    assert row.robots == ("Drone", "Humanoid")
    assert row.target == "Drone, Humanoid"
    assert row.status is None


def test_all_five_come_in_their_one_order(shop):
    row = only(shop, {"input": "Do it all", "output": ", ".join(reversed(ROBOTS)).upper()})
    assert row.robots == ROBOTS


@pytest.mark.parametrize("output", ["Dron", "Drone, Tank", ["Drone", ""], "Drone Humanoid"])
def test_an_unknown_name_is_never_guessed_at(shop, output):
    row = only(shop, {"input": "Task: Mow the lawn", "output": output})
    assert (row.status, row.robots, row.target) == ("quarantined", (), "")
    assert row.error.startswith("unknown robot: ")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"output": "Drone"}, "Object missing required field `input`"),
        ({"input": 7, "output": "Drone"}, "Expected `str`, got `int` - at `$.input`"),
        ({"input": "a", "output": {"robot": "Drone"}}, "Expected `str | array | null`"),
        ({"input": "a", "subtasks": [{"subtask": "b"}]},
         "Object missing required field `assigned_robot` - at `$.subtasks[0]`"),
    ],
)  # fmt: skip
def test_a_malformed_scenario_is_quarantined_with_its_place(shop, said, why):
    row = only(shop, said)
    assert (row.status, row.split, row.id) == ("quarantined", None, "0")
    assert row.error.startswith(f"malformed annotation: 0 in single_robot_selection.json: {why}")


def test_a_folder_without_either_file_is_refused(shop):
    for path in shop.robots.iterdir():
        path.unlink()
    with pytest.raises(CorpusError, match="has none of single_robot_selection.json.* has nothing"):
        shop.rows("robots")


def test_an_id_that_both_files_use_names_two_records(shop):
    task = {"id": "0007", "input": "Task: Look at the roof", "output": "Drone"}
    step = {"subtask": "Look", "assigned_robot": "Drone", "execution_order": 1}
    for name, item in (
        ("single_robot_selection.json", task),
        ("multi_robot_selection_dataset.json", task | {"subtasks": [step]}),
    ):
        shop.edit(shop.robots / name, lambda _, item=item: [item])
    rows = shop.rows("robots")
    assert [row.key for row in rows] == ["robots-single-0007", "robots-multi-0007"]
    assert [row.id for row in rows] == ["single-0007", "multi-0007"]
    shop.only("robots")
    (shard,) = shop.build().shards
    assert (shard.records, shard.turns) == (2, 2)
