"""A site drawn: the same for a seed, another for another, and told apart by its facts."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from manifests.schema import TERRAINS
from pipelines.robots.scene import draw, scene_jpeg

BASE = {"terrain": "pavement", "indoor": 0}
SITES = {
    "office": {"terrain": "floor", "indoor": 1, "ceiling_m": 2.7, "doors": 1, "people": 1},
    "warehouse": {"terrain": "floor", "indoor": 1, "ceiling_m": 12.0, "clutter": 0.7},
    "reef": {"terrain": "water", "water_depth_m": 4.0},
    "deep": {"terrain": "water", "water_depth_m": 80.0, "light": 0.2},
    "rubble": {"terrain": "rubble", "clutter": 0.9},
    "snow": {"terrain": "snow", "slope_deg": 25.0, "wind_ms": 14.0},
    "mast": {"terrain": "grass", "height_m": 40.0},
    "desert": {"terrain": "sand", "distance_m": 3000.0},
}


def _pixels(site, seed: str) -> np.ndarray:
    return np.asarray(draw(site, seed), dtype=np.float32)


@pytest.mark.parametrize("name", SITES)
def test_a_scene_is_a_pure_function_of_site_and_seed(name):
    site = SITES[name]
    assert draw(site, "a").tobytes() == draw(dict(reversed(site.items())), "a").tobytes()
    assert np.abs(_pixels(site, "a") - _pixels(site, "b")).mean() > 4
    assert draw(site, "a").size == (224, 224)
    assert draw(site, "a", size=96).size == (96, 96)


def test_every_terrain_can_be_drawn_bare():
    for terrain in TERRAINS:
        for indoor in (0, 1):
            assert draw({"terrain": terrain, "indoor": indoor}, "x").mode == "RGB"
    draw({}, "x")
    draw({"terrain": "grass", "wind_ms": float("nan"), "height_m": None}, "x")


def test_sites_differ_more_than_seeds_do():
    """Eight looks each, as coarse colour maps: the nearest mean names nearly every fresh look."""

    def coarse(site, seed: str) -> np.ndarray:
        return np.asarray(draw(site, seed).resize((12, 12)), dtype=np.float32).ravel()

    means = {n: np.mean([coarse(s, f"t{i}") for i in range(8)], axis=0) for n, s in SITES.items()}
    right = [
        min(means, key=lambda m: float(np.abs(means[m] - look).mean())) == name
        for name, site in SITES.items()
        for look in (coarse(site, f"fresh{i}") for i in range(6))
    ]
    assert np.mean(right) > 0.9


@pytest.mark.parametrize(
    ("fact", "low", "high"),
    [
        *(("height_m", 0, 40), ("slope_deg", 0, 35), ("stairs", 0, 1), ("doors", 0, 1)),
        *(("clutter", 0.0, 0.9), ("wind_ms", 1, 18), ("rain", 0, 0.9), ("light", 1.0, 0.1)),
        *(("distance_m", 0, 3000), ("people", 0, 1), ("indoor", 0, 1)),
    ],
)
def test_each_fact_can_be_seen(fact, low, high):
    """Averaged over seeds, so that what differs is the fact, not the look."""
    means = [
        np.mean([_pixels({**BASE, fact: value}, f"{i}") for i in range(24)], axis=0)
        for value in (low, high)
    ]
    assert np.abs(means[0] - means[1]).max() > 25, f"{fact} {low} and {high} look alike"


def test_depth_and_ceiling_can_be_seen():
    shallow, deep = (_pixels({"terrain": "water", "water_depth_m": d}, "a") for d in (2, 100))
    assert shallow.mean() > deep.mean() + 20
    room = {"terrain": "floor", "indoor": 1}
    low, high = (_pixels({**room, "ceiling_m": c}, "a") for c in (1.8, 12))
    assert np.abs(low - high).mean() > 5


def test_an_unknown_terrain_is_an_error():
    with pytest.raises(ValueError, match="unknown terrain 'lava'"):
        draw({"terrain": "lava"}, "a")


def test_the_jpeg_decodes_to_224_and_is_reproducible():
    data = scene_jpeg(SITES["office"], "a")
    assert data == scene_jpeg(SITES["office"], "a")
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (224, 224), "RGB")


def test_drawing_is_fast_enough_to_draw_a_data_set():
    sites = list(SITES.values())
    start = time.process_time()
    for i in range(80):
        draw(sites[i % len(sites)], f"{i}")
    assert time.process_time() - start < 1.0, "fewer than 80 scenes a second on one core"
