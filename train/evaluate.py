"""Judge a checkpoint on a split that it never trained on.

    python -m train.evaluate --checkpoint runs/demo --data data/demo/shards --split val

Every turn is scored alone. The same turns are scored again beside other records' pictures: a model
that needs its pictures does worse, by more than the shuffles differ among themselves.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from safetensors import SafetensorError

from embervlm import EmberVLM, Tokenizer
from manifests import store
from manifests.schema import SPLITS, Kind, Split
from manifests.settings import SettingsError
from shards.mixing import SourceSpec
from shards.reader import DamageError, Dataset
from shards.slot import NO_LOSS, Slot
from train import checkpoint as checkpoints
from train.batches import Batch
from train.checkpoint import CheckpointError
from train.distributed import Place
from train.held_out import Asked, HeldOut, Shown
from train.stage import Stage
from train.validation import mean_loss, robots_report

SHUFFLES = 3
_EXAMPLES = 3  # answers written out for each source
_ANSWER = 32  # tokens of an answer at most


class Judge:
    """A checkpoint's model and the samples of one split, at most `limit` (0 = all) a source.

    Raises CheckpointError, SealError, or SettingsError if the data has nothing of the split.
    """

    def __init__(self, checkpoint: Path, data: Path | str, split: Split, limit: int) -> None:
        self.state = state = checkpoints.read_state(checkpoint)
        stage = msgspec.convert(state.stage, Stage)
        dataset = Dataset(data)
        self.root = dataset.seal.root
        for name, spec in stage.sources.items():
            if spec.split == split:
                raise SettingsError(f"{checkpoint} was trained on {spec.corpus or name}/{split}")
        of_split = [shard for shard in dataset.seal.shards if shard.split == split]
        there = dict.fromkeys(shard.corpus for shard in of_split if shard.records)
        if not there:
            raise SettingsError(f"{data} has no records of {split}")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = EmberVLM.from_pretrained(checkpoint).to(self.device).eval()
        self.tokenizer = Tokenizer.load(self.model.config.tokenizer)
        if self.tokenizer.digest != state.tokenizer:
            raise CheckpointError(
                f"{checkpoint} was trained with tokenizer {state.tokenizer[:12]}; "
                f"{self.model.config.tokenizer!r} is now {self.tokenizer.digest[:12]}. Train again"
            )
        self.held = HeldOut(
            dataset,
            {corpus: SourceSpec(split=split, kinds=_kinds(stage, corpus)) for corpus in there},
            self.tokenizer,
            stage.max_tokens,
            limit,
            Place(0, 1, self.device),
        )
        self._asked = Asked(language=True, robots=True, vision_only=stage.vision_only)

    def judge(self) -> dict[str, Any]:
        """Losses by source with right and shuffled pictures; how well robots are chosen."""
        right = self.held.measure(self.model, self._asked)
        robots = robots_report(right, self.held.sources)
        # A source is left out if all its prompts are longer than the stage's max_tokens.
        right = {name: rows for name, rows in right.items() if rows["targets"].any()}
        if not right:
            raise SettingsError(f"no prompt is shorter than {self.held.stream.max_tokens} tokens")
        speak = Asked(language=True, robots=False)
        shuffled = [
            self.held.measure(self.model, speak, self.others(n)) for n in range(1, 1 + SHUFFLES)
        ]
        first, *rest = (
            mean_loss(np.concatenate([rows[name] for name in right])) for rows in (right, *shuffled)
        )
        sources = {
            name: {
                "samples": len(rows),
                "loss": mean_loss(rows),
                "shuffled": [mean_loss(others[name]) for others in shuffled],
            }
            for name, rows in right.items()
        }
        return {
            "loss": first,
            "shuffled": rest,
            "gain": float(np.mean(rest)) - first,
            "spread": max(rest) - min(rest),
            "sources": sources,
            "robots": robots,
        }

    def others(self, shuffle: int) -> dict[str, np.ndarray]:
        """By source, for each sample the record n/4 of all records further on: never its own."""
        found = {}
        for name, samples in self.held.chosen.items():
            records = self.held.stream.records_of(name, samples)
            different = np.unique(records)
            shift = max(1, shuffle * len(different) // (1 + SHUFFLES))
            found[name] = different[(np.searchsorted(different, records) + shift) % len(different)]
        return found

    def examples(self) -> list[dict[str, Any]]:
        """A few samples of each source with the model's own answers, decoded greedily."""
        examples: list[dict[str, Any]] = []
        for name, samples in self.held.chosen.items():
            spread = np.linspace(0, len(samples) - 1, min(len(samples), _EXAMPLES))
            shown = Shown(name, samples[spread.astype(np.int64)])
            for slot in self.held.slots(shown.batches()):
                examples += self._answers(name, slot)
        return examples

    def _answers(self, name: str, slot: Slot) -> Iterator[dict[str, Any]]:
        batch = Batch.of(slot, self.device)
        rows = (batch.labels != NO_LOSS).any(1).nonzero()[:, 0].tolist()  # a cut prompt has none
        begins = (batch.labels != NO_LOSS).int().argmax(1).tolist()  # where each target begins
        if not rows:
            return
        prompts = [batch.tokens[row, : begins[row]].tolist() for row in rows]
        padded = torch.full_like(batch.tokens[rows], self.tokenizer.pad)
        for line, prompt in zip(padded, prompts, strict=True):
            line[: len(prompt)] = torch.tensor(prompt)
        longest = max(map(len, prompts))
        answers = self.model.generate(
            padded[:, :longest], batch.images[rows], _ANSWER, self.tokenizer.end
        )
        for row, prompt, answer in zip(rows, prompts, answers, strict=True):
            target = batch.labels[row][batch.labels[row] != NO_LOSS].tolist()
            yield {
                "source": name,
                "record": int(slot.record[row]),
                "key": self.held.stream.key_of(name, int(slot.record[row])),
                "prompt": self.tokenizer.decode(prompt).strip(),
                "target": self.tokenizer.decode(target).strip(),
                "answer": self.tokenizer.decode(answer).strip(),
            }


def _kinds(stage: Stage, corpus: str) -> tuple[Kind, ...]:
    """The kinds of turns that a stage took from a corpus; none named: all."""
    took = [spec.kinds for name, spec in stage.sources.items() if (spec.corpus or name) == corpus]
    return () if () in took else tuple(dict.fromkeys(kind for kinds in took for kind in kinds))


def main(
    checkpoint: Annotated[Path, typer.Option(help="A run, or one of its checkpoints.")],
    data: Annotated[str, typer.Option(help="Sealed shards: a folder or a URL.")],
    split: Annotated[str, typer.Option(help="val or test.")] = "val",
    limit: Annotated[int, typer.Option(help="Samples a source; 0 is all.")] = 0,
) -> None:
    """Judge a checkpoint and write `evaluation_<split>.json` beside it."""
    console = Console(stderr=True)
    tell = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    try:
        if split not in SPLITS[1:]:
            raise SettingsError(f"--split {split}: expected val or test; the model saw train")
        newest = checkpoints.newest(checkpoint, tell)
        path = newest[0] if newest else checkpoint
        judge = Judge(path, data, msgspec.convert(split, Split), limit)
        known = {"split": split, "step": judge.state.step, "root": judge.root}
        result = {**known, **judge.judge(), "examples": judge.examples()}
    except (ValueError, OSError, DamageError, SafetensorError) as error:
        tell(f"not evaluated: {error}")
        raise typer.Exit(1) from None
    path = checkpoint / f"evaluation_{split}.json"
    store.write(path, msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    console.print(_table(result))
    console.print(f"written to {path}", highlight=False)


def _table(result: dict[str, Any]) -> Table:
    table = Table("source", "samples", "loss", "shuffled pictures", box=None, pad_edge=False)
    for name, source in result["sources"].items():
        shuffled = "  ".join(f"{loss:.3f}" for loss in source["shuffled"])
        table.add_row(name, str(source["samples"]), f"{source['loss']:.3f}", shuffled)
    shuffled = "  ".join(f"{loss:.3f}" for loss in result["shuffled"])
    table.add_row("all tokens", "", f"{result['loss']:.3f}", shuffled)
    robots = result["robots"] or {}
    parts = {name: part for name, part in robots.items() if name.endswith("_decided")}
    for part, values in {"robots": robots, **parts}.items():
        for name, value in values.items():
            if isinstance(value, float | int):
                said = f"{value:.3f}" if isinstance(value, float) else str(value)
                table.add_row(f"{part}: {name}".replace("_", " "), "", said)
    return table


if __name__ == "__main__":
    typer.run(main)
