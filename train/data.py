"""What a stage reads: its data set, wherever that is, and the stream of its mixture."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from embervlm import Tokenizer
from manifests.settings import SettingsError
from shards.mixing import Mixture
from shards.reader import Dataset
from shards.stream import Stream
from train.distributed import Place, agree, wait_long
from train.stage import Stage
from train.track import TrainingError


def open_data(stage: Stage, data: Path | str, place: Place) -> Dataset:
    """The data set, in a folder or at a URL; all ranks see the same."""
    cache = Path(stage.cache).expanduser() if stage.cache else None
    dataset = Dataset(data, cache, int(stage.cache_gb * 1e9))
    if not agree(dataset.seal.root, place):
        raise TrainingError(
            f"{data} was replaced by a newer data set while ranks opened it; run the same again"
        )
    return dataset


def open_stream(
    stage: Stage,
    dataset: Dataset,
    tokenizer: Tokenizer,
    place: Place,
    console: Console,
    mixture: Mixture | None = None,
) -> Stream:
    """The stage's stream, `mixture` as it was resolved before; each machine's first rank makes
    caches that are missing. Raises SettingsError for a source that the data set lacks."""
    places = {name: (spec.corpus or name, spec.split) for name, spec in stage.sources.items()}
    if absent := {n: "/".join(p) for n, p in places.items() if p not in dataset.names}:
        there = ", ".join("/".join(pair) for pair in dataset.names)
        without = " ".join(f"--set sources.{name}=null" for name in absent)
        sources = "sources" if len(absent) > 1 else "source"
        raise SettingsError(
            f"{sources} {', '.join(absent)}: {dataset.files.where} has no "
            f"{', '.join(absent.values())}; it has {there}. Build what is missing, or leave it out "
            f"with {without}"
        )

    def stream(progress: Callable[[str, int], None] = _untold) -> Stream:
        return Stream(
            dataset,
            stage.sources,
            tokenizer,
            seed=stage.seed,
            batching=stage.batch,
            max_tokens=stage.max_tokens,
            mixing=stage.mixing,
            cache_bytes=int(stage.cache_gb * 1e9),
            mixture=mixture,
            checked=place.leads_host,
            progress=progress,
        )

    if place.leads_host:
        with _progress(stage, dataset, console) as progress:
            made = stream(progress)
        wait_long(place)
    else:
        wait_long(place)
        made = stream()
    resolved = hashlib.sha256(msgspec.json.encode(made.mixture)).hexdigest()
    if not agree(resolved, place):
        raise TrainingError("ranks have resolved different mixtures: is the code on all the same?")
    made.positions(0, place.rank, place.world)  # too many ranks for a pool is said before the model
    return made


def _untold(source: str, records: int) -> None:
    pass


@contextmanager
def _progress(
    stage: Stage, dataset: Dataset, console: Console
) -> Iterator[Callable[[str, int], None]]:
    """A bar for each source whose token cache is being made; it goes when all are."""
    columns = (TextColumn("tokens of {task.description}"), BarColumn(), MofNCompleteColumn())
    quiet = not console.is_terminal
    bars: dict[str, TaskID] = {}
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=quiet
    ) as progress:

        def advance(name: str, records: int) -> None:
            if name not in bars:
                spec = stage.sources[name]
                total = len(dataset.source(spec.corpus or name, spec.split))
                bars[name] = progress.add_task(name, total=total)
            progress.advance(bars[name], records)

        yield advance
