"""`python -m shards sidecars DIR`."""

import typer
from rich.console import Console

from shards.commands import Folder, failure_told


def sidecars(folder: Folder) -> None:
    """Make the files anew that energon, wids and Hugging Face datasets want beside the tars."""
    from manifests import store
    from manifests.seal import Seal
    from shards import interop

    console = Console(stderr=True)
    with failure_told("sidecars"):
        sealed = Seal.read(folder)  # before a lock makes a folder
        with store.sole_writer(folder), console.status("index") as status:
            interop.write(folder, True, lambda shard: status.update(f"index {shard.tar}"))
    count = sum(1 for shard in sealed.shards if shard.records)
    typer.echo(f"{folder}: sidecars of {count} tars made for root {sealed.root}")
