"""What a stage begins with: checked settings, a model, and what its objectives need beside it."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from embervlm import EmberVLM, EmberVLMConfig, Tokenizer, losses
from manifests.settings import SettingsError
from shards.stream import Stream
from train import adapters
from train.distributed import Place
from train.objectives import OBJECTIVES, Aids, reached
from train.site import SiteHead
from train.stage import Stage


def check(stage: Stage) -> None:
    """Raise SettingsError for objectives that are not there, or that miss what is trainable."""
    if unknown := set(stage.objectives) - set(OBJECTIVES):
        raise SettingsError(
            f"objectives has {', '.join(sorted(unknown))}; there are {', '.join(OBJECTIVES)}"
        )
    taught = reached(stage.objectives, stage.vision_only)
    if missed := [name for name in stage.trainable if name not in taught]:
        kept = [name for name in stage.trainable if name in taught]
        raise SettingsError(
            f"trainable lists {', '.join(missed)}, which {' and '.join(stage.objectives)} do not "
            f"reach; leave them out with --set trainable=[{','.join(kept)}]"
        )
    if stage.vision_only and "consistency" in stage.objectives:
        raise SettingsError(
            "objectives has consistency, which reads what the language model wrote, and "
            "vision_only decides past it; leave one out with --set objectives.consistency=null"
        )


def model_of(stage: Stage, tokenizer: Tokenizer, start: Path | None, place: Place) -> EmberVLM:
    """The model a stage starts from, in the place it is trained in, its untrained parts frozen.

    Strictly the weights of the checkpoint `start` if there is one. Raises SettingsError, also for
    weights that are of another tokenizer or number of heads, or ValueError naming the tensors that
    do not fit, and for a random encoder that is not trained.
    """
    config = stage.model.config
    if config.vocab_size != tokenizer.vocab_size:
        raise SettingsError(
            f"model has a vocabulary of {config.vocab_size}, the tokenizer {config.tokenizer!r} "
            f"of {tokenizer.vocab_size}; set model.set.vocab_size"
        )
    torch.manual_seed(stage.seed)
    if start is None:
        model = EmberVLM.build(config)
    else:
        _check_fits(config, tokenizer, start)
        model = EmberVLM.from_state(config, load_file(start / "model.safetensors"), start)
    model.train_only(stage.trainable)
    if stage.lora:
        adapters.attach(model, stage.lora)
    return model.to(place.device)


def _check_fits(config: EmberVLMConfig, tokenizer: Tokenizer, start: Path) -> None:
    """Raise SettingsError for what the shapes of tensors do not tell."""
    heads = EmberVLMConfig.from_pretrained(start).heads
    if heads != config.heads:
        raise SettingsError(
            f"model has {config.heads} heads, the weights of {start} were trained with {heads}; "
            f"set it with --set model.set.heads={heads}"
        )
    theirs, ours = Tokenizer.load(start).digest, tokenizer.digest
    if theirs != ours:
        raise SettingsError(
            f"model has tokenizer {ours[:12]}, the weights of {start} were trained with "
            f"{theirs[:12]}: every word would be another; set it with "
            f"--set model.set.tokenizer={start}"
        )


def aids_of(stage: Stage, stream: Stream, model: EmberVLM, place: Place) -> Aids:
    """What the stage's objectives need besides the model. Raises what a teacher's loading does."""
    weights = teacher = head = None
    if stage.robot_loss.balanced and "robots" in stage.objectives:
        weights = losses.class_weights(stream.robots_wanted.tolist()).to(place.device)
    if stage.teacher:
        teacher = EmberVLM.from_pretrained(stage.teacher.model).requires_grad_(False).eval()
        theirs, ours = teacher.tokenizer.digest, model.tokenizer.digest
        if theirs != ours:
            raise SettingsError(
                f"teacher.model {stage.teacher.model} has tokenizer {theirs[:12]}, the model "
                f"{ours[:12]}: their words would not be aligned. Name one with the same tokenizer"
            )
        teacher.to(place.device)
    if "site" in stage.objectives:
        head = SiteHead(model.encoder.width).to(place.device)
    return Aids(
        place=place,
        robot_loss=stage.robot_loss,
        robot_weights=weights,
        teacher=teacher,
        temperature=stage.teacher.temperature if stage.teacher else 1.0,
        site_head=head,
    )
