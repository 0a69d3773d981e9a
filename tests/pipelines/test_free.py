"""Sites and tasks drawn freely agree with themselves; what is shown of them is what is drawn."""

from collections import Counter
from random import Random

import pytest

from pipelines.robots.capability import suited
from pipelines.robots.free import free_site, free_task, shown
from pipelines.robots.reading import read, same
from pipelines.robots.scenarios import left_open
from pipelines.robots.scene import draw

SITES = [free_site(Random(number)) for number in range(1500)]


def some(**facts):
    """The sites that have these facts."""
    return [site for site in SITES if all(site.get(name) == fact for name, fact in facts.items())]


def test_a_site_agrees_with_itself() -> None:
    for site in SITES:
        assert ("ceiling_m" in site) == bool(site["indoor"])
        assert not (site["indoor"] and {"wind_ms", "rain", "distance_m"} & site.keys())
        if site.get("terrain") == "water":
            assert not {"stairs", "doors", "slope_deg", "height_m"} & site.keys()
            assert site["water_depth_m"] <= site.get("ceiling_m", 99)
        if site.get("ceiling_m", 9) < 2:
            assert not site.get("stairs")
            assert "doors" not in site
            assert "height_m" not in site


def test_every_fact_is_there_often_enough_to_be_learnt_and_often_enough_not() -> None:
    facts = [shown(site) for site in SITES]
    for name in ("stairs", "people", "doors", "payload_kg", "slope_deg", "water_depth_m"):
        share = sum(bool(site.get(name)) for site in facts) / len(facts)
        assert 0.1 < share < 0.6, name
    for name, least in (("height_m", 0.05), ("distance_m", 0.04)):
        assert least < sum(bool(site[name]) for site in facts) / len(facts) < 0.3
    grounds = Counter(site.get("terrain") for site in SITES)
    assert len(grounds) == 10  # nine, or hidden
    assert min(grounds.values()) > 0.03 * len(SITES)


def test_facts_do_not_hint_at_others() -> None:
    among = [len(some(people=1, stairs=stairs)) / len(some(stairs=stairs)) for stairs in (0, 1)]
    assert among[0] == pytest.approx(among[1], abs=0.08)


def test_what_is_shown_is_what_is_drawn() -> None:
    for number, site in enumerate(SITES[:12]):
        facts = shown(site)
        if "doors" not in site:  # none is drawn, neither shut nor open
            assert facts.pop("doors") == 0
        assert draw(facts, "look", 64).tobytes() == draw(site, "look", 64).tobytes(), number


def test_what_a_picture_cannot_show_is_not_among_what_it_shows() -> None:
    assert "slope_deg" not in shown({"indoor": 0, "terrain": "water", "water_depth_m": 3.0})
    inside = shown({"indoor": 1, "terrain": "floor", "ceiling_m": 2.7, "rain": 1.0})
    assert not {"rain", "wind_ms"} & inside.keys()
    assert "ceiling_m" not in shown({"indoor": 0, "terrain": "mud", "ceiling_m": 3.0})


def test_tasks_read_back_as_meant_and_have_the_robots_that_suit() -> None:
    tasks = [free_task(Random(number)) for number in range(30)]
    for task in tasks:
        assert same(read(task.text), task.said)
        assert task.answer == tuple(suited(task.said.need(i, task.site)) for i in task.said.items)
        assert task.robots
        assert task.seen.items() <= task.site.items()
        options = left_open(task.said, Random(1))
        assert options
        assert (len(options) > 1) == (task.decided == "picture")
    assert {len(task.said.items) > 1 for task in tasks} == {True, False}
    assert {task.decided for task in tasks} == {"picture", "text", "both"}


def test_equal_chance_gives_equal_tasks() -> None:
    assert free_task(Random("a")) == free_task(Random("a"))
    assert free_task(Random("a")).text != free_task(Random("b")).text
