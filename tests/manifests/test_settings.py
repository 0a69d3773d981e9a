"""A settings file is one checked struct, or one line that says what to type instead."""

import msgspec
import pytest

from manifests.settings import SettingsError, load


class Optim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    weight: float = 1.0
    among: int = msgspec.field(name="global", default=0)


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    steps: int
    optim: Optim = Optim()
    sources: dict[str, Source] = {}
    several: tuple[Source, ...] = ()
    best: Source | None = None

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
            "unknown key 'wieght' in sources[...]; did you mean 'weight'?",
        ),
        ("steps: 3\nbest: {globl: 1}", "unknown key 'globl' in best; did you mean 'global'?"),
        (
            "steps: 3\nseveral: [{}, {weigth: 1}]",
            "unknown key 'weigth' in several[1]; did you mean 'weight'?",
        ),
        ("steps: 3\nlr: 1", "unknown key 'lr'; did you mean 'optim.lr'?"),
        ("steps: 3\noptim: {step: 1}", "unknown key 'step' in optim; did you mean 'steps'?"),
        ("steps: 3\noptim: {zzz: 1}", "unknown key 'zzz' in optim; known: betas, lr"),
        ("steps: 3\noptim: {lr: fast}", "Expected `float`, got `str` - at `$.optim.lr`"),
        ("steps: 3\nsources: [1]", "Expected `object`, got `array` - at `$.sources`"),
        ("optim: {}", "Object missing required field `steps`"),
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
        ("", "stage.yaml holds NoneType; expected a mapping"),
        ("- 1", "stage.yaml holds list; expected a mapping"),
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
    with pytest.raises(SettingsError, match=r"Expected `float`, got `str` - at `\$.optim.lr`"):
        read("steps: 3\noptim: {lr: '1e-4'}")  # quoted, it is text


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


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "On", "NO"])
def test_off_is_a_word_and_true_is_not(tmp_path, word):
    class Switch(msgspec.Struct):
        near: str
        strict: bool = False

    path = tmp_path / "x.yaml"
    path.write_text(f"near: {word}\nstrict: true\n")
    assert load(path, Switch) == Switch(near=word, strict=True)
    assert load(path, Switch, ["strict=False"]).strict is False
