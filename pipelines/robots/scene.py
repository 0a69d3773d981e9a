"""A site, drawn: from facts to a picture that shows them.

The picture carries evidence (ground, height, depth, wind, doors ...), never a label, a robot or a
letter. Two seeds give two looks of one site: colours, camera and furniture differ, facts do not;
with one seed, sites that differ in one fact give one look that differs in it.
"""

import io
from typing import Any

from PIL import Image

from pipelines.robots.furniture import draw_furniture
from pipelines.robots.ground import draw_ground
from pipelines.robots.look import Look
from pipelines.robots.people import draw_crowd
from pipelines.robots.place import draw_place, draw_screen, draw_side_walls
from pipelines.robots.structures import draw_door, draw_high_work, draw_long_way, draw_stairs
from pipelines.robots.things import draw_clutter, draw_load, draw_trees
from pipelines.robots.water import draw_flood, draw_water_beside
from pipelines.robots.weather import develop, draw_puddles, draw_weather


def draw(site: dict[str, Any], seed: str, size: int = 224) -> Image.Image:
    """The site as an RGB picture of `size` pixels square, the same for the same (site, seed, size).

    A fact that is absent is drawn plain, but for the ground: where it is unknown, it is hidden.
    Raises ValueError for a terrain that is not one of TERRAINS.
    """
    look = Look(site, seed, size * 2)  # drawn at twice the size and reduced: smooth edges
    draw_place(look)
    if look.terrain and not look.flooded:
        draw_ground(look)
        draw_puddles(look)
    if look.shore:
        draw_water_beside(look)
    if look.indoor and not look.flooded:
        draw_side_walls(look)
    draw_furniture(look)
    _draw_standing(look)
    if look.flooded:
        if look.fact("people"):
            draw_crowd(look)
        draw_flood(look)
    draw_clutter(look)
    if look.fact("people") and not look.flooded:
        draw_crowd(look)
    if not look.terrain:
        draw_screen(look)
    draw_load(look)
    draw_weather(look)
    return develop(look, size)


def _draw_standing(look: Look) -> None:
    """What stands at the far side of the ground, back to front."""
    if look.fact("distance_m") >= 1000:
        draw_long_way(look)
    if not look.indoor:
        draw_trees(look)
    if look.fact("stairs"):
        draw_stairs(look)
    if look.known("doors"):
        draw_door(look)
    if look.fact("height_m") >= 2:
        draw_high_work(look)


def scene_jpeg(site: dict[str, Any], seed: str) -> bytes:
    """`draw` at 224 pixels as a JPEG of quality 90."""
    buffer = io.BytesIO()
    draw(site, seed).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
