"""What an operator types: `python -m shards validate DIR`. A command is a file in `commands/`."""

import typer

from shards.commands.reshard import reshard
from shards.commands.validate import validate

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look after sealed shards.")
for command in (validate, reshard):
    app.command()(command)
