"""What a mixture comes to over a run, in numbers: nothing here reads a sample.

All follows from counts that the token caches keep, and from the schedule, which is exact.
"""

from collections.abc import Iterator

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shards.schedule import Exhausted
from shards.stream import Stream
from shards.tables import printable
from train.stage import Stage


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One source over a run.

    Of a pass, under `rotate` in the mean of passes: `records`, `samples`, `turns` and `targets`,
    which are tokens that are learnt; `truncated` threads do not fit. Of the run: `drawn` samples,
    which are `passes`, with `drawn_targets`. Shares are 0 to 1: `asked` and `rounded` of samples,
    the latter `share` of a period, `target_share` of target tokens. `whole` is the step that ends
    the first pass, `repeats` the one that draws a sample again; None where the run ends before.
    """

    records: int
    samples: int
    turns: float
    targets: float
    truncated: int
    weight: float
    asked: float
    share: int
    rounded: float
    drawn: int
    passes: float
    drawn_targets: float
    target_share: float
    whole: int | None
    repeats: int | None


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """Samples in a second, and what they were measured of, as a sentence goes on."""

    samples_per_s: float
    of: str


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """A run before it is begun: `steps` of `batch` samples in `pools` pools, each shared by at most
    `most_ranks` ranks. `ends`: whether the mixture ends there, of what is `exhausted`."""

    stage: str
    root: str
    steps: int
    batch: int
    pools: int
    most_ranks: int
    samples: int
    targets: float
    period: int
    exhausted: Exhausted
    ends: bool
    sources: dict[str, Source]
    rate: Rate
    hours: float


def forecast(stage: Stage, stream: Stream, rate: Rate) -> Forecast:
    """Count a run. Raises ValueError for one that its warm-up is too long for."""
    schedule, batch = stream.schedule, stage.batch.global_
    steps = stage.length(sum(stream.mixture.lengths.values()), stream.steps)
    drawn = steps * batch
    if schedule.length is not None:
        drawn = min(drawn, schedule.length)
    given = schedule.given(drawn)
    totals = stream.totals
    learnt = {
        name: given[name] / part.samples * totals[name].targets
        for name, part in stream.mixture.parts.items()
    }

    def step_of(name: str, sample: int) -> int | None:
        position = schedule.reaches(name, sample)
        return None if position is None or position >= drawn else position // batch

    sources = {
        name: Source(
            records=totals[name].records,
            samples=part.samples,
            turns=totals[name].turns,
            targets=totals[name].targets,
            truncated=totals[name].truncated,
            weight=stage.sources[name].weight,
            asked=part.asked,
            share=part.share,
            rounded=part.share / schedule.period,
            drawn=given[name],
            passes=given[name] / part.samples,
            drawn_targets=learnt[name],
            target_share=learnt[name] / (sum(learnt.values()) or 1),
            whole=step_of(name, part.samples - 1),
            repeats=step_of(name, part.samples),
        )
        for name, part in stream.mixture.parts.items()
    }
    return Forecast(
        stage=stage.name,
        root=stream.dataset.seal.root,
        steps=steps,
        batch=batch,
        pools=stage.batch.pools,
        most_ranks=stage.batch.pool,
        samples=drawn,
        targets=sum(learnt.values()),
        period=schedule.period,
        exhausted=stream.mixture.exhausted,
        ends=drawn == schedule.length,
        sources=sources,
        rate=rate,
        hours=drawn / rate.samples_per_s / 3600,
    )


def show(told: Forecast, console: Console) -> None:
    """Print a forecast: two tables, and what they come to."""
    heads = ("source", "records", "samples", "turns", "target tokens", "cut threads")
    rows = [
        (name, *(f"{n:,.0f}" for n in (s.records, s.samples, s.turns, s.targets, s.truncated)))
        for name, s in told.sources.items()
    ]
    console.print(_table("In a pass", heads, rows), "")
    heads = ("source", "weight", "asked", "share", "rounded", "samples", "passes", "target tokens")
    heads += ("of all", "repeats at step")
    rows = [
        (
            name,
            f"{s.weight:g}",
            f"{s.asked:.3%}",
            f"{s.share}/{told.period}",
            f"{s.rounded:.3%}",
            f"{s.drawn:,}",
            f"{s.passes:.2f}",
            f"{s.drawn_targets:,.0f}",
            f"{s.target_share:.1%}",
            "never" if s.repeats is None else f"{s.repeats:,}",
        )
        for name, s in told.sources.items()
    ]
    console.print(_table("In the run", heads, rows), "")
    for line in _summary(told):
        console.print(line, markup=False, soft_wrap=True)


def _summary(told: Forecast) -> Iterator[str]:
    pools = "one pool" if told.pools == 1 else f"{told.pools} pools"
    yield (
        f"stage {told.stage}: {told.steps:,} steps of {told.batch:,} samples in {pools} of "
        f"{told.most_ranks}, which up to {told.most_ranks} ranks share"
    )
    yield f"in all {told.samples:,} samples with {told.targets:,.0f} target tokens"
    yield _end(told)
    yield f"{_time(told.hours)} at {told.rate.samples_per_s:,.1f} samples/s, {told.rate.of}"


def _end(told: Forecast) -> str:
    if told.exhausted == "repeat":
        return "exhausted: repeat; a source that has been through begins anew (steps count from 0)"
    if told.exhausted == "stop":
        ends = "the mixture ends with the first source that has been through"
    else:
        ends = "a source that has been through is left out, and the mixture ends with the last"
    whole = {name: s.whole for name, s in told.sources.items() if s.whole is not None}
    through = ", ".join(f"{name} in step {step:,}" for name, step in whole.items())
    return f"exhausted: {told.exhausted}; {ends}: {through or 'none within this run'}"


def _time(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} hours"
    return f"{hours * 60:.1f} minutes" if hours * 60 >= 1 else f"{hours * 3600:.1f} seconds"


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    """Names to the left, numbers to the right; nothing is cut."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    table.pad_edge, table.padding = False, (0, 2, 0, 0)
    for head in heads:
        justify = "left" if head == heads[0] else "right"
        table.add_column("\n".join(head.split()), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
