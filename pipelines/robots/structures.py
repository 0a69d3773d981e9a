"""What stands on a site's ground: stairs, doors and gates, high work, the markers of a long way."""

import math

from pipelines.robots.look import Look, Rgb, mix

_PAINT: tuple[Rgb, ...] = (
    (132, 78, 42),
    (52, 84, 138),
    (160, 44, 42),
    (44, 104, 72),
    (92, 62, 110),
)
_BUILT: tuple[Rgb, ...] = ((198, 190, 178), (176, 148, 128), (170, 176, 180), (196, 172, 140))


def draw_stairs(look: Look) -> None:
    """A flight up to a landing that bars the whole way on, with a rail along its edge."""
    look.layer("stairs")
    wide, deck = look.x1 - look.x0, look.deck
    c = look.at(look.between(0.36, 0.64))
    face = look.shade(look.rng.choice(_BUILT), 12, 0.72)
    look.quad(look.x0, deck, look.x1, 0.05, face)
    for i in range(1, 4):
        v = deck + (0.05 - deck) * i / 4
        look.quad(look.x0, v, look.x1, v + 0.006, mix(face, (0, 0, 0), 0.2))
    look.quad(look.x0, deck - 0.012, look.x1, deck + 0.012, mix(face, (255, 255, 255), 0.45))
    foot = min(0.26, 0.8 * (look.bottom - look.horizon)) if look.terrain else 0.0
    steps, half0, half1 = 7, 0.36 * wide, 0.2 * wide
    tread = look.shade((226, 222, 210), 10)
    rise = (foot - deck) / steps
    for i in range(steps):
        half = half1 + (half0 - half1) * (i + 1) / steps
        v = deck + i * rise
        look.quad(c - half, v, c + half, v + rise * 1.02, mix(tread, (30, 26, 26), 0.62))
        look.quad(c - half, v, c + half, v + rise * 0.42, tread)
    rail = look.shade(look.rng.choice(((52, 50, 54), (120, 44, 36), (236, 196, 60))), 6)
    y = look.top(c)
    for s in (-1, 1):
        x0, x1 = c + s * half0, c + s * half1
        look.line(x0, y + foot - 0.13, x1, y + deck - 0.08, rail, 0.013)
        look.line(x0, y + foot, x0, y + foot - 0.13, rail, 0.013)
        end = look.x0 if s < 0 else look.x1
        look.line(x1, look.top(x1) + deck - 0.08, end, look.top(end) + deck - 0.08, rail, 0.01)
        for k in range(5):
            x = x1 + (end - x1) * k / 4
            look.line(x, look.top(x) + deck, x, look.top(x) + deck - 0.08, rail, 0.008)


def draw_door(look: Look) -> None:
    """A shut door or gate in a wall across the way; where doors is 0 it stands open."""
    look.layer("door")
    shut = look.fact("doors") > 0
    if look.indoor:
        _door(look, shut)
    else:
        _gate(look, shut)


def _door(look: Look, shut: bool) -> None:
    """A wall from side to side with one door, and its frame and handle."""
    rng, wide, deck = look.rng, look.x1 - look.x0, look.deck
    tall = max(0.07, min(0.36, 0.84 * (look.horizon + deck - look.roof)))
    half = min(0.16 * wide, max(0.06, tall * 0.36))
    c = look.at(look.between(0.36, 0.64))
    wall, paint = look.shade(rng.choice(_BUILT), 16), look.shade(rng.choice(_PAINT), 10)
    ends = max(look.x0, look.left), min(look.x1, look.right)
    look.quad(ends[0], deck - tall * 1.14, ends[1], deck, wall)
    look.quad(ends[0], deck - tall * 1.17, ends[1], deck - tall * 1.12, mix(wall, (0, 0, 0), 0.4))
    frame = (248, 246, 238) if rng.random() < 0.6 else (60, 58, 60)
    look.quad(c - half - 0.018, deck - tall - 0.018, c + half + 0.018, deck, frame)
    if not shut:
        _beyond(look, c, half, tall)
        return
    look.quad(c - half, deck - tall, c + half, deck, paint)
    dark = mix(paint, (0, 0, 0), 0.35)
    if rng.random() < 0.4:
        for k in range(5):
            v = deck - tall * (0.95 - 0.18 * k)
            look.quad(c - half * 0.8, v, c + half * 0.8, v + tall * 0.1, dark)
    else:
        for s in (-0.45, 0.45):
            for v in (0.92, 0.44):
                x = c + s * half
                look.quad(x - half * 0.34, deck - tall * v, x + half * 0.34,
                          deck - tall * (v - 0.38), dark)  # fmt: skip
    x = c + half * 0.78 * look.side()
    y = look.top(x) + deck - tall * 0.48
    look.oval(x, y, 0.017, 0.017, (40, 36, 30))
    look.oval(x, y, 0.012, 0.012, (255, 220, 90))
    look.line(x, y, x + (0.035 if x < c else -0.035), y, (255, 220, 90), 0.01)


def _beyond(look: Look, c: float, half: float, tall: float) -> None:
    """The bright room seen through an open doorway, its floor, and the leaf swung aside."""
    deck, light = look.deck, look.shade((252, 240, 196), 8)
    look.quad(c - half, deck - tall, c + half, deck, light)
    look.quad(c - half * 0.5, deck - tall * 0.72, c + half * 0.5, deck - tall * 0.3,
              look.shade((206, 220, 226), 10))  # fmt: skip
    y = look.top(c) + deck
    look.poly([(c - half, y), (c + half, y), (c + half * 0.5, y - tall * 0.3),
               (c - half * 0.5, y - tall * 0.3)], look.shade((196, 160, 116), 8))  # fmt: skip
    s, leaf = look.side(), look.shade(look.rng.choice(_PAINT), 10)
    x = c + s * half
    look.poly([(x, y - tall), (x + s * half * 0.7, y - tall * 1.05),
               (x + s * half * 0.7, y + tall * 0.1), (x, y)], leaf)  # fmt: skip


def _gate(look: Look, shut: bool) -> None:
    """A wall, fence or hedge across the way with a gate of two leaves in it."""
    rng, deck, wide = look.rng, look.deck, look.x1 - look.x0
    v = deck + (0.0 if deck else 0.05 if look.terrain else -0.02)
    tall = 0.2 if not deck else 0.17
    half, c = 0.2 * wide, look.at(look.between(0.38, 0.62))
    style = rng.choice(("wall", "planks", "hedge"))
    tone = look.shade({"wall": (178, 130, 104), "planks": (142, 112, 82),
                       "hedge": (58, 104, 54)}[style], 16)  # fmt: skip
    for a, b in ((look.x0, c - half), (c + half, look.x1)):
        look.quad(a, v - tall, b, v, tone)
        look.quad(a, v - tall - 0.02, b, v - tall, mix(tone, (250, 250, 250), 0.35))
        for k in range(1, 8):
            if style == "planks":
                x = a + (b - a) * k / 8
                look.quad(x - 0.004, v - tall, x + 0.004, v, mix(tone, (0, 0, 0), 0.35))
            elif style == "wall" and k < 6:
                look.quad(
                    a, v - tall * k / 6, b, v - tall * k / 6 + 0.005, mix(tone, (0, 0, 0), 0.2)
                )
    for x in (c - half, c + half):
        look.quad(x - 0.026, v - tall * 1.3, x + 0.026, v + 0.01, look.shade((120, 112, 108), 10))
    paint = look.shade(rng.choice(_PAINT), 10)
    dark = mix(paint, (0, 0, 0), 0.4)
    if not shut:
        y = look.top(c) + v
        for s in (-1, 1):
            x = c + s * half
            look.poly([(x, y - tall), (x - s * 0.05, y - tall * 0.9), (x - s * 0.05, y + 0.09),
                       (x, y)], paint)  # fmt: skip
        near = 0.02 if deck else 0.14
        look.poly([(c - half * 0.5, y - 0.02), (c + half * 0.5, y - 0.02), (c + half, y + near),
                   (c - half, y + near)], look.shade((206, 186, 150), 8))  # fmt: skip
        return
    look.quad(c - half, v - tall * 1.12, c + half, v, paint)
    for k in range(1, 10):
        x = c - half + 2 * half * k / 10
        look.quad(x - 0.003, v - tall * 1.12, x + 0.003, v, dark)
    for u in (0.98, 0.2):
        look.quad(c - half, v - tall * u, c + half, v - tall * u + 0.02, dark)
    look.quad(c - 0.007, v - tall * 1.12, c + 0.007, v, (24, 22, 24))
    y = look.top(c) + v - tall * 0.55
    look.rect(c - 0.045, y - 0.012, c + 0.045, y + 0.012, (235, 225, 200))
    look.oval(c, y + 0.012, 0.022, 0.022, (250, 206, 60))


def draw_high_work(look: Look) -> None:
    """A mast, tower, front, silo or rack, as tall as the work is high, and a marker at the work."""
    look.layer("height")
    share = min(1.0, max(0.0, math.log(look.fact("height_m") / 2) / math.log(20)))
    x = look.at(look.between(0.12, 0.2) if look.rng.random() < 0.5 else look.between(0.8, 0.88))
    foot = min(look.bottom - 0.03, look.top(x) + 0.07)
    y = min(max(0.085, foot - 0.17 - share * (foot - 0.24)), foot - 0.1)
    steel = look.shade(look.rng.choice(((150, 60, 52), (84, 90, 104), (196, 200, 204))), 8)
    if look.indoor:
        _rack(look, x, y, foot, steel)
    else:
        look.rng.choice((_mast, _tower, _front, _silo))(look, x, y, foot, steel)
    look.lamps.append((x, y))
    for r, tone in ((0.062, (40, 20, 10)), (0.054, (255, 116, 0)), (0.026, (255, 240, 110))):
        look.oval(x, y, r, r, tone)


def _mast(look: Look, x: float, y: float, foot: float, steel: Rgb) -> None:
    """A lattice mast."""
    wide = 0.055
    steps = max(3, int((foot - y) / 0.06))
    for i in range(steps):
        a, b = wide * (1 - i / steps), wide * (1 - (i + 1) / steps)
        y0, y1 = foot + (y - foot) * i / steps, foot + (y - foot) * (i + 1) / steps
        for s in (-1, 1):
            look.line(x - s * a, y0, x + s * b, y1, steel, 0.007)
            look.line(x - s * a, y0, x - s * b, y1, steel, 0.012)


def _tower(look: Look, x: float, y: float, foot: float, steel: Rgb) -> None:
    """A round tower with a head and a roof."""
    body = look.shade((206, 196, 184), 14)
    look.poly([(x - 0.06, foot), (x - 0.035, y), (x + 0.035, y), (x + 0.06, foot)], body)
    look.poly([(x, foot), (x, y), (x + 0.035, y), (x + 0.06, foot)], mix(body, (0, 0, 0), 0.25))
    look.rect(x - 0.065, y - 0.03, x + 0.065, y + 0.03, steel)
    look.poly([(x - 0.075, y - 0.03), (x, y - 0.08), (x + 0.075, y - 0.03)],
              mix(steel, (0, 0, 0), 0.3))  # fmt: skip


def _front(look: Look, x: float, y: float, foot: float, steel: Rgb) -> None:
    """The front of a house with rows of windows."""
    wall = look.shade(look.rng.choice(_BUILT), 14)
    look.rect(x - 0.12, y - 0.03, x + 0.12, foot, wall)
    look.rect(x - 0.135, y - 0.045, x + 0.135, y - 0.02, steel)
    for i in range(int((foot - y) / 0.075)):
        for k in range(4):
            left, up = x - 0.1 + 0.055 * k, y + 0.02 + 0.075 * i
            look.rect(left, up, left + 0.034, up + 0.042, look.shade((76, 100, 124), 14))


def _silo(look: Look, x: float, y: float, foot: float, steel: Rgb) -> None:
    """A silo or a stack with hoops."""
    body = look.shade((188, 194, 200), 12)
    look.rect(x - 0.075, y, x + 0.075, foot, body)
    look.rect(x + 0.02, y, x + 0.075, foot, mix(body, (0, 0, 0), 0.22))
    look.oval(x, y, 0.075, 0.03, mix(body, (255, 255, 255), 0.3))
    for i in range(1, int((foot - y) / 0.08) + 1):
        look.rect(x - 0.078, y + i * 0.08, x + 0.078, y + i * 0.08 + 0.009, steel)


def _rack(look: Look, x: float, y: float, foot: float, steel: Rgb) -> None:
    """A shelf rack, or a post that bears a lamp under the roof."""
    if look.rng.random() < 0.4:
        look.line(x, foot, x, y, steel, 0.026)
        look.rect(x - 0.1, y - 0.05, x + 0.1, y - 0.02, steel)
        look.rect(x - 0.09, y - 0.02, x + 0.09, y, (255, 250, 214))
        return
    rows = max(2, int((foot - y) / 0.085))
    for i in range(rows + 1):
        v = foot - (foot - y) * i / rows
        for k in range(4):
            if i < rows and look.rng.random() < 0.75:
                left = x - 0.1 + 0.05 * k
                look.rect(left, v - look.between(0.03, 0.06), left + 0.042, v,
                          look.shade((176, 150, 122), 26))  # fmt: skip
        look.rect(x - 0.115, v - 0.006, x + 0.115, v + 0.006, steel)
    for s in (-0.115, 0.115):
        look.line(x + s, foot + 0.01, x + s, y - 0.03, steel, 0.016)


def draw_long_way(look: Look) -> None:
    """A road that runs on to the horizon between two lines of red and white posts."""
    look.layer("way")
    c, tone = look.at(look.between(0.42, 0.58)), look.shade((206, 192, 160), 10)
    if not look.indoor:
        beyond = -0.1 if not look.deck else look.deck - 0.06
        look.quad(0, beyond, 1, 0.0, look.shade((150, 164, 138), 12))
        xs = [c, c + 0.05, c - 0.04, c + 0.02, c]
        road = [(x, look.top(x) + beyond * i / 4) for i, x in enumerate(xs)]
        look.path(road, tone, 0.014)
        for x, y in road:
            look.line(x + 0.025, y, x + 0.025, y - 0.02, (200, 40, 36), 0.007)
    half, reach = 0.3 * (look.x1 - look.x0), min(0.55, look.bottom - look.horizon + 0.1)
    y = look.top(c)
    if look.terrain in ("floor", "pavement", "grass"):  # nobody has cleared rougher ground
        look.poly([(c - 0.012, y), (c + 0.012, y), (c + half * 0.6, y + reach),
                   (c - half * 0.6, y + reach)], tone)  # fmt: skip
    for i in range(8, -1, -1):
        t = 0.66**i
        tall, w = 0.24 * t, 0.014 * t + 0.003
        for s in (-1, 1):
            x = c + s * (0.02 + half * t)
            foot = look.top(x) + reach * t
            look.line(x, foot, x, foot - tall, (250, 250, 246), w)
            look.line(x, foot - tall * 0.55, x, foot - tall, (214, 40, 36), w)
