"""What a stage begins with: settings that agree, the weights of the one before, its aids."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch.nn.functional import kl_div, log_softmax

from embervlm import EmberVLM, Tokenizer
from manifests.settings import SettingsError
from shards.slot import NO_LOSS
from shards.stream import Stream
from train import checkpoint, optim, session, start
from train import stage as stages
from train.batches import Batch
from train.checkpoint import Best, CheckpointError
from train.data import open_data, open_stream
from train.distributed import Place
from train.loop import begun, chosen, train
from train.objectives import OBJECTIVES
from train.stage import Stage
from train.step import Objectives, Step

ALONE = Place(0, 1, torch.device("cpu"))
QUIET = Console(quiet=True)


@pytest.fixture
def saved(stage_file: Callable[..., str], tmp_path: Path) -> Path:
    """A model of the small stage's shape, louder than at its start, so that its words differ."""
    torch.manual_seed(7)
    model = EmberVLM.build(stages.load(stage_file()).model.config)
    for parameter in model.language.parameters():
        parameter.data.mul_(3)
    model.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def words() -> Tokenizer:
    return Tokenizer.load("builtin")


def stream_of(stage: Stage, data: Path) -> Stream:
    return open_stream(stage, open_data(stage, data, ALONE), words(), ALONE, QUIET)


def test_what_is_decided_past_the_language_model_teaches_it_nothing() -> None:
    past = ["vision_only=true", "objectives={robots: 1.0}", "trainable=[language,fusion]"]
    with pytest.raises(SettingsError) as caught:
        start.check(stages.load("stage3.yaml", past))
    assert str(caught.value) == (
        "trainable lists language, which robots do not reach; leave them out with "
        "--set trainable=[fusion]"
    )
    start.check(stages.load("stage3.yaml", [*past, "trainable=[projection,fusion,robot_head]"]))
    start.check(stages.load("stage3.yaml", [*past, "objectives.language=1.0"]))


def test_what_the_language_model_wrote_is_not_compared_past_it() -> None:
    with pytest.raises(SettingsError, match="--set objectives.consistency=null"):
        start.check(stages.load("stage4.yaml", ["vision_only=true"]))
    start.check(stages.load("stage4.yaml", ["vision_only=true", "objectives.consistency=null"]))


def test_weights_of_another_shape_name_their_tensors(stage_file, saved: Path) -> None:
    stage = stages.load(stage_file(), ["model.set.width=48"])
    with pytest.raises(ValueError, match=r"projection.leave.weight has shape \(32, 384\), expect"):
        start.model_of(stage, words(), saved, ALONE)
    stage = stages.load(stage_file(), ["model.set.layers=2"])
    with pytest.raises(ValueError, match=r"language\.h\.1\.ln_1\.weight is missing"):
        start.model_of(stage, words(), saved, ALONE)


def test_what_shapes_do_not_tell_is_compared_too(stage_file, saved: Path) -> None:
    stage = stages.load(stage_file(), ["model.set.heads=4"])
    with pytest.raises(SettingsError, match="has 4 heads, .* with 2; .*--set model.set.heads=2"):
        start.model_of(stage, words(), saved, ALONE)
    other_words().save(saved)
    with pytest.raises(SettingsError, match=f"tokenizer .*--set model.set.tokenizer={saved}"):
        start.model_of(stages.load(stage_file()), words(), saved, ALONE)


def other_words() -> Tokenizer:
    """As many as the builtin tokenizer has."""
    said = (f"{n * n:x} {n * 7919:x}" for n in range(9999))
    return Tokenizer.train(said, words().vocab_size, min_frequency=1)


def test_rarer_robots_weigh_more(stage_file, data: Path) -> None:
    balanced = {"smoothing": 0.1, "balanced": True}
    sources = {"robots": {"turns": "one", "kinds": ["robot"]}, "coco": {"turns": "rotate"}}
    stage = stages.load(stage_file(sources=sources, robot_loss=balanced))
    stream = stream_of(stage, data)
    wanted = dict.fromkeys(stage.model.config.robots, 0)
    for record in stream.dataset.records("robots", "train"):
        for turn in record.turns:
            for robot in record.robots if turn.kind == "robot" else ():
                wanted[robot] += 1
    assert stream.robots_wanted.tolist() == list(wanted.values())
    assert all(wanted.values())
    aids = start.aids_of(stage, stream, start.model_of(stage, words(), None, ALONE), ALONE)
    assert aids.robot_weights is not None
    rare = [0.001 / (1 - 0.999**count) for count in wanted.values()]
    mean = sum(w * c for w, c in zip(rare, wanted.values(), strict=True)) / sum(wanted.values())
    assert aids.robot_weights.tolist() == pytest.approx([w / mean for w in rare], rel=1e-5)
    assert aids.robot_loss.smoothing == 0.1
    unbalanced = stages.load(stage_file(sources=sources))
    model = start.model_of(unbalanced, words(), None, ALONE)
    assert start.aids_of(unbalanced, stream, model, ALONE).robot_weights is None


@pytest.fixture
def taught(stage_file, saved: Path) -> Stage:
    """A stage that learns from `saved`, packed questions too."""
    sources = {"vqav2": {"turns": "pack"}, "coco": {"turns": "rotate"}}
    return stages.load(
        stage_file(
            sources=sources,
            objectives={"distil": 1.0},
            max_tokens=96,
            trainable=["projection", "language"],
            teacher={"model": str(saved), "temperature": 2.0},
        )
    )


def descend(stage: Stage, data: Path, begin: Path | None) -> tuple[float, float, EmberVLM]:
    """The mean distillation loss of a step, by objective and by hand, and the teacher after it."""
    stream = stream_of(stage, data)
    model = start.model_of(stage, words(), begin, ALONE)
    aids = start.aids_of(stage, stream, model, ALONE)
    assert aids.teacher is not None
    learner = Objectives(model, stage, len(stream.names), aids)
    optimiser = optim.optimiser(learner, stage.optim)
    slot = stream.slot(4)
    stream.fill(slot, stream.positions(0, 0, 1)[0])
    batch = Batch.of(slot, ALONE.device)
    assert batch.thread.max() > 1
    with torch.no_grad():
        given = {"has_image": batch.has_image, "thread": batch.thread}
        ours, theirs = (
            log_softmax(one.forward_language(batch.tokens, batch.images, **given).logits / 2, -1)
            for one in (model, aids.teacher)
        )
    by_hand = sum(
        4 * float(kl_div(ours[row, at - 1], theirs[row, at - 1], reduction="sum", log_target=True))
        for row, at in (batch.labels != NO_LOSS).nonzero().tolist()
    )
    counts = [float(OBJECTIVES["distil"].count(slot, model.config))]
    step = Step(learner, optimiser, stage, model, ALONE)
    shares, *_ = step([slot], [batch], counts, 1e-2)
    assert shares[0, :, 1].sum() == counts[0] > 0
    return float(shares[0, :, 0].sum()) / counts[0], by_hand / counts[0], aids.teacher


def test_who_speaks_like_the_teacher_has_nothing_to_learn(taught: Stage, saved, data) -> None:
    loss, by_hand, _ = descend(taught, data, saved)
    assert loss == pytest.approx(0, abs=1e-5)
    assert by_hand == pytest.approx(0, abs=1e-5)


def test_a_teacher_is_compared_word_for_word_and_stays_as_it_is(taught, saved, data) -> None:
    loss, by_hand, teacher = descend(taught, data, None)
    assert loss == pytest.approx(by_hand, rel=1e-4)
    assert loss > 0.1
    before = load_file(saved / "model.safetensors")
    assert all(torch.equal(before[name], now) for name, now in teacher.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


def test_a_teacher_of_other_words_is_refused(taught: Stage, saved: Path, data: Path) -> None:
    other_words().save(saved)
    stream = stream_of(taught, data)
    model = start.model_of(taught, words(), None, ALONE)
    with pytest.raises(SettingsError) as caught:
        start.aids_of(taught, stream, model, ALONE)
    assert str(caught.value) == (
        f"teacher.model {saved} has tokenizer {other_words().digest[:12]}, the model "
        f"{words().digest[:12]}: their words would not be aligned. Name one with the same tokenizer"
    )


def test_after_adapters_the_next_stage_begins_with_what_they_learnt(
    stage_file, data: Path, tmp_path: Path, monkeypatch
) -> None:
    words_alone = {"objectives": {"language": 1.0}, "trainable": ["projection", "language"]}
    adapted = stages.load(
        stage_file(name="first", steps=3, lora={"rank": 2, "alpha": 4}, **words_alone)
    )
    last = train(adapted, data, tmp_path / "first", ALONE, QUIET)
    merged = load_file(last / "model.safetensors")
    torch.manual_seed(adapted.seed)
    fresh = EmberVLM.build(adapted.model.config).state_dict()
    learnt = {name for name in merged if not torch.equal(merged[name], fresh[name])}
    assert "language.h.0.mlp.c_fc.weight" in learnt
    assert "language.wte.weight" not in learnt

    begins: list[dict[str, torch.Tensor]] = []

    def optimiser(model, settings):
        begins.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return kept(model, settings)

    kept = session.optim.optimiser
    monkeypatch.setattr(session.optim, "optimiser", optimiser)
    second = stages.load(stage_file(name="second", steps=3, **words_alone))
    after = load_file(
        train(second, data, tmp_path / "second", ALONE, QUIET, last) / "model.safetensors"
    )
    (begin,) = begins
    assert begin.keys() == {f"model.{name}" for name in merged}
    assert all(torch.equal(begin[f"model.{name}"], tensor) for name, tensor in merged.items())
    assert not torch.equal(after["language.wte.weight"], merged["language.wte.weight"])


def test_a_run_stands_for_its_best_checkpoint_or_its_last(run: Path, tmp_path: Path) -> None:
    last = run / "checkpoint-000006"
    state = checkpoint.read_state(last)
    assert state.best is None
    assert chosen(run, state) == begun(run) == begun(last) == last
    best = msgspec.structs.replace(state, best=Best(step=3, score=0.5, of="macro F1"))
    checkpoint.rewrite_state(last, best)
    assert chosen(run, best) == begun(run) == run / "checkpoint-000003"
    assert begun(last) == last, "who names a checkpoint means it"
    with pytest.raises(CheckpointError, match="no checkpoint; name a run or a checkpoint"):
        begun(tmp_path / "nowhere")
    (last / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        begun(last)
