"""One look of a site while it is drawn, shared by all that draw a part of it."""

import math
import random
from typing import Any

from PIL import Image, ImageDraw

from manifests.schema import TERRAINS

Rgb = tuple[int, int, int]

_GROUND: dict[str, Rgb] = {
    "floor": (188, 178, 165), "pavement": (118, 120, 124), "grass": (92, 150, 62),
    "sand": (226, 196, 132), "mud": (104, 76, 50), "rubble": (150, 138, 126),
    "rock": (112, 108, 112), "snow": (236, 241, 247), "water": (40, 120, 160),
}  # fmt: skip


class Look:
    """One scene being drawn: the pen, the seeded chance, and the frame of the ground.

    Places and sizes are in units of the picture's side, from its top left corner.
    """

    def __init__(self, site: dict[str, Any], seed: str, side: int) -> None:
        self.site, self.rng, self.n = site, random.Random(f"scene {seed}"), side
        self.terrain: str = site.get("terrain") or "pavement"
        if self.terrain not in TERRAINS:
            raise ValueError(f"unknown terrain {self.terrain!r}; expected {', '.join(TERRAINS)}")
        self.image = Image.new("RGB", (side, side))
        self.pen = ImageDraw.Draw(self.image)
        self.horizon = self.rng.uniform(0.45, 0.6)
        self.left, self.right = self.rng.uniform(0.1, 0.22), self.rng.uniform(0.78, 0.9)  # a room's
        self.tilt = math.tan(math.radians(min(60.0, self.fact("slope_deg")))) * self.side()
        self.ground = self.shade(_GROUND[self.terrain])

    def fact(self, name: str, default: float = 0.0) -> float:
        """A fact as a float; the default where it is absent, null or not a number."""
        value = self.site.get(name)
        return default if value is None or value != value else float(value)

    def side(self) -> int:
        """Left (-1) or right (1), by chance."""
        return self.rng.choice((-1, 1))

    def shade(self, colour: Rgb, by: int = 10, lighter: float = 1.0) -> Rgb:
        """The colour, made lighter or darker and jittered by up to `by`."""
        shift = self.rng.randint(-by, by)  # one shift for all channels keeps the hue
        r, g, b = (
            min(255, max(0, int(v * lighter) + shift + self.rng.randint(-4, 4))) for v in colour
        )
        return r, g, b

    def poly(self, points: list[tuple[float, float]], fill: Rgb, edge: Rgb | None = None) -> None:
        """A filled polygon."""
        self.pen.polygon([(x * self.n, y * self.n) for x, y in points], fill, edge)

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: Rgb) -> None:
        """A filled rectangle between two corners."""
        n = self.n
        self.pen.rectangle((x0 * n, y0 * n, x1 * n, y1 * n), fill)

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Rgb) -> None:
        """A filled ellipse around (x, y)."""
        n = self.n
        self.pen.ellipse(((x - rx) * n, (y - ry) * n, (x + rx) * n, (y + ry) * n), fill)

    def line(self, x0: float, y0: float, x1: float, y1: float, fill: Rgb, width: float) -> None:
        """A line at least one pixel wide."""
        n = self.n
        self.pen.line((x0 * n, y0 * n, x1 * n, y1 * n), fill, max(1, round(width * n)))

    def top(self, x: float) -> float:
        """Where the ground meets the background at x: tilted when the site slopes."""
        return min(0.93, max(0.12, self.horizon + self.tilt * (x - 0.5) * 0.75))

    def stone(self, x: float, y: float, r: float, fill: Rgb) -> None:
        """A flattish stone of five to seven corners around (x, y), however it fell."""
        corners = self.rng.randint(5, 7)
        turn = self.rng.uniform(0, 6.3)
        self.poly([(x + r * self.rng.uniform(0.65, 1.0) * math.cos(turn + 6.283 * i / corners),
                    y + r * self.rng.uniform(0.5, 0.8) * math.sin(turn + 6.283 * i / corners))
                   for i in range(corners)], fill, self.shade(fill, 4, 0.55))  # fmt: skip
