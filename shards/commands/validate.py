"""`python -m shards validate DIR`."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from manifests import seal
from manifests.seal import Seal, SealError
from shards.commands import Folder

WRONG, NO_DATA_SET = 1, 3


def validate(
    folder: Folder,
    quick: Annotated[bool, typer.Option("--quick", help="Only names, sizes and the seal.")] = False,
    foreign: Annotated[
        bool, typer.Option("--foreign", help="Judge a tar, or a folder of tars, that others wrote.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Read every byte and compare it with the seal; one line a problem. Nothing is written.

    Exit code 0: whole. 1: problems were found. 2: wrong command line. 3: no sealed data set there.
    """
    from shards import foreign as others
    from shards import unlisted
    from shards.validate import unfinished
    from shards.validate import validate as problems_of

    if quick and foreign:
        raise typer.BadParameter("--quick compares with a seal, which --foreign has none of")
    begun = time.monotonic()
    said: dict[str, Any] = {"folder": str(folder)}
    try:
        if foreign:
            nbytes = _measure(*others.tars(folder))
            said |= {"root": None, "shards": len(nbytes), "records": None, "bytes": sum(nbytes)}
        else:
            said |= _sealed(folder)
        with bytes_bar("validate", said["bytes"]) as advance:
            found = []
            problems = (
                others.judge(folder, advance)
                if foreign
                else problems_of(folder, advance, quick=quick)
            )
            for problem in problems:
                found.append(problem)
                if not as_json:
                    typer.echo(str(problem))
    except FileNotFoundError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(NO_DATA_SET) from None
    except OSError as error:  # also of a helper process that was killed
        typer.echo(f"validate failed: {error}", err=True)
        raise typer.Exit(WRONG) from None
    notes = [] if foreign else [*unfinished(folder), *unlisted.notes(folder)]
    said |= {"seconds": round(time.monotonic() - begun, 3), "whole": not found, "notes": notes}
    if as_json:
        typer.echo(json.dumps(said | {"problems": [msgspec.to_builtins(p) for p in found]}))
    else:
        for note in notes:
            typer.echo(f"note: {note}", err=True)
        if not found:
            typer.echo(_whole(said, quick))
    if found:
        mend = f"; mend: python -m shards repair {folder}" if said["root"] else ""
        typer.echo(f"{len(found)} problem(s) in {folder}{mend}", err=True)
        raise typer.Exit(WRONG)


def _measure(folder: Path, names: list[str]) -> list[int]:
    return [(folder / name).stat().st_size for name in names]


def _sealed(folder: Path) -> dict[str, Any]:
    """What the seal says. Raises FileNotFoundError without one; one that is damaged is a problem,
    and says nothing here."""
    try:
        sealed = Seal.read(folder)
    except SealError as error:
        if not (folder / seal.NAME).is_file():
            raise FileNotFoundError(str(error)) from None
        return {"root": None, "shards": 0, "records": 0, "bytes": 0}
    return {
        "root": sealed.root,
        "shards": len(sealed.shards),
        "records": sum(shard.records for shard in sealed.shards),
        "bytes": sum(shard.nbytes for shard in sealed.shards),
    }


def sealed_bytes(folder: Path) -> int:
    """Bytes of all tars by the seal. Raises SealError."""
    return sum(shard.nbytes for shard in Seal.read(folder).shards)


def _whole(said: dict[str, Any], quick: bool) -> str:
    if said["root"] is None:
        return f"{said['folder']}: {said['shards']} tars, nothing wrong"
    counts = f"{said['shards']} shards, {said['records']:,} records"
    verdict = "has the names and sizes of its seal; no tar was read" if quick else "is whole"
    return f"{said['folder']} {verdict}: {counts}, root {said['root']}"


@contextmanager
def bytes_bar(what: str, nbytes: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, if that is a terminal; yields what is to be told of bytes that were read."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    columns += (TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task(what, total=nbytes)
        yield lambda read: progress.advance(task, read)
