"""Where a site's work is done: a sky or a room behind, and the ground in front."""

import math
from collections.abc import Callable

from pipelines.robots.look import Look


def draw_sky(look: Look) -> None:
    """Sky by rain and light, clouds by wind, and what lies beyond the ground."""
    rng, wet, light = look.rng, look.fact("rain"), look.fact("light", 0.9)
    blue, grey = (125, 185, 238), (150, 156, 165)
    mix = min(1.0, wet * 1.2)
    r, g, b = (int(p * (1 - mix) + q * mix) for p, q in zip(blue, grey, strict=True))
    base = look.shade((r, g, b), 22)
    for i in range(12):
        lift = int(i * 3.5)
        look.rect(
            0, i / 12 * 0.95, 1, 1, (min(255, base[0] + lift), min(255, base[1] + lift), base[2])
        )
    if light < 0.35:
        look.oval(rng.uniform(0.1, 0.9), rng.uniform(0.06, 0.15), 0.03, 0.03, (250, 250, 230))
    elif wet < 0.2:
        look.oval(rng.uniform(0.1, 0.9), rng.uniform(0.06, 0.16), 0.045, 0.045, (255, 240, 150))
    stretch = 1 + look.fact("wind_ms") / 8
    for _ in range(rng.randint(2, 4) + int(4 * wet)):
        x, y = rng.random(), rng.uniform(0.04, 0.26)
        white = look.shade((244, 246, 250), 6, 1 - 0.3 * wet)
        for _ in range(3):
            look.oval(x + rng.uniform(-0.07, 0.07) * stretch, y + rng.uniform(-0.015, 0.015),
                      0.06 * stretch, 0.022, white)  # fmt: skip
    far = look.shade((120, 150, 150) if look.terrain != "sand" else (215, 185, 140))
    if look.terrain in ("rock", "snow", "grass", "sand", "mud"):
        peak = {"rock": 0.26, "snow": 0.28}.get(look.terrain, 0.07)
        tops = [(i / 6, look.horizon - rng.uniform(0.02, peak)) for i in range(7)]
        look.poly([(0, 1), *tops, (1, 1)], far)
    elif look.terrain in ("pavement", "rubble"):
        for i in range(7):
            x, broken = i / 7, look.terrain == "rubble"
            y = look.horizon - rng.uniform(0.05, 0.2)
            lean = rng.uniform(-0.07, 0.07) * broken
            wall = look.shade((150, 150, 160), 18)
            look.poly(
                [
                    (x, 1),
                    (x + lean, y),
                    (x + 0.11 + lean, y + rng.uniform(0, 0.1) * broken),
                    (x + 0.12, 1),
                ],
                wall,
            )


def draw_room(look: Look) -> None:
    """Back and side walls; a low ceiling comes down into view, a high one leaves beams."""
    rng, n_high = look.rng, look.fact("ceiling_m", 3.0)
    high = min(1.0, max(0.0, math.log(max(n_high, 1.2) / 1.2) / math.log(12)))
    wall = look.shade(
        rng.choice(((214, 208, 196), (196, 208, 214), (216, 214, 186), (205, 196, 208))), 12
    )
    look.rect(0, 0, 1, 1, wall)
    roof = 0.36 - 0.3 * high
    left, right = look.left, look.right
    look.poly([(0, 0), (1, 0), (right, roof), (left, roof)], look.shade((238, 238, 235), 6))
    look.poly([(0, 0), (left, roof), (left, look.horizon), (0, 1)], look.shade(wall, 4, 0.86))
    look.poly([(1, 0), (right, roof), (right, look.horizon), (1, 1)], look.shade(wall, 4, 0.8))
    lamp = (255, 252, 215) if look.fact("light", 0.9) > 0.3 else (120, 120, 115)
    for i in range(3):
        x = 0.3 + 0.2 * i
        look.poly(
            [
                (x - 0.04, roof * 0.5),
                (x + 0.04, roof * 0.5),
                (x + 0.03, roof * 0.72),
                (x - 0.03, roof * 0.72),
            ],
            lamp,
        )
    if n_high >= 6:
        for i in range(6):
            x = left + (right - left) * i / 5
            look.line(x, roof, x, look.horizon, look.shade(wall, 4, 0.72), 0.008)
        look.line(left, roof + 0.06, right, roof + 0.06, look.shade((90, 95, 105)), 0.014)


def draw_terrain(look: Look) -> None:
    """The ground in perspective: near texture is larger and lower than far texture."""
    edge = [(i / 12, look.top(i / 12)) for i in range(13)]
    if look.fact("indoor"):
        left, right = look.left, look.right
        edge = [(0, 1), (left, look.top(left)), (right, look.top(right)), (1, 1)]
    look.poly([(0, 1), *edge, (1, 1)], look.ground)
    _TEXTURES[look.terrain](look)


def _place(look: Look, reach: float = 1.0) -> tuple[float, float, float]:
    """Somewhere on the ground: x, y, and how large a thing looks there."""
    x, depth = look.rng.uniform(-0.02, 1.02), look.rng.random() ** 0.8 * reach
    top = look.top(x)
    return x, top + 0.01 + (0.99 - top) * depth, 0.3 + depth


def _boards(look: Look) -> None:
    """Boards that run together far away, and their ends."""
    for i in range(-10, 20):
        look.line(
            0.5 + (i - 4.5) * 0.045,
            look.top(0.5),
            0.5 + (i - 4.5) * 0.26,
            1.0,
            look.shade(look.ground, 4, 0.88),
            0.004,
        )
    for i in range(1, 8):
        y = look.horizon + (1 - look.horizon) * (i / 8) ** 1.8
        look.line(
            0,
            y + look.top(0) - look.horizon,
            1,
            y + look.top(1) - look.horizon,
            look.shade(look.ground, 4, 0.88),
            0.004,
        )


def _road(look: Look) -> None:
    """A road with a broken line."""
    x = look.rng.uniform(0.35, 0.65)
    look.poly(
        [(x - 0.03, look.top(x)), (x + 0.03, look.top(x)), (x + 0.5, 1), (x - 0.5, 1)],
        look.shade((82, 84, 90)),
    )
    for i in range(5):
        y0 = look.top(x) + (1 - look.top(x)) * (i / 5) ** 1.6
        look.rect(
            x - 0.004 - 0.003 * i,
            y0,
            x + 0.004 + 0.003 * i,
            y0 + 0.02 + 0.012 * i,
            (235, 232, 215),
        )


def _blades(look: Look) -> None:
    """Blades of grass, bent by the wind."""
    for _ in range(170):
        x, y, s = _place(look)
        bend = 0.012 * look.fact("wind_ms") / 8
        look.line(
            x,
            y,
            x + bend + look.rng.uniform(-0.006, 0.006),
            y - 0.032 * s,
            look.shade((70, 135, 45), 30),
            0.005,
        )


def _ripples(look: Look) -> None:
    """Ripples in sand."""
    for _ in range(26):
        x, y, s = _place(look)
        n = look.n
        look.pen.arc(
            ((x - 0.14 * s) * n, (y - 0.02) * n, (x + 0.14 * s) * n, (y + 0.03 * s) * n),
            200,
            340,
            look.shade(look.ground, 5, 0.84),
            3,
        )


def _waves(look: Look) -> None:
    """Light on water."""
    for _ in range(60):
        x, y, s = _place(look)
        look.line(x, y, x + 0.08 * s, y, look.shade((150, 205, 225), 20), 0.006 * s)


def _patches(look: Look, colour: tuple[int, int, int]) -> None:
    """Puddles, or drifts of snow."""
    for _ in range(14):
        x, y, s = _place(look)
        look.oval(x, y, 0.11 * s, 0.022 * s, look.shade(colour, 8))


def _stones(look: Look, count: int, tone: tuple[int, int, int], big: float = 0.045) -> None:
    """Stones up to `big` of the picture's width across, of a tone."""
    for _ in range(count):
        x, y, s = _place(look, 0.9)
        size = big * s * look.rng.uniform(0.4, 1.2)
        look.stone(x, y, size, look.shade(tone, 26, look.rng.uniform(0.75, 1.15)))


def _mud(look: Look) -> None:
    """Puddles, ruts and a few stones."""
    _patches(look, (132, 122, 108))
    for i in range(4):
        look.line(
            0.42 + i * 0.05,
            look.top(0.5) + 0.02,
            0.1 + i * 0.26,
            1,
            look.shade(look.ground, 4, 0.66),
            0.018,
        )
    _stones(look, 5, (80, 62, 45))


def _snow(look: Look) -> None:
    """Drifts, and stones that stick out."""
    _patches(look, (205, 216, 230))
    _stones(look, 6, (150, 152, 160))


def _rock(look: Look) -> None:
    """Boulders."""
    _stones(look, 34, look.ground, 0.075)


def _rubble(look: Look) -> None:
    """Stones, broken slabs and the bars in them."""
    _stones(look, 70, look.ground)
    for _ in range(9):
        x, y, s = _place(look, 0.7)
        a = look.rng.uniform(-0.8, 0.8)
        look.poly(
            [
                (x, y),
                (x + 0.14 * s, y - 0.14 * s * a),
                (x + 0.16 * s, y - 0.14 * s * a + 0.03),
                (x + 0.02, y + 0.03),
            ],
            look.shade((176, 168, 158), 18),
            (80, 76, 72),
        )
        look.line(
            x, y, x + look.rng.uniform(-0.1, 0.1), y - 0.08 * s, look.shade((120, 70, 50)), 0.005
        )


_TEXTURES: dict[str, Callable[[Look], None]] = {
    "floor": _boards,
    "pavement": _road,
    "grass": _blades,
    "sand": _ripples,
    "mud": _mud,
    "rubble": _rubble,
    "rock": _rock,
    "snow": _snow,
    "water": _waves,
}
