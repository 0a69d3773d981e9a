"""The config in a data set's build.json, and what is changed of it on the command line."""

import re

import pytest

from manifests.settings import SettingsError
from pipelines.sealed_config import config_of


@pytest.fixture
def folder(tmp_path):
    config = '{"root": "raw", "corpora": {"coco": null, "gqa": {"bits": 2}}, "workers": 3}'
    (tmp_path / "build.json").write_text(f'{{"started": "today", "config": {config}}}')
    return tmp_path


def test_the_config_is_what_build_json_says_with_its_overrides(folder):
    config = config_of(folder, ["root=elsewhere", "workers=1"])
    assert (config.root, config.workers, list(config.corpora)) == ("elsewhere", 1, ["coco", "gqa"])
    assert config.bits["gqa/train"] == 2
    assert config_of(folder).workers == 3


def test_a_wrong_override_names_the_config_that_it_was_to_change(folder):
    said = f"the config in {folder}/build.json: unknown key 'worker'; did you mean 'workers'?"
    with pytest.raises(SettingsError, match=f"^{re.escape(said)}$"):
        config_of(folder, ["worker=1"])


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"config"', "\0"])
def test_a_build_json_without_a_config_asks_for_one(folder, content):
    story = folder / "build.json"
    story.unlink() if content is None else story.write_text(content)
    asked = f"Name it: python -m shards repair {folder} --config C"
    with pytest.raises(SettingsError, match=f"does not say what config.*{re.escape(asked)}$"):
        config_of(folder)
