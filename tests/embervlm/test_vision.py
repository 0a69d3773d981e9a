import json

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from embervlm.config import EmberVLMConfig
from embervlm.model import EmberVLM
from embervlm.vision import IMAGENET_MEAN, IMAGENET_STD, Encoder

NAME = "repvit_m0_9.dist_450e_in1k"


@pytest.fixture(scope="module")
def hub_layout(tmp_path_factory):
    """A directory as timm's hub has it: with the classifier, and with moved statistics."""
    torch.manual_seed(3)
    net = timm.create_model(NAME)
    tensors = net.state_dict()
    for name, tensor in tensors.items():
        if name.endswith("running_mean"):
            tensor.normal_(std=0.1)
    path = tmp_path_factory.mktemp("hub")
    save_file(tensors, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"architecture": "repvit_m0_9"}))
    return path


def test_parameters_and_shape(pictures) -> None:
    encoder = Encoder(NAME)
    assert sum(p.numel() for p in encoder.parameters()) == 4_717_792
    assert encoder.eval()(pictures[:1]).shape == (1, 49, 384)
    with pytest.raises(ValueError, match=r"1, 3, 192, 192"):
        encoder(torch.zeros(1, 3, 192, 192))


def test_tokens_are_timms_grid_row_by_row(pictures) -> None:
    encoder = Encoder(NAME).eval()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        grid = encoder.net.forward_features((pictures[:1] / 255 - mean) / std)
        tokens = encoder(pictures[:1])
    for row in range(7):
        for column in range(7):
            torch.testing.assert_close(tokens[:, 7 * row + column], grid[:, :, row, column])


def test_uint8_float_and_channels_last_agree(pictures) -> None:
    encoder = Encoder(NAME).eval()
    view = pictures.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert not view.is_contiguous()
    with torch.no_grad():
        expected = encoder(pictures)
        torch.testing.assert_close(encoder(pictures / 255), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(encoder(view), expected, rtol=1e-4, atol=1e-5)


def test_random_features_cannot_tell_pictures_apart(pictures) -> None:
    # The reason given by the message of Encoder.freeze.
    torch.manual_seed(0)
    contrasts = torch.cat([pictures, 0 * pictures[:1], 0 * pictures[:1] + 255])
    with torch.no_grad():
        features = Encoder(NAME).eval()(contrasts).mean(1).double()
    unit = features / features.norm(dim=1, keepdim=True)
    distance = 1 - unit @ unit.T
    assert distance.max() < 1e-5 and distance.median() < 1e-6


def test_frozen_random_is_refused(pictures) -> None:
    config = EmberVLMConfig.preset("compact", layers=1, encoder_frozen=True)
    for ask in (
        lambda: EmberVLM.build(config),
        lambda: EmberVLM(config).look(pictures),  # its weights could still have come
        lambda: EmberVLM(config).encoder.freeze(),
    ):
        with pytest.raises(
            ValueError, match=r"1e-7.*encoder_weights to timm.*stage0\.yaml.*encoder as trainable"
        ):
            ask()
    random = EmberVLM(config)
    random.load_state_dict(EmberVLM(config).state_dict())  # weights, but nobody's
    with pytest.raises(ValueError, match="must not be frozen"):
        random.look(pictures)


def test_frozen_stays_bit_identical(hub_layout, pictures) -> None:
    given = {"encoder_weights": str(hub_layout), "encoder_frozen": True}
    config = EmberVLMConfig.preset("compact", layers=1, width=48, **given)
    model = EmberVLM.build(config)
    before = {n: t.clone() for n, t in model.encoder.state_dict().items()}
    model.train()
    assert model.training and not any(m.training for m in model.encoder.modules())
    ids = torch.tensor([[config.image_id, 1, 2]] * 3)
    model(ids, pictures).robot_logits.sum().backward()
    assert all(torch.equal(t, before[n]) for n, t in model.encoder.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in model.encoder.parameters())
    assert model.projection.enter.weight.grad is not None
    model.encoder.frozen = False  # the same pictures would have moved it
    model.train()
    model.encoder(pictures)
    assert not all(torch.equal(t, before[n]) for n, t in model.encoder.state_dict().items())


def test_local_weights_load_strictly(hub_layout, tmp_path) -> None:
    encoder = Encoder(NAME)
    encoder.load(str(hub_layout))
    tensors = load_file(hub_layout / "model.safetensors")
    assert all(torch.equal(t, tensors[n]) for n, t in encoder.net.state_dict().items())
    Encoder(NAME).load(str(hub_layout / "model.safetensors"))

    tensors["stem.conv1.c.weight"] = torch.zeros(2, 2)
    del tensors["stem.conv2.bn.bias"]
    tensors["stray"] = torch.zeros(1)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"stem\.conv2\.bn\.bias is missing.*stray is not part"
    ) as e:
        Encoder(NAME).load(str(tmp_path))
    assert "stem.conv1.c.weight has shape (2, 2), expected (24, 3, 3, 3)" in str(e.value)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    with pytest.raises(ValueError, match="describes a resnet18"):
        Encoder(NAME).load(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Encoder(NAME).load("./nowhere")


@pytest.fixture
def frozen(hub_layout) -> Encoder:
    encoder = Encoder(NAME)
    encoder.load(str(hub_layout))
    encoder.freeze()
    return encoder


def unfused(encoder: Encoder, pictures: torch.Tensor) -> torch.Tensor:
    """What the network itself sees, layer by layer."""
    given = (pictures / 255 - encoder.mean) / encoder.std
    with torch.no_grad():
        return encoder.net.forward_features(given).flatten(2).transpose(1, 2)


def test_a_frozen_encoder_sees_with_one_convolution_what_it_saw_with_many(frozen, pictures) -> None:
    before = {name: tensor.clone() for name, tensor in frozen.state_dict().items()}
    expected, found = unfused(frozen, pictures), frozen(pictures)
    assert (found - expected).norm() < 1e-5 * expected.norm()
    net, dtype = frozen.fused()
    assert dtype == torch.float32
    assert frozen.fused()[0] is net, "made once"
    norms = [part for part in net.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert len(norms) < len([p for p in frozen.modules() if isinstance(p, torch.nn.BatchNorm2d)])
    after = frozen.state_dict()
    assert after.keys() == before.keys(), "no part of what is saved"
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert sum(p.numel() for p in frozen.parameters()) == 4_717_792


def test_it_follows_new_weights(frozen, hub_layout, pictures) -> None:
    first = frozen(pictures)
    state = frozen.state_dict()
    louder = {n: 1.5 * t if n.endswith("bn.weight") else t for n, t in state.items()}
    frozen.load_state_dict(louder)
    second, expected = frozen(pictures), unfused(frozen, pictures)
    assert (second - expected).norm() < 1e-5 * expected.norm()
    assert (second - first).norm() > 1e-2 * first.norm()
    frozen.load(str(hub_layout))
    assert torch.equal(frozen(pictures), first)


def test_it_moves_with_the_model(frozen, pictures) -> None:
    single = frozen(pictures)
    with torch.autocast("cpu", torch.bfloat16):
        assert frozen.fused()[1] == frozen(pictures).dtype == torch.bfloat16
    assert torch.equal(frozen(pictures), single), "autocast has a network of its own"
    double = frozen.double()(pictures)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-3, atol=1e-4)
    frozen.to("meta")
    assert {p.device.type for p in frozen.fused()[0].parameters()} == {"meta"}
