"""What `make bench NAME=stream` tells: tables, ratios beside what is asked, and a line of JSON."""

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from harness.mixtures import Mixture
from rich.console import Console
from rich.table import Table


class Case(NamedTuple):
    """What is measured: the shards, who reads them, and how."""

    variant: str
    who: str
    how: str

    def __str__(self) -> str:
        return f"{self.variant} {self.who}: {self.how}"


class Measured(NamedTuple):
    """Samples a second, and how many cores others kept busy meanwhile; seconds from the start of
    the process until torch was imported, and until the first batch was there; MB of memory. A bare
    decoder has the first two alone."""

    rate: float
    others: float
    imported: float | None = None
    first: float | None = None
    pss: float | None = None


QUIET = 0.25  # cores that others may keep busy
_SHOWN = {"imported": ".2f", "first": ".2f", "pss": ",.0f", "others": ".2f"}
Found = dict[Case, list[Measured | None]]  # round by round; None where it failed


class _Ratio(NamedTuple):
    """`name`: what over what; its median, least and most over the rounds; what is asked of it."""

    name: str
    of: str
    median: float
    least: float
    most: float
    asked: float | None
    at_most: bool = False

    @property
    def verdict(self) -> str:
        if self.asked is None:
            return ""
        below = self.median <= self.asked
        return "holds" if below == self.at_most or self.median == self.asked else "NOT YET"


def report(
    console: Console,
    found: Found,
    mixtures: Mapping[str, Mixture | None],
    failed: Mapping[str, str],
) -> None:
    """Print it all, the JSON last."""
    measured = {case: [one for one in said if one] for case, said in found.items()}
    _print_rates(console, {case: said for case, said in measured.items() if said})
    mixed = {peer: one for peer, one in mixtures.items() if one}
    if mixed:
        _print_mixtures(console, mixed)
    for name, why in failed.items():
        console.print(f"not measured: {name}: {why}", markup=False)
    disturbed = [
        str(case)
        for case, said in measured.items()
        if said and statistics.median(one.others for one in said) > QUIET
    ]
    if disturbed:
        console.print(f"rough, for the machine was not quiet: {len(disturbed)} of {len(measured)}")
    ratios = list(_ratios({case: said for case, said in found.items() if any(said)}))
    table = Table("ratio", "of", "median", "least", "most", "asked", "")
    for one in ratios:
        shown = (f"{value:.3f}" for value in (one.median, one.least, one.most))
        asked = "" if one.asked is None else f"{'<=' if one.at_most else '>='} {one.asked:g}"
        table.add_row(one.name, one.of, *shown, asked, one.verdict)
    if ratios:
        console.print(table)
    found_all = {
        "bench": "stream",
        "rounds": max(map(len, found.values()), default=0),
        "ratios": {one.name: round(one.median, 3) for one in ratios},
        "medians": {str(case): _medians(said) for case, said in measured.items() if said},
        "mixtures": {peer: one._asdict() for peer, one in mixed.items()},
        "not_measured": dict(failed),
        "disturbed": disturbed,
    }
    print(json.dumps(found_all))


def _medians(said: list[Measured]) -> dict[str, float]:
    """The median over the rounds of each thing measured."""
    found: dict[str, float] = {}
    for name in Measured._fields:
        values = [getattr(one, name) for one in said]
        if None not in values:
            found[name] = round(statistics.median(values), 2)
    return found


def _print_rates(console: Console, measured: Mapping[Case, list[Measured]]) -> None:
    for variant in dict.fromkeys(case.variant for case in measured):
        table = Table(
            variant, "", "samples/s", "least", "most", "torch s", "first batch s", "MB", "others"
        )
        for column in table.columns[2:]:
            column.justify = "right"
        for case, said in measured.items():
            if case.variant == variant:
                rates, medians = [one.rate for one in said], _medians(said)
                shown = [f"{rate:,.0f}" for rate in (medians["rate"], min(rates), max(rates))]
                for name, form in _SHOWN.items():
                    shown.append(format(medians[name], form) if name in medians else "")
                table.add_row(case.who, case.how, *shown)
        console.print(table)


def _print_mixtures(console: Console, mixed: Mapping[str, Mixture]) -> None:
    draws = next(iter(mixed.values())).draws
    table = Table(
        f"{draws:,} draws, .6/.3/.1",
        "largest error, samples",
        "at 100 prefixes",
        "same seed, same order",
        "resumed: next batches equal",
        "state, bytes",
    )
    for peer, one in mixed.items():
        resumed = "none" if one.resumed is None else f"{one.resumed} of {one.batches}"
        state = "none" if one.state is None else f"{one.state:,}"
        repeatable = "yes" if one.repeatable else "no"
        errors = (f"{one.error:.1f}", f"{one.error_at_100:.1f}")
        table.add_row(peer, *errors, repeatable, resumed, state)
    console.print(table)


def _ratios(found: Found) -> Iterator[_Ratio]:
    """Those of which both sides were measured."""

    def best(cases: Iterable[Case]) -> Case | None:
        return max(cases, key=lambda case: _medians(_there(found[case]))["rate"], default=None)

    def ratio(
        name: str, above: Case | None, below: Case | None, asked: float | None
    ) -> Iterator[_Ratio]:
        if above is None or below is None:
            return
        pairs = zip(found[above], found[below], strict=True)
        each = [over.rate / under.rate for over, under in pairs if over and under]
        if each:
            of = f"{above.how} / {below.who}: {below.how}"
            yield _Ratio(name, of, statistics.median(each), min(each), max(each), asked)

    def plain(variant: str) -> list[Case]:
        """Ours by every kind of filling, and nothing special."""
        return [c for c in found if c[:2] == (variant, "ours") and "," not in c.how]

    def peers(variant: str, how: str) -> list[Case]:
        """All that are used through PyTorch, by what their samples are."""
        apart = ("ours", "bare", "dali")
        others = [c for c in found if c.variant == variant and c.who not in apart]
        return [c for c in others if c.how == how]

    def named(who: str, variant: str, how: str = "") -> list[Case]:
        return [c for c in found if c[:2] == (variant, who) and c.how.endswith(how)]

    squash, keep = best(plain("squash")), best(plain("keep"))
    yield from ratio("squash_over_best_torch_peer", squash, best(peers("squash", "fast")), 2)
    lean = best(peers("squash", "fast, HWC"))
    yield from ratio("squash_over_best_torch_peer_hwc", squash, lean, None)
    yield from ratio("squash_over_dali", squash, best(named("dali", "squash")), 1.5)
    yield from ratio("squash_over_bare", squash, best(named("bare", "squash")), 0.6)
    yield from ratio("keep_over_best_peer", keep, best(peers("keep", "fast")), 1.4)
    yield from ratio("keep_over_best_peer_hwc", keep, best(peers("keep", "fast, HWC")), None)
    yield from ratio("keep_over_bare", keep, best(named("bare", "keep")), 0.8)
    one = best(named("ours", "squash", "one corpus"))
    three = best(named("ours", "squash", "three corpora"))
    yield from ratio("three_corpora_over_one", three, one, 0.95)
    yield from ratio(
        "verified_over_unverified", one, best(named("ours", "squash", "unverified")), 0.97
    )
    for case in (squash, keep):
        if case:
            waits = [(one.first or 0) - (one.imported or 0) for one in _there(found[case])]
            spread = statistics.median(waits), min(waits), max(waits)
            name = f"{case.variant}_first_batch_after_torch_s"
            yield _Ratio(name, case.how, *spread, 1.5, at_most=True)


def _there(said: list[Measured | None]) -> list[Measured]:
    return [one for one in said if one]
