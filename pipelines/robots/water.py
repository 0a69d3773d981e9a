"""Water: a place under water, or open water beside a bank, cut open so that one sees the depth."""

from pipelines.robots.look import Look, Point, Rgb, mix

_EARTH: dict[str, Rgb] = {
    "floor": (150, 148, 146), "pavement": (132, 130, 130), "grass": (116, 86, 58),
    "sand": (198, 164, 108), "mud": (78, 56, 38), "rubble": (112, 102, 94), "rock": (88, 88, 94),
    "snow": (150, 156, 168), "water": (128, 112, 84),
}  # fmt: skip


def draw_flood(look: Look) -> None:
    """The whole place stands under water: its level on walls and trees, the depth before them."""
    look.layer("water")
    hue, back, front = _hue(look), look.horizon, look.bottom
    left, right = (look.left, look.right) if look.indoor else (0.0, 1.0)
    corners: list[Point] = [(0, front), (left, back), (right, back), (1, front)]
    look.path(corners, look.shade((92, 84, 70), 6), 0.02)  # the stain along the walls
    _surface(look, corners, hue)
    lean = 0.12 * min(1.0, look.fact("slope_deg") / 30) * look.side()
    bed = min(0.95, front + 0.05 + 0.52 * look.depth)
    _column(look, (0.0, 1.0, front), (bed + lean, bed - lean), hue)
    _staff(look, look.between(0.1, 0.9), front, bed)


def draw_water_beside(look: Look) -> None:
    """Open water to the left, the right or in front of the bank, and the bank's own section."""
    look.layer("water")
    hue, front = _hue(look), look.front
    edge: Point
    corners: list[Point]
    if look.shore == "front":
        edge = (0.0, 1.0)
        corners = [(0, front), (0, look.bottom), (1, look.bottom), (1, front)]
    else:
        edge = (0.0, look.x0) if look.shore == "left" else (look.x1, 1.0)
        far = max(look.top(edge[0]), look.top(edge[1])) if look.tilt else look.horizon
        far = min(far, front - 0.1)
        a, b = edge
        lean = 0.05 if look.shore == "right" else 0.0
        corners = [(a, front), (a - lean, far), (b + 0.05 - lean, far), (b, front)]
    _surface(look, corners, hue)
    bed = min(0.965, front + 0.05 + 0.34 * look.depth)
    if look.terrain:
        _section(look, front)
    _column(look, (*edge, front), (bed, bed), hue)
    _rim(look, edge, corners)
    a, b = edge
    _staff(look, a + (b - a) * look.between(0.25, 0.75), front, bed)


def _hue(look: Look) -> Rgb:
    """The water's colour at the surface: darker over deep water."""
    hue = look.rng.choice(((46, 152, 196), (44, 160, 160), (52, 132, 206)))
    return look.shade(hue, 10, 1.08 - 0.3 * look.depth)


def _surface(look: Look, corners: list[Point], hue: Rgb) -> None:
    """Water seen from above, with light on it."""
    look.poly(corners, mix(hue, (214, 232, 240), 0.3))
    (ax, y1), (bx, y0), (cx, _), (dx, _) = corners
    for _ in range(34):
        t = look.rng.random()
        low, high = bx + (ax - bx) * t, cx + (dx - cx) * t
        w = min(0.05, 0.2 * (high - low))
        x, y = look.between(low, high - w), y0 + (y1 - y0) * t
        tone = look.rng.choice(((236, 246, 250), hue, mix(hue, (20, 50, 90), 0.3)))
        look.line(x, y, x + w, y, tone, 0.005)


def _column(look: Look, frame: tuple[float, float, float], bed: Point, hue: Rgb) -> None:
    """The water as seen through glass from the level `frame[2]` down to the bed."""
    rng, (a, b, front) = look.rng, frame
    deep = mix(mix(hue, (14, 60, 110), 0.35), (4, 14, 40), 0.25 + 0.65 * look.depth)
    low = max(bed)
    for i in range(12):
        y = front + (low - front) * i / 12
        look.rect(a, y, b, low + 0.01, mix(hue, deep, (i / 11) ** 0.8))
    if look.indoor:
        for k in range(1, 12):
            x = a + (b - a) * k / 12
            look.line(x, front, x, low, mix(hue, deep, 0.35), 0.003)
    soil = mix(look.shade(_EARTH[look.terrain or "water"], 8), deep, 0.25 + 0.5 * look.depth)
    look.poly([(a, 1), (a, bed[0]), (b, bed[1]), (b, 1)], soil)
    wide = b - a
    for _ in range(int(14 * wide)):
        x = a + wide * look.between(0.05, 0.95)
        y = bed[0] + (bed[1] - bed[0]) * (x - a) / wide
        look.stone(x, y + 0.01, look.between(0.012, 0.03), look.shade(soil, 16, 0.85))
    for _ in range(0 if look.indoor else int(7 * wide)):  # weed
        x, lean = a + wide * look.between(0.05, 0.95), look.between(-0.03, 0.03)
        y = bed[0] + (bed[1] - bed[0]) * (x - a) / wide
        tall = min(0.08, 0.5 * (y - front))
        for j in range(3):
            look.line(x + j * 0.012, y + 0.01, x + lean + j * 0.018, y - tall,
                      mix((40, 130, 60), deep, 0.4), 0.008)  # fmt: skip
    for _ in range(int(16 * wide)):
        r = look.between(0.003, 0.008)
        x, y = a + wide * rng.random(), look.between(front + 0.02, low - 0.01)
        look.oval(x, y, r, r, mix(hue, (240, 250, 255), 0.5))
    if look.indoor:
        _sunken(look, (a, b, low), soil)
    for _ in range(0 if look.indoor else int(4 * wide)):
        x, y, s = a + wide * look.between(0.15, 0.85), look.between(front, low), look.side()
        y = min(low - 0.04, max(front + 0.03, y))
        fish = mix(look.shade((236, 160, 70), 25), deep, 0.25)
        look.oval(x, y, 0.026, 0.012, fish)
        look.poly([(x - s * 0.02, y), (x - s * 0.045, y - 0.014), (x - s * 0.045, y + 0.014)], fish)
    waves = [(a + wide * i / 16, front + 0.006 * (i % 2)) for i in range(17)]
    look.path(waves, (240, 249, 252), 0.012)


def _sunken(look: Look, frame: tuple[float, float, float], soil: Rgb) -> None:
    """Tables and stools that stand on the bottom of a flooded room or a basin."""
    (a, b, y), dark = frame, mix(soil, (10, 10, 16), 0.55)
    for _ in range(int(4 * (b - a))):
        x, w, h = (
            look.between(a + 0.03, b - 0.13),
            look.between(0.05, 0.1),
            look.between(0.04, 0.08),
        )
        look.rect(x, y - h, x + w, y - h + 0.014, dark)
        look.rect(x + 0.005, y - h, x + 0.014, y + 0.01, dark)
        look.rect(x + w - 0.014, y - h, x + w - 0.005, y + 0.01, dark)


def _section(look: Look, front: float) -> None:
    """The bank cut open beside the water: masonry under floors, else earth and stones."""
    look.rect(0, front, 1, 1, earth := look.shade(_EARTH[look.terrain or "floor"], 8, 0.8))
    built = look.indoor or look.terrain in ("floor", "pavement")
    a, b = (look.x0, look.x1) if look.shore != "front" else (0.0, 0.0)
    if built:
        for i in range(1, 6):
            y = front + i * 0.055
            look.line(a, y, b, y, mix(earth, (0, 0, 0), 0.3), 0.005)
            for k in range(7):
                x = a + (b - a) * (k + 0.5 * (i % 2)) / 7
                look.line(x, y - 0.055, x, y, mix(earth, (0, 0, 0), 0.3), 0.005)
    elif b > a:
        for _ in range(18):
            x, y = look.between(a, b), look.between(front + 0.02, 1)
            look.stone(x, y, look.between(0.008, 0.022), look.shade(earth, 18, 1.1))
    look.rect(a, front - 0.006, b, front + 0.008, mix(earth, (0, 0, 0), 0.45))


def _rim(look: Look, edge: Point, corners: list[Point]) -> None:
    """The line where bank and water meet."""
    stone = look.shade((214, 210, 200) if look.indoor else (168, 156, 138), 8)
    if look.shore == "front":
        look.path([corners[1], corners[2]], stone, 0.02)
        return
    i, j, x = (2, 3, edge[1]) if look.shore == "left" else (1, 0, edge[0])
    look.path([corners[i], corners[j]], stone, 0.022)
    look.line(x, corners[0][1], x, 1, stone, 0.016)


def _staff(look: Look, x: float, level: float, bed: float) -> None:
    """A staff that stands on the bed: one red or white band a metre, up to twenty."""
    bands = max(1, min(20, round(look.fact("water_depth_m"))))
    tall = (bed - level) / bands
    w = 0.013
    look.lamps.append((x, (level + bed) / 2))
    look.rect(x - w - 0.005, level - 0.09, x + w + 0.005, bed + 0.01, (30, 30, 34))
    for i in range(-max(1, round(0.08 / tall)), bands):
        y = level + i * tall
        tone: Rgb = (226, 52, 44) if i % 2 else (250, 250, 246)
        look.rect(x - w, max(y, level - 0.085), x + w, y + tall, tone)
