import pytest

from manifests.settings import SettingsError
from train import stage as stages


def test_a_bare_name_is_looked_up_among_the_mixtures() -> None:
    assert stages.load("demo.yaml").name == "demo"
    assert stages.find("./elsewhere/demo.yaml").parts[0] == "elsewhere"


def test_a_missing_mixture_lists_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"no settings file .*dmo\.yaml.*demo\.yaml"):
        stages.load("dmo.yaml")


def test_overrides_and_numbers() -> None:
    stage = stages.load("demo.yaml", ["optim.lr=1e-4", "sources.gqa=null", "steps=20"])
    assert stage.optim.lr == 1e-4
    assert set(stage.sources) == {"coco", "vqav2", "robots"}
    assert stage.steps == 20


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.warmpu=3", r"unknown key 'warmpu' in optim; did you mean 'warmup'\?"),
        ("optim.warmup=500", "would never reach its peak"),
        ("trainable=[encodr]", "trainable names encodr; the components are encoder"),
        ("batch.pool=5", "batch.global 16 is not a multiple of pool 5"),
        ("steps=many", "steps is the text 'many'; expected a whole number"),
        ("model.set={encoder_frozen: true, encoder_weights: timm}", "trainable lists the encoder"),
    ],
)
def test_what_cannot_be_is_refused(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        stages.load("demo.yaml", [override])


def test_packing_is_known_from_the_sources(stage_file) -> None:
    assert stages.load(stage_file()).packs
    assert not stages.load(stage_file(sources={"coco": {"turns": "rotate"}})).packs
