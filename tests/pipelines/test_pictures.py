"""Drawn scenes: the picture shows them, and nothing is said or asked of them that is not so."""

import random
from collections import Counter

from pipelines.samples.pictures import (
    COLOURS,
    PLACES,
    PLURALS,
    Scene,
    Thing,
    box,
    captions,
    compose,
    paint,
    questions,
)


def test_a_picture_shows_the_colour_of_each_thing_at_its_centre():
    for i in range(150):
        rng = random.Random(f"centre {i}")
        scene = compose(rng)
        picture = paint(scene, rng)
        for thing in scene.things:
            around = (thing.x - 1, thing.y - 1, thing.x + 2, thing.y + 2)
            red, green, blue = picture.crop(around).resize((1, 1)).tobytes()
            far = {
                c: abs(r - red) + abs(g - green) + abs(b - blue) for c, (r, g, b) in COLOURS.items()
            }
            nearest = min(far, key=lambda c: far[c])
            assert nearest == thing.colour, f"scene {i}: {thing} is drawn as {red, green, blue}"
            assert thing.colour not in scene.place.hides
            assert thing.r <= thing.x <= scene.width - thing.r, "a thing is cut off at the side"


def test_captions_name_all_that_is_alike_and_only_what_is_there():
    for i in range(200):
        scene = compose(random.Random(i))
        said = captions(scene)
        assert len(said) == len(set(said)) >= 5
        shown = {t.shape for t in scene.things}
        for caption in said:
            words = set(caption.lower().rstrip(".").replace(",", "").split())
            assert {s for s in PLURALS if {s, PLURALS[s]} & words} <= shown
            assert scene.place.phrase in caption.lower()


def test_yes_and_no_are_even_and_every_word_is_used():
    answers, places = Counter(), Counter()
    for i in range(1500):
        rng = random.Random(f"even {i}")
        scene = compose(rng)
        places[scene.place.noun] += 1
        answers.update(q.answer for q in questions(scene, rng))
    assert 0.9 < answers["yes"] / answers["no"] < 1.1
    assert {*COLOURS, *PLURALS, "1", "2", "3"} <= set(answers)
    assert set(places) == {p.noun for p in PLACES}


def test_a_box_is_all_that_a_thing_covers_and_no_more():
    scene = Scene(320, 240, PLACES[0], (Thing("red", "ball", 100, 120, 50),), across=True)
    assert box(scene, scene.things[0]) == (50, 70, 151, 171)
    boat = Thing("red", "boat", 100, 120, 50)
    left, top, right, bottom = box(scene, boat)
    assert (left, top, right) == (50, 70, 151)
    assert 163 <= bottom <= 167, "the hull ends at 0.9 of its half size"
    edge = Thing("red", "ball", 310, 120, 50)
    assert box(scene, edge) == (260, 70, 320, 171)
