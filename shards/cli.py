"""What an operator types: `python -m shards validate DIR`. A command is a file in `commands/`."""

import typer

from shards.commands.diff import diff
from shards.commands.inspect import inspect
from shards.commands.list import list_shards
from shards.commands.preview import preview
from shards.commands.repair import repair
from shards.commands.reshard import reshard
from shards.commands.sample import sample
from shards.commands.sidecars import sidecars
from shards.commands.stats import stats
from shards.commands.validate import validate
from shards.commands.verify import verify

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look after sealed shards.")
for command in (validate, verify, repair, reshard, inspect, stats, sample, diff, preview, sidecars):
    app.command()(command)
app.command("list")(list_shards)
