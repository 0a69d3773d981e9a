"""A site, drawn: from facts to a picture that shows them.

The picture carries evidence (ground, height, depth, wind, doors ...), never a label, a robot or a
letter. Two seeds give two looks of one site: colours, horizon and placement differ, facts do not.
"""

import io
from typing import Any

from PIL import Image, ImageChops, ImageEnhance

from pipelines.robots.ground import draw_room, draw_sky, draw_terrain
from pipelines.robots.look import Look
from pipelines.robots.structures import draw_structures, draw_things, draw_weather
from pipelines.robots.water import draw_below_water


def draw(site: dict[str, Any], seed: str, size: int = 224) -> Image.Image:
    """The site as an RGB picture of `size` pixels square, the same for the same (site, seed, size).

    Raises ValueError for a terrain that is not one of TERRAINS.
    """
    look = Look(site, seed, size * 2)  # drawn at twice the size and reduced: smooth edges
    if look.terrain == "water" and look.fact("water_depth_m", 5.0) >= 1.0:
        draw_below_water(look)
    else:
        draw_room(look) if look.fact("indoor") else draw_sky(look)
        draw_terrain(look)
        draw_structures(look)
        draw_things(look)
        draw_weather(look)
    picture = look.image.reduce(2)
    light = look.fact("light", 0.9)
    if light < 0.85:
        picture = ImageEnhance.Brightness(picture).enhance(0.4 + 0.65 * light)
        night = Image.new("RGB", picture.size, (8, 12, 40))
        picture = Image.blend(picture, night, 0.3 * (1 - light))
    cells = size // 2
    grain = Image.frombytes("L", (cells, cells), look.rng.randbytes(cells * cells))
    grain = grain.point([v // 20 for v in range(256)]).resize((size, size))
    return ImageChops.add(picture, Image.merge("RGB", (grain,) * 3), offset=-6)


def scene_jpeg(site: dict[str, Any], seed: str) -> bytes:
    """`draw` at 224 pixels as a JPEG of quality 90."""
    buffer = io.BytesIO()
    draw(site, seed).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
