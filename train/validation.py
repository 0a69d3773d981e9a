"""How a run stands: the val split of what it trains on, judged every so often.

validation = Validation.of(stage, dataset, tokenizer, place)
result = validation(model)    # {"loss": 1.9, "robots": {"macro_f1": 0.7, ...}, "score": 0.7, ...}
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from embervlm import EmberVLM, Tokenizer, metrics
from manifests.schema import ROBOTS, Kind
from shards.mixing import SourceSpec
from shards.reader import Dataset, Source
from train.distributed import Place
from train.held_out import Asked, HeldOut
from train.stage import Stage


class Validation:
    """The val split of a stage's corpora; make one with `of`."""

    def __init__(self, held: HeldOut, asked: Asked) -> None:
        self._held, self._asked = held, asked

    @classmethod
    def of(
        cls,
        stage: Stage,
        dataset: Dataset,
        tokenizer: Tokenizer,
        place: Place,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> "Validation | None":
        """At most `stage.eval_samples` of each source's val split, of the kinds that it trains on.

        A corpus without val, or whose val is trained on, is left out, and `tell` is told so; None
        if no source is left. All ranks call it together. Raises DamageError.
        """
        taken = {(spec.corpus or name, spec.split) for name, spec in stage.sources.items()}
        sources: dict[str, SourceSpec] = {}
        for name, spec in stage.sources.items():
            val = (spec.corpus or name, "val")
            if val in taken:
                tell(f"{name} is not validated: {'/'.join(val)} is trained on")
            elif not _has(dataset, val, spec.kinds):
                kinds = f" of {', '.join(spec.kinds)}" if spec.kinds else ""
                where = dataset.files.where
                tell(f"{name} is not validated: {where} has nothing{kinds} in {'/'.join(val)}")
            else:
                sources[name] = msgspec.structs.replace(spec, split="val")
        if not sources:
            tell("nothing is validated, and the newest checkpoint counts as the best")
            return None
        held = HeldOut(dataset, sources, tokenizer, stage.max_tokens, stage.eval_samples, place)
        asked = Asked(
            "language" in stage.objectives, "robots" in stage.objectives, stage.vision_only
        )
        return cls(held, asked)

    def __call__(self, model: EmberVLM) -> dict[str, Any]:
        """The same on every rank; all of them call it together, within the autocast that they train
        with. The model is in eval mode meanwhile. What was not asked for or is no number is None.

        samples; loss, nats a target token; the two of each of `sources`; robots, see
        `robots_report`; score, higher is better; score_of: what that is.
        """
        rows = self._held.measure(model, self._asked)
        loss = _number(mean_loss(np.concatenate(list(rows.values()))))
        robots = robots_report(rows, self._held.sources) if self._asked.robots else None
        score = {"score": loss and -loss, "score_of": "loss, negated"}
        if robots:
            score = {"score": robots["macro_f1"], "score_of": "macro F1"}
        return {
            "samples": sum(map(len, rows.values())),
            "loss": loss,
            "sources": {
                name: {"samples": len(measured), "loss": _number(mean_loss(measured))}
                for name, measured in rows.items()
            },
            "robots": robots,
            **score,
        }


def _has(dataset: Dataset, place: tuple[str, str], kinds: Sequence[Kind]) -> bool:
    """Whether a corpus and split has a record with a turn of the kinds (none named: of any)."""
    if place not in dataset.names:
        return False
    source = dataset.source(*place)
    if not kinds:
        return len(source) > 0
    return any(set(kinds) & set(of_record) for of_record in source.column("kinds"))


def mean_loss(rows: np.ndarray) -> float:
    """Nats a target token of MEASURED rows; NaN without any."""
    targets = int(rows["targets"].sum())
    return float(rows["loss"].sum()) / targets if targets else math.nan


def robots_report(
    rows: Mapping[str, np.ndarray], sources: Mapping[str, Source]
) -> dict[str, Any] | None:
    """How well robots are chosen in MEASURED rows, by source; None where none are. A record counts
    once, however many of its turns are there.

    accuracy: how often the top robot suits, or is of the team. always_the_commonest: how often the
    robot would that suits most often. macro_precision, macro_recall, macro_f1, per_robot: of the
    robots sent against those wanted (see embervlm.metrics). Of records that one robot suits:
    confusion, [wanted][sent], and expected_calibration_error, in 15 bins of the top robot's softmax
    probability. Of those that want a team: multi_robot_exact_match, multi_robot_jaccard. Of those
    that the picture alone decides, and the text alone (a record's evidence): accuracy, and
    exact_match, how often all that is sent is right.
    """
    asked, decided = [], []
    for corpus in dict.fromkeys(source.name for source in sources.values()):
        names = [name for name, source in sources.items() if source.name == corpus]
        all_rows = np.concatenate([rows[name][rows[name]["decided"]] for name in names])
        records, first = np.unique(all_rows["record"], return_index=True)
        if len(records):
            evidence = sources[names[0]].column("evidence")
            asked.append(all_rows[first])
            decided += [evidence[record] for record in records.tolist()]
    if not asked:
        return None
    together = np.concatenate(asked)
    logits, robots, single = (
        torch.from_numpy(together[name].copy()) for name in ("logits", "robots", "single")
    )
    return _report(logits.double(), robots, single, decided)


def _report(
    logits: Tensor, robots: Tensor, single: Tensor, decided: Sequence[str | None]
) -> dict[str, Any]:
    sent = metrics.chosen(logits, single)
    wanted = metrics.wanted(sent, robots, single)
    hit, exact = metrics.robot_accuracy(logits, robots), metrics.exact_set(sent, wanted)
    scores = metrics.per_robot(sent, wanted)._asdict()
    confidence = logits.softmax(1).amax(1)

    def decided_by(what: str) -> dict[str, Any]:
        of = torch.tensor([by == what for by in decided])
        accuracy, exact_match = _mean(hit[of]), _mean(exact[of])
        return {"records": int(of.sum()), "accuracy": accuracy, "exact_match": exact_match}

    return {
        "records": len(logits),
        "accuracy": _mean(hit),
        "always_the_commonest": _mean(robots[:, robots.sum(0).argmax()]),
        **{f"macro_{name}": _number(each.nanmean()) for name, each in scores.items()},
        "per_robot": {
            robot: {name: _number(each[place]) for name, each in scores.items()}
            for place, robot in enumerate(ROBOTS)
        },
        "confusion": metrics.confusion(wanted[single], sent[single]).tolist(),
        "expected_calibration_error": _number(
            metrics.calibration_error(confidence[single], hit[single])
        ),
        "multi_robot_exact_match": _mean(exact[~single]),
        "multi_robot_jaccard": _mean(metrics.jaccard(sent, wanted)[~single]),
        "picture_decided": decided_by("picture"),
        "text_decided": decided_by("text"),
    }


def _mean(values: Tensor) -> float | None:
    return _number(values.double().mean())


def _number(value: Any) -> float | None:
    """None for what is no number, which JSON cannot say."""
    return float(value) if math.isfinite(value) else None
