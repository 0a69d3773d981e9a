"""Where a model starts from, what is trained of it, where it lies."""

import json
import logging

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from transformers import GPT2Config, GPT2LMHeadModel

from embervlm.config import COMPONENTS, EmberVLMConfig
from embervlm.model import EmberVLM
from embervlm.tokens import Tokenizer

NAME = "repvit_m0_9.dist_450e_in1k"


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def test_save_and_load(model, small, ids_of, pictures, tmp_path) -> None:
    EmberVLM.from_state(small, model.state_dict()).save_pretrained(tmp_path)
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    tensors = load_file(tmp_path / "model.safetensors")
    assert sum(t.shape == (small.vocab_size, small.width) for t in tensors.values()) == 1
    again = EmberVLM.from_pretrained(tmp_path).eval()
    ids = ids_of("a I b R")
    one, other = model(ids, pictures[:1]), again(ids, pictures[:1])
    assert again.config == model.config
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.robot_logits, other.robot_logits)
    assert again.tokenizer.digest == Tokenizer.load("builtin").digest

    del tensors["fusion.queries"]
    tensors["language.wpe.weight"] = torch.zeros(3, 48)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"fusion\.queries is missing; language\.wpe\.weight has"):
        EmberVLM.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        EmberVLM.from_pretrained(tmp_path / "none" / "there")


def test_a_trained_encoder_may_be_frozen_after_loading(model, small, tmp_path) -> None:
    model.save_pretrained(tmp_path / "trained")
    frozen = EmberVLM.from_pretrained(tmp_path / "trained", encoder_frozen=True)
    assert frozen.encoder.frozen and frozen.config.encoder_frozen
    frozen.save_pretrained(tmp_path / "frozen")
    assert EmberVLM.from_pretrained(tmp_path / "frozen").encoder.frozen
    state = frozen.state_dict()
    assert EmberVLM.from_state(frozen.config, state).encoder.frozen
    EmberVLM(small).save_pretrained(tmp_path / "random")
    with pytest.raises(ValueError, match="must not be frozen"):
        EmberVLM.from_pretrained(tmp_path / "random", encoder_frozen=True)


def test_a_model_s_own_tokenizer_comes_before_the_named_one(model, tmp_path) -> None:
    other = Tokenizer.train([f"robot {n} lifts" for n in range(99)] * 3, vocab_size=280)
    config = model.config.replace(vocab_size=280, tokenizer=str(tmp_path / "there"))
    other.save(tmp_path / "there")
    EmberVLM.build(config).save_pretrained(tmp_path / "saved")
    (tmp_path / "there").rename(tmp_path / "gone")
    assert EmberVLM.from_pretrained(tmp_path / "saved").tokenizer.digest == other.digest
    with pytest.raises(FileNotFoundError, match="does not exist"):
        EmberVLM(config).tokenizer  # noqa: B018
    with pytest.raises(ValueError, match="vocabulary of 4095, its tokenizer of 4096"):
        EmberVLM(model.config.replace(vocab_size=4095)).tokenizer  # noqa: B018
    with pytest.raises(ValueError, match="vocabulary of 4095, its tokenizer of 4096"):
        EmberVLM.build(model.config.replace(vocab_size=4095))


@pytest.mark.parametrize(
    "chosen",
    [
        ("projection", "contrast", "language"),
        ("fusion", "reasoning", "robot_head"),
        ("language", "reasoning", "robot_head", "plan_head"),
        COMPONENTS,
        (),
    ],
)
def test_what_is_trained_is_what_was_asked_for(model, small, chosen) -> None:
    trained = EmberVLM.from_state(small, model.state_dict())
    trained.train_only(COMPONENTS)
    trained.train_only(chosen)
    parts = {name.partition(".")[0] for name, p in trained.named_parameters() if p.requires_grad}
    assert parts == set(chosen)
    assert trained.encoder.frozen == ("encoder" not in chosen)
    assert len([p for p in trained.parameters() if not p.requires_grad]) == sum(
        len(list(part.parameters())) for n, part in trained.named_children() if n not in chosen
    )


def test_what_cannot_be_trained_is_said(model, small) -> None:
    trained = EmberVLM.from_state(small, model.state_dict())
    with pytest.raises(ValueError, match="no component langauge; there are encoder, projection"):
        trained.train_only(["langauge"])
    trained.train_only(["language"])
    with pytest.raises(ValueError, match="encoder is frozen for good"):
        trained.train_only(["encoder", "language"])
    with pytest.raises(ValueError, match="must not be frozen"):
        EmberVLM(small).train_only(["language"])


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """(transformers' model, its folder): bf16, as tinyllm/30M-0.4 is, and with its tokenizer."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    path = tmp_path_factory.mktemp("gpt2")
    tokenizer = Tokenizer.train([f"the robot {n} lifts" for n in range(99)] * 3, vocab_size=280)
    tokenizer.save(path)
    described = json.loads((path / "tokenizer.json").read_text())["model"]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).unlink()
    vocab = described["vocab"] | {"<|endoftext|>": 274}
    (path / "vocab.json").write_text(json.dumps(vocab))
    merges = [m if isinstance(m, str) else " ".join(m) for m in described["merges"]]
    (path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=275, n_positions=96, n_embd=48, n_layer=2, n_head=3, initializer_range=0.2
    )
    theirs = GPT2LMHeadModel(config).bfloat16()
    theirs.save_pretrained(path)
    return theirs.float().eval(), path


@pytest.fixture(scope="module")
def eye(tmp_path_factory):
    """(timm's model, its folder as timm writes it), with moved statistics."""
    torch.manual_seed(3)
    net = timm.create_model(NAME)
    for name, tensor in net.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(std=0.1)
    path = tmp_path_factory.mktemp("timm")
    save_for_hf(net, path, safe_serialization=True)
    assert sorted(p.name for p in path.iterdir()) == ["config.json", "model.safetensors"]
    return net.eval(), path


def test_built_from_local_folders_in_the_layouts_of_their_authors(backbone, eye, pictures) -> None:
    theirs, folder = backbone
    net, weights = eye
    config = EmberVLMConfig(
        vocab_size=280,
        layers=2,
        heads=3,
        width=48,
        positions=96,
        backbone=str(folder),
        tokenizer=str(folder),
        encoder_weights=str(weights),
        encoder_frozen=True,
    )
    model = EmberVLM.build(config).eval()
    t = model.tokenizer
    assert (t.end, t.pad, t.reasoning_end) == (config.end_id, config.pad_id, 279) == (274, 275, 279)
    ids = torch.tensor([t.encode("the robot lifts the robot 7")])
    logits = model(ids).logits
    assert logits.shape[2] == 280
    torch.testing.assert_close(logits[..., :275], theirs(ids).logits, atol=1e-5, rtol=1e-5)
    assert logits[..., 275:].isfinite().all()
    mean, std = (model.encoder.get_buffer(name) for name in ("mean", "std"))
    grid = net.forward_features((pictures / 255 - mean) / std)
    features = model.encoder(pictures)
    torch.testing.assert_close(features, grid.flatten(2).transpose(1, 2), atol=1e-5, rtol=1e-5)
    assert model.encoder.frozen
    special = torch.tensor([[config.image_id, *ids[0].tolist(), config.robot_id]])
    assert model(special, pictures[:1]).robot_logits.isfinite().all()


def test_a_vocabulary_larger_than_ours_is_refused(backbone) -> None:
    _, folder = backbone
    config = EmberVLMConfig(vocab_size=270, layers=2, heads=3, width=48, positions=96)
    with pytest.raises(
        ValueError, match=r"wte\.weight has shape \(275, 48\), expected \(270, 48\)"
    ):
        EmberVLM.build(config.replace(backbone=str(folder)))
