"""`python -m shards sample DIR --out FOLDER`."""

from pathlib import Path
from typing import Annotated

import typer

from shards import tables
from shards.commands import Folder, Seed, Where, failure_told


def sample(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="A folder that is not there yet.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many records.")] = 10,
    where: Where = None,
    seed: Seed = 1,
    key: Annotated[str | None, typer.Option(help="This record.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Pull records out as files: KEY.jpg, and KEY.json with all that is said and known of it."""
    from shards.sample import sample as pull

    if key is not None and where is not None:
        raise typer.BadParameter("--key names one record; --where is for many")
    with failure_told("sample"):
        keys = pull(folder, out, n, seed, where, key)
    if as_json:
        typer.echo(tables.as_json({"out": str(out), "keys": keys}))
    else:
        typer.echo(f"{out}: {len(keys)} record{'s' * (len(keys) != 1)}, a .jpg and a .json each")
