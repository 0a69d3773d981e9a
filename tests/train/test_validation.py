"""A model is judged on what it does not learn from: alike by any number of ranks."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from embervlm import EmberVLM, Tokenizer
from embervlm.losses import next_token
from manifests.schema import ROBOTS
from shards.reader import Dataset
from train import held_out
from train import stage as stages
from train.batches import Batch
from train.distributed import Place
from train.held_out import MEASURED, Shown
from train.stage import Stage
from train.validation import Validation, mean_loss, robots_report

ROOT = Path(__file__).parents[2]
ALONE = Place(0, 1, torch.device("cpu"))
# Of val there are 25 captions, and 70 tasks, each with its robots and with why.
SOURCES = {"coco": {"turns": "rotate"}, "robots": {"kinds": ["robot", "reasoning"]}}


@pytest.fixture
def make(stage_file, data: Path):
    """A stage, and a model of it that is somewhat sure of itself."""

    def of(**changed) -> tuple[Stage, EmberVLM]:
        settings = {"sources": SOURCES, "eval_samples": 50, "max_tokens": 96, **changed}
        stage = stages.load(stage_file(**settings))
        torch.manual_seed(11)
        model = EmberVLM.build(stage.model.config)
        with torch.no_grad():
            model.robot_head.linear.weight.mul_(40)
        return stage, model

    return of


def validation(stage: Stage, data: Path, tell=lambda sentence: None) -> Validation | None:
    tokenizer = Tokenizer.load(stage.model.config.tokenizer)
    return Validation.of(stage, Dataset(data), tokenizer, ALONE, tell)


def judged(stage: Stage, model: EmberVLM, data: Path) -> dict:
    made = validation(stage, data)
    assert made is not None
    return made(model)


def test_it_says_what_each_sample_says_alone(make, data: Path) -> None:
    stage, model = make(eval_samples=20)
    result = judged(stage, model, data)
    assert {n: s["samples"] for n, s in result["sources"].items()} == {"coco": 20, "robots": 20}
    assert result["samples"] == 40
    made = validation(stage, data)
    assert made is not None
    held, sums, decisions = made._held, {}, {}
    model.eval()
    for name, samples in held.chosen.items():
        sums[name] = np.zeros(2)
        for sample in samples:
            (slot,) = held.slots([Shown(name, samples[samples == sample])])
            batch = Batch.of(slot, ALONE.device)
            with torch.no_grad():
                outputs = model(batch.tokens, batch.images)
                loss = next_token(outputs.hidden, outputs.head, batch.labels)
            sums[name] += (float(loss.total), float(loss.count))
            if slot.robots.any():
                top = int(outputs.robot_logits[0].argmax())
                decisions.setdefault(int(slot.record[0]), slot.robots[0, top] > 0)
    for name, (total, count) in sums.items():
        assert result["sources"][name]["loss"] == pytest.approx(total / count, rel=1e-6)
    total, count = np.sum([*sums.values()], axis=0)
    assert result["loss"] == pytest.approx(total / count, rel=1e-6)
    assert result["robots"]["records"] == len(decisions) <= 20
    assert result["robots"]["accuracy"] == pytest.approx(np.mean([*decisions.values()]))
    assert (result["score"], result["score_of"]) == (result["robots"]["macro_f1"], "macro F1")


def test_size_of_batches_changes_no_number(make, data: Path, monkeypatch) -> None:
    stage, model = make(eval_samples=20)
    whole = judged(stage, model, data)
    monkeypatch.setattr(held_out, "BATCH", 7)
    assert flat(judged(stage, model, data)) == pytest.approx(flat(whole), rel=1e-6)


WORKER = """
import sys
from pathlib import Path
import msgspec, torch
from safetensors.torch import load_file
from embervlm import EmberVLM, Tokenizer
from shards.reader import Dataset
from train import stage as stages
from train.distributed import join
from train.validation import Validation

file, data, weights, out = sys.argv[1:]
stage = stages.load(file)
with join(60) as place:
    torch.set_num_threads(1)
    model = EmberVLM.from_state(stage.model.config, load_file(weights))
    tokenizer = Tokenizer.load(stage.model.config.tokenizer)
    validation = Validation.of(stage, Dataset(data), tokenizer, place)
    told = msgspec.json.encode(validation(model))
    Path(out, f"{place.world}-{place.rank}.json").write_bytes(told)
"""


@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_ranks_finds_the_same(make, data: Path, tmp_path: Path, world: int) -> None:
    stage, model = make()
    alone = judged(stage, model, data)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc_per_node={world}", str(tmp_path / "worker.py")]
    command += [str(tmp_path / "stage.yaml"), str(data), str(tmp_path / "model.safetensors")]
    command += [str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    told = [(tmp_path / f"{world}-{rank}.json").read_bytes() for rank in range(world)]
    assert len(set(told)) == 1
    found = msgspec.json.decode(told[0])
    assert flat(found) == pytest.approx(flat(alone), rel=1e-6)
    assert found["robots"]["confusion"] == alone["robots"]["confusion"]


def flat(result: dict) -> dict[str, float]:
    """Every number of a result by its path."""
    numbers: dict[str, float] = {}
    for name, value in result.items():
        if isinstance(value, dict):
            numbers |= {f"{name}/{inner}": found for inner, found in flat(value).items()}
        elif isinstance(value, float | int):
            numbers[name] = value
    return numbers


def test_samples_are_spread_evenly_and_always_the_same(make, data: Path) -> None:
    stage, _ = make(eval_samples=9)
    made, again = (validation(stage, data) for _ in range(2))
    assert made is not None and again is not None
    for name, samples in made._held.chosen.items():
        assert samples.tolist() == again._held.chosen[name].tolist()
        gaps = np.diff(samples)
        assert len(samples) == 9 and gaps.min() >= gaps.max() - 1 > 0
    everything = validation(make(eval_samples=0)[0], data)
    assert everything is not None
    for name, samples in everything._held.chosen.items():
        assert samples.tolist() == [*range(everything._held.stream.mixture.lengths[name])]


def test_the_model_is_in_eval_mode_meanwhile_and_as_it_was_after(make, data: Path) -> None:
    stage, model = make(eval_samples=3)
    modes = []
    model.fusion.register_forward_pre_hook(lambda *_: modes.append(model.training))
    for before in (True, False):
        model.train(before)
        judged(stage, model, data)
        assert model.training is before
        assert all(part.training is before for part in model.fusion.modules())
    assert set(modes) == {False}
    assert all(parameter.grad is None for parameter in model.parameters())


def test_only_what_a_stage_learns_is_asked(make, data: Path) -> None:
    stage, model = make(objectives={"language": 1.0}, trainable=["language"])
    model.register_forward_pre_hook(lambda *_: pytest.fail("robots were asked for"))
    result = judged(stage, model, data)
    assert result["robots"] is None
    assert (result["score"], result["score_of"]) == (-result["loss"], "loss, negated")


def test_robots_are_decided_by_the_picture_alone_where_the_stage_says_so(make, data: Path) -> None:
    parts = ["projection", "fusion", "reasoning", "robot_head"]
    stage, model = make(vision_only=True, objectives={"robots": 1.0}, trainable=parts)
    model.register_forward_pre_hook(lambda *_: pytest.fail("the words were read"))
    model.language.register_forward_pre_hook(lambda *_: pytest.fail("the words were read"))
    result = judged(stage, model, data)
    assert result["loss"] is None and result["sources"]["robots"]["loss"] is None
    held = validation(stage, data)
    assert held is not None
    source, model = held._held.sources["robots"], model.eval()
    records = np.unique(held._held.stream.records_of("robots", held._held.chosen["robots"]))
    hits = []
    for number in records.tolist():
        (slot,) = held._held.slots([Shown("robots", np.array([0]), np.array([number]))])
        with torch.no_grad():
            logits = model.forward_vision_only(Batch.of(slot, ALONE.device).images).robot_logits
        hits.append(ROBOTS[int(logits.argmax())] in source.record(number).robots)
    assert result["robots"]["records"] == len(records)
    assert result["robots"]["accuracy"] == pytest.approx(np.mean(hits))
    assert result["score"] == result["robots"]["macro_f1"]


def test_a_weight_that_is_no_number_is_no_score(make, data: Path) -> None:
    stage, model = make(objectives={"language": 1.0}, trainable=["language"], eval_samples=3)
    with torch.no_grad():
        model.language.wte.weight.fill_(float("nan"))
    result = judged(stage, model, data)
    assert result["loss"] is None and result["score"] is None
    assert msgspec.json.decode(msgspec.json.encode(result)) == result


def test_a_source_that_cannot_be_validated_is_left_out_and_named(make, data: Path) -> None:
    told: list[str] = []
    sources = {
        **SOURCES,
        "seen": {"corpus": "vqav2", "split": "val"},
        "vqav2": {},
        "why": {"corpus": "gqa", "kinds": ["reasoning"]},
    }
    made = validation(make(sources=sources)[0], data, told.append)
    assert made is not None and set(made._held.chosen) == {"coco", "robots"}
    assert told == [
        "seen is not validated: vqav2/val is trained on",
        "vqav2 is not validated: vqav2/val is trained on",
        f"why is not validated: {data} has nothing of reasoning in gqa/val",
    ]
    assert validation(make(sources={"seen": sources["seen"]})[0], data, told.append) is None
    assert told[-1].startswith("nothing is validated")


def rows(*wanted: tuple[str, ...], logits: torch.Tensor, single: list[bool]) -> np.ndarray:
    found = np.zeros(len(wanted), MEASURED)
    found["record"], found["decided"] = np.arange(len(wanted)), True
    found["robots"] = [[robot in robots for robot in ROBOTS] for robots in wanted]
    found["single"], found["logits"] = single, logits
    return found


class Said:
    """A source as far as a report reads it."""

    def __init__(self, name: str, evidence: list[str | None]) -> None:
        self.name, self._evidence = name, evidence

    def column(self, name: str) -> list[str | None]:
        assert name == "evidence"
        return self._evidence


def test_a_report_counts_each_record_once_and_what_decides_it_apart() -> None:
    drone, water, human, wheels, legs = ROBOTS
    logits = torch.full((6, 5), -4.0)
    for row, sent in enumerate(([0], [0], [3], [4, 2], [2], [1])):
        logits[row, sent] = torch.tensor([4.0, 2.0])[: len(sent)]
    single = [True, True, True, False, False, True]
    wanted = [(drone,), (water,), (drone, wheels), (human, legs), (human, wheels), (water,)]
    measured = rows(*wanted, logits=logits, single=single)
    measured["decided"][5] = False  # was not asked
    twice = np.concatenate([measured, measured[:2]])  # reasoning about the same records
    evidence = ["picture", "picture", "text", "both", None, "text"]
    report = robots_report(
        {"robots": twice, "again": measured},
        {"robots": Said("robots/val", evidence), "again": Said("robots/val", evidence)},  # pyright: ignore[reportArgumentType]
    )
    assert report is not None
    assert report["records"] == 5
    assert report["accuracy"] == 4 / 5  # a team's top robot is of the team
    assert report["always_the_commonest"] == 2 / 5
    assert report["confusion"] == [
        [1, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0],
    ]
    assert report["per_robot"][drone] == {"precision": 0.5, "recall": 1, "f1": pytest.approx(2 / 3)}
    assert report["per_robot"][wheels]["recall"] == 0.5  # one team lacks it
    assert report["macro_recall"] == pytest.approx((1 + 0 + 1 + 0.5 + 1) / 5)
    assert report["multi_robot_exact_match"] == 0.5
    assert report["multi_robot_jaccard"] == pytest.approx((1 + 1 / 2) / 2)
    sure = float(torch.tensor([4.0, -4, -4, -4, -4]).softmax(0)[0])
    assert report["expected_calibration_error"] == pytest.approx(sure - 2 / 3)
    assert report["picture_decided"] == {"records": 2, "accuracy": 0.5, "exact_match": 0.5}
    assert report["text_decided"] == {"records": 1, "accuracy": 1, "exact_match": 1}


def test_what_no_record_tells_is_none() -> None:
    logits = torch.tensor([[9.0, 0, 0, 0, 0]])
    one = rows((ROBOTS[0],), logits=logits, single=[True])
    said = {"robots": Said("robots/val", [None])}
    report = robots_report({"robots": one}, said)  # pyright: ignore[reportArgumentType]
    assert report is not None
    assert report["multi_robot_exact_match"] is report["multi_robot_jaccard"] is None
    assert report["per_robot"]["Humanoid"] == {"precision": None, "recall": None, "f1": None}
    assert report["macro_f1"] == 1
    assert report["picture_decided"] == {"records": 0, "accuracy": None, "exact_match": None}
    assert robots_report({"robots": one[:0]}, said) is None  # pyright: ignore[reportArgumentType]
    assert np.isnan(mean_loss(one))
