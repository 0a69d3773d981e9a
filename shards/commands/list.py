"""`python -m shards list DIR`."""

from typing import Annotated

import typer

from shards.commands import Folder, failure_told


def list_shards(
    folder: Folder,
    corpus: Annotated[str | None, typer.Option(help="Only its tars, such as coco.")] = None,
    split: Annotated[str | None, typer.Option(help="train, val or test.")] = None,
    brace: Annotated[
        bool, typer.Option("--brace", help="One brace expression, not a line a tar.")
    ] = False,
) -> None:
    """Print what webdataset.WebDataset wants: the sealed tars, in order."""
    from shards import interop

    with failure_told("list"):
        tars = interop.tars(folder, corpus, split)
        said = interop.braces(folder, tars) if brace else "\n".join(map(str, tars))
    typer.echo(said)
