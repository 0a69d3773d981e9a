"""How much of a site a frozen encoder sees: a linear probe of the site's facts on its 49 tokens.

    python -m train.probe --checkpoint runs/stage0 --data data/scenes --split val

Linear: the 49 x 384 features of a picture side by side, standardised by the training pictures, and
one linear layer, by logistic regression (L-BFGS, L2; Alain and Bengio 2016, arXiv:1610.01644). It
is fitted on scenes of train, its L2 chosen on a tenth of these that it was not fitted on, and
judged on scenes of a split that neither it nor the encoder saw.

Every fact becomes classes: the nine grounds, or the spans between thresholds, which lie where free
scenes have next to no value. A fact is judged where the picture shows it (ceilings in rooms, wind
outdoors). Beside each accuracy stands the constant's: always the class that is commonest in train.
The balanced accuracy is the mean over classes, of which a constant gets one of k right. A fact that
has but one class in train, or no record in the split, is left out, and said to be.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import cross_entropy

from embervlm import EmberVLM
from embervlm.vision import Encoder
from manifests import store
from manifests.schema import SITE_FACTS, SPLITS, TERRAINS, site_vector
from manifests.settings import SettingsError
from shards.reader import DamageError, Dataset, Source
from train import checkpoint as checkpoints

CORPUS = "scenes"
# A class ends at each of these values; it belongs to the lower one.
THRESHOLDS: dict[str, tuple[float, ...]] = {
    "indoor": (0.5,),
    "water_depth_m": (0.1, 6),
    "height_m": (1.9,),
    "slope_deg": (9,),
    "stairs": (0.5,),
    "doors": (0.5,),
    "clutter": (0.4,),
    "ceiling_m": (1.7, 4.5),
    "wind_ms": (9,),
    "rain": (0.3,),
    "light": (0.2, 0.6),
    "distance_m": (999,),
    "people": (0.5,),
    "payload_kg": (0, 5, 20, 80),
}
_UNKNOWN = -1
_MOST = {"train": 20_000, "val": 5_000, "test": 5_000}  # scenes, spread over the split
_BATCH = 256
_L2 = (1e-5, 1e-4, 1e-3, 1e-2)
_STEPS = 100


def classes_of(site: Tensor) -> dict[str, Tensor]:
    """Facts float [N,F] -> fact -> its class int64 [N], -1 = unknown."""
    column = dict(zip(SITE_FACTS, site.T, strict=True))
    grounds = torch.stack([column[f"terrain_{ground}"] for ground in TERRAINS], 1)
    known = ~grounds.isnan().any(1)
    found = {"terrain": torch.where(known, grounds.nan_to_num().argmax(1), _UNKNOWN)}
    for name, thresholds in THRESHOLDS.items():
        ends = torch.tensor(thresholds, dtype=site.dtype)
        which = torch.bucketize(column[name].contiguous(), ends)
        found[name] = torch.where(column[name].isnan(), _UNKNOWN, which)
    return found


def probe(encoder: Encoder, dataset: Dataset, split: str, device: torch.device) -> dict[str, Any]:
    """Fit on train, judge on `split`. Raises SettingsError if the data has no such scenes."""
    there = [of for corpus, of in dataset.names if corpus == CORPUS]
    if missing := {"train", split} - set(there):
        raise SettingsError(
            f"{dataset.files.where} has no {CORPUS} of {', '.join(sorted(missing))}; draw some "
            f"with: python -m pipelines free-scenes --out data/scenes"
        )
    encoder = encoder.to(device).eval()
    taught = _look(encoder, dataset.source(CORPUS, "train"), _MOST["train"], device)
    judged = _look(encoder, dataset.source(CORPUS, split), _MOST[split], device)
    mean, deviation = taught[0].mean(0), taught[0].std(0).clamp(min=1e-6)
    features, unseen = ((x - mean) / deviation / len(mean) ** 0.5 for x in (taught[0], judged[0]))
    labels, wanted = classes_of(taught[1]), classes_of(judged[1])
    left_out: dict[str, str] = {}
    for name in list(labels):
        if len(labels[name][labels[name] >= 0].unique()) < 2:
            left_out[name] = "has fewer than two classes in train"
        elif not (wanted[name] >= 0).any():
            left_out[name] = f"is known of no record of {split}"
        if name in left_out:
            del labels[name], wanted[name]
    if not labels:
        why = "; ".join(f"{name} {reason}" for name, reason in left_out.items())
        raise SettingsError(f"{dataset.files.where} has no fact to judge by: {why}")
    logits = _fitted(features, {n: c.to(device) for n, c in labels.items()}, unseen)
    facts = {name: _score(logits[name].cpu(), labels[name], wanted[name]) for name in labels}
    measures = ("accuracy", "balanced", "constant")
    return {
        "fitted_on": len(features),
        "judged_on": len(unseen),
        "facts": facts,
        "left_out": left_out,
        "mean": {m: float(np.mean([fact[m] for fact in facts.values()])) for m in measures},
    }


@torch.no_grad()
def _look(
    encoder: Encoder, source: Source, most: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Features float32 [N, 49 * 384] on `device` and facts [N,F] of `most` records at most."""
    numbers = np.unique(np.linspace(0, len(source) - 1, min(most, len(source))).astype(int))
    features: list[Tensor] = []
    sites: list[list[float]] = []
    for pictures, facts in _batches(source, numbers.tolist()):
        features.append(encoder(pictures.to(device)).flatten(1).float())
        sites += facts
    return torch.cat(features), torch.tensor(sites)


def _batches(source: Source, numbers: Sequence[int]) -> Iterator[tuple[Tensor, list[list[float]]]]:
    """Pictures uint8 [B,3,224,224] and their facts."""

    def read(number: int) -> tuple[np.ndarray, list[float]]:
        record = source.record(number)
        pixels = np.asarray(Image.open(BytesIO(record.image)).convert("RGB"))
        return pixels, site_vector(record.meta)

    with ThreadPoolExecutor() as pool:
        for begin in range(0, len(numbers), _BATCH):
            pixels, facts = zip(*pool.map(read, numbers[begin : begin + _BATCH]), strict=True)
            yield torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), list(facts)


def _fitted(features: Tensor, labels: dict[str, Tensor], unseen: Tensor) -> dict[str, Tensor]:
    """Logits of `unseen` for each fact."""
    cut = max(1, len(features) // 10)
    held = {name: of[:cut] for name, of in labels.items()}
    rest = {name: of[cut:] for name, of in labels.items()}
    sizes = {name: int(of.max()) + 1 for name, of in labels.items()}

    def misjudged(l2: float) -> float:
        weights = _regress(features[cut:], rest, sizes, l2)
        return float(_loss(_split(features[:cut] @ weights[:-1] + weights[-1], sizes), held))

    best = min(_L2, key=misjudged)
    weights = _regress(features, labels, sizes, best)
    return _split(unseen @ weights[:-1] + weights[-1], sizes)


def _regress(
    features: Tensor, labels: dict[str, Tensor], sizes: dict[str, int], l2: float
) -> Tensor:
    """Weights, the last row a bias: [D + 1, classes of all facts]."""
    weights = features.new_zeros(features.shape[1] + 1, sum(sizes.values()), requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weights], max_iter=_STEPS, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = _loss(_split(features @ weights[:-1] + weights[-1], sizes), labels)
        loss = loss + l2 * weights[:-1].square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weights.detach()


def _split(logits: Tensor, sizes: dict[str, int]) -> dict[str, Tensor]:
    return dict(zip(sizes, logits.split(list(sizes.values()), 1), strict=True))


def _loss(logits: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
    """The sum over facts of the mean cross-entropy where they are known."""
    each = [
        cross_entropy(logits[name], of, ignore_index=_UNKNOWN, reduction="sum")
        / (of >= 0).sum().clamp(min=1)
        for name, of in labels.items()
    ]
    return torch.stack(each).sum()


def _score(logits: Tensor, labels: Tensor, wanted: Tensor) -> dict[str, float | int]:
    known = wanted >= 0
    right = logits.argmax(1)[known] == wanted[known]
    there = wanted[known].unique()
    recalls = [right[wanted[known] == which].float().mean() for which in there]
    commonest = labels[labels >= 0].mode().values
    return {
        "classes": len(labels[labels >= 0].unique()),
        "records": int(known.sum()),
        "accuracy": float(right.float().mean()),
        "balanced": float(torch.stack(recalls).mean()),
        "constant": float((wanted[known] == commonest).float().mean()),
    }


def main(
    checkpoint: Annotated[Path, typer.Option(help="A run, or one of its checkpoints.")],
    data: Annotated[str, typer.Option(help="Sealed shards: a folder or a URL.")],
    split: Annotated[str, typer.Option(help="val or test.")] = "val",
) -> None:
    """Probe a checkpoint's encoder and write `probe_<split>.json` beside it."""
    console = Console(stderr=True)
    try:
        if split not in SPLITS[1:]:
            raise SettingsError(f"--split {split}: expected val or test; the encoder saw train")
        found = checkpoints.found(checkpoint)
        encoder = EmberVLM.from_pretrained(found[-1] if found else checkpoint).encoder
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dataset = Dataset(data)
        known: dict[str, Any] = {"split": split, "root": dataset.seal.root}
        result = known | probe(encoder, dataset, split, device)
    except (ValueError, OSError, DamageError, SafetensorError) as error:
        console.print(f"not probed: {error}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    path = checkpoint / f"probe_{split}.json"
    store.write(path, msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    console.print(_table(result))
    for name, why in result["left_out"].items():
        console.print(f"{name} is left out: it {why}", highlight=False)
    console.print(f"written to {path}", highlight=False)


def _table(result: dict[str, Any]) -> Table:
    names = ("classes", "records", "accuracy", "balanced", "constant")
    table = Table("fact", *names, box=None, pad_edge=False)
    for fact, score in (*result["facts"].items(), ("mean", result["mean"])):
        said = (score.get(name, "") for name in names)
        table.add_row(fact, *(f"{v:.1%}" if isinstance(v, float) else str(v) for v in said))
    return table


if __name__ == "__main__":
    typer.run(main)
