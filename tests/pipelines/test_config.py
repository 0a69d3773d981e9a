"""What a build is told: right settings are understood, wrong ones answered with right ones."""

from pathlib import Path

import pytest

from manifests.settings import SettingsError
from pipelines import config as configs
from pipelines import corpora
from pipelines.corpora import CorpusError
from pipelines.protect import Protect

CONFIGS = Path(configs.__file__).parent / "configs"
SMALL = "root: raw\ncorpora: {coco: {}, robots: {path: ./robots}}\n"


def load(tmp_path: Path, text=SMALL, *overrides):
    (tmp_path / "build.yaml").write_text(text)
    return configs.load(tmp_path / "build.yaml", overrides)


@pytest.mark.parametrize("name", ["demo", "full"])
def test_the_shipped_configs_protect_what_is_judged(name):
    config = configs.load(CONFIGS / f"{name}.yaml")
    own = {
        "demo": ["coco", "gqa", "robots", "vqav2"],
        "full": [n for n in corpora.names() if n != "generic"],
    }
    assert sorted(config.corpora) == own[name]
    assert {"coco/val", "robots/val", "robots/test"} <= set(config.protect.image)
    assert (config.image.policy, config.image.size, config.image.quality) == ("squash", 224, 90)


def test_what_is_not_said_has_a_default(tmp_path):
    config = load(tmp_path)
    assert (config.workers, config.protect, config.corpus("coco").bits) == (2, Protect(), 0)
    assert (config.image.policy, config.image.size, config.image.quality) == ("squash", 224, 90)


def test_a_corpus_lies_below_the_root_or_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "root: raw\ncorpora: {coco: {}, vqav2: {path: my/vqa}, gqa: {path: ../gqa},"
    text += f" robots: {{path: {tmp_path}/robots}}}}\n"
    config = load(tmp_path, text)
    root = tmp_path / "raw"
    assert {name: config.folders(name).path for name in config.corpora} == {
        "coco": root / "coco",
        "vqav2": root / "my/vqa",
        "gqa": tmp_path.parent / "gqa",
        "robots": tmp_path / "robots",
    }
    assert {config.folders(name).root for name in config.corpora} == {root.resolve()}


def test_overrides_change_one_setting_or_take_a_corpus_out(tmp_path):
    overrides = ["workers=3", "corpora.coco.bits=2", "image.quality=75", "corpora.robots=null"]
    config = load(tmp_path, SMALL, *overrides, "protect.image=[coco/val]")
    assert (config.workers, config.image.quality) == (3, 75)
    assert {name: config.corpus(name).bits for name in config.corpora} == {"coco": 2}
    assert config.protect == Protect(image=("coco/val",))


def test_the_digest_follows_what_decides_the_bytes_and_nothing_else(tmp_path):
    def digest(*overrides):
        return load(tmp_path, SMALL, *overrides).digest

    same = (["root=elsewhere"], ["workers=7"], ["corpora.robots.path=/else"], ["max_quarantined=1"],
            ["corpora.coco.bits=1"], ["corpora.coco.on_empty=report"], [])  # fmt: skip
    other = (["image.size=96"], ["image.quality=80"], ["protect.image=[coco/*]"],
             ["paraphrases=1"], ["corpora.robots=null"], ["image.policy=keep"],
             ["corpora.coco.splits={val2017: null}"], ["corpora.coco.splits.val2017=train"],
             ["protect.text=[coco/val]"])  # fmt: skip
    assert {digest(*overrides) for overrides in same} == {digest()}
    assert len({digest(*overrides) for overrides in other} | {digest()}) == 1 + len(other)
    assert digest("protect.image=[coco/val, gqa/val]") == digest(
        "protect.image=[gqa/val, coco/val]"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rot: raw\ncorpora: {coco: {}}", "unknown key 'rot'; did you mean 'root'?"),
        ("root: raw\ncorpora: {coco: {bit: 1}}",
         "unknown key 'bit' in corpora.coco; did you mean 'bits'?"),
        ("root: raw\ncorpora: {coco: {}}\nimage: {quallity: 9}",
         "unknown key 'quallity' in image; did you mean 'quality'?"),
        ("root: 5\ncorpora: {coco: {}}", "root is the number 5; expected text; put it in quotes"),
        ("root: raw\ncorpora: [coco]", "corpora is a list; expected a mapping (name: value)"),
        ("root: raw\ncorpora: {coco: {bits: 21}}",
         "corpora.coco.bits is the number 21; expected a whole number <= 20"),
        ("root: raw\ncorpora: {coco: {bits: -1}}",
         "corpora.coco.bits is the number -1; expected a whole number >= 0"),
        ("root: raw\ncorpora: {coco: {bits: two}}",
         "corpora.coco.bits is the text 'two'; expected a whole number or a mapping"),
        ("root: raw\ncorpora: {gqa: {}, coco: {bits: {trian: 3}}}",
         "a key of corpora.coco.bits is the text 'trian'; expected train, val or test; "
         "did you mean 'train'?"),
        ("root: raw\ncorpora: {gqa: {}, coco: {on_empty: fial}}",
         "corpora.coco.on_empty is the text 'fial'; expected fail or report; did you mean 'fail'?"),
        ("root: raw\ncorpora: {coco: {}}\nworkers: 0",
         "workers is the number 0; expected a whole number >= 1"),
        ("root: raw\ncorpora: {coco: {}}\nimage: {policy: crop}",
         "image.policy is the text 'crop'; expected "),
        ("corpora: {coco: {}}",
         "root is missing; give it in the file or with --set root=..."),
        ("root: raw\ncorpora: {mine: {reader: genric}}",
         "corpora.mine.reader: no corpus is called 'genric'; did you mean 'generic'?"),
        ("root: raw\ncorpora: {}", "corpora is empty; name at least one"),
        ("- coco", "is a list; expected a mapping of settings"),
        ("", "is empty; expected a mapping of settings"),
        ("root: [raw", "is not readable as YAML"),
    ],
)  # fmt: skip
def test_a_wrong_config_is_refused_by_its_file_and_place(tmp_path, text, message):
    with pytest.raises((SettingsError, CorpusError)) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "build.yaml"))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cooc", "did you mean 'coco'?"),
        ("vqa2", "did you mean 'vqav2'?"),
        ("robot", "did you mean 'robots'?"),
        ("imagenet", "known: aokvqa, cc3m, coco, generic, gqa"),
    ],
)
def test_a_corpus_without_a_reader_is_refused_with_the_nearest_name(tmp_path, name, hint):
    with pytest.raises(CorpusError) as caught:
        load(tmp_path, f"root: raw\ncorpora: {{{name}: {{}}}}")
    begins = f"{tmp_path}/build.yaml: no corpus is called {name!r}; {hint}"
    assert str(caught.value).startswith(begins)
    mark = "?" if hint.endswith("?") else "."
    end = f"{mark} For one of your own: {name}: {{reader: generic, path: ...}}"
    assert str(caught.value).endswith(end)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("coco/vall", "did you mean 'coco/val'?"),
        ("vqa/val", "did you mean 'vqav2/val'?"),
        ("everything", "known: coco/train, coco/val, coco/test, "),
    ],
)
def test_a_pattern_that_would_protect_nothing_is_refused(tmp_path, pattern, hint):
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, SMALL, f"protect.image=[coco/val, {pattern}]")
    assert f"protect {pattern!r} names no split; {hint}" in str(caught.value)


@pytest.mark.parametrize("pattern", ["gqa/val", "*/val", "coco/*", "robots/te?t"])
def test_a_pattern_may_name_a_corpus_that_this_build_leaves_out(tmp_path, pattern):
    assert load(tmp_path, SMALL, f"protect.image=['{pattern}']").protect.image == (pattern,)


@pytest.mark.parametrize("override", ["workers", "=3", "root.a=3", "root=[a"])
def test_an_override_that_is_none_is_refused(tmp_path, override):
    with pytest.raises(SettingsError, match="--set"):
        load(tmp_path, SMALL, override)


def test_a_config_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(SettingsError, match="no settings file .*dem.yaml; .* has demo.yaml, full"):
        configs.load(CONFIGS / "dem.yaml")


def test_shards_can_be_counted_by_split_and_a_bare_name_means_its_defaults(tmp_path):
    path = tmp_path / "build.yaml"
    path.write_text("root: raw\ncorpora: {coco: {bits: {train: 5, val: 1}}, gqa: }")
    bits = configs.load(path).bits
    assert {place: bits[place] for place in ("coco/train", "coco/val", "coco/test")} == {
        "coco/train": 5,
        "coco/val": 1,
        "coco/test": 0,
    }
    assert bits["gqa/train"] == 0


def test_a_corpus_that_is_named_alone_has_its_defaults_and_can_be_said_more_of(tmp_path):
    text = "root: raw\ncorpora:\n  coco:\n  gqa: {}\n"
    assert load(tmp_path, text).bits["coco/train"] == 0
    config = load(tmp_path, text, "corpora.coco.bits=3")
    assert (config.bits["coco/train"], config.bits["gqa/train"]) == (3, 0)
    assert config.folders("coco").path.name == "coco"


def test_a_corpus_may_have_a_name_of_its_own_and_the_reader_of_another(tmp_path):
    config = load(tmp_path, "root: raw\ncorpora: {mine: {reader: coco, path: x}}")
    assert config.reader("mine") is corpora.load("coco")
    folders = config.folders("mine")
    assert (folders.corpus, folders.path.name, folders.coco.name) == ("mine", "x", "coco")
    assert set(config.bits) == {"mine/train", "mine/val", "mine/test"}


def test_what_official_splits_become_can_be_changed_but_not_misspelt(tmp_path):
    config = load(tmp_path, SMALL, "corpora.coco.splits={val2017: train}")
    assert config.folders("coco").splits == {"train2017": "train", "val2017": "train"}
    with pytest.raises(SettingsError, match="coco has no official split 'valid'; it has train2017"):
        load(tmp_path, SMALL, "corpora.coco.splits={valid: train}")
    with pytest.raises(SettingsError, match="coco: splits leaves none to read; remove coco"):
        load(tmp_path, SMALL, "corpora.coco.splits={train2017: null, val2017: null}")
    with pytest.raises(SettingsError, match="splits.val2017 is the text 'dev'; expected .*or null"):
        load(tmp_path, SMALL, "corpora.coco.splits={val2017: dev}")


def test_null_leaves_a_split_out_and_takes_a_corpus_away(tmp_path):
    text = "root: raw\ncorpora: {coco: {}, gqa: {}}"
    config = load(tmp_path, text, "corpora.coco.splits.val2017=null", "corpora.gqa=null")
    assert config.folders("coco").splits == {"train2017": "train", "val2017": None}
    assert list(config.corpora) == ["coco"]


@pytest.mark.parametrize("name", ["Coco", "a-b", "a/b", "1a", ""])
def test_a_name_that_no_shard_could_bear_is_refused(tmp_path, name):
    with pytest.raises(SettingsError, match="a name is of a-z, 0-9 and _, a letter first"):
        load(tmp_path, f"root: raw\ncorpora: {{'{name}': {{reader: coco}}}}")


def test_a_corpus_placed_by_its_containers_has_no_bits(tmp_path):
    text = "root: raw\ncorpora: {cc3m: {}, coco: {}}"
    assert {place.split("/")[0] for place in load(tmp_path, text).bits} == {"coco"}
    with pytest.raises(SettingsError, match="cc3m has a shard for each of its containers"):
        load(tmp_path, text, "corpora.cc3m.bits=3")
