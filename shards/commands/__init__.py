"""What an operator types, one file a command; `shards/cli.py` puts them together."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(help="A folder that holds a dataset.json.")]
Where = Annotated[
    str | None,
    typer.Option(help="Only rows for which this SQL holds: \"corpus = 'coco' and width > 500\"."),
]
Seed = Annotated[int, typer.Option(help="Another seed, other records.")]


@contextmanager
def failure_told(command: str) -> Iterator[None]:
    """Make of what a user can mend a line on stderr and exit code 1."""
    try:
        yield
    except (ValueError, OSError) as error:
        typer.echo(f"{command} failed: {error}", err=True)
        raise typer.Exit(1) from None
