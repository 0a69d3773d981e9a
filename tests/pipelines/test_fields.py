"""Fields by dotted names, and what they are guessed to mean."""

import pytest

from pipelines.layouts.fields import MISSING, config_lines, dig, guess, shortened
from pipelines.layouts.records import Picture

RECORD = {"a": {"b": 1}, "l": [{"t": "x"}, {"t": "y"}], "p.q": 2, "n": None}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a.b", 1),
        ("a", {"b": 1}),
        ("l.t", ["x", "y"]),
        ("p.q", 2),
        ("n", None),
        ("n.x", MISSING),
        ("a.c", MISSING),
        ("a.b.c", MISSING),
        ("l.u", MISSING),
        ("z", MISSING),
    ],
)
def test_dots_lead_through_dicts_and_lists(name, value):
    assert dig(RECORD, name) == value


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (
            {"split": "train", "file_name": "there.jpg", "url": "http://x/a.jpg", "caption": "a"},
            {"image": "file_name", "target": "caption", "split": "split"},
        ),
        (
            {"picture": "there.jpg", "image": "lost.jpg", "question": "?", "answers": ["a", "b"]},
            {"image": "picture", "prompt": "question", "target": "answers"},
        ),
        (
            {"img": Picture("x", None), "id": 3, "text": "a", "answers": [{"answer": "b"}]},
            {"image": "img", "target": "answers.answer", "id": "id"},
        ),
        (
            {"image_url": "http://x/1", "meta": {"Caption": "a"}, "answer": 5, "key": "k"},
            {"image": "image_url", "target": "meta.Caption", "id": "key"},
        ),
        ({"height": 3, "words": "a"}, {}),
    ],
)
def test_a_picture_is_seen_from_its_values_and_texts_from_their_names(record, found):
    assert guess([record, record], lambda name: name == "there.jpg") == found


def test_config_lines_quote_what_yaml_would_read_as_something_else():
    fields = {"image": "a b", "prompt": "on", "target": "answers.answer", "id": "007"}
    assert config_lines("mine", fields) == (
        'corpora: {mine: {fields: {image: "a b", prompt: "on", target: answers.answer, id: "007"}}}'
    )


def test_a_record_is_shown_in_a_line():
    record = {"image": Picture("x", None), "caption": "words " * 20, "l": [{"t": 1}]}
    assert shortened(record) == (
        'image: (a picture); caption: "words words words words words words words words words wo...;'
        " l.t: [1]"
    )
