"""`python -m shards validate DIR`."""

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from manifests.seal import Seal, SealError
from shards.commands import Folder
from shards.validate import validate as problems_of


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
