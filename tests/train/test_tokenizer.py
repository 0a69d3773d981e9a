"""The committed tokenizer is what the demo's train splits make, and theirs alone."""

from pathlib import Path

import pytest
from rich.console import Console

from embervlm.tokens import BUILTIN, render
from pipelines.build import build
from pipelines.config import load
from pipelines.engine import Threads
from pipelines.samples import write_samples
from shards.reader import Dataset
from train import tokenizer

ROOT = Path(__file__).parents[2]


def said(dataset: Dataset, *splits: str) -> list[str]:
    """All that the records of some splits say, as the model reads it."""
    found: list[str] = []
    for corpus, split in dataset.names:
        for record in dataset.records(corpus, split) if split in splits else ():
            for turn in record.turns:
                found += [render(turn.kind, turn.prompt)]
                found += [f" {text}" for text in (turn.target, *turn.answers, *turn.rationales)]
            found += [f" {step.text}" for step in record.plan]
    return found


def test_nothing_of_val_or_test_is_read(data: Path) -> None:
    dataset = Dataset(data)
    train, kept_apart = said(dataset, "train"), said(dataset, "val", "test")
    texts = list(tokenizer.texts(dataset))
    assert texts == train
    unseen = set(kept_apart) - set(train)
    assert len(unseen) > 20 and not unseen & set(texts)


@pytest.mark.timeout(280)
def test_the_demo_makes_the_committed_tokenizer_byte_for_byte(tmp_path: Path) -> None:
    write_samples(tmp_path / "base_vlm")
    robots = ROOT / "robot-selection-dataset"
    overrides = [f"root={tmp_path / 'base_vlm'}", f"corpora.robots.path={robots}"]
    config = load(ROOT / "pipelines/configs/demo.yaml", overrides)
    build(config, tmp_path / "shards", Threads(2), Console(quiet=True))
    tokenizer.main(tmp_path / "shards", tmp_path / "tokenizer.json")
    assert (tmp_path / "tokenizer.json").read_bytes() == BUILTIN.read_bytes()
