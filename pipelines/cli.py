"""What a user types: `python -m pipelines build --config C --out D`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from manifests.seal import Seal
from pipelines import config as configs
from pipelines import state
from pipelines.robots.choose import MULTI, SINGLE
from pipelines.sheet import Show

ROOT = Path(__file__).resolve().parents[1]  # the repository
_SET = "Change a setting: root=data/base_vlm; repeat for more."
_LOG_WIDTH = 160  # of what is not a terminal: tables in a log should be whole
app = typer.Typer(no_args_is_help=True, add_completion=False, help="Turn raw corpora into shards.")


def _console(stderr: bool = True) -> Console:
    there = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if there else _LOG_WIDTH)


def _tell_sealed(out: Path, console: Console) -> None:
    """The ledger of what was sealed, why the rest was not, and the root."""
    from pipelines import ledger

    seal = Seal.read(out)
    console.print(ledger.table(seal.ledger))
    for line in ledger.reasons(ledger.read(out, seal)):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    console.print(f"sealed {out} with root {seal.root}", highlight=False, soft_wrap=True)


@app.command()
def build(
    config: Annotated[Path, typer.Option(help="A YAML file such as pipelines/configs/demo.yaml.")],
    out: Annotated[Path, typer.Option(help="The data set's folder.")],
    plain: Annotated[bool, typer.Option("--plain", help="Without Prefect.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read and pack all again, whatever sizes and times say.")
    ] = False,
    override: Annotated[list[str] | None, typer.Option("--set", help=_SET)] = None,
) -> None:
    """Build and seal a data set, by the Prefect flow build-shards; only what changed is packed."""
    console, overrides = _console(), override or []
    try:
        checked = configs.load(config, overrides)
        if not deep:  # looked at before Prefect, polars and the rest are imported
            answer = state.compare(checked, out)
            if answer.said:
                console.print(answer.said, highlight=False, soft_wrap=True, markup=False)
            if answer.same:
                state.tidy(out)
                return
        if plain:
            from pipelines.build import build as build_plain
            from pipelines.engine import Threads

            build_plain(checked, out, Threads(checked.workers), console, deep)
        else:
            from pipelines import flows

            flows.run(str(config), str(out), overrides, deep)
    except KeyboardInterrupt:
        typer.echo("stopped; what was sealed before stays as it was", err=True)
        raise typer.Exit(130) from None
    except RuntimeError as error:  # of Prefect: no server could be reached or started
        if plain:
            raise
        again = "Start the server again: python -m pipelines up, or forget it: ... down"
        typer.echo(f"build failed in Prefect: {error}. {again}. Without it: add --plain", err=True)
        raise typer.Exit(1) from None
    except (ValueError, OSError) as error:  # ours carry the place and the mend; the rest, a reason
        typer.echo(f"build failed: {error}", err=True)
        raise typer.Exit(1) from None
    _tell_sealed(out, console)


@app.command()
def repair(
    folder: Annotated[Path, typer.Argument(help="A folder that holds a dataset.json.")],
    config: Annotated[
        Path | None, typer.Option(help="What it was built with, if its build.json is gone.")
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting: root=DIR, if the sources have moved."),
    ] = None,
) -> None:
    """Make damaged shards anew from the sources, and only these: the root stays the same."""
    from pipelines.sealed_config import config_of

    try:
        Seal.read(folder)
        checked = configs.load(config, override or []) if config else config_of(folder, override)
        from pipelines.engine import Threads
        from pipelines.repair import repair as mend  # takes seconds, so after what is soon said

        done = mend(folder, checked, Threads(checked.workers), _console())
    except KeyboardInterrupt:
        typer.echo("stopped; each file is as it was, or mended", err=True)
        raise typer.Exit(130) from None
    except (ValueError, OSError) as error:
        typer.echo(f"repair failed: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(str(done))
    for line in (*done.failed, *done.left):
        typer.echo(line, err=True)
    raise typer.Exit(0 if done.whole else 1)


@app.command()
def plan(
    config: Annotated[Path, typer.Option(help="A YAML file such as pipelines/configs/full.yaml.")],
    out: Annotated[Path, typer.Option(help="Where the data set is to go.")] = Path("data/shards"),
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object, to read by machine.")
    ] = False,
    override: Annotated[list[str] | None, typer.Option("--set", help=_SET)] = None,
) -> None:
    """Say what a build would write, what it would cost, and what it keeps out of training."""
    from pipelines import plan_tables
    from pipelines.engine import Threads
    from pipelines.plan import plan as plan_build

    console = _console()
    try:
        checked = configs.load(config, override or [])
        planned = plan_build(checked, out, Threads(checked.workers), console)
    except (ValueError, OSError) as error:
        typer.echo(f"plan failed: {error}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(plan_tables.as_json(planned))
    else:
        plan_tables.show(planned, _console(stderr=False))
        command = f"python -m pipelines build --config {config} --out {out}"
        changed = "".join(f" --set '{said}'" for said in override or [])
        typer.echo(f"Ready: {command}{changed}" if planned.ready else "Not ready: see above.")
    raise typer.Exit(0 if planned.ready else 1)


@app.command()
def download(
    config: Annotated[Path | None, typer.Option(help="Take root and corpora from here.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where they go: data/base_vlm.")] = None,
    corpus: Annotated[list[str] | None, typer.Option(help="One of them; repeat for more.")] = None,
    minimal: Annotated[bool, typer.Option("--minimal", help="The smallest useful set.")] = False,
    images: Annotated[
        bool, typer.Option("--images", help="Also images by address, of cc3m and laion.")
    ] = False,
) -> None:
    """Fetch the corpora's official files; what is there already stays, what broke off goes on."""
    from pipelines.download import download as fetch
    from pipelines.download import listing
    from pipelines.engine import Threads

    console, corpora = _console(), corpus or []
    try:
        if config is not None:
            checked = configs.load(config)
            root = root or checked.root_folder
            readers = [checked.corpus(name).reader or name for name in checked.corpora]
            listed = [name for name in readers if name in listing.load().corpora]
            corpora = corpora or listed or readers  # none is listed: say so, do not fetch all
        root = root or Path("data/base_vlm")
        files = fetch(root, corpora, minimal, images, Threads(4), console)
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    except (ValueError, OSError) as error:
        typer.echo(f"download failed: {error}", err=True)
        raise typer.Exit(1) from None
    console.print(f"{root} has all {len(files)} files", highlight=False, soft_wrap=True)


@app.command()
def samples(
    out: Annotated[Path, typer.Option(help="Where the small base_vlm tree goes.")],
    images: Annotated[int, typer.Option(help="Pictures: 3/4 of COCO, 1/4 of GQA.")] = 600,
    seed: Annotated[int, typer.Option(help="Another seed, other pictures.")] = 1,
    as_on_disk: Annotated[
        bool, typer.Option("--as-on-disk", help="As a downloader leaves it: caches, gaps, zips.")
    ] = False,
    traps: Annotated[
        bool, typer.Option("--traps", help="With what goes wrong in real files; see traps.json.")
    ] = False,
) -> None:
    """Draw small corpora of every sort in their official layouts, with true annotations."""
    from pipelines.samples import write_samples

    try:
        counts = write_samples(out, images, seed, as_on_disk=as_on_disk, traps=traps)
    except (ValueError, OSError) as error:
        typer.echo(f"samples failed: {error}", err=True)
        raise typer.Exit(1) from None
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

    console = _console()
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


@app.command("free-scenes")
def free_scenes(
    out: Annotated[Path, typer.Option(help="The data set's folder.")],
    count: Annotated[int, typer.Option(min=1, help="Scenes, all splits together.")] = 60_000,
    seed: Annotated[int, typer.Option(help="Another seed, other scenes.")] = 7,
    robots: Annotated[
        Path, typer.Option(help="The robot-selection set, whose val and test are kept apart.")
    ] = Path("robot-selection-dataset"),
    with_robots: Annotated[
        bool, typer.Option("--with-robots", help="Pack that set too, as build does.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; as many as cores if not said.")
    ] = None,
) -> None:
    """Draw scenes freely and seal them, for stage 0; needs neither polars nor Prefect."""
    from pipelines import free_scenes as free

    console = _console()
    try:
        free.build(out, count, seed, robots, with_robots, workers, console)
    except KeyboardInterrupt:
        typer.echo("stopped; what was sealed before stays as it was", err=True)
        raise typer.Exit(130) from None
    except (ValueError, OSError) as error:
        typer.echo(f"free-scenes failed: {error}", err=True)
        raise typer.Exit(1) from None
    _tell_sealed(out, console)


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Of the page, which only this machine sees.")] = 4200,
) -> None:
    """Start a Prefect server, our deployments and a worker, in the background."""
    from pipelines import up as prefect

    try:
        page = prefect.up(ROOT, port, lambda line: typer.echo(line, err=True))
    except (ValueError, OSError) as error:
        typer.echo(f"up failed: {error}", err=True)
        raise typer.Exit(1) from None
    run = "prefect deployment run build-shards"
    typer.echo(f"Prefect's page: {page}\nIn {ROOT}, for example:")
    typer.echo(f"  {run} -p config=pipelines/configs/demo.yaml -p out=data/demo/shards --watch")
    typer.echo(f"  {run}/build-shards    (the same deployment, as Prefect spells it)")
    typer.echo("  python -m pipelines down")


@app.command()
def down() -> None:
    """End all that `up` started, and what it runs; the page's history stays for the next `up`."""
    from pipelines import up as prefect

    try:
        ended = prefect.down(ROOT)
    except (ValueError, OSError) as error:
        typer.echo(f"down failed: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{ended} processes ended" if ended else "nothing was running")
