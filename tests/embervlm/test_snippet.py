"""Inference as users of the first EmberVLM type it, but for paths and safetensors."""

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms
from transformers import AutoTokenizer

from embervlm import EmberVLM, EmberVLMConfig
from embervlm.config import ROBOTS


@pytest.fixture
def final(model, tmp_path) -> str:
    """A trained model's folder: frozen encoder, tokenizer beside the weights."""
    trained = EmberVLM.from_state(model.config, model.state_dict())
    trained.train_only(["language", "reasoning", "robot_head", "plan_head"])
    trained.save_pretrained(tmp_path / "final")
    names = {path.name for path in (tmp_path / "final").iterdir()}
    tokenizer = {"tokenizer.json", "tokenizer_config.json"}
    assert names == {"config.json", "model.safetensors", *tokenizer}
    return str(tmp_path / "final")


def test_inference(final: str, tmp_path, capsys) -> None:
    Image.new("RGB", (640, 480), (120, 90, 60)).save(tmp_path / "warehouse_scene.jpg")

    # Load model
    config = EmberVLMConfig.from_pretrained(final)
    model = EmberVLM(config)
    model.load_state_dict(load_file(f"{final}/model.safetensors"))
    model.eval()
    model = model.to("cpu")

    # Load tokenizer
    tokenizer = AutoTokenizer.from_pretrained(final)

    # Add special tokens
    special_tokens = {
        "additional_special_tokens": ["<image>", "<reasoning_start>", "<robot>", "<reasoning_end>"]
    }
    tokenizer.add_special_tokens(special_tokens)
    assert len(tokenizer) == config.vocab_size  # they were there

    # Load image
    image = Image.open(tmp_path / "warehouse_scene.jpg").convert("RGB")
    image = image.resize((224, 224))

    # Prepare input
    text = "Task: Transport heavy equipment across warehouse floor"
    prompt = f"<image> {text} <robot>"

    # Tokenize
    inputs = tokenizer(prompt, return_tensors="pt")
    pixel_values = transforms.ToTensor()(image).unsqueeze(0).to("cpu")
    assert int(inputs["input_ids"][0, 0]) == config.image_id
    assert int(inputs["input_ids"][0, -1]) == config.robot_id

    # Forward pass
    with torch.no_grad():
        outputs = model(
            input_ids=inputs["input_ids"].to("cpu"),
            pixel_values=pixel_values,
            attention_mask=inputs["attention_mask"].to("cpu"),
            return_reasoning=True,
        )

    # Get robot selection
    robot_logits = outputs["robot_logits"]
    robot_probs = torch.softmax(robot_logits, dim=-1)[0]
    selected_robot_idx = int(robot_probs.argmax().item())
    selected_robot = ROBOTS[selected_robot_idx]
    confidence = robot_probs[selected_robot_idx].item()
    print(f"Selected Robot: {selected_robot}")  # noqa: T201
    print(f"Confidence: {confidence:.2%}")  # noqa: T201
    for name, prob in zip(ROBOTS, robot_probs, strict=True):
        print(f"  {name}: {prob:.2%}")  # noqa: T201
    assert outputs["steps"].shape == (1, 4, config.width)

    # Generate reasoning explanation
    reasoning_outputs = model.generate_reasoning(
        pixel_values=pixel_values, input_ids=inputs["input_ids"].to("cpu"), max_length=20
    )
    reasoning_text = tokenizer.decode(reasoning_outputs[0], skip_special_tokens=True)
    print(f"\nReasoning:\n{reasoning_text}")  # noqa: T201

    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"Selected Robot: {selected_robot}"
    assert [line.split(":")[0].strip() for line in said[2:7]] == list(ROBOTS)
    assert reasoning_text == model.tokenizer.decode(reasoning_outputs[0].tolist()) != ""
    assert reasoning_outputs["robot_probabilities"][0].keys() == set(ROBOTS)


def test_a_frozen_encoder_waits_for_its_weights(final: str, pictures) -> None:
    model = EmberVLM(EmberVLMConfig.from_pretrained(final))
    with pytest.raises(ValueError, match="must not be frozen"):
        model.forward_vision_only(pictures)
    model.load_state_dict(load_file(f"{final}/model.safetensors"))
    model.train()
    whole = EmberVLM.from_pretrained(final).train()
    one, other = model.forward_vision_only(pictures), whole.forward_vision_only(pictures)
    assert torch.equal(one.robot_logits, other.robot_logits)
