"""One look of a site while it is drawn, shared by all that draw a part of it."""

import math
import random
from typing import Any

from PIL import Image, ImageDraw

from manifests.schema import TERRAINS

Rgb = tuple[int, int, int]
Point = tuple[float, float]


def mix(a: Rgb, b: Rgb, share: float) -> Rgb:
    """The colour `share` of the way from a to b."""
    r, g, b_ = (int(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return r, g, b_


class Look:
    """One scene being drawn: the pen, the seeded chance, and the frame of the ground.

    Places and sizes are in units of the picture's side, from its top left corner. The ground begins
    at `top(x)` and ends at `bottom`; what stands on it keeps to x0..x1, the rest is open water.
    """

    def __init__(self, site: dict[str, Any], seed: str, side: int) -> None:
        self.site, self.seed, self.n = site, seed, side
        self.terrain: str | None = site.get("terrain") or None
        if self.terrain is not None and self.terrain not in TERRAINS:
            raise ValueError(f"unknown terrain {self.terrain!r}; expected {', '.join(TERRAINS)}")
        self.image = Image.new("RGB", (side, side))
        self.pen = ImageDraw.Draw(self.image)
        self.lamps: list[Point] = []  # what a lamp of its own shows when it is dark
        self.wall: Rgb = (200, 196, 188)
        self.layer("frame")
        self.indoor = bool(self.fact("indoor"))
        depth = max(0.0, self.fact("water_depth_m"))
        self.depth = min(1.0, math.log1p(depth) / math.log(41.0))  # 0 dry, 1 at 40 m
        self.flooded = self.terrain == "water" and depth > 0
        self.shore = self.rng.choice(("left", "right", "front"))
        if self.terrain == "water" or not depth:
            self.shore = ""
        self._frame()

    def _frame(self) -> None:
        """Where the ground begins and ends, and how it leans."""
        self.horizon, self.bottom = self.between(0.44, 0.55), 1.0
        self.x0, self.x1 = 0.0, 1.0
        margin = self.between(0.03, 0.24), self.between(0.03, 0.24)
        rise = self.side()
        split = self.between(0.55, 0.62)
        if self.flooded:
            self.horizon = 0.5 - 0.2 * self.depth
            self.bottom = self.horizon + 0.1
        elif self.shore:
            self.bottom = 0.84 - 0.18 * self.depth
            if self.shore == "front":
                self.horizon -= 0.08
                self.bottom = 0.74 - 0.14 * self.depth
            elif self.shore == "left":
                self.x0, rise = 1 - split, 1
            else:
                self.x1, rise = split, -1
        self.front = self.bottom + (
            0.08 if self.shore == "front" else 0.0
        )  # of the ground or water
        self.left, self.right = margin[0], 1 - margin[1]  # of a room's back wall
        slope = min(45.0, max(0.0, self.fact("slope_deg")))
        shown = math.radians(1.3 * slope - 0.0082 * slope**2)  # a gentle slope, made plain
        self.tilt = 0.0 if self.flooded else math.tan(shown) * rise
        self.roof = self._roof()
        self.deck = -0.36 * (self.horizon - max(self.roof, 0.05)) if self.fact("stairs") else 0.0

    def _roof(self) -> float:
        """Where a room's back wall ends: far up in a hall, next to the floor in a crawl space."""
        if not self.indoor:
            return 0.0
        ceiling = self.fact("ceiling_m", 2.6)
        if ceiling <= 1.5:
            self.left, self.right = 0.03, 0.97
            self.horizon += 0.0 if self.flooded else 0.1
            return self.horizon - 0.16
        high = min(1.0, math.log(ceiling / 1.5) / math.log(6.0))
        if ceiling >= 5:
            self.left, self.right = 0.5 * self.left + 0.19, 0.5 * self.right + 0.31
            self.horizon += 0.0 if self.flooded or self.shore else 0.08
        return (0.16 if self.flooded else 0.27) * (1 - high) + 0.02

    def layer(self, name: str) -> None:
        """Begin a part of the picture: its chance hangs on no other part."""
        self.rng = random.Random(f"{self.seed} {name}")

    def fact(self, name: str, default: float = 0.0) -> float:
        """A fact as a float; the default where it is absent, null or not a number."""
        return float(self.site[name]) if self.known(name) else default

    def known(self, name: str) -> bool:
        """Whether anything is known of a fact."""
        value = self.site.get(name)
        return value is not None and value == value

    def between(self, low: float, high: float) -> float:
        """A number from low to high, by chance."""
        return low + (high - low) * self.rng.random()

    def side(self) -> int:
        """Left (-1) or right (1), by chance."""
        return 1 if self.rng.random() < 0.5 else -1

    def shade(self, colour: Rgb, by: int = 10, lighter: float = 1.0) -> Rgb:
        """The colour, made lighter or darker and jittered by up to `by`."""
        shift = (2 * self.rng.random() - 1) * by  # one shift for all channels keeps the hue
        r, g, b = (int(min(255, max(0, v * lighter + shift))) for v in colour)
        return r, g, b

    def poly(self, points: list[Point], fill: Rgb, edge: Rgb | None = None) -> None:
        """A filled polygon."""
        n = self.n
        self.pen.polygon([(x * n, y * n) for x, y in points], fill, edge)

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: Rgb) -> None:
        """A filled rectangle between its upper left and lower right corners."""
        n = self.n
        if x1 > x0 and y1 > y0:
            self.pen.rectangle((x0 * n, y0 * n, x1 * n, y1 * n), fill)

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Rgb) -> None:
        """A filled ellipse around (x, y)."""
        n = self.n
        self.pen.ellipse(((x - rx) * n, (y - ry) * n, (x + rx) * n, (y + ry) * n), fill)

    def line(self, x0: float, y0: float, x1: float, y1: float, fill: Rgb, width: float) -> None:
        """A line at least one pixel wide."""
        n = self.n
        self.pen.line((x0 * n, y0 * n, x1 * n, y1 * n), fill, max(1, round(width * n)))

    def path(self, points: list[Point], fill: Rgb, width: float) -> None:
        """A bent line at least one pixel wide."""
        n = self.n
        self.pen.line([(x * n, y * n) for x, y in points], fill, max(1, round(width * n)), "curve")

    def quad(self, x0: float, v0: float, x1: float, v1: float, fill: Rgb) -> None:
        """A wall from x0 to x1, v0 to v1 below the ground's far edge, leaning as that does."""
        a, b = self.top(x0), self.top(x1)
        self.poly([(x0, a + v0), (x1, b + v0), (x1, b + v1), (x0, a + v1)], fill)

    def top(self, x: float) -> float:
        """Where the ground meets the background at x: tilted when the site slopes."""
        return min(0.92, max(0.06, self.horizon - self.tilt * (x - (self.x0 + self.x1) / 2)))

    def at(self, share: float) -> float:
        """An x of the ground: 0 its left end, 1 its right end."""
        return self.x0 + share * (self.x1 - self.x0)

    def spots(self, count: int, near: float = 1.0) -> list[tuple[float, float, float]]:
        """Places on the ground, far to near: x, y, and how large a thing looks there."""
        found, rng = [], self.rng
        for _ in range(count):
            t = rng.random() ** 0.8 * near
            low = max(self.x0, self.left * (1 - t)) if self.indoor else self.x0
            high = min(self.x1, 1 - (1 - self.right) * (1 - t)) if self.indoor else self.x1
            x = low + (high - low) * rng.random()
            top = self.top(x)
            y = top + 0.012 + max(0.0, self.bottom - top - 0.012) * t
            found.append((y, x, min(1.4, 0.3 + 2.0 * (y - top))))
        return [(x, y, size) for y, x, size in sorted(found)]

    def stone(self, x: float, y: float, r: float, fill: Rgb) -> None:
        """A stone of five to seven corners around (x, y), lit from above."""
        rng = self.rng
        corners, turn = 5 + int(rng.random() * 3), rng.random() * 6.3
        ring = [
            (r * (0.7 + 0.3 * rng.random()) * math.cos(turn + 6.283 * i / corners),
             r * (0.5 + 0.25 * rng.random()) * math.sin(turn + 6.283 * i / corners))
            for i in range(corners)
        ]  # fmt: skip
        self.poly([(x + a, y + b) for a, b in ring], mix(fill, (20, 18, 20), 0.55))
        self.poly([(x + a * 0.85, y - 0.16 * r + b * 0.75) for a, b in ring], fill)
