"""`python -m shards verify --root HEX DIR`."""

from typing import Annotated

import typer

from manifests.seal import SealError
from shards.commands import Folder
from shards.commands.validate import NO_DATA_SET, WRONG, bytes_bar, sealed_bytes


def verify(
    folder: Folder,
    root: Annotated[str, typer.Option(help="The 64 hexadecimal digits that somebody trusted.")],
) -> None:
    """Prove that nothing was changed: compute the root from all bytes and compare it with HEX.

    Exit code 0: proven. 1: not so. 2: wrong command line. 3: no sealed data set there.
    """
    from shards.verify import verify as prove

    try:
        with bytes_bar("verify", sealed_bytes(folder)) as advance:
            proof = prove(folder, root, advance)
    except SealError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(NO_DATA_SET) from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--root") from None
    except OSError as error:
        typer.echo(f"verify failed: {error}", err=True)
        raise typer.Exit(WRONG) from None
    for line in proof.changed:
        typer.echo(line)
    if proof.proven:
        typer.echo(f"{folder}: proven, its bytes have root {proof.found}")
        return
    found = f"have root {proof.found}" if proof.found else "cannot all be read, so have no root"
    typer.echo(f"{folder}: NOT proven: its bytes {found}", err=True)
    typer.echo(f"asked for {proof.wanted}; its dataset.json says {proof.sealed}", err=True)
    if proof.sealed == proof.wanted:
        typer.echo(f"mend: python -m shards repair {folder}", err=True)
    elif proof.changed:
        typer.echo("this is another data set, and shards of it are damaged", err=True)
    else:
        said = "every shard is as its own seal says: this is another data set"
        typer.echo(f"{said}; compare with: python -m shards diff OTHER {folder}", err=True)
    raise typer.Exit(WRONG)
