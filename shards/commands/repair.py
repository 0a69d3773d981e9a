"""`python -m shards repair DIR`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from shards.commands import Folder


def repair(
    folder: Folder,
    config: Annotated[
        Path | None, typer.Option(help="What it was built with, if its build.json is gone.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="root=DIR, if the sources have moved.")
    ] = None,
) -> None:
    """Make damaged shards anew from the sources, and only these: the root stays the same."""
    command = [sys.executable, "-m", "pipelines", "repair"]
    command += ["--config", str(config)] if config else []
    for said in override or []:
        command += ["--set", said]
    command += ["--", str(folder)]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # what reads sources is not imported here, but run instead
