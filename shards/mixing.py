"""What a mixture asks for -> integer shares, lengths and windows, fixed once and kept.

Shares are of samples or of target tokens; weights are given, or follow from the sources' sizes.
What they come to is a Mixture: it goes into the checkpoint, and a run that goes on takes it from
there.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Literal

import msgspec

from manifests.schema import Kind, Split
from shards.schedule import Exhausted, shares
from shards.turns import Policy

Positive = Annotated[float, msgspec.Meta(gt=0)]


class SourceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source of a mixture: a corpus (by default of the source's name) and split, its weight,
    which turns a sample takes, and of which kinds (none named: of all)."""

    corpus: str | None = None
    split: Split = "train"
    weight: float = 1.0
    turns: Policy = "one"
    kinds: tuple[Kind, ...] = ()


class Mixing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How sources are mixed.

    `unit`: what weights are shares of, samples or target tokens. `temperature` T: a source's weight
    is multiplied by its size, in that unit, to the power 1 / T; 1 mixes by size, more evens out.
    `exhausted`: what becomes of a source that has been through (see shards.schedule).
    """

    unit: Literal["samples", "tokens"] = "samples"
    temperature: Positive | None = None
    exhausted: Exhausted = "repeat"


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source as it is mixed: its integer share of a period, the samples and (mean) target tokens
    of a pass, the shards of a window, and the share that was asked for, 0 to 1 of the samples."""

    share: int
    samples: int
    tokens: float
    window: int
    asked: float


class Mixture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mixture resolved for one data set and tokenizer, by source."""

    parts: dict[str, Part]
    exhausted: Exhausted

    @property
    def shares(self) -> dict[str, int]:
        return {name: part.share for name, part in self.parts.items()}

    @property
    def lengths(self) -> dict[str, int]:
        return {name: part.samples for name, part in self.parts.items()}


BY_SAMPLES = Mixing()


def resolve(
    mixing: Mixing,
    weights: Mapping[str, float],
    samples: Mapping[str, int],
    tokens: Mapping[str, float],
    windows: Mapping[str, int],
) -> Mixture:
    """Weights -> a Mixture. Raises ValueError for sources or weights that cannot be mixed."""
    for name, count in samples.items():
        if count == 0:
            raise ValueError(f"source {name} has no samples")
        if mixing.unit == "tokens" and not tokens[name]:
            raise ValueError(f"source {name} has no target tokens, so no share of them")
    exact = {name: Fraction(str(weight)) for name, weight in weights.items() if 0 < weight < 1e300}
    if len(exact) < len(weights):
        shares(weights)  # says which
    sizes = samples if mixing.unit == "samples" else tokens
    if mixing.temperature is not None:
        largest = max(sizes.values())  # so that no power overflows
        for name in exact:
            power = (sizes[name] / largest) ** (1 / mixing.temperature)
            exact[name] *= Fraction(power).limit_denominator(10**9)
            if not exact[name]:
                raise ValueError(
                    f"temperature {mixing.temperature:g} leaves nothing for source {name}, which "
                    f"has {sizes[name]:g} {mixing.unit}, the largest {largest:g}; raise it, or "
                    f"drop the source"
                )
    if mixing.unit == "tokens":  # a share of tokens costs samples by the tokens of each
        for name in exact:
            exact[name] *= Fraction(samples[name]) / Fraction(tokens[name]).limit_denominator(10**6)
    total = sum(exact.values())
    return Mixture(
        parts={
            name: Part(
                share=share,
                samples=samples[name],
                tokens=tokens[name],
                window=windows[name],
                asked=float(exact[name] / total),
            )
            for name, share in shares(exact).items()
        },
        exhausted=mixing.exhausted,
    )


def windows(shards: Mapping[str, Sequence[int]], cache: int) -> dict[str, int]:
    """Shards in a window of each source, from the bytes of its shards and of the cache.

    A source that fits is one window. The others share what is left evenly, and each has room for
    two windows: the one that is read and the one that is fetched ahead. It is never less than one
    shard, so a cache may be too small for what is fetched; who fetches says so.
    """
    found: dict[str, int] = {}
    left = cache
    by_size = sorted(shards, key=lambda name: sum(shards[name]))
    for place, name in enumerate(by_size):
        fair = left // (len(by_size) - place)
        whole = sum(shards[name])
        if whole <= fair:
            found[name], taken = len(shards[name]), whole
        else:
            found[name] = max(1, fair // (2 * max(shards[name])))
            taken = min(fair, 2 * found[name] * max(shards[name]))
        left -= taken
    return {name: found[name] for name in shards}
