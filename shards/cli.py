"""What an operator types: `python -m shards validate DIR`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from manifests.seal import Seal, SealError
from shards.reader import DamageError
from shards.validate import validate as problems_of

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look after sealed shards.")
Folder = Annotated[Path, typer.Argument(help="A folder that holds a dataset.json.")]


@app.callback()
def shards() -> None:
    """Look after sealed shards."""


@app.command()
def validate(folder: Folder) -> None:
    """Read every byte and compare it with the seal: one line a problem, exit code 0 or 1."""
    problems = 0
    columns = (TextColumn("[progress.description]{task.description}"), BarColumn())
    columns += (MofNCompleteColumn(), TimeElapsedColumn())
    try:
        total = len(Seal.read(folder).shards)
    except SealError:
        total = 0  # validate itself says what is wrong
    console = Console(stderr=True)
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task("shards", total=total)
        for problem in problems_of(folder, lambda shard: progress.advance(task)):
            problems += 1
            typer.echo(problem)
    if problems:
        typer.echo(f"{problems} problem(s) in {folder}", err=True)
        raise typer.Exit(1)
    sealed = Seal.read(folder)
    records = sum(shard.records for shard in sealed.shards)
    typer.echo(f"{folder}: {len(sealed.shards)} shards, {records:,} records, root {sealed.root}")


@app.command()
def reshard(
    folder: Folder,
    place: Annotated[str, typer.Argument(help="A corpus and split, such as coco/train.")],
    bits: Annotated[int, typer.Option(help="It gets 2**bits shards.")],
) -> None:
    """Divide the shards of a place into more, without the sources; no other record moves."""
    from shards.reshard import reshard as divide

    console = Console(stderr=True)
    try:
        with console.status(f"dividing {place}") as status:
            sealed = divide(folder, place, bits, lambda shard: status.update(f"read {shard.tar}"))
    except (ValueError, DamageError, OSError) as error:
        typer.echo(f"reshard failed: {error}", err=True)
        raise typer.Exit(1) from None
    count = len(sealed.select(*place.split("/")))
    typer.echo(f"{folder}: {place} has {count} shards (bits {bits}), root {sealed.root}")
