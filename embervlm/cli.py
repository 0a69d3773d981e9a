"""The `embervlm` command."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from embervlm.config import PRESETS, EmberVLMConfig

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """Look at a scene, read a task, choose robots for it."""


@app.command()
def params(
    config: Annotated[str, typer.Option(help=f"One of: {', '.join(PRESETS)}.")] = "flagship",
    checkpoint: Annotated[
        Path | None, typer.Option(help="A saved model's directory, in place of --config.")
    ] = None,
) -> None:
    """Count a model's parameters, component by component. Downloads nothing."""
    try:
        if checkpoint is not None:
            name, chosen = str(checkpoint), EmberVLMConfig.from_pretrained(checkpoint)
        else:
            name, chosen = config, EmberVLMConfig.preset(config)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    import torch

    from embervlm.model import EmberVLM

    # Shapes without memory; and nothing is frozen that has no weights.
    with torch.device("meta"):
        counts = EmberVLM(chosen.replace(encoder_frozen=False)).num_parameters()
    total = counts.pop("total")
    table = Table(title=f"Parameters of {name}")
    table.add_column("component")
    table.add_column("parameters", justify="right")
    for component, count in counts.items():
        table.add_row(component, f"{count:,}")
    table.add_section()
    table.add_row("total without reasoning", f"{total - counts['reasoning']:,}")
    table.add_row("total with reasoning", f"{total:,}")
    Console().print(table)
