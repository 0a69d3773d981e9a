"""A site below the surface: water, light from above, the bed and what stands or swims there."""

import math

from pipelines.robots.look import Look


def draw_below_water(look: Look) -> None:
    """Seen from below the surface: the deeper, the darker and the further the surface."""
    depth, rng = look.fact("water_depth_m", 5.0), look.rng
    dim = max(0.42, 1.0 - 0.15 * math.log1p(depth))
    hue = look.shade(rng.choice(((35, 150, 190), (40, 160, 165), (30, 125, 200))))
    for i in range(24):
        fade = dim * (1.15 - 0.6 * i / 24)
        look.rect(
            0, i / 24, 1, (i + 1) / 24, (int(hue[0] * fade), int(hue[1] * fade), int(hue[2] * fade))
        )
    surface = max(0.0, 0.2 - 0.045 * math.log1p(depth))
    if surface > 0.03:
        wave = [(i / 16, surface + 0.02 * math.sin(i * 1.3 + depth)) for i in range(17)]
        look.poly([(0, 0), *wave, (1, 0)], look.shade((190, 230, 240)))
    for _ in range(4 if depth < 40 else 1):
        x = rng.uniform(0.05, 0.85)
        look.poly([(x, surface), (x + 0.06, surface), (x + 0.16, 0.75), (x, 0.75)],
                  look.shade((int(60 * dim), int(175 * dim), int(205 * dim))))  # fmt: skip
    if look.fact("indoor"):  # a tank or a pool: tiles
        for i in range(1, 9):
            look.line(i / 9, surface, i / 9, 0.9, look.shade(hue, 4, dim * 1.2), 0.004)
            look.line(0, i / 9, 1, i / 9, look.shade(hue, 4, dim * 1.2), 0.004)
    bed = rng.uniform(0.74, 0.82)
    floor = look.shade((int(170 * dim), int(165 * dim), int(120 * dim)))
    look.poly([(0, 1), *[(i / 8, bed + rng.uniform(-0.02, 0.02)) for i in range(9)], (1, 1)], floor)
    for _ in range(8 + int(14 * look.fact("clutter"))):
        look.stone(
            rng.random(),
            rng.uniform(bed + 0.03, 1),
            rng.uniform(0.015, 0.06),
            look.shade(floor, 12, 0.7),
        )
    for _ in range(6):  # weed
        x, lean = rng.random(), rng.uniform(-0.04, 0.04)
        for j in range(3):
            look.line(x + j * 0.012, bed + 0.04, x + lean + j * 0.02, bed - rng.uniform(0.05, 0.14),
                      look.shade((20, int(110 * dim) + 10, 50)), 0.008)  # fmt: skip
    x = rng.uniform(0.15, 0.6)
    part = look.shade((int(150 * dim), int(80 * dim), int(60 * dim)))
    if rng.random() < 0.5:  # a pipeline, or a pile with its foot
        look.line(0, bed + 0.06, 1, bed - 0.01, part, 0.06)
        look.rect(x, bed - 0.04, x + 0.05, bed + 0.1, look.shade(part, 5, 0.7))
    else:
        look.rect(x, surface, x + 0.1, bed + 0.05, part)
        look.rect(x - 0.04, bed, x + 0.14, bed + 0.07, look.shade(part, 5, 0.7))
    for _ in range(18):  # bubbles and fish
        r = rng.uniform(0.004, 0.011)
        look.oval(rng.random(), rng.uniform(surface, 0.9), r, r, look.shade((150, 205, 220)))
    for _ in range(rng.randint(2, 4)):
        x, y, s = rng.uniform(0.1, 0.9), rng.uniform(surface + 0.1, bed - 0.1), look.side()
        fish = look.shade((230, 150, 60), 25, dim)
        look.oval(x, y, 0.03, 0.014, fish)
        look.poly([(x - s * 0.025, y), (x - s * 0.05, y - 0.015), (x - s * 0.05, y + 0.015)], fish)
