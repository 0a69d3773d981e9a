"""What stands or lies about: trees and flags, clutter over the way, a load to be carried."""

from collections.abc import Callable

from pipelines.robots.look import Look, Rgb, mix


def draw_trees(look: Look) -> None:
    """Trees at the edge of the ground, bent by a gale; a flag that hangs or streams."""
    look.layer("trees")
    rng, wind = look.rng, look.fact("wind_ms", 2.0)
    bend = min(1.0, max(0.0, (wind - 5) / 10))
    way = 1 if look.side() > 0 else -1
    leaf: Rgb = rng.choice(((48, 112, 52), (72, 128, 44), (36, 92, 64), (176, 120, 44)))
    if look.terrain == "snow":
        leaf = (104, 134, 128)
    draw = rng.choice((_round_tree, _pine))
    for share in rng.sample((0.02, 0.98, 0.13, 0.87, 0.24, 0.76), 3 + int(rng.random() * 3)):
        x = look.at(share + look.between(-0.04, 0.04))
        foot = look.top(x) + look.between(0.0, 0.04)
        draw(look, (x, foot), look.between(0.22, 0.36), (bend * way, look.shade(leaf, 14)))
    if not look.known("wind_ms"):
        return
    x = look.at(rng.choice((0.28, 0.72)) + look.between(-0.04, 0.04))
    foot, tall, cloth = look.top(x) + 0.05, 0.36, look.shade(rng.choice(_CLOTH), 10)
    y = max(0.03, foot - tall)
    look.line(x, foot, x, y, (232, 232, 228), 0.012)
    if bend < 0.3:
        look.poly([(x, y), (x + way * 0.03, y + 0.03), (x + way * 0.022, y + 0.15),
                   (x, y + 0.12)], cloth)  # fmt: skip
        return
    waves = [(x + way * (0.03 + 0.02 * bend) * i, y + 0.012 * (i % 2)) for i in range(5)]
    look.poly(waves + [(a, b + 0.085) for a, b in reversed(waves)], cloth)
    look.poly([(a, b + 0.03) for a, b in waves] + [(a, b + 0.055) for a, b in reversed(waves)],
              (246, 246, 240))  # fmt: skip


_CLOTH: tuple[Rgb, ...] = ((214, 40, 50), (30, 80, 190), (240, 190, 30), (30, 130, 80))


def _round_tree(look: Look, at: tuple[float, float], tall: float, air: tuple[float, Rgb]) -> None:
    """A tree with a round crown; a gale bends the trunk and drags the crown."""
    (x, foot), (bend, leaf) = at, air
    lean = bend * tall * 0.62
    top = foot - tall * (1 - 0.3 * abs(bend))
    points = [(x + lean * t * t, foot + (top - foot) * t) for t in (0.0, 0.3, 0.6, 0.85)]
    look.path(points, look.shade((96, 70, 46), 10), 0.02)
    for k in range(6):
        t = 0.5 + 0.1 * k
        drag = bend * look.between(0.0, 0.07)
        look.oval(x + lean * t * t + drag + look.between(-0.03, 0.03), foot + (top - foot) * t,
                  0.055 + 0.015 * abs(bend), 0.05 - 0.024 * abs(bend),
                  look.shade(leaf, 18))  # fmt: skip


def _pine(look: Look, at: tuple[float, float], tall: float, air: tuple[float, Rgb]) -> None:
    """A pine in three tiers."""
    (x, foot), (bend, leaf) = at, air
    lean = bend * tall * 0.75
    top = foot - tall * (1 - 0.25 * abs(bend))
    points = [(x + lean * t * t, foot + (top - foot) * t) for t in (0.0, 0.4, 0.8)]
    look.path(points, look.shade((90, 66, 48), 10), 0.018)
    for k in range(4):
        t0, t1 = 0.18 + 0.19 * k, 0.5 + 0.17 * k
        w = 0.075 - 0.013 * k
        a, b = x + lean * t0 * t0, x + lean * t1 * t1 + bend * 0.02
        y0, y1 = foot + (top - foot) * t0, foot + (top - foot) * t1
        look.poly([(a - w, y0), (b, y1), (a + w + bend * 0.03, y0)], look.shade(leaf, 14))


def draw_clutter(look: Look) -> None:
    """Crates, chairs, branches, cables, scrap: the more clutter, the more of the way they cover."""
    look.layer("clutter")
    count = int(27 * max(0.0, look.fact("clutter") - 0.22))
    inside = (_crate, _chair, _cable, _planks, _tyre)
    kinds = inside if look.indoor else (_branch, _branch, _crate, _planks, _tyre, _scrap)
    if not look.terrain:  # a heap that sticks out above what hides the ground
        for k in range(count):
            x = look.at((k + look.rng.random()) / count)
            look.rng.choice(kinds)(look, x, look.top(x) - look.between(0.0, 0.06), 0.075)
        return
    for x, y, s in look.spots(count, 0.97):
        look.rng.choice(kinds)(look, x, y, 0.12 * min(1.15, s + 0.1))


def _crate(look: Look, x: float, y: float, s: float) -> None:
    """An open wooden crate that has fallen over."""
    wood, a = look.shade((158, 116, 70), 18), look.between(-0.4, 0.4) * s
    dark = mix(wood, (0, 0, 0), 0.55)
    look.poly(
        [(x - s, y), (x - s * 0.8, y - s + a), (x + s, y - s * 0.9), (x + s * 0.9, y + a)], dark
    )
    for k in range(3):
        v = y - s * (0.9 - 0.33 * k)
        look.line(x - s * 0.95, v + a * 0.5, x + s * 0.95, v, wood, s * 0.2)
    look.line(x - s * 0.8, y, x + s * 0.8, y - s, wood, s * 0.15)


def _chair(look: Look, x: float, y: float, s: float) -> None:
    """A chair on its side."""
    tone, f = look.shade((70, 60, 60), 20), look.side()
    seat = look.shade((176, 70, 56), 30)
    look.poly(
        [(x, y), (x + f * s * 0.25, y - s), (x + f * s * 0.5, y - s), (x + f * s * 0.3, y)], seat
    )
    look.line(x, y, x - f * s, y - s * 0.1, tone, s * 0.13)
    look.line(x + f * s * 0.25, y - s, x - f * s * 0.8, y - s * 0.95, tone, s * 0.13)
    look.line(x, y - s * 0.3, x - f * s * 0.9, y - s * 0.45, tone, s * 0.1)
    look.line(x + f * s * 0.3, y, x + f * s * 1.3, y - s * 0.2, tone, s * 0.13)


def _cable(look: Look, x: float, y: float, s: float) -> None:
    """A cable in loops."""
    n, tone = look.n, look.shade(look.rng.choice(((26, 26, 30), (200, 60, 40))), 8)
    for k in range(3):
        w = s * (1.5 - 0.3 * k)
        box = ((x - w + k * s * 0.4) * n, (y - s * 0.7) * n, (x + w + k * s * 0.4) * n, y * n)
        look.pen.arc(box, 0, 330, tone, max(2, round(s * 0.12 * n)))


def _planks(look: Look, x: float, y: float, s: float) -> None:
    """Planks that lie criss-cross."""
    for _ in range(3):
        wood = look.shade((184, 148, 100), 26)
        a, b = look.between(-1.4, -0.8) * s, look.between(0.8, 1.5) * s
        look.line(
            x + a, y - look.between(0, 1) * s, x + b, y - look.between(0, 1) * s, wood, s * 0.24
        )


def _tyre(look: Look, x: float, y: float, s: float) -> None:
    """An old tyre."""
    look.oval(x, y - s * 0.4, s, s * 0.5, (34, 34, 38))
    look.oval(x, y - s * 0.44, s * 0.52, s * 0.22, (96, 92, 90))


def _branch(look: Look, x: float, y: float, s: float) -> None:
    """A broken bough with twigs."""
    f, bark = look.side(), look.shade((86, 62, 42), 14)
    a = look.between(-0.2, 0.9) * s
    look.line(x - f * s * 1.3, y, x + f * s * 1.3, y - a, bark, s * 0.24)
    for k in range(4):
        u = -0.6 + 0.5 * k
        look.line(x + f * s * u, y - a * 0.5, x + f * s * (u + 0.5), y - s * look.between(0.5, 1.2),
                  bark, s * 0.1)  # fmt: skip


def _scrap(look: Look, x: float, y: float, s: float) -> None:
    """A bent sheet of rusty metal."""
    rust, a = look.shade((166, 92, 52), 20), look.between(0.3, 0.8) * s
    look.poly([(x - s, y), (x - s * 0.3, y - a), (x + s * 0.2, y - s * 0.2), (x + s, y - a),
               (x + s * 0.6, y + s * 0.1)], rust, (70, 40, 28))  # fmt: skip


def draw_load(look: Look) -> None:
    """What is to be carried, in front: a parcel, a box, a stack or drum, or a loaded pallet."""
    look.layer("load")
    weight = look.fact("payload_kg")
    if weight <= 0:
        return
    x = look.at(look.rng.choice((0.32, 0.5, 0.68)) + look.between(-0.05, 0.05))
    y, k = look.bottom - (0.03 if look.shore else 0.06), 0.75 if look.shore else 1.0
    if look.terrain is None:
        y = 0.97
    elif look.flooded or look.terrain == "water":
        w = 0.12 + (0.12 if weight > 80 else 0.0)
        y = look.bottom + (0.015 if look.flooded else -0.04)
        for v in (0.0, 0.012, 0.024):
            look.rect(x - w, y + v, x + w, y + v + 0.01, (168, 130, 86))
    paint = look.shade(look.rng.choice(((40, 112, 214), (248, 208, 40), (220, 44, 110))), 8)
    steps: tuple[tuple[float, Callable[[Look, float, float, float, Rgb], None]], ...] = (
        (5, _parcel), (20, _box), (80, _stack), (1e9, _pallet)
    )  # fmt: skip
    w = (0.1 if weight <= 5 else 0.14 if weight <= 20 else 0.21 if weight <= 80 else 0.24) * k
    if look.terrain:  # the mat that the load stands on
        for out, tone in ((0.012, (24, 24, 28)), (0.0, (244, 244, 238))):
            look.poly(
                [
                    (x - w - out, y + 0.02 + out),
                    (x - w * 0.8 - out, y - 0.06 - out),
                    (x + w * 0.8 + out, y - 0.06 - out),
                    (x + w + out, y + 0.02 + out),
                ],
                tone,
            )
    next(put for most, put in steps if weight <= most)(look, x, y, k, paint)
    look.lamps.append((x, y - 0.1 * k))


def _case(look: Look, x: float, y: float, half: float, paint: Rgb) -> None:
    """A neat case of `half` the width, standing on (x, y), with white straps crossed over it."""
    tall = half * 1.6
    look.rect(x - half - 0.006, y - tall - 0.006, x + half + 0.006, y + 0.004, (22, 22, 26))
    look.rect(x - half, y - tall, x + half, y, paint)
    look.poly([(x - half, y - tall), (x - half * 0.7, y - tall - half * 0.4),
               (x + half * 1.2, y - tall - half * 0.4), (x + half, y - tall)],
              mix(paint, (255, 255, 255), 0.4), (22, 22, 26))  # fmt: skip
    look.rect(x - half * 0.14, y - tall, x + half * 0.14, y, (252, 252, 250))
    look.rect(x - half, y - tall * 0.6, x + half, y - tall * 0.42, (252, 252, 250))


def _parcel(look: Look, x: float, y: float, k: float, paint: Rgb) -> None:
    _case(look, x, y, 0.048 * k, paint)


def _box(look: Look, x: float, y: float, k: float, paint: Rgb) -> None:
    """One box, or one sack."""
    if look.rng.random() < 0.6:
        _case(look, x, y, 0.085 * k, paint)
        return
    dark, r = (22, 22, 26), 0.085 * k
    look.oval(x, y - r * 0.9, r * 1.07, r * 0.97, dark)
    look.oval(x, y - r * 0.9, r, r * 0.9, paint)
    look.poly([(x - r * 0.3, y - r * 1.65), (x - r * 0.6, y - r * 2.2), (x + r * 0.6, y - r * 2.2),
               (x + r * 0.3, y - r * 1.65)], paint, dark)  # fmt: skip
    look.rect(x - r * 0.38, y - r * 1.8, x + r * 0.38, y - r * 1.6, (252, 252, 250))


def _stack(look: Look, x: float, y: float, k: float, paint: Rgb) -> None:
    """A stack of three boxes, or a drum."""
    if look.rng.random() < 0.6:
        for dx, dy in ((-0.08, 0.0), (0.085, 0.0), (0.0, 0.125)):
            _case(look, x + dx * k, y - dy * k, 0.075 * k, paint)
        return
    w, h = 0.1 * k, 0.26 * k
    look.rect(x - w - 0.006, y - h, x + w + 0.006, y + 0.005, (22, 22, 26))
    look.rect(x - w, y - h, x + w, y, paint)
    look.rect(x + w * 0.45, y - h, x + w, y, mix(paint, (0, 0, 0), 0.25))
    look.oval(x, y - h, w, w * 0.3, mix(paint, (255, 255, 255), 0.45))
    for v in (0.7, 0.35):
        look.rect(x - w, y - h * v - 0.01, x + w, y - h * v + 0.01, (252, 252, 250))


def _pallet(look: Look, x: float, y: float, k: float, paint: Rgb) -> None:
    """A pallet loaded with two layers of cases."""
    half = 0.21 * k
    x = min(max(x, look.x0 + half), look.x1 - half)
    for dx in (-0.13, 0.0, 0.13):
        for row in (0.0, 0.12):
            _case(look, x + dx * k, y - 0.035 - row * k, 0.064 * k, paint)
    look.rect(x - half, y - 0.035, x + half, y - 0.018, (196, 150, 92))
    for dx in (-0.9, -0.1, 0.7):
        look.rect(x + dx * half, y - 0.018, x + (dx + 0.2) * half, y + 0.015, (150, 110, 64))
    look.rect(x - half, y + 0.012, x + half, y + 0.024, (196, 150, 92))
