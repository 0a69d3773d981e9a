"""`embervlm quickstart`: a model is made, counted and run once, and what was found is printed."""

from collections.abc import Iterator

import torch

from embervlm.config import IMAGE_SIZE
from embervlm.model import EmberVLM
from embervlm.weights import count

_BATCH, _TOKENS = 2, 512
_NAMES = {"tinyllm/30M-0.4": "TinyLLM-30M"}
_RULE = "=" * 60


def quickstart(model: EmberVLM, source: str, frozen_encoder: bool) -> Iterator[str]:
    """The lines to print, each when it is so. RuntimeError if the model does not compute.

    `source`: where the weights are from. `frozen_encoder`: whether training would leave it alone.
    """
    config, total = model.config, count(model)
    trained = total - (count(model.encoder) if frozen_encoder else 0)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(_BATCH, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    length = min(_TOKENS, config.positions - config.visual_tokens + 1)
    ids = torch.randint(0, config.end_id, (_BATCH, length), generator=generator)
    ids[:, 0], ids[:, -1] = config.image_id, config.robot_id
    yield from (_RULE, "EmberVLM Quick Start", _RULE, "Model created!")
    yield f"  Total parameters: {total:,}"
    frozen = ", the vision encoder frozen" if frozen_encoder else ""
    yield f"  Trainable parameters: {trained:,} ({trained / total:.2%}){frozen}"
    model.eval()
    with torch.no_grad():
        visual = model.look(pixels)
        outputs = model(ids, pixels)
        logits = outputs.logits
    tokens = visual.shape[1]
    side = round(tokens**0.5)
    yield f"  Vision encoder: RepViT with {tokens} tokens ({side}\u00d7{side} grid)"
    name = _NAMES.get(config.backbone, f"{count(model.language) / 1e6:.1f} M")
    yield f"  Language model: {name} (GPT-2 style)"
    yield f"  Weights: {source}"
    shapes = {
        "logits": (logits, (_BATCH, length, config.vocab_size)),
        "robot_logits": (outputs.robot_logits, (_BATCH, len(config.robots))),
    }
    for what, (tensor, shape) in shapes.items():
        if tensor.shape != shape or not bool(tensor.isfinite().all()):
            raise RuntimeError(f"{what}: {list(tensor.shape)}, expected {list(shape)}, all finite")
    yield "Forward pass successful!"
    yield f"  Input: {list(pixels.shape)} image"
    yield f"  Output: {list(logits.shape)} logits"
    yield from (_RULE, "All tests passed! EmberVLM is ready.", _RULE)
