"""Near-twins are found without comparing with all: the same ones as by comparing with all."""

from random import Random

import pytest

from pipelines.robots.twins import LIMIT, Twins, jaccard, words_of

COMMON = ["the", "a", "and", "of", "to"]
RARE = [
    "box",
    "lamp",
    "pump",
    "rope",
    "shelf",
    "bridge",
    "seal",
    "ibex",
    "cat",
    "gate",
    "saw",
    "key",
]
WORDS = COMMON + RARE


def drawn(count, seed):
    """Texts of 1 to 9 words, those of COMMON the likeliest, no two of the same words."""
    rng, found = Random(seed), {}
    while len(found) < count:
        size = rng.randint(1, 9)
        words = rng.choices(WORDS, [9, 8, 7, 6, 5, *[3] * 12], k=size)
        found[frozenset(words)] = " ".join(words)
    return list(found.values())


def near(one, other):
    """By counting: of ten words in either, six are in both."""
    one, other = set(one.split()), set(other.split())
    return 10 * len(one & other) >= 6 * len(one | other)


@pytest.mark.parametrize("common", [(), ("the a and of to",) * 3, WORDS])
def test_the_near_twins_are_those_that_comparing_with_all_finds(common):
    texts, twins = drawn(300, 1), Twins(common)
    found = missed = 0
    for place, text in enumerate(texts):
        expected = [other for other in texts[:place] if near(text, other)]
        assert sorted(twins.of(text)) == sorted(expected)
        assert twins.has(text) == bool(expected)
        found, missed = found + len(expected), missed + (not expected)
        twins.add(text)
    assert found > 100
    assert missed > 50


def test_a_text_that_was_taken_in_is_found_whatever_its_spelling():
    twins = Twins()
    twins.add("Open the fire-door, please.")
    assert list(twins.of("please open THE fire door")) == ["Open the fire-door, please."]


@pytest.mark.parametrize(
    ("one", "other", "twins"),
    [
        ("a b c", "a b c d e", True),  # 3 of 5: exactly 0.6
        ("a b c d e f", "a b c d e f g h i j", True),  # 6 of 10
        ("a b c d e f g h i", "a b c d e f g h i j k l m n o", True),  # 9 of 15
        ("a b c d", "a b c e", True),  # 3 of 5 again, of four each
        ("a b c", "a b d", False),  # 2 of 4
        ("a b c", "a b c d e f", False),  # 3 of 6
        ("a b c d e", "a b c d e f g h i", False),  # 5 of 9
        ("a", "a", True),
        ("a", "b", False),
        ("a a a a", "a", True),
        ("", "a", False),
    ],
)
def test_six_of_ten_words_are_enough_and_less_are_not(one, other, twins):
    for known, new in ((one, other), (other, one)):
        some = Twins()
        some.add(known)
        assert some.has(new) == twins
        assert (jaccard(words_of(known), words_of(new)) >= LIMIT) == twins


def test_exactly_six_of_ten_is_found_at_every_length():
    for size in range(1, 41):
        words = [f"w{i}" for i in range(5 * size)]
        some = Twins()
        some.add(" ".join(words))
        assert some.has(" ".join(words[: 3 * size]))
        assert some.has(" ".join(words[2 * size :]))
        assert not some.has(" ".join(words[: 3 * size - 1]))


def test_among_no_texts_there_is_no_twin():
    assert not Twins().has("open the door")
    assert list(Twins(["open the door"]).of("open the door")) == []


def test_an_empty_text_is_its_own_twin():
    twins = Twins()
    twins.add("...")
    assert twins.has("")


def test_two_empty_sets_are_alike_and_one_is_like_no_other():
    assert jaccard(frozenset(), frozenset()) == 1.0
    assert jaccard(frozenset("a"), frozenset()) == 0.0
    assert jaccard(frozenset("ab"), frozenset("bc")) == pytest.approx(1 / 3)


def test_words_are_those_of_the_normal_form():
    assert words_of("Task: Open the fire-door -- the DOOR!") == {"open", "the", "fire", "door"}
    assert words_of("...") == frozenset()
