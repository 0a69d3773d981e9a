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
        ("steps=null", "steps is None, passes None: a run is as long as one of them says"),
        ("passes=2", r"steps is 110, passes 2.*; leave the other out with --set steps=null"),
        ("mixing.unit=words", "mixing.unit is the text 'words'; expected samples or tokens"),
        ("mixing.exhausted=end", "mixing.exhausted is the text 'end'; expected repeat, stop or d"),
        ("mixing.temperature=0", "mixing.temperature is the number 0; expected"),
        ("fill=fibres", "fill is the text 'fibres'; expected threads, processes or null"),
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


def test_a_run_is_as_long_as_its_steps_or_passes_or_mixture() -> None:
    stage = stages.load("demo.yaml", ["steps=null", "passes=1.5"])
    assert stage.length(samples=1000, most=None) == 94  # of 16 samples, the last one not whole
    assert stage.length(samples=1000, most=50) == 50
    assert stages.load("demo.yaml").length(samples=1000, most=None) == 110
    with pytest.raises(ValueError, match="optim.warmup 10 is not shorter than the run of 10 steps"):
        stage.length(samples=1000, most=10)
