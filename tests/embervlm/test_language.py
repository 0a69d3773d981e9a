import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from embervlm.language import Language

V, P, LAYERS, HEADS, D = 90, 64, 2, 4, 48


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """(transformers' model, its directory), initialised wider than usual so that errors show."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=V, n_positions=P, n_embd=D, n_layer=LAYERS, n_head=HEADS, initializer_range=0.2
    )
    model = GPT2LMHeadModel(config).eval()
    path = tmp_path_factory.mktemp("gpt2")
    model.save_pretrained(path)
    return model, path


def logits(language: Language, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return language.logits(language(language.wte(ids)))


def test_parity_with_transformers(theirs) -> None:
    model, path = theirs
    ours = Language(V, P, LAYERS, HEADS, D)
    ids = torch.randint(0, V, (3, P))
    with torch.no_grad():
        expected = model(ids).logits
    assert (logits(ours, ids) - expected).abs().max() > 0.1
    ours.load_gpt2(str(path))
    torch.testing.assert_close(logits(ours, ids), expected, atol=1e-5, rtol=1e-5)


def test_pickled_layout_loads(theirs, tmp_path) -> None:
    model, path = theirs
    # As older versions saved it: the tied head twice, and the causal masks.
    tensors = dict(model.state_dict()) | {
        "transformer.h.0.attn.bias": torch.ones(1, 1, P, P),
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
    }
    assert "lm_head.weight" in tensors
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    ours, same = Language(V, P, LAYERS, HEADS, D), Language(V, P, LAYERS, HEADS, D)
    ours.load_gpt2(str(tmp_path))
    same.load_gpt2(str(path))
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name]), name


def test_code_in_a_pickle_is_not_run(tmp_path) -> None:
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"transformer.wte.weight": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        Language(V, P, LAYERS, HEADS, D).load_gpt2(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_vocabulary_grows(theirs) -> None:
    _, path = theirs
    old = load_file(path / "model.safetensors")["transformer.wte.weight"]
    ours, again = (Language(V + 5, P, LAYERS, HEADS, D) for _ in range(2))
    ours.load_gpt2(str(path))
    again.load_gpt2(str(path))
    new = ours.wte.weight.detach()[V:]
    assert torch.equal(ours.wte.weight[:V], old)
    assert torch.equal(new, again.wte.weight[V:])
    assert 0 < (new - old.mean(0)).std() < 0.2 * old.std()
    assert len(new.unique(dim=0)) == 5


def test_misfits_are_named(theirs, tmp_path) -> None:
    _, path = theirs
    with pytest.raises(ValueError, match=r"wpe\.weight has shape \(64, 48\), expected \(32, 48\)"):
        Language(V, 32, LAYERS, HEADS, D).load_gpt2(str(path))
    with pytest.raises(ValueError, match=r"wte\.weight has shape \(90, 48\), expected \(80, 48\)"):
        Language(80, P, LAYERS, HEADS, D).load_gpt2(str(path))
    with pytest.raises(ValueError, match=r"h\.2\.ln_1\.weight is missing"):
        Language(V, P, LAYERS + 1, HEADS, D).load_gpt2(str(path))
    with pytest.raises(ValueError, match=r"n_head is 4, expected 3"):
        Language(V, P, LAYERS, 3, D).load_gpt2(str(path))
    tensors = load_file(path / "model.safetensors") | {"lm_head.weight": torch.zeros(V, D)}
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"lm_head\.weight is not wte\.weight"):
        Language(V, P, LAYERS, HEADS, D).load_gpt2(str(tmp_path))
    config = json.loads((path / "config.json").read_text()) | {"activation_function": "relu"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="activation_function is 'relu'"):
        Language(V, P, LAYERS, HEADS, D).load_gpt2(str(tmp_path))


def test_start_and_size() -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        flagship = Language(50262, 1024, 6, 6, 384)
    assert sum(p.numel() for p in flagship.parameters()) == 30_341_376
    part = Language(500, 64, 2, 6, 384)
    block = part.h[0]
    assert abs(part.wte.weight.std().item() - 0.02) < 1e-3
    assert abs(block.get_parameter("attn.c_attn.weight").std().item() - 0.02) < 1e-3
    assert abs(block.get_parameter("attn.c_proj.weight").std().item() - 0.01) < 1e-3  # 0.02/sqrt(4)
    assert not block.get_parameter("mlp.c_fc.bias").any()


def test_causal_and_too_long() -> None:
    language = Language(V, P, LAYERS, HEADS, D)
    ids = torch.randint(0, V, (1, 10))
    changed = ids.clone()
    changed[0, 6:] = (changed[0, 6:] + 1) % V
    same = torch.isclose(logits(language, ids), logits(language, changed), atol=1e-6).all(2)[0]
    assert same[:6].all() and not same[6:].any()
    with pytest.raises(ValueError, match="65 tokens; the model has 64 positions"):
        logits(language, torch.zeros(1, P + 1, dtype=torch.long))
