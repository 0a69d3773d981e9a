"""Stage 0 reads what free scenes hold: every source is there, and no row is cut."""

import math
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from embervlm import Tokenizer
from shards.slot import NO_LOSS
from train import stage as stages
from train.data import open_data, open_stream
from train.distributed import Place

QUIET = Console(quiet=True)


def test_every_source_is_there_whole_and_shows_its_site(scenes: Path) -> None:
    stage, place = stages.load("stage0.yaml"), Place(0, 1, torch.device("cpu"))
    assert stage.model.config.encoder_weights is None
    assert not stage.model.config.encoder_frozen
    assert {"encoder", "projection", "language"} <= set(stage.trainable)
    assert {spec.split for spec in stage.sources.values()} == {"train"}
    tokenizer = Tokenizer.load(stage.model.config.tokenizer)
    stream = open_stream(stage, open_data(stage, scenes, place), tokenizer, place, QUIET)
    for name, samples in stream.mixture.lengths.items():
        assert samples > 0, name
        assert stream.totals[name].truncated == 0, name
        slot = stream.slot(4)
        stream.fill_samples(slot, name, np.arange(4))
        assert np.isfinite(slot.site).any(1).all()
        assert (slot.labels != NO_LOSS).any(1).all()
        assert slot.has_image.all()
    assert math.isclose(sum(spec.weight for spec in stage.sources.values()), 1)
