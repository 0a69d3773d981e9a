"""`python -m shards preview DIR --out PAGE.html`."""

import io
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from rich.console import Console

from manifests import store
from shards.commands import Folder, Seed, Where, failure_told
from shards.outputs import check_outside, writing

_MOST = 500  # records of a page: some 10 MB, which a browser still opens at once
_COLUMNS = 6


def preview(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="The page to write: one HTML file.")],
    contact: Annotated[
        Path | None, typer.Option("--sheet", help="Write a contact sheet too: a PNG.")
    ] = None,
    count: Annotated[int, typer.Option("--n", min=1, max=_MOST, help="Records to show.")] = 60,
    where: Where = None,
    seed: Seed = 1,
) -> None:
    """Show a spread of records: pictures, turns, boxes, robots, plans and where they came from."""
    from shards.preview import choose, page, sheet

    if contact is not None and contact.suffix.lower() != ".png":
        raise typer.BadParameter(f"{contact} does not end in .png", param_hint="--sheet")
    with failure_told("preview"), Console(stderr=True).status(f"reading {folder}"):
        outputs = {"--out": out} | ({"--sheet": contact} if contact is not None else {})
        for option, path in outputs.items():
            check_outside(option, path, folder)
        shown = choose(folder, count, seed, where)
        if not shown:
            raise ValueError(f"{folder} has no record" + f" where {where}" * bool(where))
        written = {"--out": page(folder, shown, seed, where).encode()}
        if contact is not None:
            written["--sheet"] = _png(sheet(folder, shown, _COLUMNS))
        for option, data in written.items():
            with writing(option, outputs[option]):
                store.write(outputs[option], data)
    records = f"{len(shown)} record{'s' * (len(shown) != 1)}"
    for option, data in written.items():
        typer.echo(f"{outputs[option]}: {records}, {len(data):,} bytes")


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
