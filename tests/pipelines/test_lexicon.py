"""The words of robot tasks: enough of them, no robot among them, and no file that says nonsense."""

import copy
import re
import shutil
from collections import Counter

import pytest
import yaml

from manifests.schema import ROBOTS, TERRAINS
from pipelines.robots import lexicon as words
from pipelines.robots.lexicon import FOLDER, LexiconError, fits, lexicon

NAMES = re.compile(
    r"\b(drones?|uavs?|quadcopters?|multicopters?|rovers?|rovs?|auvs?|robots?|robotic|bots?|"
    r"humanoids?|androids?|wheel(s|ed)?|legs?|legged|quadrupeds?)\b",
    re.IGNORECASE,
)
TOY = {
    "domain": "toy",
    "occasions": ["before tea"],
    "asides": ["the cat sleeps"],
    "spots": [
        {
            "class": "room",
            "where": ["in the nursery", "by the cot"],
            "may": ["stairs", "door"],
            "jobs": [
                {
                    "say": ["look for the lost bear", "seek the bear", "find the lost bear"],
                    "note": "lost bear",
                    "of": "toy",
                },
                {
                    "say": ["bring {kg} of blocks", "carry {kg} of bricks", "fetch {kg} of cubes"],
                    "note": "{kg} of blocks",
                    "of": "toy",
                    "needs": {"kg": [2, 9]},
                },
            ],
        },
        {
            "class": "wild",
            "ground": "sand",
            "where": ["in the dunes"],
            "may": [],
            "jobs": [
                {
                    "say": ["run {km} to the sea", "cover {km} of coast", "go {km} along the sea"],
                    "note": "{km} of coast",
                    "of": "track",
                    "needs": {"km": [4, 7], "minutes": 9, "quiet": True},
                }
            ],
        },
    ],
}


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Reads a folder of the states, the frames, and the domains given; leaves the cache alone."""

    def load(*domains):
        shutil.copy(FOLDER / "frames.yaml", tmp_path)
        shutil.copytree(FOLDER / "states", tmp_path / "states", dirs_exist_ok=True)
        for domain in domains:
            (tmp_path / f"{domain['domain']}.yaml").write_text(yaml.safe_dump(domain))
        monkeypatch.setattr(words, "FOLDER", tmp_path)
        return lexicon.__wrapped__()

    return load


def _strings(value):
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _strings(name)
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, str):
        yield value


def test_there_are_at_least_40_domains_each_with_jobs_occasions_and_asides():
    domains = lexicon().domains
    assert len(domains) >= 40
    assert len({domain.name for domain in domains}) == len(domains)
    for domain in domains:
        assert len(domain.jobs) >= 15, domain.name
        assert len(domain.occasions) >= 5, domain.name
        assert len(domain.asides) >= 5, domain.name
        assert all(job.spot.domain == domain.name for job in domain.jobs)


def test_there_are_at_least_300_verbs():
    assert len({said.split()[0] for job in lexicon().jobs for said in job.say}) >= 300


def test_there_are_at_least_300_objects():
    """The last word of a note before its first preposition: "torn flag at {m}" -> flag."""
    notes = [re.sub(r"\{\w+\} (of )?", "", job.note) for job in lexicon().jobs]
    cut = r" (at|of|in|on|under|from|to|for|by|with|above|below|over|along|beside|near)\b"
    assert len({re.split(cut, note)[0].split()[-1] for note in notes}) >= 300


def test_every_job_has_three_wordings_and_a_place_with_names():
    for job in lexicon().jobs:
        assert len(set(job.say)) == 3, job.note
        assert job.spot.where, job.note
        assert job.spot.base["terrain"] in TERRAINS, job.note
        assert job.spot.base["indoor"] in (0, 1), job.note


def test_every_demand_is_made_by_many_jobs():
    demands = Counter(name for job in lexicon().jobs for name in job.needs)
    wanted = {"payload_kg", "height_m", "distance_km", "hours", "above", "under", "hands", "quiet"}
    assert wanted <= set(demands)
    assert min(demands[name] for name in wanted) >= 20


def test_every_state_is_possible_in_some_place():
    possible = {name for job in lexicon().jobs for name in job.spot.may}
    assert set(lexicon().states) - possible == set()


def test_every_state_can_be_told_and_denied_in_five_ways():
    """But for the one that says that the place is as it is anyway, which nobody denies."""
    for name, state in lexicon().states.items():
        assert len(state.told) >= 5, name
        assert len(state.phrase) >= 5, name
        assert state.usual or len(state.denied) >= 5, name


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_file_names_a_robot(path):
    said = yaml.load(path.read_text(encoding="utf-8"), words._LOADER)
    named = [text for text in _strings(said) if NAMES.search(text)]
    assert not named


@pytest.mark.parametrize("robot", ROBOTS)
def test_the_search_for_robot_names_would_find(robot):
    assert NAMES.search(f"send the {robot.lower()} there")


def test_a_file_is_read_as_it_says(loaded):
    whole = loaded(TOY)
    (domain,) = whole.domains
    assert (domain.name, domain.occasions, domain.asides) == (
        "toy",
        ("before tea",),
        ("the cat sleeps",),
    )
    bear, blocks, coast = whole.jobs
    assert whole.domain("toy") is domain
    assert bear.spot is blocks.spot
    assert bear.spot.where == ("in the nursery", "by the cot")
    assert bear.spot.may == ("stairs", "door", "even"), "a floor may be told to be one"
    assert coast.spot.may == ()
    assert bear.spot.base == {"indoor": 1, "terrain": "floor", "ceiling_m": 2.7}
    assert coast.spot.base == {"indoor": 0, "terrain": "sand"}
    assert (bear.spot.indoor, coast.spot.indoor) == (True, False)
    assert (bear.needs, bear.measured, bear.weighable) == ({}, None, False)
    assert (blocks.needs, blocks.measured, blocks.weighable) == (
        {"payload_kg": (2, 9)},
        "payload_kg",
        True,
    )
    assert coast.needs == {"distance_km": (4, 7), "minutes": 9, "quiet": True}
    assert (coast.measured, coast.weighable) == ("distance_km", False)


def _class(toy):
    toy["spots"][0]["class"] = "attic"


def _state(toy):
    toy["spots"][0]["may"].append("fog")


def _no_ground(toy):
    del toy["spots"][1]["ground"]


def _odd_ground(toy):
    toy["spots"][1]["ground"] = "lava"


def _odd_need(toy):
    toy["spots"][0]["jobs"][0]["needs"] = {"charm": True}


def _slot_without_need(toy):
    toy["spots"][0]["jobs"][0]["say"][1] = "seek {kg} of bears"


def _need_without_slot(toy):
    toy["spots"][0]["jobs"][1]["say"][2] = "fetch the cubes"


def _note_without_slot(toy):
    toy["spots"][0]["jobs"][1]["note"] = "blocks"


def _other_slot(toy):
    toy["spots"][0]["jobs"][1]["say"][2] = "fetch {h} of cubes"


def _twice(toy):
    toy["spots"][1]["jobs"].append(copy.deepcopy(toy["spots"][0]["jobs"][0]))


def _note_is_a_wording(toy):
    toy["spots"][0]["jobs"][1] |= {"say": ["a", "b", "lost bear"], "note": "c", "needs": {}}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_class, r"toy.yaml: class 'attic'; known: \['room'"),
        (_state, r"toy.yaml: unknown states \{'fog'\}; known: \['stairs'"),
        (_no_ground, r"toy.yaml: 'in the dunes' has no ground of"),
        (_odd_ground, r"toy.yaml: 'in the dunes' has no ground of"),
        (_odd_need, r"toy.yaml: 'lost bear' needs 'charm'; no such demand"),
        (_slot_without_need, r"toy.yaml: 'seek \{kg\} of bears' has slots for \['payload_kg'\]"),
        (_need_without_slot, r"toy.yaml: 'fetch the cubes' has slots for \[\]"),
        (_note_without_slot, r"toy.yaml: 'blocks' has slots for \[\]"),
        (_other_slot, r"toy.yaml: 'fetch \{h\} of cubes' has slots for \['hours'\]"),
        (_twice, r"'.*' stands in toy.yaml and toy"),
        (_note_is_a_wording, r"'lost bear' stands in toy.yaml and toy"),
    ],
)
def test_a_file_that_says_nonsense_is_refused_by_name_and_place(spoil, message, loaded):
    toy = copy.deepcopy(TOY)
    spoil(toy)
    with pytest.raises(LexiconError, match=message):
        loaded(toy)


def test_a_wording_is_refused_in_a_second_domain_too(loaded):
    other = {**copy.deepcopy(TOY), "domain": "zebra", "spots": copy.deepcopy(TOY["spots"][:1])}
    other["spots"][0]["jobs"] = other["spots"][0]["jobs"][:1]
    other["spots"][0]["jobs"][0] |= {"say": ["a", "b", "find the lost bear"], "note": "c"}
    with pytest.raises(LexiconError, match="'find the lost bear' stands in toy.yaml and zebra"):
        loaded(TOY, other)


def test_a_real_file_copied_once_more_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "lexicon"
    folder.mkdir()
    for name in ("frames", "zoo"):
        shutil.copy(FOLDER / f"{name}.yaml", folder)
    shutil.copytree(FOLDER / "states", folder / "states")
    monkeypatch.setattr(words, "FOLDER", folder)
    assert [domain.name for domain in lexicon.__wrapped__().domains] == ["zoo"]
    shutil.copy(FOLDER / "zoo.yaml", folder / "aviary.yaml")
    with pytest.raises(LexiconError, match=r"stands in aviary.yaml and zoo"):
        lexicon.__wrapped__()


@pytest.mark.parametrize(
    ("said", "indoors", "outdoors"),
    [
        ("the lift works", "the lift works", "the lift works"),
        ("in| the lift works", "the lift works", None),
        ("out| floodlights are up", None, "floodlights are up"),
    ],
)
def test_marked_words_are_said_only_of_their_kind_of_place(said, indoors, outdoors):
    assert (fits(said, indoor=True), fits(said, indoor=False)) == (indoors, outdoors)
