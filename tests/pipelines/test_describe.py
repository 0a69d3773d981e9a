"""What is said of a picture is what it shows."""

import math
from random import Random

import pytest

from pipelines.robots.describe import _words, caption, questions, told
from pipelines.robots.free import free_site, shown
from pipelines.robots.lexicon import lexicon

YARD = shown({"indoor": 0, "terrain": "pavement", "wind_ms": 2, "rain": 0.0})
FACTS = [shown(free_site(Random(number))) for number in range(200)]


def captions(facts, count=30):
    return [caption(facts, Random(number)).casefold() for number in range(count)]


@pytest.mark.parametrize(
    ("fact", "value", "words"),
    [
        ("stairs", 1, ("stairs",)),
        ("people", 1, ("people",)),
        ("doors", 1, ("shut door", "closed door")),
        ("rain", 0.9, ("rain",)),
        ("clutter", 0.9, ("clutter", "things")),
        ("slope_deg", 30, ("slope",)),
        ("payload_kg", 150.0, ("pallet", "80 kg")),
        ("height_m", 20.0, ("20 m",)),
        ("distance_m", 3000, ("posts",)),
        ("water_depth_m", 3.0, ("water",)),
        ("light", 0.05, ("darkness",)),
    ],
)
def test_a_caption_tells_of_what_is_there_and_never_of_what_is_not(fact, value, words) -> None:
    def tells(text: str) -> bool:
        for absent in ("no stairs", "no shut door", "no rain", "no slope", "no clutter"):
            text = text.replace(absent, "")
        return any(word in text for word in words)

    assert all(map(tells, captions({**YARD, fact: value})))
    assert not any(map(tells, captions(YARD)))


def test_a_caption_names_the_ground_or_that_it_is_hidden() -> None:
    assert all("mud" in text for text in captions({**YARD, "terrain": "mud"}))
    hidden = {name: fact for name, fact in YARD.items() if name != "terrain"}
    assert all("out of sight" in t or "screen" in t for t in captions(hidden))


def test_questions_have_the_answer_that_the_fact_gives() -> None:
    facts = {**YARD, "stairs": 1, "water_depth_m": 20.0, "payload_kg": 10.0, "light": 0.45}
    answers: dict[str, set[str]] = {}
    for number in range(300):
        for asked, answer in questions(facts, Random(number), 5):
            assert asked.endswith("?")
            assert asked[0].isupper()
            answers.setdefault(asked, set()).add(answer)
    assert all(len(given) == 1 for given in answers.values())
    assert answers["Are there stairs?"] == {"yes"}
    assert answers["How deep is the water?"] == {"more than ten metres"}
    assert answers["What is there to carry?"] == {"one box or sack"}
    assert answers["How light is it?"] == {"dim"}
    assert answers["What is the ground?"] == {"pavement"}
    assert answers["Is there a shut door?"] == {"no"}
    nothing = [a for n in range(300) for q, a in questions(YARD, Random(n), 5) if "to carry" in q]
    assert set(nothing) == {"nothing"}
    assert not any("ceiling" in asked for asked in answers)  # there is none outdoors


def test_no_answer_is_that_of_nearly_all_scenes() -> None:
    for name, about in _words()["asked"].items():
        ends = [most for most, _ in about["answers"]]
        assert ends == sorted(ends)
        assert ends[-1] == math.inf
        known = [facts[name] for facts in FACTS if name in facts]
        given = [next(i for i, most in enumerate(ends) if value <= most) for value in known]
        assert set(given) == set(range(len(ends))), f"{name}: an answer that is never given"
        assert max(given.count(i) for i in set(given)) < 0.96 * len(given), name


def test_people_s_words_say_only_what_is_the_case() -> None:
    states = lexicon().states
    wet = {**YARD, "rain": 0.9, "people": 1}
    of = {
        words.rpartition("| ")[2].casefold(): name
        for name, state in states.items()
        for words in (*state.told, *state.denied)
    }
    for number in range(60):
        text = told(wet, Random(number))
        assert text is not None
        for sentence in text.casefold().removesuffix(".").split(". "):
            name = of[sentence]
            denied = any(sentence in words.casefold() for words in states[name].denied)
            assert denied == (name not in ("rain", "crowd"))
            assert name not in ("flood", "rubble", "mud", "low")
