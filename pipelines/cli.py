"""What a user types: `python -m pipelines build --config C --out D`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from manifests.seal import Seal
from pipelines import config as configs
from pipelines.robots.choose import MULTI, SINGLE
from pipelines.sheet import Show

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Turn raw corpora into shards.")


@app.command()
def build(
    config: Annotated[Path, typer.Option(help="A YAML file such as pipelines/configs/demo.yaml.")],
    out: Annotated[Path, typer.Option(help="The data set's folder.")],
    plain: Annotated[bool, typer.Option("--plain", help="Without Prefect.")] = False,
    override: Annotated[list[str] | None, typer.Option("--set", help="root=data/base_vlm")] = None,
) -> None:
    """Build and seal a data set, by the Prefect flow build-shards."""
    console, overrides = Console(stderr=True), override or []
    try:
        checked = configs.load(config, overrides)
        if plain:
            from pipelines.build import build as build_plain
            from pipelines.engine import Threads

            build_plain(checked, out, Threads(checked.workers), console)
        else:
            from pipelines import flows

            flows.run(str(config), str(out), overrides)
    except RuntimeError as error:  # of Prefect: no server could be reached or started
        if plain:
            raise
        typer.echo(f"build failed in Prefect: {error}. Without it: add --plain", err=True)
        raise typer.Exit(1) from None
    except (ValueError, OSError) as error:  # ours carry the place and the mend; the rest, a reason
        typer.echo(f"build failed: {error}", err=True)
        raise typer.Exit(1) from None
    seal = Seal.read(out)
    console.print(_ledger(seal))
    console.print(f"sealed {out} with root {seal.root}", highlight=False, soft_wrap=True)


@app.command()
def samples(
    out: Annotated[Path, typer.Option(help="Where the small base_vlm tree goes.")],
    images: Annotated[int, typer.Option(help="Pictures of COCO; GQA has its own besides.")] = 600,
    seed: Annotated[int, typer.Option(help="Another seed, other pictures.")] = 1,
) -> None:
    """Draw small corpora in the official COCO, VQA v2 and GQA layouts, with true annotations."""
    from pipelines.samples import write_samples

    counts = write_samples(out, images=images, seed=seed)
    typer.echo(f"{out}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items()))


@app.command()
def scenarios(
    seed: Annotated[
        int | None, typer.Option(help="Write a set; another seed, another set.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The set's folder.")] = Path("robot-selection-dataset"),
    single: Annotated[int, typer.Option(help="Tasks for one robot.")] = SINGLE,
    multi: Annotated[int, typer.Option(help="Tasks for a team.")] = MULTI,
    audit: Annotated[
        bool, typer.Option("--audit", help="Measure what words or picture give.")
    ] = False,
    tasks: Annotated[
        Path | None, typer.Option(help="A JSON of people's own tasks to judge its language on.")
    ] = None,
) -> None:
    """Write the robot-selection set and its card, or audit the one that is there."""
    from pipelines import card

    console = Console(stderr=True)
    if seed is None and not audit and tasks is None:
        raise typer.BadParameter("say --seed N to write a set, --audit or --tasks to judge one")
    try:
        if seed is not None:
            counts = card.write_set(out, seed, single, multi, console)
            typer.echo(f"{out}: {counts['single']:,} single and {counts['multi']:,} multi")
        failed = (seed is not None or audit) and card.write_card(out, audit, console)
        if tasks is not None:
            from pipelines.transfer import transfer

            found = transfer(out, tasks)
            typer.echo(f"{tasks}: " + ", ".join(f"{k} {v:.3g}" for k, v in found.items()))
    except (ValueError, OSError) as error:
        typer.echo(f"scenarios failed: {error}", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(1 if failed else 0)


@app.command()
def scenes(
    sheet: Annotated[Path, typer.Option(help="Where the contact sheet goes, a PNG.")],
    data: Annotated[Path, typer.Option(help="The set's folder.")] = Path("robot-selection-dataset"),
    show: Annotated[Show, typer.Option(help="Single tasks, teams, or whole pairs.")] = "single",
    count: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 30,
    seed: Annotated[int, typer.Option(help="Another seed, other records.")] = 1,
) -> None:
    """Draw a contact sheet: scenes with their tasks and answers below them."""
    from pipelines.sheet import contact_sheet

    try:
        picture = contact_sheet(data, show, count, seed)
        picture.save(sheet)
    except (ValueError, OSError) as error:
        typer.echo(f"scenes failed: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{sheet}: {picture.width} x {picture.height}")


def _ledger(seal: Seal) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    names = ("read", "written", "quarantined", "duplicate", "held back", "images", "unannotated")
    table.add_column("annotations", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for count in seal.ledger:
        values = (count.read, count.written, count.quarantined, count.duplicate, count.held_back)
        values += (count.records, count.unannotated)
        table.add_row(f"{count.corpus}/{count.split}", *(f"{value:,}" for value in values))
    return table
