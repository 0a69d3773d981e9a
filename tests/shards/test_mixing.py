"""Weights become shares of samples or of tokens, windows follow from the cache; both are kept."""

from collections import Counter
from fractions import Fraction

import msgspec
import numpy as np
import pytest

from shards.mixing import Mixing, Mixture, SourceSpec, resolve, windows
from shards.stream import Stream
from tests.shards.streams import SOURCES, open_stream

SAMPLES = {"a": 1000, "b": 250, "c": 10}
TOKENS = {"a": 9000.0, "b": 12_500.0, "c": 10.0}
ONE = dict.fromkeys(SAMPLES, 1.0)


def _shares(mixing: Mixing, weights: dict[str, float] = ONE) -> dict[str, float]:
    mixture = resolve(mixing, weights, SAMPLES, TOKENS, dict.fromkeys(SAMPLES, 1))
    total = sum(mixture.shares.values())
    for part in mixture.parts.values():
        assert abs(part.share / total - part.asked) <= 1 / 65_536
    return {name: share / total for name, share in mixture.shares.items()}


def test_weights_are_shares_of_samples():
    assert _shares(Mixing(), {"a": 2, "b": 1, "c": 1}) == {"a": 0.5, "b": 0.25, "c": 0.25}


def test_weights_are_shares_of_target_tokens():
    weights = {"a": 0.6, "b": 0.3, "c": 0.1}
    shares = _shares(Mixing(unit="tokens"), weights)
    tokens = {name: share * TOKENS[name] / SAMPLES[name] for name, share in shares.items()}
    total = sum(tokens.values())
    for name, weight in weights.items():
        assert tokens[name] / total == pytest.approx(weight, abs=1e-4)


@pytest.mark.parametrize("unit", ["samples", "tokens"])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0, 1000.0])
def test_a_temperature_flattens_sizes(unit, temperature):
    sizes = SAMPLES if unit == "samples" else TOKENS
    shares = _shares(Mixing(unit=unit, temperature=temperature))
    if unit == "tokens":
        shares = {name: share * TOKENS[name] / SAMPLES[name] for name, share in shares.items()}
    asked = {name: size ** (1 / temperature) for name, size in sizes.items()}
    for name in SAMPLES:
        expected = asked[name] / sum(asked.values())
        assert shares[name] / sum(shares.values()) == pytest.approx(expected, abs=2e-4)


def test_a_weight_multiplies_a_size():
    flat = _shares(Mixing(temperature=2.0))
    more = _shares(Mixing(temperature=2.0), {**ONE, "c": 3.0})
    assert more["c"] / more["a"] == pytest.approx(3 * flat["c"] / flat["a"], rel=1e-2)


@pytest.mark.parametrize(
    ("mixing", "changed", "message"),
    [
        (Mixing(), {"samples": {**SAMPLES, "b": 0}}, "source b has no samples"),
        (Mixing(unit="tokens"), {"tokens": {**TOKENS, "c": 0.0}}, "source c has no target tokens"),
        (Mixing(), {"weights": {**ONE, "a": 0.0}}, "source a has weight 0; expected more than 0"),
        (Mixing(), {"weights": {**ONE, "a": float("nan")}}, "source a has weight nan"),
        (Mixing(), {"weights": {**ONE, "a": 1e-9}}, "source a has less than 1/65536 of the mix"),
        (
            Mixing(temperature=0.05),
            {},
            "temperature 0.05 leaves nothing for source b, which has 250 samples, the largest 1000",
        ),
        (Mixing(), {"weights": {}, "samples": {}, "tokens": {}}, "at least one source"),
    ],
)
def test_what_cannot_be_mixed_is_said(mixing, changed, message):
    given = {"weights": ONE, "samples": SAMPLES, "tokens": TOKENS, **changed}
    with pytest.raises(ValueError, match=message):
        resolve(mixing, windows=dict.fromkeys(SAMPLES, 1), **given)


@pytest.mark.parametrize("text", ['{"unit": "words"}', '{"temperature": 0}', '{"exhausted": "x"}'])
def test_what_is_no_mixing_is_refused(text):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Mixing)


def test_windows_are_as_wide_as_the_cache_allows():
    shards = {"small": [10] * 5, "large": [100] * 40, "larger": [200] * 50}
    # All fit: one window a source.
    assert windows(shards, 14_050) == {"small": 5, "large": 40, "larger": 50}
    # The small one fits in its third; the others have the rest, each room for two windows.
    found = windows(shards, 2450)
    assert found == {"small": 5, "large": 6, "larger": 3}
    used = 50 + 2 * (6 * 100 + 3 * 200)
    assert used <= 2450
    # What one leaves, the next one has.
    assert windows(shards, 8450)["large"] == 40
    assert windows(shards, 1) == {"small": 1, "large": 1, "larger": 1}


@pytest.mark.parametrize("seed", range(20))
def test_windows_fit_in_the_cache_whenever_two_shards_of_each_do(seed):
    random = np.random.default_rng(seed)
    shards = {
        f"source{i}": random.integers(1, 1000, random.integers(1, 60)).tolist()
        for i in range(random.integers(1, 8))
    }
    least = sum(min(sum(sizes), 2 * max(sizes)) for sizes in shards.values())
    cache = least * len(shards) + int(random.integers(0, 20_000))
    found = windows(shards, cache)
    used = sum(
        sum(sizes) if found[name] == len(sizes) else 2 * found[name] * max(sizes)
        for name, sizes in shards.items()
    )
    assert used <= cache
    assert all(1 <= found[name] <= len(sizes) for name, sizes in shards.items())


@pytest.fixture
def opened(whole, encoder):
    def opened(**given) -> Stream:
        return open_stream(whole, encoder, **given)

    return opened


def test_a_mixture_of_a_checkpoint_is_taken_as_it_is(opened):
    first = opened(mixing=Mixing(temperature=3.0), cache_bytes=20_000)
    kept = msgspec.json.decode(msgspec.json.encode(first.mixture), type=Mixture)
    again = opened(mixture=kept)  # asked for by number, in a large cache
    assert again.mixture == first.mixture != opened().mixture
    positions = np.arange(200)
    for one, two in zip(first.picked(positions), again.picked(positions), strict=True):
        assert (one.source, one.sample, one.passes) == (two.source, two.sample, two.passes)


def test_a_mixture_of_a_checkpoint_says_the_order_of_sources_too(opened):
    kept = opened().mixture
    turned = opened(sources=dict(reversed(SOURCES.items())), mixture=kept)
    assert turned.names == tuple(SOURCES)
    positions = np.arange(200)
    for one, two in zip(opened().picked(positions), turned.picked(positions), strict=True):
        assert (one.source, one.sample) == (two.source, two.sample)


def test_the_order_follows_from_windows_and_seed_alone(opened):
    def order(**given) -> list[tuple[str, int]]:
        return [(p.source, p.sample) for p in opened(**given).picked(np.arange(94))]

    assert order() == order(total=40, pool=40) == order(max_tokens=64, total=2, pool=2)
    assert order() != order(seed=2)
    narrow = order(cache_bytes=1)
    assert narrow != order() and Counter(narrow) != 0


def test_tokens_come_in_the_shares_that_were_asked_for(opened):
    weights = {"coco": 0.5, "vqa": 0.2, "talk": 0.2, "robots": 0.1}
    sources = {
        name: SourceSpec(corpus=spec.corpus, turns=spec.turns, weight=weights[name])
        for name, spec in SOURCES.items()
    }
    stream = opened(sources=sources, mixing=Mixing(unit="tokens"))
    tokens = Counter[str]()
    for begin in range(0, 20_000, 4000):
        rows = stream.rows(np.arange(begin, begin + 4000))
        learnt = (rows.fields["labels"] != -100).sum(1)
        for number, name in enumerate(stream.names):
            tokens[name] += int(learnt[rows.fields["corpus"] == number].sum())
    for name, weight in weights.items():
        assert tokens[name] / tokens.total() == pytest.approx(weight, abs=2e-3)
    for name, part in stream.mixture.parts.items():
        assert part.tokens == pytest.approx(stream.totals[name].targets)
        assert Fraction(part.tokens).limit_denominator(60) == pytest.approx(part.tokens)
