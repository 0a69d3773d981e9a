"""The place behind the ground: sky and a far land, or a room; and what hides the ground."""

import math

from pipelines.robots.look import Look, Rgb, mix

_WALLS: tuple[Rgb, ...] = (
    (216, 210, 196), (190, 204, 214), (214, 212, 178), (204, 192, 206), (180, 200, 184),
    (222, 200, 176),
)  # fmt: skip


def draw_place(look: Look) -> None:
    """A room indoors, else sky and a far land."""
    look.layer("place")
    if look.indoor:
        _room(look)
    else:
        _sky(look)
        _far(look)


def _sky(look: Look) -> None:
    """Sky by rain, light and hour; sun or moon."""
    wet, light = min(1.0, look.fact("rain") * 1.3), look.fact("light", 1.0)
    high = look.shade(look.rng.choice(((104, 168, 232), (134, 190, 236), (150, 190, 220))), 14)
    low: Rgb = (220, 232, 240)
    if 0.3 <= light < 0.7:
        high, low = (126, 92, 130), (255, 158, 78)
    high, low = mix(high, (118, 124, 132), wet), mix(low, (158, 162, 166), wet)
    for i in range(14):
        look.rect(0, i / 14 * look.horizon * 1.3, 1, 1, mix(high, low, i / 13))
    x = look.between(0.1, 0.9)
    if light < 0.3:
        look.oval(x, 0.09, 0.04, 0.04, (255, 255, 235))
        look.oval(x + 0.018, 0.08, 0.034, 0.034, high)
        for _ in range(18):
            look.oval(look.rng.random(), look.between(0, 0.3), 0.004, 0.004, (255, 255, 255))
    elif wet < 0.3:
        low_sun = light < 0.7
        look.oval(x, 0.3 if low_sun else 0.1, 0.05, 0.05, (255, 190 if low_sun else 242, 130))
    cloud = mix((248, 250, 252), (100, 104, 112), wet * 0.9)
    for _ in range(int(2 + look.rng.random() * 2 + 7 * wet)):
        x, y = look.rng.random(), look.between(0.03, 0.24)
        for _ in range(4):
            look.oval(x + look.between(-0.09, 0.09), y + look.between(-0.02, 0.02), 0.07, 0.028,
                      look.shade(cloud, 6))  # fmt: skip


def _far(look: Look) -> None:
    """What lies beyond the ground: hills, a town, a wood or works."""
    rng, h = look.rng, look.horizon
    style = rng.choice(("hills", "town", "wood", "peaks", "works"))
    haze = look.shade((140, 164, 172), 14)
    if style in ("hills", "peaks"):
        tall = 0.08 if style == "hills" else 0.22
        for back in (1.0, 0.55):
            tops = [(i / 8, h - tall * back * look.between(0.35, 1.0)) for i in range(9)]
            look.poly([(0, 1), *tops, (1, 1)], mix(haze, (92, 120, 112), 1 - back))
        return
    look.rect(0, h - 0.03, 1, 1, haze)
    for i in range(9):
        x = i / 9 + look.between(-0.02, 0.02)
        if style == "wood":
            look.oval(x + 0.05, h, 0.09, look.between(0.05, 0.11), look.shade((84, 122, 96), 16))
            continue
        y, w = h - look.between(0.04, 0.15), look.between(0.07, 0.12)
        wall = look.shade(mix((186, 176, 168), haze, 0.4), 22)
        look.rect(x, y, x + w, 1, wall)
        if style == "town":
            look.poly([(x - 0.01, y), (x + w / 2, y - 0.04), (x + w + 0.01, y)],
                      look.shade((160, 104, 88), 16))  # fmt: skip
            for k in range(4):
                look.rect(x + 0.015 + 0.02 * k, y + 0.02, x + 0.025 + 0.02 * k, y + 0.04,
                          (96, 104, 116))  # fmt: skip
        elif i % 4 == 1:
            look.rect(x + w * 0.4, y - 0.06, x + w * 0.55, y, look.shade(wall, 6, 0.8))


def _room(look: Look) -> None:
    """Back and side walls and the ceiling: next to the floor in a crawl space, far up in a hall."""
    rng, roof, left, right = look.rng, look.roof, look.left, look.right
    ceiling = look.fact("ceiling_m", 2.6)
    style = rng.choice(("plaster", "tiles", "bricks", "panels"))
    raw = look.terrain in ("rubble", "rock", "mud", "sand", "snow")
    wall = look.shade(rng.choice(_WALLS), 12, 0.78 if raw else 1.0)
    if style == "bricks" or (raw and rng.random() < 0.6):
        style, wall = "bricks", look.shade((164, 112, 92), 14)
    cover = mix(wall, (244, 244, 240), 0.6) if ceiling > 1.5 else look.shade((104, 96, 88), 12)
    look.rect(0, 0, 1, 1, wall)
    _courses(look, style, wall)
    look.wall = wall
    draw_side_walls(look)
    look.poly([(0, 0), (1, 0), (right, roof), (left, roof)], cover)
    if ceiling <= 1.5:
        _low_beams(look, cover)
    elif ceiling >= 5:
        _trusses(look, wall)
    else:
        lamp: Rgb = (255, 252, 222)
        for x in (0.3, 0.5, 0.7):
            look.poly([(x - 0.05, roof * 0.45), (x + 0.05, roof * 0.45),
                       (x + 0.04, roof * 0.75), (x - 0.04, roof * 0.75)], lamp)  # fmt: skip
    if ceiling > 1.5:
        _fittings(look, wall)


def draw_side_walls(look: Look) -> None:
    """The walls left and right of a room, down to where its ground or water meets them."""
    for end, x, dark in ((0.0, look.left, 0.84), (1.0, look.right, 0.76)):
        top = look.top(x)
        foot = max(top + 0.05, 0.97 + top - look.horizon)
        t = min(1.0, (look.front - top) / (foot - top))
        low = (x + (end - x) * t, top + (foot - top) * t)
        look.poly([(end, 0), (x, look.roof), (x, top), low, (end, low[1])],
                  look.shade(look.wall, 0, dark))  # fmt: skip


def _courses(look: Look, style: str, wall: Rgb) -> None:
    """What a back wall is made of."""
    roof, foot, dark = look.roof, look.horizon + 0.12, look.shade(wall, 4, 0.86)
    if style == "plaster":
        look.rect(look.left, foot - 0.2, look.right, foot, look.shade(wall, 6, 0.9))
        return
    rows = {"tiles": 0.035, "bricks": 0.028, "panels": 0.2}[style]
    for i in range(int((foot - roof) / rows) + 1):
        y = roof + i * rows
        look.line(look.left, y, look.right, y, dark, 0.004)
        if style == "bricks" and i % 2:
            for k in range(9):
                x = look.left + look.between(0, 0.09) + 0.09 * k
                look.rect(x, y + 0.005, x + 0.04, y + 0.024, look.shade(wall, 14))
    if style != "bricks":
        for k in range(1, 12):
            x = look.left + k * (0.06 if style == "tiles" else 0.12)
            if x < look.right:
                look.line(x, roof, x, foot, dark, 0.004)


def _low_beams(look: Look, cover: Rgb) -> None:
    """The ceiling of a crawl space: heavy beams overhead and props to the floor."""
    roof = look.roof
    for i in range(5):
        y, thick = roof * (1 - (i / 5) ** 1.4) - 0.012, 0.016 + 0.02 * i
        look.rect(0, y - thick, 1, y, look.shade(cover, 8, 0.62))
        look.rect(0, y - thick * 1.5, 1, y - thick, look.shade(cover, 6, 1.2))
    look.rect(look.left, roof, look.right, look.horizon + 0.1, (44, 40, 40))
    for i in range(6):
        x = i / 6 + look.between(0.02, 0.12)
        look.rect(x, roof - 0.02, x + 0.018, look.top(x) + 0.01, look.shade((120, 106, 90), 10))


def _trusses(look: Look, wall: Rgb) -> None:
    """The beams of a tall hall, and its columns."""
    steel = look.shade(look.rng.choice(((92, 98, 112), (120, 84, 66), (76, 104, 96))), 8)
    roof = look.roof
    for k in range(7):
        x = look.left + (look.right - look.left) * k / 6
        look.line(x, roof, x, look.horizon + 0.1, look.shade(wall, 4, 0.7), 0.01)
    for i in range(4):
        y, out = roof + 0.1 - 0.035 * i, 0.09 * i
        x0, x1 = look.left - out, look.right + out
        look.line(x0, y, x1, y, steel, 0.008 + 0.004 * i)
        look.line(x0, y - 0.045, x1, y - 0.045, steel, 0.006 + 0.003 * i)
        for k in range(10):
            a, b = x0 + (x1 - x0) * k / 10, x0 + (x1 - x0) * (k + 1) / 10
            lift = 0.045 * (k % 2)
            look.line(a, y - lift, b, y - 0.045 + lift, steel, 0.004)


def _fittings(look: Look, wall: Rgb) -> None:
    """Furniture of a wall that says nothing: windows, pictures, pipes, shelves of the place."""
    rng, roof = look.rng, look.roof
    y = roof + 0.12 * (look.horizon - roof)
    tall = 0.3 * (look.horizon - roof)
    kind = rng.choice(("windows", "pictures", "pipes", "clock", "none"))
    if kind == "windows":
        for k in range(4):
            x = look.left + 0.03 + k * 0.19
            if x + 0.1 < look.right:
                look.rect(x - 0.008, y - 0.008, x + 0.108, y + tall + 0.008, (240, 240, 236))
                look.rect(x, y, x + 0.1, y + tall, look.shade((164, 204, 232), 10))
                look.line(x + 0.05, y, x + 0.05, y + tall, (240, 240, 236), 0.006)
    elif kind == "pictures":
        for k in range(3):
            x = look.left + 0.06 + k * 0.24
            look.rect(x, y, x + 0.09, y + tall * 0.7, (84, 66, 54))
            look.rect(x + 0.01, y + 0.01, x + 0.08, y + tall * 0.7 - 0.01,
                      look.shade(rng.choice(_WALLS), 30, 0.8))  # fmt: skip
    elif kind == "pipes":
        for k in range(3):
            look.line(look.left, y + 0.025 * k, look.right, y + 0.025 * k,
                      look.shade(rng.choice(((170, 174, 180), (176, 84, 66), (90, 130, 110))), 12),
                      0.012)  # fmt: skip
    elif kind == "clock":
        x = look.between(look.left + 0.1, look.right - 0.1)
        look.oval(x, y + 0.03, 0.04, 0.04, (70, 70, 76))
        look.oval(x, y + 0.03, 0.034, 0.034, (246, 246, 242))
        turn = look.between(0, 6.3)
        look.line(x, y + 0.03, x + 0.026 * math.cos(turn), y + 0.03 + 0.026 * math.sin(turn),
                  (40, 40, 44), 0.005)  # fmt: skip
    else:
        look.line(look.left, y + tall, look.right, y + tall, look.shade(wall, 6, 0.8), 0.014)


def draw_screen(look: Look) -> None:
    """Hide the ground: a parapet, a hedge, a fence or a bank of mist over the lower part."""
    look.layer("screen")
    soft = "parapet" if look.shore else "mist" if look.indoor else "hedge"
    style = look.rng.choice(("parapet", "bricks", "planks", soft))
    x0, x1, low = look.x0, look.x1, look.bottom if look.shore == "front" else 1.0
    up = -look.between(0.02, 0.05)
    if style == "mist":
        for _ in range(24):
            x, y = look.rng.random(), look.top(0.5) + look.between(-0.03, 0.1)
            look.oval(x, y, 0.14, 0.05, look.shade((214, 218, 222), 8))
        look.quad(0, 0.03, 1, 1, look.shade((206, 210, 214), 6))
        for _ in range(26):
            x, y = look.rng.random(), look.between(look.top(0.5) + 0.06, 1)
            look.oval(x, y, 0.2, 0.03, look.shade((208, 212, 216), 9))
        return
    tone = look.shade({"parapet": (182, 178, 170), "bricks": (168, 104, 82),
                       "planks": (150, 112, 76), "hedge": (54, 106, 52)}[style], 14)  # fmt: skip
    look.poly([(x0, look.top(x0) + up), (x1, look.top(x1) + up), (x1, low), (x0, low)], tone)
    if style == "hedge":
        for _ in range(120):
            x = look.rng.random()
            y = look.between(look.top(x) + up, 1.0)
            look.oval(x, y, 0.03, 0.02, look.shade(tone, 22))
        return
    if style == "planks":
        for k in range(17):
            x = look.at(k / 16)
            look.line(x, look.top(x) + up, x, low, look.shade(tone, 8, 0.7), 0.007)
    else:
        rows = 9 if style == "bricks" else 3
        for i in range(1, rows):
            y = i * (0.55 / rows)
            if look.horizon + y > low:
                break
            look.line(x0, look.top(x0) + y, x1, look.top(x1) + y, look.shade(tone, 5, 0.82), 0.006)
            for k in range(rows if look.horizon + y + 0.55 / rows < low else 0):
                x = look.at((k + 0.5 * (i % 2)) / rows)
                look.line(x, look.top(x) + y, x, look.top(x) + y + 0.55 / rows,
                          look.shade(tone, 5, 0.82), 0.006)  # fmt: skip
    look.quad(x0, up - 0.025, x1, up + 0.015, look.shade(tone, 6, 1.18))
