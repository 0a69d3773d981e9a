"""The `embervlm` command."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from embervlm.config import COMPONENTS, PRESETS, EmberVLMConfig

app = typer.Typer(no_args_is_help=True, add_completion=False)

Preset = Annotated[str, typer.Option("--config", help=f"One of: {', '.join(PRESETS)}.")]
Saved = Annotated[
    Path | None, typer.Option("--checkpoint", help="A saved model, in place of --config.")
]
# Which component the lines of `EmberVLM.num_parameters` are of, where the name does not say it.
_COMPONENT = {
    "vision encoder": "encoder",
    "token embeddings": "language",
    "positions": "language",
    "language layers": "language",
}
_LATER = ("reasoning", "plan head")
_ASIDE = ("contrast",)  # learns to see with, and finds pictures; answers need it not


@app.callback()
def main() -> None:
    """Look at a scene, read a task, choose robots for it."""


@app.command()
def params(
    stages: Annotated[
        list[Path] | None,
        typer.Argument(help="Stages' YAML files: a column each, what they train."),
    ] = None,
    config: Preset = "flagship",
    checkpoint: Saved = None,
) -> None:
    """Count a model's parameters, by component and by stage. Downloads nothing."""
    try:
        name, chosen = _chosen(config, checkpoint)
        trained = [_trained(path) for path in stages or ()]
    except (ValueError, OSError, yaml.YAMLError) as error:
        raise typer.BadParameter(str(error)) from error
    import torch

    from embervlm.model import EmberVLM

    with torch.device("meta"):  # shapes without memory
        counts = EmberVLM(chosen).num_parameters()
    Console().print(_table(name, counts, trained))


@app.command()
def quickstart(config: Preset = "flagship", checkpoint: Saved = None) -> None:
    """Make a model, count it and run it once. Downloads nothing."""
    from embervlm import quickstart
    from embervlm.model import EmberVLM

    try:
        _, chosen = _chosen(config, checkpoint)
        if checkpoint is None:  # a frozen encoder would have to be downloaded
            model = EmberVLM(chosen.replace(encoder_frozen=False))
        else:
            model = EmberVLM.from_pretrained(checkpoint)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    source = "random; none were downloaded" if checkpoint is None else f"of {checkpoint}"
    for line in quickstart.quickstart(model, source, chosen.encoder_frozen):
        typer.echo(line)


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="A saved model.")],
    to: Annotated[str, typer.Option("--to", help="The weights' type: int8 or fp16.")],
    out: Annotated[Path, typer.Option("--out", help="A new directory.")],
) -> None:
    """Write a saved model in fewer bytes; from_pretrained reads it as any other."""
    from embervlm import quantise

    try:
        exported = quantise.export(checkpoint, to, out)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"{out}: {exported.after:,} bytes in {to}, {exported.before:,} in fp32")
    typer.echo(f"Largest relative error of a tensor: {exported.error:.2%} ({exported.worst})")


def _chosen(config: str, checkpoint: Path | None) -> tuple[str, EmberVLMConfig]:
    if checkpoint is None:
        return config, EmberVLMConfig.preset(config)
    return str(checkpoint), EmberVLMConfig.from_pretrained(checkpoint)


def _trained(path: Path) -> tuple[str, set[str]]:
    """A stage's name and what it trains. ValueError if its file does not say."""
    stage = yaml.safe_load(path.read_text(encoding="utf-8"))
    listed = stage.get("trainable") if isinstance(stage, dict) else None
    if not isinstance(listed, list) or set(listed) - set(COMPONENTS):
        raise ValueError(
            f"{path}: trainable is {listed}; expected a list of {', '.join(COMPONENTS)}"
        )
    return str(stage.get("name", path.stem)), set(listed)


def _table(name: str, counts: dict[str, int], trained: Sequence[tuple[str, set[str]]]) -> Table:
    """`trained`: for each stage its name and the components it trains."""
    about = "A stage's column: what it trains." if trained else None
    table = Table(title=f"Parameters of {name}", caption=about)
    table.add_column("component")
    table.add_column("parameters", justify="right")
    for stage, _ in trained:
        table.add_column(stage, justify="right")
    total = counts.pop("total")
    sums = [0] * len(trained)
    for line, count in counts.items():
        learnt = [_COMPONENT.get(line, line.replace(" ", "_")) in parts for _, parts in trained]
        sums = [old + count * here for old, here in zip(sums, learnt, strict=True)]
        table.add_row(line, f"{count:,}", *(f"{count:,}" if here else "" for here in learnt))
    table.add_section()
    answering = total - sum(counts[part] for part in _ASIDE)
    table.add_row("without reasoning", f"{answering - sum(counts[part] for part in _LATER):,}")
    table.add_row("with reasoning", f"{answering:,}")
    shares = (f"{number:,} ({number / total:.1%})" for number in sums)
    table.add_row("in all, contrast too", f"{total:,}", *shares)
    return table
