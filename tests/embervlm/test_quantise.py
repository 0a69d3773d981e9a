"""A saved model in fewer bytes: what of it is kept, and what is said when it is not whole."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from embervlm.config import EmberVLMConfig
from embervlm.model import EmberVLM
from embervlm.quantise import export
from embervlm.weights import read

WEIGHTS = "model.safetensors"
LAYOUT = ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"]


@pytest.fixture(scope="module")
def saved(model, small, tmp_path_factory):
    """A checkpoint of a run: besides the model, what training goes on from."""
    folder = tmp_path_factory.mktemp("runs") / "checkpoint-000200"
    EmberVLM.from_state(small, model.state_dict()).save_pretrained(folder)
    for name in ("training.safetensors", "state.json"):
        (folder / name).write_text("for training alone")
    return folder


@pytest.fixture(scope="module")
def int8(saved):
    """(directory, what export says of it)."""
    out = saved.parent / "exports" / "int8"
    return out, export(saved, "int8", out)


def test_int8_is_within_half_a_scale_of_every_weight(model, int8) -> None:
    out, exported = int8
    stored, back, worst = load_file(out / WEIGHTS), read(out), {}
    assert back.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        if tensor.dim() < 2:
            assert back[name].dtype == tensor.dtype and torch.equal(back[name], tensor), name
            continue
        scale = stored[name + ".scale"]
        assert stored[name].dtype == torch.int8 and back[name].dtype == torch.float32
        assert scale.shape == tensor.shape[:1]
        rows = tensor.flatten(1)
        assert (scale * 127 <= rows.abs().amax(1) * 1.0001 + 1e-30).all(), name  # none is wasted
        apart = (rows - back[name].flatten(1)).abs().amax(1)
        assert (apart <= scale * 0.5001).all(), name
        worst[name] = float((tensor - back[name]).norm() / tensor.norm())
    assert exported.error == pytest.approx(max(worst.values()), rel=1e-5)
    assert exported.error == pytest.approx(worst[exported.worst], rel=1e-5)


def test_a_row_of_zeros_stays_one(model, small, tmp_path) -> None:
    dead = EmberVLM.from_state(small, model.state_dict())
    with torch.no_grad():
        dead.language.wte.weight[7] = 0
        dead.projection.leave.weight.zero_()
    dead.save_pretrained(tmp_path / "dead")
    export(tmp_path / "dead", "int8", tmp_path / "out")
    back = read(tmp_path / "out")
    assert not back["language.wte.weight"][7].any() and back["language.wte.weight"][8].any()
    assert not back["projection.leave.weight"].any()
    assert load_file(tmp_path / "out" / WEIGHTS)["projection.leave.weight.scale"].all()


@pytest.mark.parametrize(("to", "most"), [("int8", 0.05), ("fp16", 0.005)])
def test_the_model_answers_as_before(to, most, model, saved, ids_of, pictures, tmp_path) -> None:
    export(saved, to, tmp_path / to)
    smaller = EmberVLM.from_pretrained(tmp_path / to).eval()
    assert {p.dtype for p in smaller.parameters()} == {torch.float32}
    assert smaller.tokenizer.digest == EmberVLM.from_pretrained(saved).tokenizer.digest
    ids = ids_of("a I b R", "c I d R", "e I f R")
    with torch.no_grad():
        one, other = model(ids, pictures), smaller(ids, pictures)
    for name in ("logits", "robot_logits"):
        before, after = getattr(one, name), getattr(other, name)
        apart = (before - after).norm() / before.norm()
        assert 0 < apart < most, f"{name}: {apart:.4f}"


def test_fp16(model, saved, tmp_path) -> None:
    exported = export(saved, "fp16", tmp_path / "fp16")
    stored = load_file(tmp_path / "fp16" / WEIGHTS)
    assert stored["robot_head.linear.bias"].dtype == torch.float16
    for name, tensor in model.state_dict().items():
        exact = "running_" in name or name.endswith("num_batches_tracked")
        assert stored[name].dtype == (tensor.dtype if exact else torch.float16), name
    assert exported.error < 2**-11  # half a step of a mantissa of ten bits


def test_sizes_and_what_comes_along(saved, int8) -> None:
    out, exported = int8
    assert sorted(path.name for path in out.iterdir()) == LAYOUT
    assert [path.name for path in out.parent.iterdir()] == ["int8"]  # no draft is left
    assert exported.before == sum((saved / name).stat().st_size for name in LAYOUT)
    assert exported.after == sum((out / name).stat().st_size for name in LAYOUT)
    assert exported.after < exported.before / 2.5
    assert (out / "config.json").read_bytes() == (saved / "config.json").read_bytes()


def test_compact_is_a_file_of_25_million_bytes_in_int8(tmp_path) -> None:
    EmberVLM.build(EmberVLMConfig.preset("compact")).save_pretrained(tmp_path / "compact")
    assert export(tmp_path / "compact", "int8", tmp_path / "int8").after <= 25_000_000


def test_a_frozen_encoder_stays_so(saved, tmp_path) -> None:
    EmberVLM.from_pretrained(saved, encoder_frozen=True).save_pretrained(tmp_path / "frozen")
    export(tmp_path / "frozen", "int8", tmp_path / "int8")
    smaller = EmberVLM.from_pretrained(tmp_path / "int8")
    assert smaller.encoder.frozen and smaller.config.encoder_frozen


def test_a_damaged_file_is_refused_by_name(int8, tmp_path) -> None:
    whole = load_file(int8[0] / WEIGHTS)
    name = "fusion.queries"
    scale = whole[name + ".scale"]

    def refused(tensors, message: str) -> None:
        save_file(tensors, tmp_path / WEIGHTS)
        (tmp_path / "config.json").write_bytes((int8[0] / "config.json").read_bytes())
        with pytest.raises(ValueError, match=message):
            EmberVLM.from_pretrained(tmp_path)

    without = {n: t for n, t in whole.items() if n != name + ".scale"}
    refused(without, r"fusion\.queries is int8, and fusion\.queries\.scale is missing")
    refused(whole | {name + ".scale": scale[:3].clone()}, r"queries\.scale is .* \(3,\), expected")
    refused(whole | {name + ".scale": scale.half()}, r"float16 \(8,\), expected torch\.float32")
    alone = {n: t for n, t in whole.items() if n != name}
    refused(alone, r"fusion\.queries is missing; fusion\.queries\.scale is not part of the model")
    refused(whole | {name: whole[name][:, :3].clone()}, r"queries has shape \(8, 3\), expected")


@pytest.mark.parametrize(
    ("value", "to", "message"),
    [
        (float("nan"), "int8", r"fusion\.queries has values that are not finite"),
        (float("inf"), "fp16", r"fusion\.queries has values that are not finite"),
        (1e5, "fp16", r"fusion\.queries reaches 1e\+05, .* use --to int8"),
    ],
)
def test_weights_that_do_not_fit_leave_nothing(value, to, message, model, small, tmp_path) -> None:
    broken = EmberVLM.from_state(small, model.state_dict())
    broken.fusion.queries.data[2, 2] = value
    broken.save_pretrained(tmp_path / "broken")
    with pytest.raises(ValueError, match=message):
        export(tmp_path / "broken", to, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_an_export_that_fails_half_way_leaves_nothing(saved, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("embervlm.quantise.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        export(saved, "int8", tmp_path / "out")
    assert not list(tmp_path.iterdir())
