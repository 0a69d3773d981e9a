"""A report shows what was measured of one run on one data set, or says what is missing."""

from pathlib import Path

import msgspec
import pytest

from manifests import store
from manifests.seal import Seal, merkle_root
from shards.mixing import Mixture
from train import evaluate, track
from train.checkpoint import CheckpointError, State
from train.report import report
from train.state import Sealed


@pytest.fixture
def judged(data: Path, tmp_path: Path) -> Path:
    """As much of a judged run as a report looks at before it refuses it."""
    root = Seal.read(data).root
    mixture = Mixture(parts={}, exhausted="repeat")
    state = State(step=6, stage={}, root=root, tokenizer="t", mixture=mixture)
    (tmp_path / "run" / "checkpoint-000006").mkdir(parents=True)
    Sealed.of(state, {}).write(tmp_path / "run" / "checkpoint-000006")
    judged = msgspec.json.encode({"step": 6, "root": root})
    (tmp_path / "run" / "evaluation_val.json").write_bytes(judged)
    return tmp_path / "run"


def test_a_report_shows_what_was_measured(run: Path, data: Path) -> None:
    with pytest.raises(CheckpointError, match="make it with: python -m train.evaluate"):
        report(run, data, "val")
    evaluate.main(run, str(data), "val", 6)
    result = msgspec.json.decode((run / "evaluation_val.json").read_bytes())
    (run / track.EVALUATIONS).unlink(missing_ok=True)  # as of a run that was never validated
    page = report(run, data, "val").read_text()
    assert "On val while it learnt" not in page
    line = msgspec.json.encode({"step": 5, **result})
    (run / track.EVALUATIONS).write_bytes(line + b"\n")
    page = report(run, data, "val").read_text()
    assert "On val while it learnt" in page and ">accuracy, picture decides</text>" in page
    assert f"Macro F1 {result['robots']['macro_f1']:.3f}" in page
    assert ">sent</text>" in page and f">{result['robots']['records']} tasks</text>" in page
    assert f"{result['loss']:.3f} vs" in page
    assert "coco/train" in page and "robot head" in page
    assert page.count("<img src=") == len(result["examples"])
    assert "http" not in page.replace("http://www.w3.org", "")  # nothing comes from elsewhere


def test_an_evaluation_of_another_step_or_data_set_is_refused(judged: Path, data: Path) -> None:
    path = judged / "evaluation_val.json"
    right = msgspec.json.decode(path.read_bytes())
    for wrong in ({"step": 3}, {"root": "0" * 64}):
        path.write_bytes(msgspec.json.encode(right | wrong))
        with pytest.raises(CheckpointError, match="is not of checkpoint-000006; make it again"):
            report(judged, data, "val")
    assert not (judged / "report.html").exists()


def test_another_data_set_is_refused(judged: Path, data: Path, tmp_path: Path) -> None:
    seal = Seal.read(data)
    shards = seal.shards[1:]
    other = msgspec.structs.replace(seal, shards=shards, root=merkle_root(shards))
    (tmp_path / "other").mkdir()
    store.commit(tmp_path / "other", other)
    with pytest.raises(CheckpointError, match=f"was trained on another data set than {tmp_path}"):
        report(judged, tmp_path / "other", "val")


def test_a_run_without_a_checkpoint_has_no_report(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no checkpoint; train it with torchrun"):
        report(tmp_path, data, "val")
