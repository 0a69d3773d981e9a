"""The capability model: facts of a task and its site, and by hand the robots that suit them."""

import copy
from dataclasses import fields

import pytest
import yaml

from manifests.schema import ROBOTS, SITE_FACTS
from pipelines.robots import capability
from pipelines.robots.capability import Task, judge, model, requirements, show, suited

DRONE, DIVER, HUMANOID, WHEELS, LEGS = ROBOTS
ROOM = {"indoor": 1, "terrain": "floor", "ceiling_m": 2.7}
HALL = {"indoor": 1, "terrain": "floor", "ceiling_m": 8.0}
YARD = {"indoor": 0, "terrain": "pavement"}
RUBBLE = {"indoor": 0, "terrain": "rubble"}
QUAY = {**YARD, "water_depth_m": 4.0}
FLOOD = {"indoor": 0, "terrain": "water", "water_depth_m": 2.0}
STAIRS, GALE = {**ROOM, "stairs": 1}, {"wind_ms": 16}

CASES = {
    "a flat floor": (Task(), ROOM, [WHEELS]),
    "a flat yard": (Task(), YARD, [DRONE, WHEELS]),
    "stairs": (Task(), STAIRS, [HUMANOID, LEGS]),
    "stairs, quietly": (Task(quiet=True), STAIRS, [HUMANOID]),
    "stairs with 14 kg": (Task(payload_kg=14), STAIRS, [HUMANOID, LEGS]),
    "stairs with 18 kg": (Task(payload_kg=18), STAIRS, [LEGS]),
    "stairs with 50 kg": (Task(payload_kg=50), STAIRS, []),
    "stairs behind a shut door": (Task(), {**STAIRS, "doors": 1}, [HUMANOID]),
    "stairs under a low ceiling": (Task(), {**STAIRS, "ceiling_m": 1.2}, [LEGS]),
    "a look at rubble in calm air": (Task(), {**RUBBLE, "wind_ms": 3}, [DRONE]),
    "a look at rubble in a gale": (Task(), {**RUBBLE, **GALE}, [LEGS]),
    "a look at rubble in the dark": (Task(), {**RUBBLE, "light": 0.05}, [LEGS]),
    "a look at rubble in a downpour": (Task(), {**RUBBLE, "rain": 0.9}, [LEGS]),
    "a look at rubble among people": (Task(), {**RUBBLE, "people": 1}, [LEGS]),
    "10 kg over rubble": (Task(payload_kg=10), RUBBLE, [LEGS]),
    "hands in rubble": (Task(hands=True), RUBBLE, []),
    "silence on rubble": (Task(quiet=True), RUBBLE, []),
    "a shut door": (Task(), {**ROOM, "doors": 1}, [HUMANOID]),
    "hands": (Task(hands=True), ROOM, [HUMANOID]),
    "a wardrobe through a shut door": (Task(payload_kg=90), {**ROOM, "doors": 1}, []),
    "90 kg": (Task(payload_kg=90), ROOM, [WHEELS]),
    "300 kg": (Task(payload_kg=300), ROOM, []),
    "below the surface": (Task(under=True), QUAY, [DIVER]),
    "below the surface in a gale": (Task(under=True), {**QUAY, **GALE, "rain": 1}, [DIVER]),
    "hands below the surface": (Task(under=True, hands=True), QUAY, [DIVER]),
    "10 kg below the surface": (Task(under=True, payload_kg=10), QUAY, []),
    "5 h below the surface": (Task(under=True, hours=5), QUAY, []),
    "300 m below the surface": (Task(under=True), {**QUAY, "water_depth_m": 300}, []),
    "above the surface of a quay": (Task(payload_kg=90), QUAY, [WHEELS]),
    "a flooded yard": (Task(), FLOOD, [DIVER]),
    "a flooded room": (Task(), {**ROOM, "terrain": "water", "water_depth_m": 1.8}, [DIVER]),
    "a flood of unknown depth": (Task(), {"indoor": 0, "terrain": "water"}, [DIVER]),
    "an overview of a flood": (Task(above=True), FLOOD, [DRONE]),
    "work 20 m up": (Task(height_m=20), YARD, [DRONE]),
    "work 20 m up in a gale": (Task(height_m=20), {**YARD, **GALE}, []),
    "work 20 m up over rubble": (Task(height_m=20), RUBBLE, [DRONE]),
    "work 200 m up": (Task(height_m=200), YARD, []),
    "work 2 m up": (Task(height_m=2), YARD, [DRONE]),
    "work 2 m up in a room": (Task(height_m=2), ROOM, [HUMANOID]),
    "work 2 m up behind stairs": (Task(height_m=2), STAIRS, [HUMANOID]),
    "work 1.2 m up in a room": (Task(height_m=1.2), ROOM, [WHEELS]),
    "an overview of a hall": (Task(above=True), HALL, [DRONE]),
    "an overview of a low room": (Task(above=True), ROOM, []),
    "an overview of a crowd": (Task(above=True), {**YARD, "people": 1}, [DRONE]),
    "8 km": (Task(distance_m=8000), YARD, [WHEELS]),
    "8 km over rock": (Task(distance_m=8000), {"indoor": 0, "terrain": "rock"}, []),
    "5 km over rock in a gale": (
        Task(distance_m=5000), {"indoor": 0, "terrain": "rock", **GALE}, [LEGS]),
    "5 h": (Task(hours=5), YARD, [WHEELS]),
    "13 h": (Task(hours=13), YARD, []),
    "3 km in 5 minutes": (Task(distance_m=3000, minutes=5), YARD, [DRONE]),
    "3 km in 5 minutes in a gale": (
        Task(distance_m=3000, minutes=5), {**YARD, **GALE}, []),
    "600 m in 8 minutes, stairs among them": (Task(distance_m=600, minutes=8), STAIRS, [LEGS]),
    "no noise": (Task(quiet=True), YARD, [WHEELS]),
    "a crowd": (Task(), {**YARD, "people": 1}, [WHEELS]),
    "a downpour": (Task(), {**YARD, "rain": 0.9}, [WHEELS]),
    "the dark": (Task(), {**YARD, "light": 0.05}, [WHEELS]),
    "a steep meadow": (Task(), {"indoor": 0, "terrain": "grass", "slope_deg": 30}, [DRONE]),
    "a steep meadow in a gale": (
        Task(), {"indoor": 0, "terrain": "grass", "slope_deg": 30, **GALE}, [LEGS]),
    "clutter": (Task(), {**ROOM, "clutter": 0.8}, [LEGS]),
    "some clutter": (Task(), {**ROOM, "clutter": 0.45}, [HUMANOID, LEGS]),
    "hardly any clutter": (Task(), {**ROOM, "clutter": 0.3}, [WHEELS]),
    "a crawl space": (Task(), {**ROOM, "ceiling_m": 1.0}, [WHEELS]),
    "a crawl space behind a door": (Task(), {**ROOM, "ceiling_m": 1.0, "doors": 1}, []),
    "a crevice": (Task(), {**ROOM, "ceiling_m": 0.5}, []),
    **{f"{ground} and a gale": (Task(), {"indoor": 0, "terrain": ground, **GALE}, [LEGS])
       for ground in ("sand", "mud", "rock", "snow")},
    "a room while a gale blows outside": (Task(), {**ROOM, "wind_ms": 40, "rain": 1}, [WHEELS]),
    "stairs, doors, slope, clutter and people off the way": (
        Task(skips=frozenset(("stairs", "doors", "slope_deg", "clutter", "people"))),
        {**ROOM, "stairs": 1, "doors": 1, "slope_deg": 30, "clutter": 0.9, "people": 1}, [WHEELS]),
    "stairs off the way, the door on it": (
        Task(skips=frozenset(("stairs",))), {**STAIRS, "doors": 1}, [HUMANOID]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_robots_for_a_task_in_a_site_are_those_that_a_person_would_name(name):
    task, site, robots = CASES[name]
    assert list(suited(requirements(task, site))) == robots


NEEDS = [
    (Task(), ROOM, {"grounds": "floor", "clearance_m": 2.7}),
    (Task(), {}, {}),
    (Task(), {**YARD, "clutter": 0.3, "wind_ms": 8, "light": 0.2}, {"grounds": "pavement"}),
    (Task(), {**YARD, "wind_ms": 9, "rain": 0.5, "light": 0.1},
     {"grounds": "pavement", "wind_ms": 9, "rain": 0.5, "light": 0.1}),
    (Task(), {**YARD, "doors": 0, "stairs": 0, "people": 0, "slope_deg": 0},
     {"grounds": "pavement"}),
    (Task(), {**YARD, "doors": 1, "stairs": 1, "people": 1, "slope_deg": 20, "clutter": 0.7},
     {"grounds": "pavement", "doors": True, "stairs": True, "near_people": True, "slope_deg": 20,
      "clutter": 0.7}),
    (Task(above=True), {**RUBBLE, "stairs": 1, "wind_ms": 12},
     {"view_from_above": True, "wind_ms": 12}),
    (Task(height_m=3.0), {**RUBBLE, "doors": 1}, {"reach_m": 3.0}),
    (Task(height_m=2.9), RUBBLE, {"reach_m": 2.9, "grounds": "rubble"}),
    (Task(under=True, hands=True), {**QUAY, **GALE, "people": 1, "stairs": 1},
     {"grounds": "water", "depth_m": 4.0, "hands": True}),
    (Task(), {"indoor": 0, "terrain": "water"}, {"grounds": "water", "depth_m": 1.0}),
    (Task(), {**FLOOD, "water_depth_m": 0.5}, {"grounds": "water", "depth_m": 0.5}),
    (Task(), {**FLOOD, "water_depth_m": 0.4}, {"grounds": "mud"}),
    (Task(quiet=True, hours=5), {}, {"noise_db": 55, "endurance_h": 5}),
    (Task(payload_kg=12, distance_m=3000, minutes=20), {},
     {"payload_kg": 12, "range_m": 3000, "speed_ms": 2.5}),
    (Task(minutes=20), {}, {}),
    (Task(skips=frozenset(("ceiling_m",))), {**ROOM, "ceiling_m": 1.0}, {"grounds": "floor"}),
]  # fmt: skip


@pytest.mark.parametrize(("task", "site", "need"), NEEDS)
def test_a_task_in_a_site_asks_for_this_and_nothing_else(task, site, need):
    assert requirements(task, site) == need


def test_every_robot_that_does_not_suit_has_its_reasons_named():
    verdict = judge(requirements(Task(payload_kg=18, quiet=True), {**ROOM, "stairs": 1}))
    assert verdict.robots == ()
    assert {robot: [f.why for f in found] for robot, found in verdict.failures.items()} == {
        DRONE: [
            "needs 3.5 m of headroom, not 2.7 m",
            "carries 2 kg, not 18 kg",
            "makes 80 dB, 55 are allowed",
        ],
        DIVER: [
            "cannot move on floor",
            "climbs no stairs",
            "carries 5 kg, not 18 kg",
            "makes 60 dB, 55 are allowed",
        ],
        HUMANOID: ["carries 15 kg, not 18 kg"],
        WHEELS: ["climbs no stairs"],
        LEGS: ["makes 65 dB, 55 are allowed"],
    }
    (reason,) = verdict.failures[HUMANOID]
    assert (reason.requirement, reason.fact) == ("payload_kg", "payload_kg")
    (reason,) = verdict.failures[LEGS]
    assert (reason.requirement, reason.fact) == ("noise_db", "quiet")


def test_who_could_at_a_higher_cost_is_named_apart_from_who_cannot():
    verdict = judge({"grounds": "floor", "clearance_m": 2.7})
    assert verdict.robots == (WHEELS,)
    assert verdict.costlier == (HUMANOID, LEGS)
    assert set(verdict.failures) == {DRONE, DIVER}


@pytest.mark.parametrize("name", CASES)
def test_each_robot_suits_fails_or_is_costlier_and_only_one_of_them(name):
    task, site, robots = CASES[name]
    verdict = judge(requirements(task, site))
    places = [*verdict.robots, *verdict.failures, *verdict.costlier]
    assert sorted(places) == sorted(ROBOTS)
    assert list(verdict.robots) == robots


def test_where_nothing_is_asked_the_cheapest_suit():
    assert suited({}) == (DRONE, DIVER, WHEELS)
    assert judge({}).costlier == (HUMANOID, LEGS)


@pytest.mark.parametrize("decide", [suited, judge])
def test_an_unknown_requirement_is_refused_by_name(decide):
    with pytest.raises(ValueError, match="unknown requirement 'charm'"):
        decide({"hands": True, "charm": 3})


def test_among_those_who_can_the_cheaper_one_wins(monkeypatch):
    said = copy.deepcopy(model())
    monkeypatch.setattr(capability, "model", lambda: said)
    assert suited({"stairs": True, "grounds": "floor", "payload_kg": 10}) == (HUMANOID, LEGS)
    said["robots"][LEGS]["running_cost"] = 1
    assert suited({"stairs": True, "grounds": "floor", "payload_kg": 10}) == (LEGS,)
    said["robots"][HUMANOID]["running_cost"] = 0.5
    assert suited({"stairs": True, "grounds": "floor", "payload_kg": 10}) == (HUMANOID,)


def _rename(said):
    said["robots"]["Robot with Tracks"] = said["robots"].pop(WHEELS)


def _one_more(said):
    said["robots"]["Robot with Tracks"] = dict(said["robots"][WHEELS])


def _one_less(said):
    del said["robots"][LEGS]


def _no_rain(said):
    del said["robots"][DRONE]["rain"]


def _no_cost(said):
    del said["robots"][HUMANOID]["running_cost"]


def _unknown_value(said):
    said["robots"][DIVER]["charm"] = 3


def _no_requirement(said):
    del said["requirements"]["noise_db"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_rename, r"capability.yaml has .*Robot with Tracks"),
        (_one_more, r"capability.yaml has .*Robot with Tracks"),
        (_one_less, r"capability.yaml has .*the robots are"),
        (_no_rain, r"capability.yaml, Drone: missing or unknown rain$"),
        (_no_cost, r"capability.yaml, Humanoid: missing or unknown running_cost$"),
        (_unknown_value, r"capability.yaml, Underwater Robot: missing or unknown charm$"),
        (_no_requirement, r"capability.yaml, Drone: missing or unknown noise_db$"),
    ],
)
def test_a_file_with_an_unknown_robot_or_without_a_value_is_refused(
    change, message, tmp_path, monkeypatch
):
    said = yaml.safe_load(capability.PATH.read_text(encoding="utf-8"))
    change(said)
    path = tmp_path / "capability.yaml"
    path.write_text(yaml.safe_dump(said))
    monkeypatch.setattr(capability, "PATH", path)
    with pytest.raises(ValueError, match=message):
        model.__wrapped__()  # not through the cache, which is left as it is


def test_the_file_as_it_is_is_the_model():
    assert list(model()["robots"]) == list(ROBOTS)
    assert model.__wrapped__() == model()


def test_every_requirement_is_asked_for_by_some_task_and_rests_on_a_known_fact():
    asked = {name for task, site, _ in CASES.values() for name in requirements(task, site)}
    rules = model()["requirements"]
    assert asked == set(rules)
    known = {*SITE_FACTS, "terrain", *(field.name for field in fields(Task))}
    assert {rule["fact"] for rule in rules.values()} <= known


@pytest.mark.parametrize("requirement", model()["requirements"])
def test_every_robot_value_decides_in_some_case(requirement):
    """Without the requirement another answer would be given somewhere: none stands idle."""
    changed = [
        name
        for name, (task, site, robots) in CASES.items()
        if requirement in (need := requirements(task, site))
        and list(suited({n: v for n, v in need.items() if n != requirement})) != robots
    ]
    assert changed, f"no case would be judged otherwise without {requirement}"


@pytest.mark.parametrize("robot", ROBOTS)
def test_every_robot_is_the_only_one_for_something(robot):
    assert any(robots == [robot] for _, _, robots in CASES.values())


@pytest.mark.parametrize(
    ("value", "words"),
    [(12, "12"), (12.0, "12"), (1.5, "1.5"), (8000, "8000"), (20000.0, "20000"), ("rubble",) * 2],
)
def test_a_value_reads_as_a_sentence_wants_it(value, words):
    assert show(value) == words
