"""A settings file is one checked struct, or one line that says what to type instead."""

from typing import Literal

import msgspec
import pytest

from manifests.settings import SettingsError, load

Mode = Literal["fast", "slow"]


class Optim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    weight: float = 1.0
    among: int = msgspec.field(name="global", default=0)


class Lucky(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    number: int

    def __post_init__(self):
        if self.number == 13:
            raise ValueError("13 is no lucky number")


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    steps: int
    optim: Optim = Optim()
    sources: dict[str, Source] = {}
    several: tuple[Source, ...] = ()
    best: Source | None = None
    mode: Mode | None = None
    by_mode: dict[Mode, int] = {}
    names: dict[str, str | None] = {}
    rates: dict[str, float] = {}
    perhaps: dict[str, Source | None] = {}
    lucky: Lucky | None = None
    all_lucky: list[Lucky] = []

    def __post_init__(self):
        if self.steps == 13:
            raise ValueError("13 steps bring bad luck")


@pytest.fixture
def read(tmp_path):
    """Settings from the text of a file and overrides."""

    def read(text: str, *overrides: str) -> Stage:
        (tmp_path / "stage.yaml").write_text(text)
        return load(tmp_path / "stage.yaml", Stage, overrides)

    return read


def test_a_file_becomes_a_struct(read):
    assert read("steps: 3\nsources: {coco: {weight: 2, global: 4}}") == Stage(
        steps=3, sources={"coco": Source(weight=2.0, among=4)}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stps: 3", "unknown key 'stps'; did you mean 'steps'?"),
        ("steps: 3\noptim: {lrr: 1}", "unknown key 'lrr' in optim; did you mean 'lr'?"),
        (
            "steps: 3\nsources: {coco: {wieght: 1}}",
            "unknown key 'wieght' in sources.coco; did you mean 'weight'?",
        ),
        ("steps: 3\nbest: {globl: 1}", "unknown key 'globl' in best; did you mean 'global'?"),
        (
            "steps: 3\nseveral: [{}, {weigth: 1}]",
            "unknown key 'weigth' in several[1]; did you mean 'weight'?",
        ),
        ("steps: 3\nlr: 1", "unknown key 'lr'; did you mean 'optim.lr'?"),
        ("steps: 3\noptim: {step: 1}", "unknown key 'step' in optim; did you mean 'steps'?"),
        ("steps: 3\noptim: {zzz: 1}", "unknown key 'zzz' in optim; known: betas, lr"),
        ("steps: 3\noptim: {lr: fast}", "optim.lr is the text 'fast'; expected a number"),
        ("steps: 3\nsources: [1]", "sources is a list; expected a mapping (name: value)"),
        (
            "steps: 3\nsources: {1: {}}",
            "a key of sources is the number 1; expected text; put it in quotes",
        ),
        (
            "steps: 3\nsources: {a: {}, b: 2}",
            "sources.b is the number 2; expected a mapping (name: value)",
        ),
        ("steps: 3\nbest: 2", "best is the number 2; expected a mapping (name: value) or null"),
        (
            "steps: 3\noptim: {betas: [1]}",
            "optim.betas is a list; expected a list of length 2, got 1",
        ),
        ("steps: 3\noptim: {betas: [1, x]}", "optim.betas[1] is the text 'x'; expected a number"),
        ("steps: true", "steps is the switch true; expected a whole number"),
        ("steps: null", "steps is null; expected a whole number"),
        ("steps: 2026-01-31", "steps is the date 2026-01-31; expected a whole number"),
        ("steps: '3'", "steps is the text '3'; expected a whole number; write it without quotes"),
        (
            "steps: 3\nnames: {a: 5}",
            "names.a is the number 5; expected text or null; put it in quotes",
        ),
        ("steps: 3\nrates: {a: {}}", "rates.a is a mapping; expected a number"),
        (
            "steps: 3\nmode: fsat",
            "mode is the text 'fsat'; expected fast, slow or null; did you mean 'fast'?",
        ),
        ("steps: 3\nmode: 7", "mode is the number 7; expected fast, slow or null"),
        (
            "steps: 3\nby_mode: {slo: 1}",
            "a key of by_mode is the text 'slo'; expected fast or slow; did you mean 'slow'?",
        ),
        ("steps: 3\nlucky: {number: 13}", "lucky: 13 is no lucky number"),
        ("optim: {}", "steps is missing; give it in the file or with --set steps=..."),
        (
            "steps: 3\nlucky: {}",
            "lucky.number is missing; give it in the file or with --set lucky.number=...",
        ),
        ("steps: 3\nall_lucky: [{}]", "all_lucky[0].number is missing; give it in the file"),
        ("steps: 13", "13 steps bring bad luck"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(read, text, message):
    with pytest.raises(SettingsError) as caught:
        read(text)
    assert str(caught.value).partition("stage.yaml: ")[2] == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "stage.yaml is empty; expected a mapping of settings$"),
        ("# steps: 3", "stage.yaml is empty; expected a mapping of settings$"),
        ("- 1", "stage.yaml is a list; expected a mapping of settings$"),
        ("steps", "stage.yaml is the text 'steps'; expected a mapping of settings$"),
        ("steps: [1", "stage.yaml is not readable as YAML: .*line 1"),
    ],
)
def test_what_is_no_mapping_is_refused(read, text, message):
    with pytest.raises(SettingsError, match=f"(?s){message}"):
        read(text)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("steps=4", Stage(steps=4)),
        ("optim.lr=1e-4", Stage(steps=3, optim=Optim(lr=0.0001))),
        ("optim.lr=-2E+3", Stage(steps=3, optim=Optim(lr=-2000.0))),
        ("optim.lr=3", Stage(steps=3, optim=Optim(lr=3.0))),
        ("optim.betas=[1e-1, 0.5]", Stage(steps=3, optim=Optim(betas=(0.1, 0.5)))),
        ("sources.coco.weight=2", Stage(steps=3, sources={"coco": Source(weight=2)})),
        ("sources={a: {}}", Stage(steps=3, sources={"a": Source()})),
        ("optim=null", Stage(steps=3)),
        ("best.weight=null", Stage(steps=3)),  # there is nothing to remove, nor to make
    ],
)
def test_overrides(read, override, expected):
    assert read("steps: 3", override) == expected


def test_null_removes_what_the_file_says_and_later_overrides_win(read):
    text = "steps: 3\noptim: {lr: 5}\nsources: {coco: {}, gqa: {}}"
    assert read(text, "optim.lr=null", "sources.gqa=null") == Stage(
        steps=3, sources={"coco": Source()}
    )
    assert read(text, "optim.lr=6", "optim.lr=7").optim.lr == 7


def test_a_rate_without_a_dot_is_a_number_in_a_file_too(read):
    assert read("steps: 3\noptim: {lr: 1e-4}").optim.lr == 0.0001
    with pytest.raises(SettingsError, match="optim.lr is the text '1e-4'; .* without quotes$"):
        read("steps: 3\noptim: {lr: '1e-4'}")  # quoted, it is text


def test_null_is_a_value_where_values_are_scalars_or_null_and_removes_elsewhere(read):
    text = "steps: 3\nnames: {a: x}\nrates: {a: 1}\nperhaps: {a: {}}\nmode: fast"
    said = read(text, "names.a=null", "names.b=null", "rates.a=null", "perhaps.a=null", "mode=null")
    assert said == Stage(steps=3, names={"a": None, "b": None})
    assert read("steps: 3", "names.b=null").names == {"b": None}
    assert read(text, "names=null").names == {}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("names.a=5", "names.a is the number 5; expected text or null; put it in quotes that the "
         "shell leaves: --set \"names.a='5'\""),
        ("names={a: 5}", "names.a is the number 5; expected text or null; put it in quotes"),
        ("names.a=0x1F", "names.a is the number 31; expected text or null; put it in quotes that "
         "the shell leaves: --set \"names.a='0x1F'\""),
        ("steps=many", "steps is the text 'many'; expected a whole number"),
        ("by_mode={slo: 1}", "a key of by_mode is the text 'slo'; expected fast or slow; did you "
         "mean 'slow'?"),
    ],
)  # fmt: skip
def test_a_wrong_value_says_which_override_gave_it(read, override, message):
    with pytest.raises(SettingsError) as caught:
        read("steps: 3\nnames: {a: x}", "steps=4", override, "optim.lr=1")
    assert str(caught.value).partition("stage.yaml ")[2] == f"with --set {override}: {message}"


def test_text_in_quotes_that_the_shell_leaves_is_text(read):
    assert read("steps: 3", "names.a='5'").names == {"a": "5"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: 3\noptim:\n  lr: 1\n  lr: 2\n", "'lr' is given twice, on lines 3 and 4; keep one"),
        ("steps: 3\nrates: {}\n\nsteps: 4", "'steps' is given twice, on lines 1 and 4; keep one"),
        ("steps: 3\n'steps': 4", "'steps' is given twice, on lines 1 and 2; keep one"),
        ("steps: 3\nnames: {a: b, a: c}", "'a' is given twice, on line 2; keep one"),
    ],
)
def test_a_key_that_is_given_twice_is_refused(read, text, message):
    with pytest.raises(SettingsError) as caught:
        read(text)
    assert str(caught.value).endswith(f"stage.yaml is not readable as YAML: {message}")
    with pytest.raises(SettingsError, match="--set names={a: b, a: c}: .*'a' is given twice"):
        read("steps: 3", "names={a: b, a: c}")


def test_what_is_merged_from_an_anchor_may_be_said_again(read):
    text = "steps: 3\nsources: {a: &a {weight: 2, global: 3}, b: {<<: *a, weight: 4}}"
    assert read(text).sources["b"] == Source(weight=4.0, among=3)


@pytest.mark.parametrize("override", ["steps", "=3", "optim..lr=3", "steps.a=3", "optim.lr=[1"])
def test_overrides_that_cannot_be(read, override):
    with pytest.raises(SettingsError, match=f"--set {override}: ".replace("[", r"\[")):
        read("steps: 3", override)


def test_a_missing_file_lists_its_neighbours(tmp_path):
    for name in ("stage1.yaml", "demo.yaml", "notes.txt"):
        (tmp_path / name).write_text("")
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "stage9.yaml", Stage)
    assert str(caught.value) == (
        f"no settings file {tmp_path}/stage9.yaml; {tmp_path} has demo.yaml, stage1.yaml"
    )
    with pytest.raises(SettingsError, match=r"no settings file .*/none/a.yaml$"):
        load(tmp_path / "none" / "a.yaml", Stage)


def test_what_is_to_be_removed_must_be_there(read):
    text = "steps: 3\nsources: {coco: {}, gqa: {}}"
    with pytest.raises(SettingsError) as caught:
        read(text, "sources.gqaa=null")
    assert str(caught.value) == (
        "--set sources.gqaa=null: there is no 'sources.gqaa' to remove; did you mean 'gqa'?"
    )
    with pytest.raises(SettingsError, match="no 'sources.zzz' to remove; there are coco, gqa$"):
        read(text, "sources.zzz=null")
    with pytest.raises(SettingsError, match="no 'rates.zzz' to remove; there are none$"):
        read(text, "rates.zzz=null")
    with pytest.raises(SettingsError, match="no 'optim.lrr' to remove; did you mean 'lr'\\?$"):
        read(text, "optim.lrr=null")


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "On", "NO"])
def test_off_is_a_word_and_true_is_not(tmp_path, word):
    class Switch(msgspec.Struct):
        near: str
        strict: bool = False

    path = tmp_path / "x.yaml"
    path.write_text(f"near: {word}\nstrict: true\n")
    assert load(path, Switch) == Switch(near=word, strict=True)
    assert load(path, Switch, ["strict=False"]).strict is False
