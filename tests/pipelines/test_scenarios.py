"""Scenarios: what the words leave open, what they decide, and what only a picture can."""

from collections import Counter
from functools import cache
from random import Random

import pytest

from manifests.schema import ROBOTS
from pipelines.robots.capability import suited
from pipelines.robots.choose import groups
from pipelines.robots.evidence import evidence, kinds
from pipelines.robots.lexicon import Job, Spot, lexicon
from pipelines.robots.said import Item, Said
from pipelines.robots.scenarios import Open, Scenario, chosen, clash, draft, left_open, picture

DRONE, DIVER, HUMANOID, WHEELS, LEGS = ROBOTS
ROOM = {"indoor": 1, "terrain": "floor", "ceiling_m": 2.7}
HALL = {"indoor": 1, "terrain": "floor", "ceiling_m": 8.0}
YARD = {"indoor": 0, "terrain": "pavement"}
QUAY = {**YARD, "water_depth_m": 4.0}
LOOK, HANDS, ABOVE, UNDER = {}, {"hands": True}, {"above": True}, {"under": True}
LOAD = {"payload_kg": (1, 200)}


def spot(base, may="", place="room"):
    return Spot("toy", place, ("there",), tuple(may.split()), base)


def job(where, needs, weighable=False):
    words = "carry {kg} of it" if weighable else "do it"
    return Job(where, (words,) * 3, words, "pipe", needs)


def said(base, may="", needs=LOOK, value=None, told="", denied="", skipped="", placed=True):
    where = spot(base, may)
    return Said(
        items=(Item(job(where, needs, weighable=True), value),),
        spot=where,
        placed=placed,
        told=tuple((name, None) for name in told.split()),
        denied=tuple(denied.split()),
        skipped=tuple(skipped.split()),
    )


@cache
def grown():
    """The groups of a small set."""
    return list(groups(5, 150, 150))


def scenarios():
    return [scenario for group in grown() for scenario in group.scenarios]


# What the words leave open -> the robots of each answer; None: they are no good task.
OPEN = {
    "nothing is open": (said(ROOM), [[WHEELS]]),
    "a door may be shut": (said(ROOM, "door low dark"), [[WHEELS], [HUMANOID]]),
    "a door or clutter": (said(ROOM, "door clutter"), [[WHEELS], [HUMANOID], [LEGS]]),
    "the door is off the way": (said(ROOM, "door", skipped="door"), [[WHEELS]]),
    "the door stands open": (said(ROOM, "door low", denied="door"), [[WHEELS]]),
    "nothing in the way matters": (said(ROOM, "low dark crowd"), [[WHEELS]]),
    "stairs, where two are equal": (said(ROOM, "stairs"), None),
    "no stairs": (said(ROOM, "stairs", denied="stairs"), [[WHEELS]]),
    "the words tell of stairs": (said(ROOM, "stairs", told="stairs"), [[HUMANOID, LEGS]]),
    "stairs, and perhaps a door": (said(ROOM, "stairs door", told="stairs"), None),
    "stairs and a door": (said(ROOM, "stairs door dark", told="stairs door"), [[HUMANOID]]),
    "stairs, and perhaps a low roof": (said(ROOM, "stairs low", told="stairs"), None),
    "18 kg and stairs": (said(ROOM, "stairs low", LOAD, 18.0, told="stairs"), [[LEGS]]),
    "90 kg, for which stairs leave nobody": (said(ROOM, "stairs", LOAD, 90.0), [[WHEELS]]),
    "90 kg up the stairs": (said(ROOM, "stairs", LOAD, 90.0, told="stairs"), []),
    "a room that may be flooded": (said(ROOM, "flood"), [[WHEELS], [DIVER]]),
    "hands, which nobody needs in a flood": (said(ROOM, "flood", HANDS), [[HUMANOID]]),
    "a yard where two are equal, or one in a gale": (said(YARD, "wind"), None),
    "a yard in a gale": (said(YARD, "wind crowd", told="wind"), [[WHEELS]]),
    "12 kg on perhaps bad ground": (said(YARD, "rubble mud", LOAD, 12.0), [[WHEELS], [LEGS]]),
    "a look at rubble, perhaps in a gale": (
        said(YARD, "rubble wind", told="rubble"), [[DRONE], [LEGS]]),
    "an overview in any weather": (said(YARD, "wind rain rubble crowd", ABOVE), [[DRONE]]),
    "below the surface": (said(QUAY, "wind rain crowd", UNDER), [[DIVER]]),
    "a load to be seen, on stairs": (said(ROOM, "", LOAD, told="stairs"), [[HUMANOID, LEGS]]),
    "a load to be seen, on rubble": (said(YARD, "", LOAD, told="rubble"), [[DRONE], [LEGS]]),
    "no place named, and it would matter": (said(ROOM, placed=False), None),
    "no place named, and it does not matter": (
        said(ROOM, "", LOAD, 90.0, placed=False), [[WHEELS]]),
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("seed", range(3))
def test_the_words_leave_open_these_answers_and_no_others(name, seed):
    meaning, answers = OPEN[name]
    found = left_open(meaning, Random(seed))
    if answers is None:
        assert found is None
    else:
        assert found is not None
        assert sorted(list(o.answer[0]) for o in found) == sorted(answers)


def _team(base, may, needs, elsewhere=(), told=""):
    here = spot(base, may)
    there = spot(QUAY, "wind")
    items = [Item(job(here, need)) for need in needs] + [Item(job(there, n)) for n in elsewhere]
    return Said(tuple(items), here, True, told=tuple((name, None) for name in told.split()))


TEAMS = {
    "hands and a look, where a door leaves one for both": (
        _team(ROOM, "door", [HANDS, LOOK]), [[[HUMANOID], [WHEELS]], [[HUMANOID], [HUMANOID]]]),
    "an overview and hands": (_team(HALL, "dark", [ABOVE, HANDS]), [[[DRONE], [HUMANOID]]]),
    "a look where two are equal": (_team(ROOM, "", [HANDS, LOOK], told="stairs"), []),
    "a dive elsewhere, whatever is the case here": (
        _team(ROOM, "flood dark", [HANDS], [UNDER]), [[[HUMANOID], [DIVER]]]),
    "states here say nothing of elsewhere": (
        _team(ROOM, "rubble", [LOOK], [UNDER]), [[[LEGS], [DIVER]], [[WHEELS], [DIVER]]]),
    "three jobs, and a door that one for all can open": (
        _team(YARD, "door", [{"payload_kg": 12}, {"quiet": True}, HANDS]),
        [[[WHEELS], [WHEELS], [HUMANOID]], [[HUMANOID], [HUMANOID], [HUMANOID]]]),
}  # fmt: skip


@pytest.mark.parametrize("name", TEAMS)
def test_each_item_of_a_team_has_one_robot(name):
    meaning, answers = TEAMS[name]
    found = left_open(meaning, Random(0))
    assert found is not None
    assert sorted([list(robots) for robots in o.answer] for o in found) == sorted(answers)


def test_the_site_of_an_answer_has_what_is_told_denied_and_off_the_way():
    meaning = said(ROOM, "door stairs low dark", denied="dark", skipped="stairs", told="low")
    found = left_open(meaning, Random(0))
    assert found is not None
    sites = {o.answer[0]: o.site for o in found}
    assert set(sites) == {(WHEELS,)}  # who opens doors does not fit under 1.5 m
    (site,) = sites.values()
    assert 0.9 <= site.pop("ceiling_m") <= 1.5
    assert site == {"indoor": 1, "terrain": "floor", "light": 0.9, "stairs": 1}


def test_a_number_that_is_told_is_that_of_the_site_and_another_is_in_its_range():
    meaning = said(YARD, "", LOAD, 12.0)
    spoken = Said(meaning.items, meaning.spot, True, told=(("steep", 27.0), ("wind", None)))
    winds = set()
    for seed in range(30):
        (option,) = left_open(spoken, Random(seed)) or []
        assert option.site["slope_deg"] == 27.0
        winds.add(option.site["wind_ms"])
    assert min(winds) >= 14
    assert max(winds) <= 22
    assert len(winds) > 4


def test_two_grounds_clash_and_a_door_and_stairs_do_not():
    states = lexicon().states
    assert clash(states["rubble"], states["mud"])
    assert clash(states["flood"], states["snow"])
    assert not clash(states["door"], states["stairs"])
    assert not clash(states["wind"], states["rain"])


def test_a_draft_speaks_only_of_states_that_its_place_can_be_in_and_of_each_once():
    rng, said_of = Random(3), Counter()
    for _ in range(600):
        domain = rng.choice(lexicon().domains)
        jobs = tuple(rng.sample(domain.jobs, rng.choice((1, 2, 5))))
        meaning = draft(domain, jobs, rng)
        assert meaning.spot is jobs[0].spot
        assert tuple(item.job for item in meaning.items) == jobs
        told = [name for name, _ in meaning.told]
        names = [*told, *meaning.denied, *meaning.skipped]
        assert len(set(names)) == len(names)
        assert set(names) <= set(meaning.spot.may)
        grounds = [name for name in told if "terrain" in lexicon().states[name].facts]
        assert len(grounds) <= 1
        if any("under" in j.needs for j in jobs if j.spot is jobs[0].spot):
            assert not set(names) & {"stairs", "door", "flood", "rubble"}
        if meaning.orders:
            assert sorted(set(meaning.orders)) == list(range(1, max(meaning.orders) + 1))
            assert list(meaning.orders) == sorted(meaning.orders)
            assert len(meaning.orders) == len(jobs) > 1
        for item in meaning.items:
            if item.value is not None:
                assert item.job.measured
                low, high = item.job.needs[item.job.measured]
                assert low <= item.value <= high
        for form in ("told", "denied", "skipped", "orders"):
            said_of[form] += bool(getattr(meaning, form))
    assert min(said_of.values()) > 30


def test_every_label_is_what_the_model_gives_for_the_words_and_the_site():
    for scenario in scenarios():
        assert tuple(suited(need) for need in scenario.needs) == scenario.answer
        assert all(scenario.answer), scenario.text


def test_scenarios_of_the_same_words_differ_in_their_sites_and_answers():
    pairs = [group.scenarios for group in grown() if len(group.scenarios) > 1]
    assert len(pairs) > 30
    for pair in pairs:
        assert len({s.text for s in pair}) == 1
        assert all(s.said == pair[0].said for s in pair)
        assert {s.decided for s in pair} == {"picture"}
        for place, one in enumerate(pair):
            for other in pair[place + 1 :]:
                assert one.site != other.site
                assert one.seen != other.seen, f"only {one.text!r} could tell"
                assert set(one.robots) != set(other.robots)


def test_answers_of_a_pair_have_no_robot_in_common_where_one_is_chosen():
    pairs = [g.scenarios for g in grown() if g.form == "single" and len(g.scenarios) > 1]
    assert len(pairs) > 15
    for pair in pairs:
        named = [robot for scenario in pair for robot in scenario.robots]
        assert len(named) == len(set(named)) == len(pair)


def test_where_the_words_decide_they_leave_one_answer_open_and_else_one_for_each_scenario():
    for group in grown():
        found = left_open(group.scenarios[0].said, Random(0))
        assert found is not None
        assert {o.answer for o in found} == {s.answer for s in group.scenarios}
        assert (len(group.scenarios) == 1) == (group.scenarios[0].decided != "picture")


def test_what_is_told_only_is_not_seen():
    hidden = 0
    for scenario in scenarios():
        if scenario.decided != "text":
            continue
        states = lexicon().states
        for name, _ in scenario.said.told:
            assert not set(states[name].facts) & set(scenario.seen), scenario.text
            hidden += 1
        for name in scenario.said.denied:
            assert not set(states[name].absent) & set(scenario.seen), scenario.text
    assert hidden > 20


def test_what_both_tell_is_all_seen_and_a_picture_shows_nothing_that_is_not_there():
    for scenario in scenarios():
        assert scenario.seen.items() <= scenario.site.items()
        if scenario.decided == "both":
            assert scenario.seen == scenario.site
        assert set(scenario.site) >= {"indoor", "terrain", "clutter"}


def test_what_happens_to_be_there_hinders_nobody():
    for scenario in scenarios():
        told = scenario.said.told_facts()
        if scenario.site["clutter"] <= 0.3 and "clutter" not in told:
            assert not any("clutter" in need for need in scenario.needs)
        if not scenario.site["indoor"] and scenario.site["wind_ms"] <= 6:
            assert not any("wind_ms" in need for need in scenario.needs)


@pytest.mark.parametrize("seed", range(8))
def test_a_picture_hides_or_shows_what_the_words_tell_as_it_is_decided(seed):
    meaning = said(ROOM, "stairs door dark low", HANDS, told="stairs door", denied="low")
    option = Open(("dark",), {**ROOM, "stairs": 1, "doors": 1, "light": 0.05}, ((HUMANOID,),))
    site, seen = picture(meaning, option, "text", Random(seed))
    assert (site["stairs"], site["doors"]) == (1, 1)
    assert not {"stairs", "doors"} & set(seen)
    assert "light" not in site, "what else there could be would hint at the answer"
    site, seen = picture(meaning, option, "both", Random(seed))
    assert seen == site
    assert seen.items() >= option.site.items()


def test_ground_that_is_told_only_is_hidden_with_its_water():
    meaning = said(ROOM, "flood", told="flood")
    option = Open((), {**ROOM, "terrain": "water", "water_depth_m": 2.0}, ((DIVER,),))
    for seed in range(8):
        site, seen = picture(meaning, option, "text", Random(seed))
        assert site["terrain"] == "water" and site["water_depth_m"] > 1
        assert not {"terrain", "water_depth_m"} & set(seen)


def test_ground_that_only_the_picture_tells_is_seen_even_where_grounds_are_hidden():
    here = spot({"indoor": 0, "terrain": "grass"}, "rubble", place="wild")
    meaning = Said((Item(job(here, ABOVE)),), here, True)
    plain, rubble = Open((), here.base, ((DRONE,),)), {"indoor": 0, "terrain": "rubble"}
    for seed in range(8):
        assert "terrain" not in picture(meaning, plain, "text", Random(seed))[1]
        option = Open(("rubble",), rubble, ((DRONE,),))
        assert picture(meaning, option, "picture", Random(seed))[1]["terrain"] == "rubble"


def test_what_only_the_picture_tells_is_always_seen():
    meaning = said(ROOM, "door", told="dark")
    option = Open(("door",), {**ROOM, "doors": 1, "light": 0.05}, ((HUMANOID,),))
    looks = [picture(meaning, option, "picture", Random(seed))[1] for seed in range(40)]
    assert all(seen["doors"] == 1 for seen in looks)
    assert {"light" in seen for seen in looks} == {True, False}, "told facts are seen or not"


def _scenario(meaning, site, hidden, decided):
    seen = {fact: value for fact, value in site.items() if fact not in hidden.split()}
    return Scenario(meaning, "words", site, seen, ((HUMANOID,),) * len(meaning.items), decided)


EVIDENCE = {
    "told stairs that are not drawn": (
        _scenario(said(ROOM, needs=HANDS, told="stairs"), {**ROOM, "stairs": 1, "clutter": 0.1},
                  "stairs", "text"),
        {"ceiling_m": "both", "hands": "text", "stairs": "text", "terrain": "both"}),
    "told stairs that are drawn": (
        _scenario(said(ROOM, told="stairs"), {**ROOM, "stairs": 1, "clutter": 0.1}, "", "both"),
        {"ceiling_m": "both", "stairs": "both", "terrain": "both"}),
    "a door that only the picture shows, in no named place": (
        _scenario(said(ROOM, placed=False), {**ROOM, "doors": 1}, "", "picture"),
        {"ceiling_m": "picture", "doors": "picture", "terrain": "picture"}),
    "a load that is said and drawn": (
        _scenario(said(YARD, "", LOAD, 12.0), {**YARD, "payload_kg": 12.0}, "", "both"),
        {"payload_kg": "both", "terrain": "both"}),
    "a load that is said only": (
        _scenario(said(YARD, "", LOAD, 12.0), YARD, "", "picture"),
        {"payload_kg": "text", "terrain": "both"}),
    "a load that is drawn only": (
        _scenario(said(YARD, "", LOAD), {**YARD, "payload_kg": 12.0}, "", "picture"),
        {"payload_kg": "picture", "terrain": "both"}),
    "what is denied decides nothing, but is not drawn": (
        _scenario(said(ROOM, denied="door"), {**ROOM, "doors": 0}, "doors", "text"),
        {"ceiling_m": "both", "doors": "text", "terrain": "both"}),
    "hidden ground": (
        _scenario(said(YARD, told="rubble"), {**YARD, "terrain": "rubble"}, "terrain", "text"),
        {"terrain": "text"}),
    "what is elsewhere rests on the words": (
        _scenario(_team(ROOM, "", [LOOK], [{"payload_kg": 12}]), ROOM, "", "both"),
        {"ceiling_m": "both", "payload_kg": "text", "terrain": "both"}),
}  # fmt: skip


@pytest.mark.parametrize("name", EVIDENCE)
def test_evidence_says_where_each_deciding_fact_is(name):
    scenario, facts = EVIDENCE[name]
    assert evidence(scenario) == {"decided": scenario.decided, "facts": facts}


def test_what_evidence_gives_to_the_text_alone_is_what_is_not_seen():
    for scenario in scenarios():
        facts = evidence(scenario)["facts"]
        text_only = {fact for fact, where in facts.items() if where == "text"}
        assert set(scenario.site) - text_only == set(scenario.seen)


@pytest.mark.parametrize(
    ("answer", "robots"),
    [
        (((WHEELS,),), (WHEELS,)),
        (((HUMANOID, LEGS),), (HUMANOID, LEGS)),
        (((LEGS,), (DRONE,), (LEGS,)), (DRONE, LEGS)),
    ],
)
def test_the_robots_of_an_answer_are_named_once_in_their_order(answer, robots):
    assert chosen(answer) == robots


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        ({"indoor": 1, "terrain": "floor"}, ["indoor floor"]),
        ({"indoor": 0}, ["outdoor hidden ground"]),
        ({**YARD, "clutter": 0.3, "wind_ms": 6, "light": 0.45, "stairs": 0, "doors": 0},
         ["outdoor pavement"]),
        ({"indoor": 0, "terrain": "rubble", "clutter": 0.7, "wind_ms": 14, "rain": 0.8,
          "slope_deg": 25, "stairs": 1, "doors": 1, "people": 1, "light": 0.05},
         ["outdoor rubble", "clutter", "wind_ms", "rain", "slope_deg", "stairs", "doors",
          "people", "dark"]),
        ({"indoor": 1, "terrain": "floor", "ceiling_m": 1.2}, ["indoor floor", "low"]),
        ({**QUAY, "light": 0.2}, ["outdoor pavement", "water_depth_m"]),
    ],
)  # fmt: skip
def test_the_kinds_of_site_are_what_is_plain_to_see(seen, found):
    assert kinds(seen) == found
