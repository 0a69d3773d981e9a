"""What an operator types, one file a command; `shards/cli.py` puts them together."""

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(help="A folder that holds a dataset.json.")]
