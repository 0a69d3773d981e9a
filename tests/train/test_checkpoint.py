"""A checkpoint is whole or it is not there; what a run goes on from is what it stopped with."""

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from embervlm import EmberVLM, EmberVLMConfig, Tokenizer
from manifests import disk, store
from shards.mixing import Mixture, Part
from tests.faults import NO_FAULT, Fault, FaultyOS, How
from train import checkpoint, optim
from train.checkpoint import Best, CheckpointError, Saver, State
from train.stage import Optim

PART = Part(share=1, samples=9, tokens=90.0, window=2, asked=1.0)
MIXTURE = Mixture(parts={"a": PART}, exhausted="repeat")


class Learner(nn.Module):
    """A model, and a head that learns beside it."""

    def __init__(self, config: EmberVLMConfig) -> None:
        super().__init__()
        self.model = EmberVLM.build(config)
        self.head = nn.Linear(2, 2)


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> EmberVLMConfig:
    """Of the smallest model there is."""
    folder = tmp_path_factory.mktemp("tokenizer")
    Tokenizer.train(["a"], vocab_size=262).save(folder)
    small: dict[str, Any] = {"layers": 1, "heads": 2, "width": 8, "positions": 64}
    small |= {"reasoning_blocks": 1, "encoder": "test_efficientnet", "tokenizer": str(folder)}
    return EmberVLMConfig(vocab_size=262, **small)


@pytest.fixture
def learner(config: EmberVLMConfig) -> Learner:
    torch.manual_seed(1)
    return Learner(config)


@pytest.fixture
def optimiser(learner: Learner) -> torch.optim.AdamW:
    """With one step behind it."""
    made = optim.optimiser(learner, Optim())
    update(learner, made)
    return made


def update(learner: Learner, optimiser: torch.optim.Optimizer) -> None:
    for number, parameter in enumerate(learner.parameters()):
        parameter.grad = torch.full_like(parameter, 0.5 - number % 2)
    optimiser.step()


def state(step: int, **changed: Any) -> State:
    known = {"stage": {"seed": 1}, "root": "r", "tokenizer": "t", "mixture": MIXTURE}
    return State(step=step, **{**known, **changed})


def names(run: Path) -> list[str]:
    return sorted(path.name for path in run.iterdir())


def steps(run: Path) -> list[int]:
    return [checkpoint.read_state(path).step for path in checkpoint.found(run)]


def spoil(path: Path, at: int = -1) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def silent(sentence: str) -> None:
    raise AssertionError(f"there was nothing to tell: {sentence}")


def same(ours: nn.Module, theirs: nn.Module) -> bool:
    a, b = ours.state_dict(), theirs.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# ---- What is saved comes back.


def test_all_of_it_comes_back(tmp_path: Path, config, learner) -> None:
    learner.model.encoder.to(memory_format=torch.channels_last)
    optimiser = optim.optimiser(learner, Optim())
    update(learner, optimiser)
    path, saved = tmp_path / "checkpoint-000007", state(7, best=Best(step=5, score=0.25, of="F1"))
    Saver(tmp_path).save(learner, optimiser, saved)
    assert checkpoint.newest(tmp_path, silent) == (path, saved)
    other = Learner(config)
    other.model.encoder.to(memory_format=torch.channels_last)
    fresh = optim.optimiser(other, Optim())
    checkpoint.resume(path, saved, other, fresh)
    assert same(other, learner)
    pairs = zip(learner.named_parameters(), other.parameters(), strict=True)
    for (name, ours), theirs in pairs:
        for kind in ("exp_avg", "exp_avg_sq", "step"):
            kept, back = optimiser.state[ours][kind], fresh.state[theirs][kind]
            assert torch.equal(kept, back) and kept.stride() == back.stride(), (name, kind)
    for _ in range(2):  # and goes on alike
        update(learner, optimiser)
        update(other, fresh)
    assert same(other, learner)


def test_parameters_are_as_often_updated_as_they_were(
    tmp_path: Path, config, learner, optimiser
) -> None:
    learner.zero_grad()
    learner.head.weight.grad = torch.ones(2, 2)
    optimiser.step()  # all others rest
    late = nn.Parameter(torch.zeros(3))
    learner.register_parameter("late", late)  # and one was never updated
    optimiser.add_param_group({"params": [late]})
    Saver(tmp_path).save(learner, optimiser, state(2))
    other = Learner(config)
    late = nn.Parameter(torch.ones(3))
    other.register_parameter("late", late)
    fresh = optim.optimiser(other, Optim())
    checkpoint.resume(tmp_path / "checkpoint-000002", state(2), other, fresh)
    assert fresh.state[other.head.weight]["step"] == 2
    assert fresh.state[other.head.bias]["step"] == 1
    assert not fresh.state.get(late)


def test_others_read_the_model_alone(tmp_path: Path, learner, optimiser) -> None:
    learner.model.encoder.trust()
    learner.model.encoder.freeze()
    Saver(tmp_path).save(learner, optimiser, state(1))
    folder = tmp_path / "checkpoint-000001"
    read = EmberVLM.from_pretrained(folder)
    assert same(read, learner.model)
    assert read.encoder.frozen
    assert read.tokenizer.digest == learner.model.tokenizer.digest
    assert names(folder) == [
        "config.json",
        "model.safetensors",
        "state.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.safetensors",
    ]


def test_a_learner_with_other_parts_is_refused_by_name(
    tmp_path: Path, config, learner, optimiser
) -> None:
    Saver(tmp_path).save(learner, optimiser, state(1))
    other = Learner(config)
    del other.head
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(ValueError, match="checkpoint-000001 do not fit: head.bias is not part of"):
        checkpoint.resume(
            tmp_path / "checkpoint-000001", state(1), other, optim.optimiser(other, Optim())
        )
    assert all(torch.equal(before[name], t) for name, t in other.state_dict().items())


def test_a_checkpoint_that_was_replaced_meanwhile_is_not_loaded(
    tmp_path: Path, learner, optimiser
) -> None:
    Saver(tmp_path).save(learner, optimiser, state(1))
    with pytest.raises(CheckpointError, match="was replaced meanwhile"):
        checkpoint.resume(tmp_path / "checkpoint-000001", state(1, root="q"), learner, optimiser)


# ---- Which are kept.


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path, learner, optimiser) -> None:
    saver = Saver(tmp_path)
    for step, best in ((5, 5), (10, 5), (15, 5), (20, 5), (25, 25), (30, 25)):
        better = Best(step=best, score=1.0, of="F1")
        saver.save(learner, optimiser, state(step, best=better))
        assert len(steps(tmp_path)) == min(3, step // 5) - (step > 20)
        assert best in steps(tmp_path)
    assert names(tmp_path) == ["checkpoint-000025", "checkpoint-000030"]


def test_checkpoints_sort_by_number_and_other_names_are_nobody_s(
    tmp_path: Path, learner, optimiser
) -> None:
    for name in ("1000000", "999999", "best", "5-old", "000007"):
        (tmp_path / f"checkpoint-{name}").mkdir()
    assert [path.name for path in checkpoint.found(tmp_path)] == [
        "checkpoint-000007",
        "checkpoint-999999",
        "checkpoint-1000000",
    ]
    Saver(tmp_path).save(learner, optimiser, state(1_000_001))
    assert names(tmp_path) == ["checkpoint-1000001", "checkpoint-5-old", "checkpoint-best"]


def test_a_step_that_is_saved_again_gets_the_new_state(tmp_path: Path, learner, optimiser) -> None:
    saver = Saver(tmp_path)
    saver.save(learner, optimiser, state(1))
    (model,) = tmp_path.glob("*/model.safetensors")
    before = model.stat().st_ino
    judged = state(1, best=Best(step=1, score=1.0, of="F1"))
    saver.save(learner, optimiser, judged)
    assert checkpoint.newest(tmp_path, silent) == (tmp_path / "checkpoint-000001", judged)
    assert model.stat().st_ino == before, "its weights are not written again"
    update(learner, optimiser)
    saver.save(learner, optimiser, judged)
    assert same(EmberVLM.from_pretrained(model.parent), learner.model), "unless they are others"
    assert names(tmp_path) == ["checkpoint-000001"]


# ---- Damage.

FILES = ("config.json", "model.safetensors", "tokenizer.json", "training.safetensors", "state.json")


def grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n{}")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flipped(path: Path) -> None:
    spoil(path, at=path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [flipped, cut, grown, Path.unlink], ids=lambda f: f.__name__)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_one_is_told_and_the_one_before_is_taken(
    tmp_path: Path, learner, optimiser, file: str, damage: Callable
) -> None:
    saver = Saver(tmp_path)
    saver.save(learner, optimiser, state(1))
    saver.save(learner, optimiser, state(2))
    damage(tmp_path / "checkpoint-000002" / file)
    told: list[str] = []
    one = tmp_path / "checkpoint-000001"
    assert checkpoint.newest(tmp_path, told.append) == (one, state(1))
    (sentence,) = told
    assert sentence.startswith(str(tmp_path / "checkpoint-000002"))
    assert file in sentence and f"takes {one}" in sentence
    assert sentence.endswith(f"rm -r {tmp_path / 'checkpoint-000002'}")


def test_what_is_told_of_damage_says_what_was_expected(tmp_path: Path, learner, optimiser) -> None:
    Saver(tmp_path).save(learner, optimiser, state(1))
    path = tmp_path / "checkpoint-000001/config.json"
    size = path.stat().st_size
    cut(path)
    message = (
        rf"{path} is damaged: {size - 40} bytes of xxh3-128 [0-9a-f]{{32}}; "
        rf"{size} bytes of xxh3-128 [0-9a-f]{{32}} were written"
    )
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read_state(path.parent)


def test_no_bit_of_a_state_is_another_unseen(tmp_path: Path, learner, optimiser) -> None:
    saver = Saver(tmp_path)
    saver.save(learner, optimiser, state(1))
    saver.save(learner, optimiser, state(2, best=Best(step=1, score=0.5, of="F1")))
    path = tmp_path / "checkpoint-000002/state.json"
    whole, read = path.read_bytes(), checkpoint.read_state(path.parent)
    for at in range(0, len(whole), 3):
        spoil(path, at)
        found = checkpoint.newest(tmp_path, lambda sentence: None)
        assert found in ((path.parent, read), (tmp_path / "checkpoint-000001", state(1))), at
        path.write_bytes(whole)


def test_a_run_without_a_whole_one_does_not_begin_anew_by_itself(
    tmp_path: Path, learner, optimiser
) -> None:
    assert checkpoint.newest(tmp_path / "none", silent) is None
    saver = Saver(tmp_path)
    for step in (1, 2):
        saver.save(learner, optimiser, state(step))
    for step in (1, 2):
        spoil(tmp_path / f"checkpoint-00000{step}/model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        checkpoint.newest(tmp_path, silent)
    for said in ("000002/model.safetensors is damaged", "000001/model", "no whole", "rm -r"):
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("whole", "damaged", "saved", "kept"),
    [
        ([10, 15], [20], 17, [15, 17]),
        ([10, 15], [20], 20, [15, 20]),
        ([10, 15], [20], 25, [15, 25]),
        ([10], [15, 20], 12, [10, 12]),
        ([10], [15, 20], 17, [10, 17]),
        ([10], [15, 20], 25, [10, 25]),
    ],
)
def test_damaged_ones_never_push_a_whole_one_out(
    tmp_path: Path, learner, optimiser, whole, damaged, saved, kept
) -> None:
    for step in (*whole, *damaged):
        Saver(tmp_path / str(step)).save(learner, optimiser, state(step))
        shutil.move(tmp_path / str(step) / checkpoint.name(step), tmp_path)
        (tmp_path / str(step)).rmdir()
    for step in damaged:
        spoil(tmp_path / checkpoint.name(step) / "training.safetensors")
    found = checkpoint.newest(tmp_path, lambda sentence: None)
    assert found and found[1].step == whole[-1]
    Saver(tmp_path).save(learner, optimiser, state(saved))
    assert steps(tmp_path) == kept


def test_of_steps_that_a_run_has_yet_to_come_to_again_none_is_kept(
    tmp_path: Path, learner, optimiser
) -> None:
    for step in (5, 10, 15, 12):  # as if 15 could not be read for a while
        Saver(tmp_path).save(learner, optimiser, state(step))
    assert steps(tmp_path) == [10, 12]


def test_what_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        checkpoint.read_state(tmp_path)
    for content in ("[]", "{}", '{"schema": "3"}', ""):
        (tmp_path / "state.json").write_text(content)
        with pytest.raises(CheckpointError, match="is not a checkpoint"):
            checkpoint.read_state(tmp_path)


def test_a_checkpoint_of_another_release_is_told_by_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-000003"
    path.mkdir()
    (path / "state.json").write_text('{"step": 3, "schema": 2}')
    with pytest.raises(CheckpointError, match="000003 is of schema 2; this code reads 3. Train an"):
        checkpoint.newest(tmp_path, silent)


# ---- What was changed between two starts.


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"root": "other"}, "another root: r, now other"),
        ({"stage": {"seed": 2}}, "another stage: seed was 1, is 2"),
        (
            {"stage": {"seed": 1, "optim": {"lr": 0.5}, "lora": None}},
            'another stage: optim was null, is {"lr":0.5}',
        ),
        ({"tokenizer": "u"}, "another tokenizer: t, now u"),
    ],
)
def test_what_was_changed_is_refused_unless_it_is_allowed(changed: dict, message: str) -> None:
    now: dict[str, Any] = {"stage": {"seed": 1}, "root": "r", "tokenizer": "t"}
    path = Path("run/checkpoint-000003")
    assert checkpoint.check(path, state(3), **now) == []
    with pytest.raises(CheckpointError) as caught:
        checkpoint.check(path, state(3), **{**now, **changed})
    assert str(caught.value) == (
        f"{path} was made with {message}. Give this run another --out, or go on with what is new "
        f"by --allow-change"
    )
    changes = checkpoint.check(path, state(3), **{**now, **changed}, allow_change=True)
    assert changes == [message]


def test_a_setting_that_was_changed_is_named_by_its_path() -> None:
    then = state(1, stage={"optim": {"lr": 0.1, "clip": 1.0}, "sources": {"a": {}, "b": {}}})
    now = {"optim": {"lr": 0.2, "clip": 1.0}, "sources": {"a": {}}}
    (line,) = checkpoint.check(Path("c"), then, now, "r", "t", allow_change=True)
    assert line == "another stage: optim.lr was 0.1, is 0.2; sources.b was {}, is null"


# ---- In the background.


@pytest.fixture
def gate(monkeypatch) -> threading.Event:
    """Nothing is written before it is set."""
    opened, kept = threading.Event(), store.new_folder

    def new_folder(final: Path):
        assert opened.wait(60)
        return kept(final)

    monkeypatch.setattr(store, "new_folder", new_folder)
    return opened


def test_later_values_are_never_stored(
    tmp_path: Path, config, learner, optimiser, gate: threading.Event
) -> None:
    before = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    moment = optimiser.state[learner.head.weight]["exp_avg"].clone()
    with Saver(tmp_path, in_background=True) as saver:
        saver.save(learner, optimiser, state(1))
        with torch.no_grad():
            for tensor in learner.state_dict().values():
                tensor.add_(1)
            optimiser.state[learner.head.weight]["exp_avg"].add_(1)
        assert names(tmp_path) == []
        gate.set()
    other = Learner(config)
    fresh = optim.optimiser(other, Optim())
    checkpoint.resume(tmp_path / "checkpoint-000001", state(1), other, fresh)
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())
    assert torch.equal(fresh.state[other.head.weight]["exp_avg"], moment)


def test_a_save_waits_for_the_one_before(
    tmp_path: Path, learner, optimiser, gate: threading.Event
) -> None:
    with Saver(tmp_path, in_background=True) as saver:
        saver.save(learner, optimiser, state(1))
        second = threading.Thread(target=saver.save, args=(learner, optimiser, state(2)))
        second.start()
        assert second.is_alive() and names(tmp_path) == []
        gate.set()
        second.join()
        assert 1 in steps(tmp_path)
    assert steps(tmp_path) == [1, 2]


def test_what_fails_in_the_background_is_raised_at_the_next_call_once(
    tmp_path: Path, learner, optimiser, monkeypatch
) -> None:
    kept = store.publish
    saver = Saver(tmp_path, in_background=True)
    monkeypatch.setattr(store, "publish", _full)
    saver.save(learner, optimiser, state(1))
    with pytest.raises(OSError, match="No space left"):
        saver.save(learner, optimiser, state(2))
    saver.save(learner, optimiser, state(3))
    with pytest.raises(OSError, match="No space left"):
        saver.close()
    monkeypatch.setattr(store, "publish", kept)
    saver.close()
    assert names(tmp_path) == []


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


# ---- A process that is killed, and a disk that fails, at every change to what is on disk.


@pytest.fixture
def frugal(learner: Learner, monkeypatch) -> torch.optim.AdamW:
    """An optimiser of the head alone, so that there is little to write, and no wait for a disk:
    what it may lose without a sync is what FaultyOS loses."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    learner.model.requires_grad_(False)
    return optim.optimiser(learner, Optim())


def calls(work: Callable[[], object], monkeypatch, fault: Fault = NO_FAULT) -> list[str]:
    """The changes to what is on disk that it makes, in order."""
    faulty = FaultyOS(fault)
    with monkeypatch.context() as patched:
        patched.setattr(disk, "os", faulty)
        work()
    return faulty.calls


def killed(work: Callable[[], object], fault: Fault) -> None:
    """Do it in a fork, until the fault kills that."""
    child = os.fork()
    if child == 0:
        try:
            disk.os = FaultyOS(fault)  # type: ignore[attr-defined]
            work()
        finally:
            os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == -signal.SIGKILL, f"{fault}: the process ended with {status}"


def copies(
    made: Path, work: Callable[[Path], object], monkeypatch, how: How
) -> Iterator[tuple[Path, Fault]]:
    """For every fault that `work` on the run `made` can meet, a copy of that run."""
    copy = made.with_name("copy")
    shutil.copytree(made, copy)
    made_calls = calls(lambda: work(copy), monkeypatch)
    assert len(made_calls) > 5
    for at, call in enumerate(made_calls):
        if call == "write" or how not in ("torn", "short"):
            shutil.rmtree(copy)
            shutil.copytree(made, copy)
            yield copy, Fault(how, at)


@pytest.mark.parametrize("how", ["kill", "torn", "power", "blank"])
def test_killed_at_any_moment_a_save_leaves_a_whole_checkpoint(
    tmp_path: Path, learner, frugal, monkeypatch, how: How
) -> None:
    made, newest = tmp_path / "made", []
    for step in (1, 2):
        Saver(made).save(learner, frugal, state(step))

    def work(run: Path) -> None:
        Saver(run).save(learner, frugal, state(3))

    for run, fault in copies(made, work, monkeypatch, how):
        killed(lambda run=run: work(run), fault)
        found = checkpoint.newest(run, silent)
        assert found, fault
        newest.append(found[1].step)
        assert 2 in steps(run), fault
        work(run)
        assert names(run) == ["checkpoint-000002", "checkpoint-000003"], fault
    assert newest == sorted(newest) and {2} <= set(newest) <= {2, 3}
    assert newest[-1] == 3 or how == "torn"


@pytest.mark.parametrize(("how", "other"), [("kill", False), ("power", False), ("kill", True)])
def test_killed_while_its_only_step_is_saved_again_a_run_has_it_still(
    tmp_path: Path, learner, frugal, monkeypatch, how: How, other: bool
) -> None:
    made, judged = tmp_path / "made", state(1, best=Best(step=1, score=1.0, of="F1"))
    Saver(made).save(learner, frugal, state(1))
    if other:
        torch.nn.init.ones_(learner.head.bias)

    def work(run: Path) -> None:
        Saver(run).save(learner, frugal, judged)

    for run, fault in copies(made, work, monkeypatch, how):
        killed(lambda run=run: work(run), fault)
        found = checkpoint.newest(run, silent)
        assert found and found[1] in (state(1), judged), fault
        work(run)
        assert names(run) == ["checkpoint-000001"], fault
        assert checkpoint.newest(run, silent) == (run / "checkpoint-000001", judged)


@pytest.mark.parametrize("how", ["ENOSPC", "EIO", "full", "short"])
def test_a_disk_that_fails_is_told_and_takes_nothing_along(
    tmp_path: Path, learner, frugal, monkeypatch, how: How
) -> None:
    made = tmp_path / "made"
    for step in (1, 2):
        Saver(made).save(learner, frugal, state(step))

    def work(run: Path) -> None:
        Saver(run).save(learner, frugal, state(3))

    for run, fault in copies(made, work, monkeypatch, how):
        fails = nullcontext() if how == "short" else pytest.raises(OSError)
        with fails:
            calls(lambda run=run: work(run), monkeypatch, fault)
        assert 2 in steps(run), fault
        work(run)
        assert names(run) == ["checkpoint-000002", "checkpoint-000003"], fault
