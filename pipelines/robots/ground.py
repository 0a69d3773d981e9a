"""The ground of a site in perspective: near texture is larger and lower than far texture."""

import math
from collections.abc import Callable

from pipelines.robots.look import Look, Point, Rgb, mix

_GROUND: dict[str, tuple[Rgb, ...]] = {
    "floor": ((190, 176, 158), (164, 170, 176), (172, 138, 104), (196, 192, 180)),
    "pavement": ((104, 106, 112), (122, 120, 118), (92, 96, 104)),
    "grass": ((88, 146, 58), (112, 152, 62), (70, 130, 66)),
    "sand": ((226, 196, 132), (232, 206, 152), (216, 178, 116)),
    "mud": ((96, 68, 42), (84, 62, 44), (108, 76, 44)),
    "rubble": ((128, 118, 108), (138, 122, 108), (120, 116, 114)),
    "rock": ((98, 98, 104), (110, 102, 96), (92, 98, 104)),
    "snow": ((224, 232, 244), (216, 228, 244)),
    "water": ((48, 120, 158), (58, 128, 140), (66, 116, 172)),
}


def draw_ground(look: Look) -> None:
    """The ground of the site's terrain, or the surface of a lake."""
    look.layer("ground")
    terrain = look.terrain or "pavement"
    base = look.shade(look.rng.choice(_GROUND[terrain]), 10)
    look.poly(outline(look), base)
    _TEXTURES[terrain](look, base)


def outline(look: Look) -> list[Point]:
    """The corners of the ground; indoors it ends at the walls."""
    edge = [(x, look.top(x)) for x in (0.0, 0.25, 0.5, 0.75, 1.0)]
    if look.indoor:
        left, right = look.left, look.right
        edge = [
            (0, max(look.top(0), 0.97 + (look.top(left) - look.horizon))),
            (left, look.top(left)),
            (right, look.top(right)),
            (1, max(look.top(1), 0.97 + (look.top(right) - look.horizon))),
        ]
    return [(0, 1), *edge, (1, 1)]


def _rays(look: Look, colour: Rgb, step: float, width: float) -> None:
    """Lines that run together far away."""
    for i in range(-6, 7):
        near, far = 0.5 + i * step, 0.5 + i * step * 0.24
        look.line(far, look.top(far), near, look.top(near) + 0.55, colour, width)


def _rungs(look: Look, colour: Rgb, count: int, width: float) -> None:
    """Lines across, closer together far away."""
    for i in range(1, count):
        v = 0.62 * (i / count) ** 1.8
        look.line(0, look.top(0) + v, 1, look.top(1) + v, colour, width)


def _floor(look: Look, base: Rgb) -> None:
    """Boards, tiles or a chequered floor."""
    style, dark = look.rng.choice(("boards", "tiles", "checks")), look.shade(base, 4, 0.8)
    if style == "checks":
        dark = look.shade(base, 6, 0.66)
        for row in range(6):
            a, b = 0.62 * (row / 6) ** 1.8, 0.62 * ((row + 1) / 6) ** 1.8
            for i in range(-5 + row % 2, 6, 2):
                xs = [0.5 + (i + d) * 0.26 * (0.24 + 1.25 * v) for v, d in
                      ((a, 0), (a, 1), (b, 1), (b, 0))]  # fmt: skip
                look.poly(
                    [(x, look.top(x) + v) for x, v in zip(xs, (a, a, b, b), strict=True)], dark
                )
        return
    _rays(look, dark, 0.13 if style == "boards" else 0.26, 0.006)
    _rungs(look, dark, 5 if style == "boards" else 9, 0.005)


def _pavement(look: Look, base: Rgb) -> None:
    """A road with a broken line and kerbs, or slabs."""
    for x, y, s in look.spots(60):
        look.rect(x, y, x + 0.012 * s, y + 0.005 * s, look.shade(base, 14))
    if look.rng.random() < 0.4:
        dark = look.shade(base, 4, 0.7)
        _rays(look, dark, 0.22, 0.006)
        _rungs(look, dark, 8, 0.006)
        return
    c, white = look.at(look.between(0.4, 0.6)), (236, 234, 222)
    for side in (-1, 1):
        xs = (c + side * 0.16, c + side * 0.2, c + side * 0.75, c + side * 0.62)
        vs = (0, 0, 0.55, 0.55)
        look.poly([(x, look.top(x) + v) for x, v in zip(xs, vs, strict=True)],
                  look.shade((176, 174, 168), 8))  # fmt: skip
    for i in range(6):
        v, d = 0.55 * (i / 6) ** 1.7, 0.02 + 0.014 * i
        w = 0.003 + 0.0035 * i
        y = look.top(c) + v
        look.poly([(c - w, y), (c + w, y), (c + w * 1.4, y + d), (c - w * 1.4, y + d)], white)


def _grass(look: Look, base: Rgb) -> None:
    """Blades, bent by the wind, and a few flowers."""
    tones = [look.shade(base, 6, k) for k in (0.62, 0.74, 0.86, 1.14, 1.28)]
    bend = 0.016 * min(2.0, look.fact("wind_ms") / 8)
    for x, y, s in look.spots(40):
        look.oval(x, y, 0.09 * s, 0.014 * s, look.rng.choice(tones[2:4]))
    for x, y, s in look.spots(170):
        tip = x + (bend + 0.016 * look.rng.random() - 0.008) * s
        look.line(x, y + 0.02 * s, tip, y - 0.03 * s, look.rng.choice(tones), 0.006)
    petal = look.rng.choice(((250, 240, 120), (240, 240, 250), (225, 120, 160)))
    for x, y, s in look.spots(int(look.rng.random() * 12)):
        look.oval(x, y, 0.006 * s, 0.005 * s, petal)


def _sand(look: Look, base: Rgb) -> None:
    """Dunes with a lit and a shaded side, and ripples."""
    n = look.n
    for i in range(5):
        v, swell, phase = 0.012 + 0.055 * i**1.35, 0.022 + 0.014 * i, look.between(0, 6.3)
        pace = look.between(5, 8) * (1 - 0.12 * i)
        crest = [(x / 12, look.top(x / 12) + v - swell * abs(math.sin(phase + pace * x / 12)))
                 for x in range(13)]  # fmt: skip
        look.poly([(0, 1), *crest, (1, 1)], look.shade(base, 3, 0.88 if i % 2 else 1.06))
    dark = look.shade(base, 4, 0.82)
    for x, y, s in look.spots(60):
        look.pen.arc(((x - 0.1 * s) * n, (y - 0.02) * n, (x + 0.1 * s) * n, (y + 0.03 * s) * n),
                     200, 340, dark, max(2, round(0.005 * s * n)))  # fmt: skip


def _mud(look: Look, base: Rgb) -> None:
    """Deep ruts, clods and puddles that mirror a grey sky."""
    dark, wet = look.shade(base, 4, 0.58), look.shade((126, 130, 136), 10)
    for x, y, s in look.spots(34):
        tone = look.shade(base, 14, 0.86)
        look.oval(x, y, 0.1 * s, 0.022 * s, tone)
    c = look.at(look.between(0.35, 0.65))
    for k in (-2, -1, 1, 2):
        bend, points = look.between(-0.03, 0.03), []
        for i in range(6):
            t = i / 5
            x = c + k * (0.03 + 0.14 * t) + bend * (1 - t) * i % 0.07
            points.append((x, look.top(x) + 0.56 * t**1.4))
        look.path(points, dark, 0.026)
        look.path([(x + 0.012, y - 0.006) for x, y in points], look.shade(base, 4, 1.22), 0.006)
    for x, y, s in look.spots(11):
        look.oval(x, y, 0.12 * s, 0.03 * s, dark)
        look.oval(x, y + 0.004 * s, 0.105 * s, 0.023 * s, wet)
        look.oval(x - 0.03 * s, y, 0.03 * s, 0.006 * s, look.shade(wet, 4, 1.25))


def _rubble(look: Look, base: Rgb) -> None:
    """Broken masonry over the whole way: slabs, bricks, stones and the bars in them."""
    rng = look.rng
    for i in range(6):  # heaps against the far side
        x, w = look.at((i + rng.random()) / 6), look.between(0.07, 0.16)
        y, h = look.top(x) + 0.035, look.between(0.05, 0.11)
        ring = [(x + w * (k / 4 - 1), y - h * (1 - abs(k / 4 - 1)) * look.between(0.7, 1.2))
                for k in range(9)]  # fmt: skip
        look.poly(ring, look.shade(base, 12, 0.85))
    brick, grey = rng.choice(((164, 92, 70), (176, 120, 88))), look.shade((172, 168, 160), 12)
    for i, (x, y, s) in enumerate(look.spots(100)):
        if i % 8 == 0:
            a, w = look.between(-0.5, 0.5), 0.17 * s
            x1, y1, t = x + w, y - w * a - 0.05 * s, 0.035 * s
            tone = look.shade(grey, 16)
            look.poly([(x, y), (x1, y1), (x1 + t, y1 + t), (x + t, y + t)], tone)
            look.poly([(x + t, y + t), (x1 + t, y1 + t), (x1 + t, y1 + 2.2 * t),
                       (x + t, y + 2.4 * t)], look.shade(tone, 4, 0.5))  # fmt: skip
            for k in range(3):
                look.line(x1, y1 + k * 0.4 * t, x1 + 0.07 * s, y1 - look.between(0, 0.08) * s,
                          (104, 58, 40), 0.006)  # fmt: skip
        elif i % 3 == 0:
            a, w = look.between(-0.03, 0.03) * s, 0.05 * s
            tone = look.shade(brick, 22)
            look.poly([(x - w, y + a), (x + w, y - a), (x + w, y - a + w * 0.7),
                       (x - w, y + a + w * 0.7)], tone, (70, 50, 44))  # fmt: skip
        else:
            look.stone(x, y, 0.055 * s * look.between(0.5, 1.2), look.shade(base, 26, 1.05))


def _rock(look: Look, base: Rgb) -> None:
    """Boulders, small far away, large near."""
    for x, y, s in look.spots(54):
        tone = look.shade(base, 22, look.between(0.95, 1.35))
        look.stone(x, y, 0.115 * s * look.between(0.5, 1.1), tone)


def _snow(look: Look, base: Rgb) -> None:
    """Drifts with blue shadows, and a few dark tips that stick out."""
    shadow = look.shade((158, 182, 220), 8)
    for x, y, s in look.spots(26):
        w, h = 0.16 * s * look.between(0.6, 1.2), 0.034 * s
        look.oval(x + 0.02 * s, y + 0.014 * s, w, h, shadow)
        look.oval(x, y, w, h, look.shade(base, 4, 1.08))
    for x, y, s in look.spots(9):
        look.line(x, y, x + look.between(-0.02, 0.02), y - 0.04 * s, (104, 90, 76), 0.006)


def _water(look: Look, base: Rgb) -> None:
    """The wide surface of a lake, and the near bank one stands on."""
    light, dark = mix(base, (230, 244, 250), 0.5), mix(base, (10, 40, 70), 0.35)
    for x, y, s in look.spots(110):
        w = 0.07 * s
        look.line(x - w, y, x + w, y, light if look.rng.random() < 0.5 else dark, 0.008 * s)
    plank = look.shade(look.rng.choice(((150, 122, 92), (140, 136, 130), (166, 150, 120))), 8)
    edge = [(i / 8, 0.915 + 0.012 * look.rng.random()) for i in range(9)]
    look.poly([(0, 1), *[(x, y - 0.014) for x, y in edge], (1, 1)], light)
    look.poly([(0, 1), *edge, (1, 1)], plank)


_TEXTURES: dict[str, Callable[[Look, Rgb], None]] = {
    "floor": _floor,
    "pavement": _pavement,
    "grass": _grass,
    "sand": _sand,
    "mud": _mud,
    "rubble": _rubble,
    "rock": _rock,
    "snow": _snow,
    "water": _water,
}
