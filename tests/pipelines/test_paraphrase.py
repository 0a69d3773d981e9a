"""A task in other words: what it means stays, and it comes near nothing that is kept apart."""

from functools import cache

import pytest

from manifests.place import task_group
from pipelines.robots.choose import groups
from pipelines.robots.paraphrase import paraphrases
from pipelines.robots.reading import UnreadableError, read, same
from pipelines.robots.twins import Twins

OURS = "Please fold the napkins into swans in the hotel bar. The lift works."


class Everything(Twins):
    """Keeps any text apart."""

    def has(self, text):
        return True


@cache
def sources():
    """Texts of one job and of several."""
    found = list(groups(9, 40, 40))
    single = [g.scenarios[0].text for g in found if g.form == "single"]
    return single[:20] + [g.scenarios[0].text for g in found if g.form == "multi"][:20]


@cache
def put_anew():
    return {text: paraphrases(text, 3, Twins()) for text in sources()}


def test_there_are_as_many_as_are_asked_for():
    assert {len(found) for found in put_anew().values()} == {3}
    assert [len(paraphrases(OURS, count, Twins())) for count in (0, 1, 5)] == [0, 1, 5]


def test_a_paraphrase_means_what_its_source_means():
    for text, found in put_anew().items():
        assert all(same(read(other), read(text)) for other in found), text


def test_a_paraphrase_is_in_other_words_than_its_source_and_its_siblings():
    for text, found in put_anew().items():
        assert len({task_group(other) for other in (text, *found)}) == 4


def test_most_paraphrases_share_less_than_six_of_ten_words_with_their_source():
    alike = []
    for text, found in put_anew().items():
        words = set(task_group(text).split())
        for other in found:
            others = set(task_group(other).split())
            alike.append(len(words & others) / len(words | others))
    assert sorted(alike)[int(0.8 * len(alike))] < 0.6
    assert sum(alike) / len(alike) < 0.5


def test_a_paraphrase_is_between_4_and_40_words():
    lengths = [len(other.split()) for found in put_anew().values() for other in found]
    assert 4 <= min(lengths) <= max(lengths) <= 40


def test_no_paraphrase_is_a_near_twin_of_a_text_that_is_kept_apart():
    kept = Twins()
    texts = [other for found in put_anew().values() for other in found]
    for text in texts:
        kept.add(text)
    short = [text for text in sources() if len(read(text).items) < 3]  # others may find no way
    assert len(short) > 20
    for text in short:
        for other in paraphrases(text, 2, kept):
            words = set(task_group(other).split())
            for apart in texts:
                others = set(task_group(apart).split())
                assert 10 * len(words & others) < 6 * len(words | others)


def test_the_text_alone_decides():
    for text, found in list(put_anew().items())[::4]:
        assert paraphrases(text, 3, Twins()) == found


def test_the_first_ones_do_not_depend_on_how_many_are_asked_for():
    for text, found in list(put_anew().items())[::8]:
        assert paraphrases(text, 1, Twins()) == found[:1]


def test_where_there_is_no_other_way_to_put_it_that_is_said():
    with pytest.raises(ValueError, match="no other way was found to put 'Please fold"):
        paraphrases(OURS, 1, Everything())


def test_the_words_of_other_people_are_refused():
    with pytest.raises(UnreadableError, match="no job that the lexicon knows"):
        paraphrases("Mow the lawn behind the vicarage.", 1, Twins())
