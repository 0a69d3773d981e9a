import subprocess
import sys

import pytest

from embervlm.config import ROBOTS, STEPS, EmberVLMConfig
from manifests import schema
from pipelines.robots.reasoning import facts


def test_presets() -> None:
    compact, flagship = EmberVLMConfig.preset("compact"), EmberVLMConfig.preset("flagship")
    assert (compact.vocab_size, compact.tokenizer, compact.backbone) == (4096, "builtin", "scratch")
    assert flagship.vocab_size == 50262
    assert flagship.encoder_frozen and flagship.encoder_weights == "timm"
    assert (flagship.pad_id, flagship.image_id, flagship.robot_id) == (50257, 50258, 50260)
    assert (flagship.reasoning_start_id, flagship.reasoning_end_id) == (50259, 50261)
    assert flagship.end_id == 50256
    assert compact.robots == ROBOTS
    assert EmberVLMConfig.preset("compact", layers=2).layers == 2
    with pytest.raises(ValueError, match="compact, flagship"):
        EmberVLMConfig.preset("large")


def test_round_trips(tmp_path) -> None:
    config = EmberVLMConfig.preset("flagship", layers=3, robots=("Drone", "Humanoid"))
    assert EmberVLMConfig.from_dict(config.to_dict()) == config
    config.save_pretrained(tmp_path / "run")
    assert EmberVLMConfig.from_pretrained(tmp_path / "run") == config
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 100}, "not a multiple"),
        ({"layers": 0}, "layers is 0"),
        ({"visual_tokens": 8}, "gives 49"),
        ({"positions": 49}, "no room"),
        ({"robots": ("Drone", "Drone")}, "repeat"),
        ({"vocab_size": 5}, "six special"),
    ],
)
def test_sizes_that_do_not_fit(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EmberVLMConfig.preset("compact", **fields)


def test_an_unknown_field_is_named_with_the_nearest(tmp_path) -> None:
    with pytest.raises(ValueError, match="unknown key 'layer' in a configuration; did you mean"):
        EmberVLMConfig.from_dict({"vocab_size": 64, "layer": 2})
    with pytest.raises(ValueError, match="unknown key 'ff' .* there are vocab_size, layers"):
        EmberVLMConfig.from_dict({"vocab_size": 64, "ff": 0.1})
    (tmp_path / "config.json").write_text('{"vocab_size": 64, "vision_tokens": 49}')
    with pytest.raises(ValueError, match=r"config\.json: unknown key .* 'visual_tokens'\?"):
        EmberVLMConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": "many"}')
    with pytest.raises(ValueError, match=r"config\.json: Expected `int`, got `str`.*vocab_size"):
        EmberVLMConfig.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError):
        EmberVLMConfig.from_pretrained(tmp_path / "none" / "there")


def test_names_agree_with_the_data_arm_s() -> None:
    assert ROBOTS == schema.ROBOTS
    assert EmberVLMConfig.preset("compact").plan_steps == schema.MAX_STEPS
    assert STEPS == facts.STEPS


def test_import_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import embervlm\n"
        "embervlm.EmberVLMConfig.preset('compact'); embervlm.Tokenizer\n"
        "try: embervlm.EmberVLM\n"
        "except ImportError as error: assert 'embervlm[train]' in str(error), error\n"
        "else: raise SystemExit('imported without torch')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
