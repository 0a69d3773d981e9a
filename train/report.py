"""A run's report: one HTML file, nothing loaded from elsewhere, nothing that was not measured.

python -m train.report --run runs/demo --data data/demo/shards
"""

import base64
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jinja2
import msgspec
import numpy as np
import typer

from embervlm import EmberVLM
from manifests import store
from manifests.seal import Seal
from shards.reader import Dataset
from train import checkpoint as checkpoints
from train import figures, track
from train.checkpoint import CheckpointError, State

TEMPLATE = Path(__file__).with_name("report.html.jinja")
_ENDS = 20  # logged steps averaged at either end of a run, at most


def report(run: Path, data: Path, split: str) -> Path:
    """Write `run/report.html`. Raises CheckpointError naming the command that is missing."""
    newest = checkpoints.newest(run, partial(typer.echo, err=True))
    judged = run / f"evaluation_{split}.json"
    if newest is None:
        raise CheckpointError(f"{run} has no checkpoint; train it with torchrun train/run.py")
    if not judged.exists():
        raise CheckpointError(
            f"{judged} is missing; make it with: python -m train.evaluate --checkpoint {run} "
            f"--data {data} --split {split}"
        )
    checkpoint, state = newest
    lines = track.read(run)
    evaluation = msgspec.json.decode(judged.read_bytes())
    if (evaluation["step"], evaluation["root"]) != (state.step, state.root):
        raise CheckpointError(
            f"{judged} is not of {checkpoint.name}; make it again with: python -m train.evaluate "
            f"--checkpoint {run} --data {data} --split {split}"
        )
    dataset = Dataset(data)
    seal = dataset.seal
    if seal.root != state.root:
        raise CheckpointError(f"{run} was trained on another data set than {data}, by its root")
    build = msgspec.json.decode((data / "build.json").read_bytes())
    validated = track.read(run, track.EVALUATIONS)
    robots = evaluation["robots"]
    losses = [line["loss"] for line in lines]
    ends = max(1, min(_ENDS, len(losses) // 2))
    first, last = float(np.mean(losses[:ends])), float(np.mean(losses[-ends:]))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(TEMPLATE.read_text()).render(
        state=state,
        seal=seal,
        build=build,
        evaluation=evaluation,
        first=first,
        last=last,
        ends=ends,
        mixture=_mixture(state, lines),
        parameters=EmberVLM.from_pretrained(checkpoint).num_parameters(),
        speed=float(np.median([line["samples_per_s"] for line in lines])),
        examples=[_picture(dataset, split, example) for example in evaluation["examples"]],
        walk=figures.walk(_walk(build, seal, state, evaluation)),
        curves=figures.loss_curves(lines),
        validated=figures.validation_curves(validated) if validated else None,
        confusion=figures.confusion_matrix(robots) if robots else None,
        radar=figures.radar(robots) if robots else None,
        pictures=figures.pictures_matter(evaluation),
    )
    path = run / "report.html"
    store.write(path, page.encode())
    return path


def _walk(
    build: dict[str, Any], seal: Seal, state: State, evaluation: dict[str, Any]
) -> list[tuple[str, str]]:
    nodes = [
        (node["node"], f"{node['specs']} done\nin {node['seconds']:.1f} s")
        for node in build["nodes"]
    ]
    records = sum(shard.records for shard in seal.shards)
    judged = sum(source["samples"] for source in evaluation["sources"].values())
    nodes.append(("shards", f"{len(seal.shards)} tars\n{records:,} records"))
    nodes.append(("stream", f"{len(state.mixture.parts)} sources\nin exact shares"))
    nodes.append(("train", f"{state.step} steps of\n{state.stage['batch']['global']} samples"))
    nodes.append(("evaluate", f"{judged} samples\nof {evaluation['split']}"))
    return nodes


def _mixture(state: State, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By source: weight asked, share rounded to, samples drawn in the run, and passes made."""
    drawn: Counter[str] = Counter()
    for line in lines:
        drawn.update(line["drawn"])
    total, period = drawn.total(), sum(state.mixture.shares.values())
    return [
        {
            "name": name,
            "asked": part.asked,
            "share": f"{part.share}/{period}",
            "drawn": drawn[name],
            "realised": drawn[name] / total,
            "turns": state.stage["sources"][name]["turns"],
            "passes": drawn[name] / part.samples,
        }
        for name, part in state.mixture.parts.items()
    ]


def _picture(dataset: Dataset, split: str, example: dict[str, Any]) -> dict[str, Any]:
    record = dataset.source(example["source"], split).record(example["record"])
    return {**example, "image": base64.b64encode(record.image).decode()}


def main(
    run: Annotated[Path, typer.Option(help="The run's folder.")],
    data: Annotated[Path, typer.Option(help="The sealed shards it was trained on.")],
    split: Annotated[str, typer.Option(help="The split it was judged on.")] = "val",
) -> None:
    """Write the report of a run."""
    try:
        typer.echo(report(run, data, split))
    except (ValueError, OSError) as error:
        typer.echo(f"no report: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
