"""A site drawn: the same for a seed, another for another, and every fact told from its picture."""

import functools
import io
import json

import numpy as np
import pytest
from PIL import Image

from manifests.schema import TERRAINS
from pipelines.robots.scene import draw, scene_jpeg

YARD = {"indoor": 0, "terrain": "pavement"}
FIELD = {"indoor": 0, "terrain": "grass"}
ROOM = {"indoor": 1, "terrain": "floor"}
FLOOD = {"indoor": 0, "terrain": "water", "water_depth_m": 2.0}
SITES = {
    "office": {**ROOM, "ceiling_m": 2.7, "doors": 1, "people": 1},
    "warehouse": {**ROOM, "ceiling_m": 12.0, "clutter": 0.7, "height_m": 9.0},
    "crawl space": {**ROOM, "ceiling_m": 1.1, "light": 0.1},
    "quay": {**YARD, "water_depth_m": 4.0, "payload_kg": 120.0, "light": 0.45},
    "deep": {"terrain": "water", "water_depth_m": 80.0, "light": 0.2},
    "rubble": {"terrain": "rubble", "clutter": 0.9},
    "snow": {"terrain": "snow", "slope_deg": 25.0, "wind_ms": 14.0, "rain": 0.7},
    "mast": {"terrain": "grass", "height_m": 40.0, "doors": 0, "stairs": 1},
    "desert": {"terrain": "sand", "distance_m": 3000.0},
    "hidden": {"indoor": 0, "doors": 1, "clutter": 0.8},
}
# Two sites that differ in one fact: on the ground and in combination with others.
PAIRS = {
    "indoor": (YARD, {**YARD, "indoor": 1}),
    **{f"{t} underfoot": (FIELD if t == "pavement" else YARD, {"indoor": 0, "terrain": t})
       for t in TERRAINS if t != "pavement"},
    "rubble and not rock": ({"terrain": "rock"}, {"terrain": "rubble"}),
    "rubble in a room": (ROOM, {**ROOM, "terrain": "rubble"}),
    "hidden ground": (YARD, {"indoor": 0}),
    "flood": (YARD, FLOOD),
    "flood in a room": (ROOM, {**FLOOD, "indoor": 1}),
    "flood and not a quay": ({**YARD, "water_depth_m": 2.0}, FLOOD),
    "quay": (YARD, {**YARD, "water_depth_m": 3.0}),
    "pool": (ROOM, {**ROOM, "water_depth_m": 3.0}),
    "depth": ({**FLOOD, "water_depth_m": 1.0}, {**FLOOD, "water_depth_m": 10.0}),
    "slope": (FIELD, {**FIELD, "slope_deg": 8.0}),
    "steep": ({**FIELD, "slope_deg": 8.0}, {**FIELD, "slope_deg": 30.0}),
    "stairs": (YARD, {**YARD, "stairs": 1}),
    "stairs in a room": (ROOM, {**ROOM, "stairs": 1}),
    "stairs in the dark": ({**ROOM, "light": 0.1}, {**ROOM, "light": 0.1, "stairs": 1}),
    "gate": (YARD, {**YARD, "doors": 1}),
    "gate shut and not open": ({**YARD, "doors": 0}, {**YARD, "doors": 1}),
    "door": (ROOM, {**ROOM, "doors": 1}),
    "door shut and not open": ({**ROOM, "doors": 0}, {**ROOM, "doors": 1}),
    "door behind hidden ground": ({"indoor": 1}, {"indoor": 1, "doors": 1}),
    "clutter": ({**YARD, "clutter": 0.1}, {**YARD, "clutter": 0.7}),
    "clutter in a room": ({**ROOM, "clutter": 0.1}, {**ROOM, "clutter": 0.7}),
    "low ceiling": (ROOM, {**ROOM, "ceiling_m": 1.2}),
    "high ceiling": ({**ROOM, "ceiling_m": 2.5}, {**ROOM, "ceiling_m": 8.0}),
    "height": (YARD, {**YARD, "height_m": 12.0}),
    "more height": ({**YARD, "height_m": 3.0}, {**YARD, "height_m": 30.0}),
    "height in a hall": ({**ROOM, "ceiling_m": 8.0}, {**ROOM, "ceiling_m": 8.0, "height_m": 7.0}),
    "wind": ({**FIELD, "wind_ms": 2.0}, {**FIELD, "wind_ms": 16.0}),
    "rain": (FIELD, {**FIELD, "rain": 0.9}),
    "dark": ({**ROOM, "light": 0.1}, ROOM),
    "night": (YARD, {**YARD, "light": 0.2}),
    "crowd": (YARD, {**YARD, "people": 1}),
    "crowd in a room": (ROOM, {**ROOM, "people": 1}),
    "crowd in a flood": (FLOOD, {**FLOOD, "people": 1}),
    "distance": (FIELD, {**FIELD, "distance_m": 3000.0}),
    "parcel": (YARD, {**YARD, "payload_kg": 3.0}),
    "box": (YARD, {**YARD, "payload_kg": 12.0}),
    "stack and not a box": ({**YARD, "payload_kg": 12.0}, {**YARD, "payload_kg": 50.0}),
    "pallet and not a stack": ({**ROOM, "payload_kg": 50.0}, {**ROOM, "payload_kg": 150.0}),
}  # fmt: skip


@functools.cache
def _thumbnail(site: str, seed: str) -> np.ndarray:
    """A look of a site in 28 x 28, as a classifier takes it that knows not left from right: colours
    and their strength, what differs from its mirror image, and how busy each part is."""
    picture = draw(json.loads(site), seed, 112).resize((28, 28), Image.Resampling.BOX)
    rgb = np.asarray(picture, np.float32) / 255
    colours = np.concatenate([rgb, np.ptp(rgb, axis=2, keepdims=True)], axis=2)
    mirror = colours[:, ::-1]
    steps = np.abs(np.diff(rgb, axis=0))[:, :27], np.abs(np.diff(rgb, axis=1))[:27]
    busy = [3 * s.mean(axis=2).reshape(9, 3, 9, 3).mean((1, 3)) for s in steps]
    both = [b + b[:, ::-1] for b in busy]
    return np.concatenate(
        [part.ravel() for part in ((colours + mirror)[:, :14], np.abs(colours - mirror), *both)]
    )


def _told_apart(low: dict, high: dict, seen: int = 60, fresh: int = 30) -> float:
    """The share of fresh looks that a ridge classifier of `seen` looks a site gets right."""
    sites = [json.dumps(site, sort_keys=True) for site in (low, high)]
    known, new = (
        np.stack([_thumbnail(site, f"{name} {i}") for site in sites for i in range(count)])
        for name, count in (("seen", seen), ("fresh", fresh))
    )
    mean, spread = known.mean(axis=0), known.std(axis=0) + 0.05
    known, new = (known - mean) / spread, (new - mean) / spread
    damped = known @ known.T + 0.3 * known.shape[1] * np.eye(2 * seen)
    scores = new @ known.T @ np.linalg.solve(damped, np.repeat([-1.0, 1.0], seen))
    return float(np.mean((scores > 0) == np.repeat([False, True], fresh)))


@pytest.mark.parametrize("name", PAIRS)
def test_a_fact_is_told_from_its_picture(name):
    right = _told_apart(*PAIRS[name])
    assert right > 0.9, f"{name}: {right:.0%} of unseen looks are told apart"


@pytest.mark.parametrize("name", SITES)
def test_a_scene_is_a_pure_function_of_site_and_seed(name):
    site = SITES[name]
    looks = [draw(site, "a"), draw(dict(reversed(site.items())), "a"), draw(site, "b")]
    assert looks[0].tobytes() == looks[1].tobytes()
    first, _, other = (np.asarray(look, np.float32) for look in looks)
    assert np.abs(first - other).mean() > 8
    assert first.shape == (224, 224, 3)


@pytest.mark.parametrize("size", [112, 384, 512])
def test_a_scene_is_the_same_at_any_size(size):
    for site in SITES.values():
        small, large = (
            np.asarray(draw(site, "a", n).resize((16, 16), Image.Resampling.BOX), np.float32)
            for n in (224, size)
        )
        assert np.abs(small - large).mean() < 4
        assert draw(site, "a", size).size == (size, size)


def test_every_terrain_can_be_drawn_bare():
    for terrain in TERRAINS:
        for indoor in (0, 1):
            assert draw({"terrain": terrain, "indoor": indoor}, "x").mode == "RGB"
    draw({}, "x")


def test_what_is_not_known_is_drawn_plain():
    unknown = {**YARD, "wind_ms": float("nan"), "height_m": None, "rain": None, "payload_kg": None}
    assert draw({**unknown, "doors": None}, "a").tobytes() == draw(YARD, "a").tobytes()
    assert draw({**YARD, "hours": 4.0, "above": True}, "a").tobytes() == draw(YARD, "a").tobytes()


@pytest.mark.parametrize("fact", ["stairs", "people", "slope_deg", "height_m", "clutter", "rain"])
def test_a_fact_of_zero_shows_nothing(fact):
    assert draw({**YARD, fact: 0.0}, "a").tobytes() == draw(YARD, "a").tobytes()


@pytest.mark.parametrize("indoor", [0, 1])
def test_hidden_ground_shows_nothing_of_what_it_hides(indoor):
    """Whatever the ground would be and whatever lies level on it, the picture is the same."""
    hidden = draw({"indoor": indoor}, "a").tobytes()
    for nothing in ({"terrain": None}, {"terrain": ""}, {"water_depth_m": 0.0}, {"clutter": 0.2}):
        assert draw({"indoor": indoor, **nothing}, "a").tobytes() == hidden
    looks = [np.asarray(draw({"indoor": indoor, **t}, "a"), np.float32)[150:] for t in
             ({}, {"terrain": "rubble"}, {"terrain": "grass"}, {"terrain": "mud"})]  # fmt: skip
    assert all(np.abs(looks[0] - ground).mean() > 15 for ground in looks[1:])


def test_twins_share_a_look():
    """With one seed, sites that differ in one fact differ where it shows, and nowhere else."""
    plain, door = (np.asarray(draw({**ROOM, **f}, "a"), np.float32) for f in ({}, {"doors": 1}))
    changed = np.abs(plain - door).max(axis=2) > 0
    assert 0.02 < changed.mean() < 0.5
    assert not changed[150:].any()


def test_an_unknown_terrain_is_an_error():
    with pytest.raises(ValueError, match="unknown terrain 'lava'"):
        draw({"terrain": "lava"}, "a")


def test_the_jpeg_decodes_to_224_and_is_reproducible():
    data = scene_jpeg(SITES["office"], "a")
    assert data == scene_jpeg(SITES["office"], "a")
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (224, 224), "RGB")


def test_drawing_uses_no_writing(monkeypatch):
    """No letter and no digit: nothing that is drawn goes through a font."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a scene is free of writing")

    for name in ("text", "multiline_text", "bitmap"):
        monkeypatch.setattr(f"PIL.ImageDraw.ImageDraw.{name}", refuse)
    for site in SITES.values():
        assert draw(site, "a", 112).size == (112, 112)
