"""`python -m shards reshard DIR PLACE --bits N`."""

from typing import Annotated

import typer
from rich.console import Console

from manifests.place import MAX_BITS
from manifests.seal import Seal
from shards.commands import Folder, failure_told


def reshard(
    folder: Folder,
    place: Annotated[str, typer.Argument(help="A corpus and split, such as coco/train.")],
    bits: Annotated[int, typer.Option(min=0, max=MAX_BITS, help="It gets 2**bits shards.")],
) -> None:
    """Divide the shards of a place into more, without the sources; no other record moves."""
    from shards.reshard import reshard as divide

    console = Console(stderr=True)
    with failure_told("reshard"), console.status(f"dividing {place}") as status:
        before = Seal.read(folder).bits.get(place)
        sealed = divide(folder, place, bits, lambda shard: status.update(f"read {shard.tar}"))
    if bits == before:
        typer.echo(f"{folder}: {place} already has bits {bits}: nothing to do")
        return
    corpus, split = place.split("/")
    count = len(sealed.select(corpus, split))
    typer.echo(f"{folder}: {place} has {count} shards (bits {bits}), root {sealed.root}")
    own = {
        name.partition("/")[2]: n
        for name, n in sealed.bits.items()
        if n and name.startswith(f"{corpus}/")
    }
    told = ", ".join(f"{name}: {n}" for name, n in sorted(own.items()))
    typer.echo(
        f"note: the next build gives {place} bits {before} again, unless its config says: "
        f"corpora.{corpus}.bits: {{{told}}}",
        err=True,
    )
