"""Judge a checkpoint on a split that it never trained on.

    python -m train.evaluate --checkpoint runs/demo --data data/demo/shards --split val

Every turn is scored alone. The same turns are scored again beside other records' pictures: a model
that needs its pictures does worse, by more than the shuffles differ among themselves.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from safetensors import SafetensorError

from embervlm import EmberVLM, Tokenizer, metrics
from manifests import store
from manifests.schema import SPLITS, Kind, Split
from manifests.settings import SettingsError
from shards.mixing import SourceSpec
from shards.reader import DamageError, Dataset
from shards.slot import NO_LOSS, Slot
from shards.stream import Batching, Stream
from train import checkpoint as checkpoints
from train.batches import Batch
from train.checkpoint import CheckpointError
from train.objectives import OBJECTIVES
from train.stage import Stage

SHUFFLES = 3
_BATCH = 32
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
        self.stream = Stream(
            dataset,
            {corpus: SourceSpec(split=split, kinds=_kinds(stage, corpus)) for corpus in there},
            self.tokenizer,
            seed=0,
            batching=Batching(global_=1, pool=1),
            max_tokens=stage.max_tokens,
        )
        self.chosen = {
            name: np.unique(np.linspace(0, n - 1, min(n, limit or n)).astype(np.int64))
            for name, n in self.stream.mixture.lengths.items()
        }

    def judge(self) -> dict[str, Any]:
        """Losses by source with right and shuffled pictures; how well robots are chosen."""
        sources: dict[str, dict[str, Any]] = {}
        totals = np.zeros((1 + SHUFFLES, 2))
        robots: list[torch.Tensor] = []
        for name, samples in self.chosen.items():
            chosen: list[torch.Tensor] = []
            sums = np.array([self._loss(name, samples, n, chosen) for n in range(1 + SHUFFLES)])
            if not sums[0, 1]:  # every prompt is longer than the stage's max_tokens
                continue
            totals += sums
            robots += chosen
            right, *shuffled = (sums[:, 0] / sums[:, 1]).tolist()
            sources[name] = {"samples": len(samples), "loss": right, "shuffled": shuffled}
        right, *shuffled = (totals[:, 0] / totals[:, 1]).tolist()
        return {
            "loss": right,
            "shuffled": shuffled,
            "gain": float(np.mean(shuffled)) - right,
            "spread": max(shuffled) - min(shuffled),
            "sources": sources,
            "robots": _robots(torch.cat(robots)) if robots else None,
        }

    @torch.no_grad()
    def _loss(
        self, name: str, samples: np.ndarray, shuffle: int, robots: list[torch.Tensor]
    ) -> tuple[float, float]:
        """(sum, count) over target tokens; `shuffle` 0 shows the right pictures."""
        total = count = 0.0
        for slot in self._slots(name, samples, shuffle):
            batch = Batch.of(slot, self.device)
            outputs = self.model(batch.tokens, batch.images, has_image=batch.has_image)
            loss = OBJECTIVES["language"](outputs, batch)
            total, count = total + float(loss.total), count + float(loss.count)
            if shuffle == 0 and bool(batch.robots.any()):
                single = batch.single[:, None].float()
                robots.append(torch.cat([outputs.robot_logits, batch.robots, single], 1).cpu())
        return total, count

    def _slots(self, name: str, samples: np.ndarray, shuffle: int) -> Iterator[Slot]:
        records = self.stream.records_of(name, samples)
        different = np.unique(records)
        # Shuffle n shows the picture n/4 of all records further on: never its own.
        shift = max(1, shuffle * len(different) // (1 + SHUFFLES))
        others = different[(np.searchsorted(different, records) + shift) % len(different)]
        for begin in range(0, len(samples), _BATCH):
            part = slice(begin, begin + _BATCH)
            slot = self.stream.slot(len(samples[part]))
            images_of = others[part] if shuffle else None
            self.stream.fill_samples(slot, name, samples[part], images_of)
            yield slot

    def examples(self) -> list[dict[str, Any]]:
        """A few samples of each source with the model's own answers, decoded greedily."""
        examples: list[dict[str, Any]] = []
        for name, samples in self.chosen.items():
            spread = np.linspace(0, len(samples) - 1, min(len(samples), _EXAMPLES))
            for slot in self._slots(name, samples[spread.astype(np.int64)], 0):
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
                "key": self.stream.key_of(name, int(slot.record[row])),
                "prompt": self.tokenizer.decode(prompt).strip(),
                "target": self.tokenizer.decode(target).strip(),
                "answer": self.tokenizer.decode(answer).strip(),
            }


def _kinds(stage: Stage, corpus: str) -> tuple[Kind, ...]:
    """The kinds of turns that a stage took from a corpus; none named: all."""
    took = [spec.kinds for name, spec in stage.sources.items() if (spec.corpus or name) == corpus]
    return () if () in took else tuple(dict.fromkeys(kind for kinds in took for kind in kinds))


def _robots(rows: torch.Tensor) -> dict[str, float]:
    """Means over records; rows [N, 11]: five logits, five labels, single."""
    logits, labels, single = rows[:, :5], rows[:, 5:10], rows[:, 10].bool()
    chosen = metrics.chosen(logits, single)
    commonest = torch.zeros_like(logits)
    commonest[:, labels.sum(0).argmax()] = 1
    return {
        "records": len(rows),
        "top_in_set": float(metrics.robot_accuracy(logits, labels).nanmean()),
        "always_the_commonest": float(metrics.robot_accuracy(commonest, labels).nanmean()),
        "exact_set": float(metrics.exact_set(chosen, labels).nanmean()),
        "jaccard": float(metrics.jaccard(chosen, labels).nanmean()),
    }


def main(
    checkpoint: Annotated[Path, typer.Option(help="A run, or one of its checkpoints.")],
    data: Annotated[str, typer.Option(help="Sealed shards: a folder or a URL.")],
    split: Annotated[str, typer.Option(help="val or test.")] = "val",
    limit: Annotated[int, typer.Option(help="Samples a source; 0 is all.")] = 0,
) -> None:
    """Judge a checkpoint and write `evaluation_<split>.json` beside it."""
    console = Console(stderr=True)
    try:
        if split not in SPLITS[1:]:
            raise SettingsError(f"--split {split}: expected val or test; the model saw train")
        found = checkpoints.found(checkpoint)
        judge = Judge(
            found[-1] if found else checkpoint, data, msgspec.convert(split, Split), limit
        )
        known = {"split": split, "step": judge.state.step, "root": judge.root}
        result = {**known, **judge.judge(), "examples": judge.examples()}
    except (ValueError, OSError, DamageError, SafetensorError) as error:
        console.print(f"not evaluated: {error}", markup=False, highlight=False, soft_wrap=True)
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
    for name, value in (result["robots"] or {}).items():
        table.add_row(f"robots: {name}", "", f"{value:.3f}" if name != "records" else str(value))
    return table


if __name__ == "__main__":
    typer.run(main)
