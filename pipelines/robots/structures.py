"""What stands, lies and falls on a site's ground: structures, things and people, weather."""

import math

from pipelines.robots.look import Look


def draw_structures(look: Look) -> None:
    """What stands: a mast, tower or wall as high as the work, stairs, a door, a way to go."""
    rng, height, indoor = look.rng, look.fact("height_m"), look.fact("indoor")
    far = look.fact("distance_m")
    if far >= 100 and not indoor:  # marker posts: one for each doubling of the way
        x0, x1 = rng.uniform(0.05, 0.2), rng.uniform(0.42, 0.58)
        posts = int(math.log2(far / 50)) + 2
        for i in range(posts):
            t = 1 - 0.72**i
            x, foot = x0 + (x1 - x0) * t, 0.97 + (look.top(x1) + 0.01 - 0.97) * t
            tall = 0.2 * (1 - t) + 0.015
            look.line(x, foot, x, foot - tall, look.shade((70, 55, 45)), 0.012 * (1 - t) + 0.003)
            look.rect(
                x - 0.02 * (1 - t),
                foot - tall,
                x + 0.02 * (1 - t),
                foot - tall * 0.8,
                (220, 60, 50),
            )
    if height >= 2.0:
        share = min(1.0, math.log(height / 1.5) / math.log(50))
        x, wide = rng.uniform(0.6, 0.82), rng.uniform(0.05, 0.07)
        foot = look.top(x) + 0.08
        y = max(0.05, foot - 0.12 - 0.6 * share)
        steel = look.shade((120, 60, 55) if rng.random() < 0.5 else (90, 96, 108))
        style = rng.choice(("mast", "tower", "wall"))
        if style == "wall" or height < 6:
            front = look.shade((176, 150, 132))
            look.rect(x - wide * 2, y - 0.03, x + wide * 2, foot, front)
            for i in range(int((foot - y) / 0.07)):
                for j in range(3):
                    left = x - wide * 1.6 + j * wide * 1.2
                    look.rect(
                        left,
                        y + 0.02 + i * 0.07,
                        left + wide * 0.7,
                        y + 0.055 + i * 0.07,
                        look.shade((90, 110, 130)),
                    )
        elif style == "tower":
            look.poly(
                [(x - wide, foot), (x - wide * 0.55, y), (x + wide * 0.55, y), (x + wide, foot)],
                look.shade((198, 190, 180)),
                steel,
            )
            look.rect(x - wide * 0.9, y - 0.03, x + wide * 0.9, y + 0.015, steel)
        else:
            look.line(x - wide, foot, x, y, steel, 0.012)
            look.line(x + wide, foot, x, y, steel, 0.012)
            steps = max(2, int((foot - y) / 0.06))
            for i in range(steps):
                t0, t1 = wide * (1 - i / steps), wide * (1 - (i + 1) / steps)
                y0, y1 = foot + (y - foot) * i / steps, foot + (y - foot) * (i + 1) / steps
                look.line(x - t0, y0, x + t1, y1, steel, 0.006)
                look.line(x + t0, y0, x - t1, y1, steel, 0.006)
        y = max(y, 0.07)
        look.oval(x, y, 0.03, 0.03, (255, 120, 0))  # where the work is
        look.oval(x, y, 0.014, 0.014, (255, 240, 90))
    if look.fact("stairs"):
        x, s = rng.uniform(0.3, 0.5), look.side()
        stone, treads = look.shade((205, 200, 192)), 7
        for i in range(treads):
            left, y = x + s * i * 0.048, look.top(x) + 0.2 - i * 0.062
            look.rect(
                min(left, left + s * 0.36),
                y,
                max(left, left + s * 0.36),
                y + 0.062,
                look.shade(stone, 3, 0.72),
            )
            look.rect(min(left, left + s * 0.36), y, max(left, left + s * 0.36), y + 0.02, stone)
        rail = look.shade((70, 60, 60))
        look.line(x, look.top(x) + 0.06, x + s * 0.33, look.top(x) - 0.36, rail, 0.01)
    if look.fact("doors"):
        x = rng.uniform(0.24, 0.36) if rng.random() < 0.5 else rng.uniform(0.6, 0.68)
        foot, wood = (
            look.top(x) + 0.03,
            look.shade(rng.choice(((130, 78, 42), (70, 90, 130), (150, 50, 45)))),
        )
        if not indoor:
            look.rect(x - 0.08, foot - 0.33, x + 0.22, foot, look.shade((190, 178, 160)))
        look.rect(x - 0.012, foot - 0.282, x + 0.142, foot, look.shade((240, 236, 225)))
        look.rect(x, foot - 0.27, x + 0.13, foot, wood)
        look.rect(x + 0.02, foot - 0.25, x + 0.11, foot - 0.15, look.shade(wood, 4, 0.8))
        look.oval(x + 0.112, foot - 0.125, 0.011, 0.011, (250, 215, 90))


def draw_things(look: Look) -> None:
    """Trees outdoors, boxes and shelves by clutter, people."""
    rng, indoor, clutter = look.rng, look.fact("indoor"), look.fact("clutter", 0.15)
    wind = look.fact("wind_ms", 2.0)
    if not indoor and look.terrain in ("grass", "mud", "rock", "snow", "pavement"):
        for _ in range({"grass": 5, "mud": 3}.get(look.terrain, 2)):
            x, lean = rng.random(), min(0.1, wind * 0.0055)
            foot = look.top(x) + rng.uniform(0.0, 0.06)
            tall = rng.uniform(0.14, 0.24)
            look.line(x, foot, x + lean * 0.5, foot - tall * 0.6, look.shade((92, 66, 42)), 0.016)
            leaf = look.shade((190, 205, 210) if look.terrain == "snow" else (46, 110, 48), 18)
            for k in range(3):
                look.oval(
                    x + lean * (0.6 + 0.4 * k),
                    foot - tall * (0.6 + 0.17 * k),
                    0.055 - 0.011 * k + lean * 0.4,
                    0.045,
                    leaf,
                )
    if indoor and clutter >= 0.45:
        left = rng.choice((0.02, 0.7))
        steel = look.shade((80, 90, 120))
        for row in range(4):
            y = look.horizon + 0.08 - row * 0.11
            for k in range(4):
                if rng.random() < 0.8:
                    look.rect(
                        left + 0.015 + k * 0.066,
                        y - rng.uniform(0.04, 0.08),
                        left + 0.065 + k * 0.066,
                        y,
                        look.shade(rng.choice(((196, 150, 96), (90, 130, 170), (180, 80, 70)))),
                    )
            look.line(left, y, left + 0.28, y, steel, 0.012)
        for x in (left, left + 0.28):
            look.line(x, look.horizon - 0.3, x, look.horizon + 0.16, steel, 0.012)
    for _ in range(int(clutter * 13)):
        x = rng.random()
        y, s = rng.uniform(look.top(x) + 0.06, 1.0), rng.uniform(0.03, 0.07)
        if indoor or look.terrain in ("pavement", "floor"):
            card = look.shade((190, 142, 88), 20)
            look.rect(x - s, y - s * 1.3, x + s, y, card)
            look.rect(x - s, y - s * 1.3, x + s, y - s, look.shade(card, 4, 1.15))
        else:
            look.line(
                x - s,
                y,
                x + s * 1.4,
                y - rng.uniform(-0.5, 0.8) * s,
                look.shade((96, 70, 46), 15),
                0.02,
            )
    for _ in range(rng.randint(2, 4) if look.fact("people") else 0):
        x, s = rng.uniform(0.12, 0.88), rng.uniform(0.75, 1.1)
        foot = look.top(x) + rng.uniform(0.1, 0.24)
        coat = look.shade(
            rng.choice(((200, 50, 60), (40, 80, 180), (245, 245, 245), (240, 190, 40))), 12
        )
        skin = look.shade(rng.choice(((236, 190, 150), (150, 100, 70), (205, 155, 115))))
        look.line(x - 0.012 * s, foot, x - 0.008 * s, foot - 0.09 * s, (45, 45, 65), 0.018 * s)
        look.line(x + 0.014 * s, foot, x + 0.008 * s, foot - 0.09 * s, (45, 45, 65), 0.018 * s)
        look.poly(
            [
                (x - 0.026 * s, foot - 0.085 * s),
                (x - 0.03 * s, foot - 0.17 * s),
                (x + 0.03 * s, foot - 0.17 * s),
                (x + 0.026 * s, foot - 0.085 * s),
            ],
            coat,
        )
        look.oval(x, foot - 0.195 * s, 0.021 * s, 0.025 * s, skin)


def draw_weather(look: Look) -> None:
    """Outdoors: wind as streaks and leaves, rain, falling snow."""
    if look.fact("indoor"):
        return
    rng, wind, rain = look.rng, look.fact("wind_ms"), look.fact("rain")
    for _ in range(int(wind) if wind >= 5 else 0):  # streaks, and leaves on the wind
        x, y, s = rng.uniform(-0.1, 0.9), rng.uniform(0.03, 0.8), rng.uniform(0.1, 0.24)
        look.line(x, y, x + s, y + rng.uniform(-0.008, 0.008), look.shade((240, 243, 246)), 0.005)
        look.oval(x + s + 0.02, y, 0.011, 0.006, look.shade((150, 110, 50), 20))
    for _ in range(int(150 * rain)):
        x, y = rng.random(), rng.random()
        look.line(x, y, x + 0.004 + wind * 0.0018, y + 0.05, look.shade((205, 215, 228)), 0.004)
    if look.terrain == "snow" and (rain or wind > 8):
        for _ in range(90):
            look.oval(rng.random(), rng.random(), 0.006, 0.006, (255, 255, 255))
