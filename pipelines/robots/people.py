"""People: a crowd of all sizes, near and far."""

from pipelines.robots.look import Look, Rgb

_COATS: tuple[Rgb, ...] = (
    (206, 48, 58), (40, 84, 190), (246, 244, 238), (244, 194, 44), (38, 128, 84), (150, 60, 150),
    (30, 30, 38), (236, 128, 158),
)  # fmt: skip
_SKIN: tuple[Rgb, ...] = ((238, 194, 156), (146, 98, 70), (206, 156, 116), (96, 64, 48))


def draw_crowd(look: Look) -> None:
    """Eight to twelve people all over the ground; in a flood they stand on a gallery above it."""
    look.layer("people")
    count = 8 + int(look.rng.random() * 5)
    if look.flooded:
        v = look.deck or -0.06
        if not look.deck:
            look.quad(0, v, 1, v + 0.03, look.shade((150, 140, 128), 10))
            for k in range(9):
                x = 0.06 + 0.11 * k
                look.quad(x, v, x + 0.014, 0.02, look.shade((110, 100, 92), 8))
        for x in _row(look, count):
            _person(look, x, look.top(x) + v, look.between(0.1, 0.2))
    elif not look.terrain:  # they look over what hides the ground
        for x in _row(look, count):
            _person(look, x, look.top(x) + 0.02, look.between(0.17, 0.28))
    elif look.terrain == "water":  # on the near bank of a lake
        for x in _row(look, count):
            _person(look, x, look.between(0.94, 0.99), look.between(0.17, 0.34))
    else:
        low = 0.6 if look.indoor and look.fact("ceiling_m", 3.0) <= 1.5 else 1.0
        for x, y, s in look.spots(count):
            _person(look, x, y, 0.27 * s * low * look.between(0.8, 1.1))


def _row(look: Look, count: int) -> list[float]:
    """Where people stand side by side; they leave a door or stairs in the middle free."""
    shares = [(k + look.between(0.2, 0.8)) / count for k in range(count)]
    if look.known("doors") or look.fact("stairs"):
        shares = [0.64 * t + (0.36 if t > 0.5 else 0.0) for t in shares]
    return [look.at(t) for t in shares]


def _person(look: Look, x: float, foot: float, tall: float) -> None:
    """Somebody `tall` high, standing at (x, foot)."""
    rng, h = look.rng, tall
    coat, skin = look.shade(rng.choice(_COATS), 10), rng.choice(_SKIN)
    legs = look.shade(rng.choice(((44, 46, 70), (84, 70, 58), (30, 30, 34))), 6)
    stride = look.between(0.03, 0.1) * h
    look.line(x - stride, foot, x - 0.03 * h, foot - 0.5 * h, legs, 0.085 * h)
    look.line(x + stride, foot, x + 0.03 * h, foot - 0.5 * h, legs, 0.085 * h)
    swing = look.between(-0.06, 0.06) * h
    for s in (-1, 1):
        look.line(x + s * 0.12 * h, foot - 0.78 * h, x + s * 0.16 * h + swing, foot - 0.44 * h,
                  skin, 0.06 * h)  # fmt: skip
    look.poly([(x - 0.1 * h, foot - 0.42 * h), (x - 0.15 * h, foot - 0.82 * h),
               (x + 0.15 * h, foot - 0.82 * h), (x + 0.1 * h, foot - 0.42 * h)], coat)  # fmt: skip
    hair = rng.choice(((40, 30, 26), (120, 80, 40), (210, 190, 140), (150, 150, 150)))
    look.oval(x, foot - 0.92 * h, 0.085 * h, 0.1 * h, hair)
    look.oval(x, foot - 0.895 * h, 0.072 * h, 0.08 * h, skin)
