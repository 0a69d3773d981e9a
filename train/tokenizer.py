"""Train the project's own tokenizer on the train splits of a data set.

    python -m train.tokenizer --data data/demo/shards

Nothing of val or test is read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from embervlm.tokens import BUILTIN, Tokenizer, render
from manifests.schema import Record
from shards.reader import Dataset


def texts(dataset: Dataset) -> Iterator[str]:
    """Every prompt, target, answer and step of the train splits."""
    for corpus, split in dataset.names:
        if split == "train":
            for record in dataset.records(corpus, split):
                yield from _said(record)


def _said(record: Record) -> Iterator[str]:
    for turn in record.turns:
        yield render(turn.kind, turn.prompt)
        for text in (turn.target, *turn.answers, *turn.rationales):
            yield f" {text}"
    for step in record.plan:
        yield f" {step.text}"


def main(
    data: Annotated[Path, typer.Option(help="Sealed shards.")],
    out: Annotated[Path, typer.Option(help="Where tokenizer.json goes.")] = BUILTIN,
    vocab_size: Annotated[int, typer.Option(help="Ids, the six special ones included.")] = 4096,
    min_frequency: Annotated[int, typer.Option(help="Rarer pairs are not merged.")] = 2,
) -> None:
    """Train a byte-level BPE and write it; the same data gives the same file."""
    tokenizer = Tokenizer.train(texts(Dataset(data)), vocab_size, min_frequency)
    tokenizer.save(out)
    typer.echo(f"{out}: {tokenizer.vocab_size} ids, digest {tokenizer.digest[:12]}")


if __name__ == "__main__":
    typer.run(main)
