"""What stands along the edges of a place and says nothing: bushes, benches, tables, plants."""

from collections.abc import Callable

from pipelines.robots.look import Look, mix


def draw_furniture(look: Look) -> None:
    """Two or three pieces at the far edge, away from the middle."""
    look.layer("furniture")
    low = look.indoor and look.fact("ceiling_m", 3.0) <= 1.5
    if look.flooded or low or look.terrain == "water":
        return
    kinds = _INSIDE if look.indoor else _OUTSIDE
    for share in look.rng.sample((0.06, 0.2, 0.8, 0.94), 2 + int(look.rng.random() * 2)):
        if look.indoor:
            share = 0.22 if share < 0.5 else 0.78
        x = look.at(share + look.between(-0.03, 0.03))
        look.rng.choice(kinds)(look, x, look.top(x) + 0.025)


def _bush(look: Look, x: float, y: float) -> None:
    green = look.shade((74, 116, 60), 22)
    for k in range(5):
        look.oval(x + 0.02 * (k - 2), y - 0.02 - 0.01 * (k % 2), 0.03, 0.03, look.shade(green, 14))


def _bench(look: Look, x: float, y: float) -> None:
    wood = look.shade((146, 108, 70), 20)
    look.rect(x - 0.06, y - 0.03, x + 0.06, y - 0.02, wood)
    look.rect(x - 0.06, y - 0.06, x + 0.06, y - 0.046, wood)
    for dx in (-0.05, 0.044):
        look.rect(x + dx, y - 0.06, x + dx + 0.006, y, (60, 60, 64))


def _lamp(look: Look, x: float, y: float) -> None:
    tall = look.between(0.14, 0.2)
    look.line(x, y, x, y - tall, (74, 78, 84), 0.009)
    look.oval(x, y - tall, 0.017, 0.017, (250, 246, 214))


def _bollards(look: Look, x: float, y: float) -> None:
    tone = look.shade((110, 110, 118), 24)
    for k in range(4):
        look.rect(x + 0.03 * (k - 2), y - 0.045, x + 0.03 * (k - 2) + 0.012, y, tone)


def _fence(look: Look, x: float, y: float) -> None:
    wood = look.shade((170, 150, 124), 24)
    for k in range(4):
        look.rect(x + 0.04 * (k - 2), y - 0.06, x + 0.04 * (k - 2) + 0.01, y, wood)
    look.rect(x - 0.09, y - 0.045, x + 0.06, y - 0.035, wood)


def _plant(look: Look, x: float, y: float) -> None:
    green = look.shade((60, 124, 70), 18)
    look.poly([(x - 0.02, y - 0.05), (x + 0.02, y - 0.05), (x + 0.014, y), (x - 0.014, y)],
              look.shade((176, 100, 70), 14))  # fmt: skip
    for k in range(5):
        look.line(x, y - 0.05, x + 0.016 * (k - 2), y - 0.12 + 0.008 * abs(k - 2), green, 0.012)


def _table(look: Look, x: float, y: float) -> None:
    wood = look.shade((166, 126, 86), 26)
    look.rect(x - 0.06, y - 0.07, x + 0.06, y - 0.056, wood)
    for dx in (-0.054, 0.046):
        look.rect(x + dx, y - 0.06, x + dx + 0.008, y, mix(wood, (0, 0, 0), 0.3))


def _locker(look: Look, x: float, y: float) -> None:
    tone = look.shade((128, 142, 150), 26)
    look.rect(x - 0.05, y - 0.1, x + 0.05, y, tone)
    for k in (0.33, 0.67):
        look.rect(x - 0.05, y - 0.1 * k, x + 0.05, y - 0.1 * k + 0.005, mix(tone, (0, 0, 0), 0.35))


def _heater(look: Look, x: float, y: float) -> None:
    tone = look.shade((222, 222, 218), 10)
    for k in range(6):
        look.rect(x - 0.06 + 0.02 * k, y - 0.08, x - 0.046 + 0.02 * k, y - 0.015, tone)


_OUTSIDE: tuple[Callable[[Look, float, float], None], ...] = (
    _bush, _bush, _bench, _lamp, _bollards, _fence
)  # fmt: skip
_INSIDE: tuple[Callable[[Look, float, float], None], ...] = (_plant, _table, _locker, _heater)
