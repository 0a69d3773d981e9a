"""Stages: all that a run needs is opened and checked, its newest checkpoint found, and it goes on.

Where a run stands is one integer, the step: how many are done. All else follows from that, the
stage, and the seal of the data.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from embervlm import Tokenizer
from shards.mixing import Mixture
from train import checkpoint, start
from train.checkpoint import CheckpointError, State
from train.data import open_data, open_stream
from train.distributed import Place, agree
from train.session import Session
from train.stage import INCIDENTAL, Stage
from train.validation import Validation


def train(
    stage: Stage,
    data: Path | str,
    out: Path,
    place: Place,
    console: Console,
    begin: Path | None = None,
    max_steps: int | None = None,
    allow_change: bool = False,
) -> Path:
    """Run a stage to its end, from its newest checkpoint in `out` if there is one.

    `begin` is the checkpoint of another stage whose weights a new run begins with. With `max_steps`
    it stops after so many steps in all, to be gone on from as after any stop. `allow_change` goes
    on with a checkpoint of other settings or another data set.

    Returns the best checkpoint where the run was judged, else the last. Raises Stopped once what a
    signal ended is saved; SettingsError, SealError, CheckpointError, DamageError, TrainingError, or
    SilenceError for a rank that does not answer.
    """
    start.check(stage)
    tell = _teller(console, place)
    dataset = open_data(stage, data, place)
    tokenizer = Tokenizer.load(stage.model.config.tokenizer)
    settings = _settings(stage)
    path, known = checkpoint.newest(out, tell) or (None, None)
    if not agree(hashlib.sha256(msgspec.json.encode(known)).hexdigest(), place):
        raise CheckpointError(
            f"ranks find different checkpoints in {out}: it must be one folder for all machines. "
            f"Name such a one with --out"
        )
    if path and known:
        now = (settings, dataset.seal.root, tokenizer.digest)
        for change in checkpoint.check(path, known, *now, allow_change):
            tell(f"{path} is gone on from all the same: {change}")
    mixture = _mixture(known, settings, dataset.seal.root, tokenizer.digest)
    stream = open_stream(stage, dataset, tokenizer, place, console, mixture)
    steps = stage.length(sum(stream.mixture.lengths.values()), stream.steps)
    if path and known and known.step >= steps:
        return chosen(out, known)
    state = State(
        step=known.step if known else 0,
        stage=settings,
        root=dataset.seal.root,
        tokenizer=tokenizer.digest,
        mixture=stream.mixture,
        best=known.best if known else None,
    )
    model = start.model_of(stage, tokenizer, begin, place)
    aids = start.aids_of(stage, stream, model, place)
    session = Session(stage, stream, model, aids, place, out, state, steps)
    if path and known:
        session.resume(path, known)
        tell(f"going on from {path} at step {known.step}")
    judge = Validation.of(stage, dataset, tokenizer, place, tell) if stage.eval_steps else None
    return chosen(out, session.go(judge, min(steps, max_steps or steps), console))


def chosen(out: Path, state: State) -> Path:
    """The checkpoint that counts of a run that ended so: the best if it was judged, else the last.
    Raises CheckpointError if it is damaged."""
    path = out / checkpoint.name(state.best.step if state.best else state.step)
    checkpoint.read_state(path)
    return path


def begun(where: Path) -> Path:
    """The checkpoint that a run or a checkpoint `where` stands for, to begin another stage with.
    Raises CheckpointError if there is none that is whole."""
    if (where / "state.json").exists():
        checkpoint.read_state(where)
        return where
    found = checkpoint.newest(where, lambda sentence: None)
    if found is None:
        raise CheckpointError(f"--start {where} has no checkpoint; name a run or a checkpoint")
    return chosen(where, found[1])


def _settings(stage: Stage) -> dict[str, Any]:
    """What is computed of a stage, as it reads back from disk."""
    settings = msgspec.json.decode(msgspec.json.encode(stage))
    return {name: value for name, value in settings.items() if name not in INCIDENTAL}


def _mixture(
    known: State | None, settings: dict[str, Any], root: str, tokenizer: str
) -> Mixture | None:
    """The mixture that a run goes on with; None if it is to be resolved anew, for a new run or for
    one whose data was changed."""
    if not known or (known.root, known.tokenizer) != (root, tokenizer):
        return None
    decides = ("sources", "mixing", "max_tokens", "seed")
    same = all(known.stage.get(name) == settings[name] for name in decides)
    return known.mixture if same else None


def _teller(console: Console, place: Place) -> Callable[[str], None]:
    def tell(sentence: str) -> None:
        if place.leads:
            console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    return tell
