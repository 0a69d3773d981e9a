"""`python -m shards reshard DIR PLACE --bits N`."""

from typing import Annotated

import typer
from rich.console import Console

from shards.commands import Folder
from shards.reader import DamageError


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
