"""A site read from a task: what its words say, and nothing that they do not."""

import json
from pathlib import Path

import pytest

from manifests.schema import ROBOTS, SITE_FACTS, canonical_json, site_vector
from pipelines.robots.scene import draw
from pipelines.robots.site import site_from_text


@pytest.mark.parametrize(
    ("task", "facts"),
    [
        ("Task: Inspect underwater pipeline for damage after flood",
         {"terrain": "water", "water_depth_m": 5.0, "indoor": 0}),
        ("Find the leak in the hull of a ferry, 6 m below the waterline",
         {"terrain": "water", "water_depth_m": 6.0}),
        ("Check the insulator 40 m up a lattice mast on a calm day",
         {"height_m": 40.0, "wind_ms": 1.0, "indoor": 0}),
        ("Cross a scree slope of 30 degrees above the hut with the first-aid pack",
         {"terrain": "rock", "slope_deg": 30.0}),
        ("Carry insulin up the stairs to the patient\u2019s room and open the door",
         {"terrain": "floor", "indoor": 1, "stairs": 1, "doors": 1, "people": 1}),
        ("Haul 80 kg of laundry along four hundred metres of level hospital corridor",
         {"terrain": "floor", "indoor": 1, "distance_m": 400.0, "slope_deg": 0.0}),
        ("Search the collapsed school; it is dark and the way is blocked",
         {"terrain": "rubble", "light": 0.1, "clutter": 0.9}),
        ("Count the deer over three kilometres of heath, gusting 60 km/h",
         {"terrain": "grass", "distance_m": 3000.0, "wind_ms": 16.7}),
        ("Photograph the dunes in heavy rain, no wind",
         {"terrain": "sand", "rain": 0.5, "wind_ms": 0}),
        ("Read the lamp plates under the hall's ceiling, eighteen metres above the floor",
         {"terrain": "floor", "indoor": 1, "height_m": 18.0}),
        ("Tow the trailer across the car park at night",
         {"terrain": "pavement", "indoor": 0, "light": 0.2}),
    ],
)  # fmt: skip
def test_a_site_is_read_from_a_task(task, facts):
    site = site_from_text(task)
    assert {fact: site.get(fact) for fact in facts} == facts


def test_words_are_matched_whole_and_absent_facts_stay_absent():
    site = site_from_text("Straighten the rockery's sign by the watering can")
    assert site["terrain"] == "pavement"
    assert "water_depth_m" not in site
    assert "rain" not in site  # "rain" is inside "straighten"


def test_what_is_read_is_in_the_vocabulary_and_can_be_drawn():
    site = site_from_text("Check the mast, 40 m up, in rain and wind, by the stairs")
    assert set(site) - {"terrain"} <= set(SITE_FACTS)
    assert len(site_vector(canonical_json({"site": site}))) == len(SITE_FACTS)
    draw(site, "a")


def test_sites_read_from_free_tasks_agree_with_their_labels():
    """The reader is rough, so nearly all: a dive is below the surface, hands work indoors."""
    path = Path(__file__).parents[1] / "data" / "hand_tasks.json"
    tasks = [r for r in json.loads(path.read_text(encoding="utf-8")) if "output" in r]
    sites = [(r["output"], site_from_text(r["input"])) for r in tasks]
    assert len(sites) == 200
    assert all(set(s) - {"terrain"} <= set(SITE_FACTS) for _, s in sites)
    below = [(s.get("water_depth_m") or 0) > 0 for o, s in sites if o == "Underwater Robot"]
    assert sum(below) >= 0.9 * len(below)
    above = [(s.get("water_depth_m") or 0) > 0 for o, s in sites if o != "Underwater Robot"]
    assert sum(above) <= 0.05 * len(above)
    inside = [s["indoor"] for o, s in sites if o == "Humanoid"]
    assert sum(inside) >= 0.8 * len(inside)


@pytest.mark.parametrize(("name", "single", "team"), [("free", 110, 40), ("dev", 100, 20)])
def test_free_tasks_are_whole_and_balanced(name, single, team):
    path = Path(__file__).parents[1] / "data" / f"{name}_tasks.json"
    tasks = json.loads(path.read_text(encoding="utf-8"))
    labels = [r["output"].split(", ") for r in tasks if "subtasks" not in r]
    assert (len(labels), len(tasks)) == (single, single + team)
    for robot in ROBOTS:
        assert 0.14 <= sum(robot in label for label in labels) / single <= 0.25
    for task in tasks:
        steps = task.get("subtasks", ())
        assert {s["assigned_robot"] for s in steps} <= set(ROBOTS)
        orders = {s["execution_order"] for s in steps}
        assert orders == set(range(1, len(orders) + 1))
