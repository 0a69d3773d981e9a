"""See a mixture before paying for it: what it draws, what stood at a step, how Energon has it.

python -m train.mixture show stage1.yaml --data data/shards
python -m train.mixture replay --run runs/align --step 1200
python -m train.mixture export stage1.yaml --data data/shards --out blend.yaml
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import torch
import typer
from rich.console import Console

from embervlm import Tokenizer
from manifests.settings import SettingsError
from shards import blend, tables
from shards.reader import DamageError
from shards.ring import Ring
from shards.stream import Stream
from train import checkpoint as checkpoints
from train import forecast as forecasts
from train import replay as replays
from train import stage as stages
from train import track
from train.checkpoint import CheckpointError, State
from train.data import open_data, open_stream
from train.distributed import Place
from train.forecast import Rate
from train.stage import Stage

ALONE = Place(0, 1, torch.device("cpu"))
_SECONDS = 3.0  # that the loader is measured for
_STEPS = 1_000_000  # more than are filled in these seconds
_WIDE = 1000  # columns for lines that go to a file or a pipe, so that none is folded

app = typer.Typer(no_args_is_help=True, add_completion=False, help="See a mixture beforehand.")

Name = Annotated[str, typer.Argument(metavar="MIXTURE", help="A YAML, or a name of one.")]
Data = Annotated[str, typer.Option(help="Sealed shards.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="optim.lr=1e-4")]
SHARDS = "data/shards"


@app.command()
def show(
    mixture: Name,
    data: Data = SHARDS,
    override: Set = None,
    rate: Annotated[float | None, typer.Option(help="Samples in a second.")] = None,
    run: Annotated[Path | None, typer.Option(help="A run: the rate is the one it logged.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """What each source has, its share, and what is drawn of it; when it repeats; how long it takes.

    Without --rate or --run the loader is measured, alone, on this machine.
    """
    with _failure_told("not shown") as console:
        stage = stages.load(mixture, override or [])
        measured = _known_rate(rate, run)
        stream = _open(stage, data, console)
        told = forecasts.forecast(stage, stream, measured or _loader_rate(stream))
    if as_json:
        typer.echo(tables.as_json(told))
    else:
        with tables.printing() as printed:
            forecasts.show(told, printed)


def _known_rate(rate: float | None, run: Path | None) -> Rate | None:
    """The rate that was given, or that a run logged. Raises SettingsError."""
    if rate is not None and run is not None:
        raise SettingsError("--rate and --run both say how fast it goes; give one of them")
    if rate is not None:
        if not rate > 0:
            raise SettingsError(f"--rate {rate:g}: expected more than 0 samples/s")
        return Rate(samples_per_s=rate, of="as given")
    if run is None:
        return None
    logged = [line["samples_per_s"] for line in track.read(run)]
    if not logged:
        raise SettingsError(
            f"--run {run}: {run / 'log.jsonl'} has no step; give another run, or --rate, or "
            f"neither to measure the loader"
        )
    lines = f"{len(logged)} logged lines" if len(logged) > 1 else "the logged line"
    return Rate(samples_per_s=statistics.median(logged), of=f"the median of {lines} of {run}")


def _loader_rate(stream: Stream) -> Rate:
    """What the ring fills in a few seconds, once its first step is there."""
    if stream.dataset.files.remote:
        raise SettingsError(
            f"{stream.dataset.files.where} would be fetched to measure the loader; say how fast it "
            f"goes with --rate N or --run R"
        )
    samples, clock = 0, [(time.monotonic(), 0)]  # (seconds, samples) as each step comes
    with Ring(stream, range(_STEPS), threads=ALONE.threads) as ring:
        for _, slots in ring:
            samples += sum(map(len, slots))
            clock.append((time.monotonic(), samples))
            if clock[-1][0] - clock[1][0] > _SECONDS:
                break
    (begun, before), (ended, after) = clock[min(1, len(clock) - 2)], clock[-1]
    return Rate(
        samples_per_s=(after - before) / (ended - begun),
        of=f"the loader alone on this machine, {ALONE.threads} threads: training takes no less",
    )


@app.command()
def replay(
    run: Annotated[Path, typer.Option(help="A run, or one of its checkpoints.")],
    step: Annotated[int, typer.Option(help="Which step, past or to come, from 0.")],
    data: Data = SHARDS,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
) -> None:
    """The very records of a step, as its run trained on them or will."""
    with _failure_told("not replayed") as console:
        found = checkpoints.found(run)
        checkpoint = found[-1] if found else run
        state = checkpoints.read_state(checkpoint)
        stage = msgspec.convert(state.stage, Stage)
        stream = _open(stage, data, console, checkpoint, state)
        steps = stage.length(sum(stream.mixture.lengths.values()), stream.steps)
        if not 0 <= step < steps:
            raise SettingsError(f"--step {step}: {run} has steps 0 to {steps - 1}")
        pools = stream.positions(step, 0, 1)
        picked = [(pool, one) for pool, at in enumerate(pools) for one in stream.picked(at)]
    if as_json:
        for pool, one in picked:
            typer.echo(msgspec.json.encode(replays.line(step, pool, one)).decode())
    else:
        printed = Console(highlight=False)
        printed.width = printed.width if printed.is_terminal else _WIDE
        printed.print(replays.table(picked))


@app.command()
def export(
    mixture: Name,
    out: Annotated[Path, typer.Option(help="Where the blend goes: a .yaml outside of the data.")],
    data: Data = SHARDS,
    override: Set = None,
) -> None:
    """The mixture as a blend of Megatron-Energon's, with the rounded shares as its weights."""
    with _failure_told("not exported") as console:
        stage = stages.load(mixture, override or [])
        stream = _open(stage, data, console)
        made = blend.write(stream.dataset, out, stage.sources, stream.mixture)
    for name in made:
        typer.echo(f"{data}/{name}")
    shares = ", ".join(f"{name} {share}" for name, share in stream.mixture.shares.items())
    typer.echo(f"{out}: weights {shares}")
    for sentence in blend.limits(stage.sources, stream.mixture):
        console.print(f"not in it: {sentence}", markup=False, highlight=False, soft_wrap=True)


def _open(
    stage: Stage,
    data: str,
    console: Console,
    checkpoint: Path | None = None,
    state: State | None = None,
) -> Stream:
    """The stage's stream over `data`, as it was when `checkpoint` was saved with `state`.

    Raises SettingsError for a source that the data set lacks, CheckpointError for another data set
    or tokenizer than the checkpoint's, SealError, or what Stream raises.
    """
    dataset = open_data(stage, data, ALONE)
    tokenizer = _tokenizer(stage.model.config.tokenizer)
    if state:
        if state.root != dataset.seal.root:
            raise CheckpointError(
                f"{checkpoint} was trained on the data set with root {state.root[:12]}; {data} has "
                f"root {dataset.seal.root[:12]}. Name the one it was trained on with --data"
            )
        if state.tokenizer != tokenizer.digest:
            raise CheckpointError(
                f"{checkpoint} was trained with tokenizer {state.tokenizer[:12]}; "
                f"{stage.model.config.tokenizer!r} is now {tokenizer.digest[:12]}, with which its "
                f"samples would be others. Put back the one it was trained with"
            )
    mixture = state.mixture if state else None
    return open_stream(stage, dataset, tokenizer, ALONE, console, mixture)


def _tokenizer(source: str) -> Tokenizer:
    """Raises SettingsError for one that is neither here nor to be had."""
    try:
        return Tokenizer.load(source)
    except OSError as error:
        raise SettingsError(
            f"the tokenizer {source!r} cannot be had: {error}. Name a folder that has it with "
            f"--set model.set.tokenizer=FOLDER; to count with the one that is built in, "
            f"--set model.preset=compact"
        ) from error


@contextmanager
def _failure_told(what: str) -> Iterator[Console]:
    """The console for what is not the result; what a user can mend is a line on it and exit 1."""
    console = Console(stderr=True)
    try:
        yield console
    except (ValueError, OSError, DamageError) as error:
        console.print(f"{what}: {error}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
