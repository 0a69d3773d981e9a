import json

import pytest
import tokenizers
from transformers import AutoTokenizer

from embervlm import tokens
from embervlm.tokens import SPECIALS, Tokenizer, render

TEXTS = [f"the robot {verb} the {thing}" for verb in ("lifts", "finds") for thing in "abcdef"] * 3


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=280)


def test_special_ids_are_the_last(tokenizer) -> None:
    t = tokenizer
    assert t.vocab_size == 280
    special = (t.end, t.pad, t.image, t.reasoning_start, t.robot, t.reasoning_end)
    assert special == (274, 275, 276, 277, 278, 279)


@pytest.mark.parametrize(
    "text", ["a <image> b", "<robot>", "<pad><|endoftext|>", "<reasoning_end>"]
)
def test_special_spelling_in_text_stays_text(tokenizer, tmp_path, text) -> None:
    tokenizer.save(tmp_path)
    for t in (tokenizer, Tokenizer.load(tmp_path)):
        assert max(t.encode(text)) < t.end
        assert t.decode(t.encode(text)) == text
        ((prompt, target),) = t.encode_turns(["qa"], [text], [text])
        assert max(prompt) < t.end
        assert target[-1] == t.end and max(target[:-1]) < t.end


def test_text_survives(tokenizer) -> None:
    for text in ("the robot lifts", " naïve — 机器人 🙂\n\ttab", "it's", ""):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode([tokenizer.robot, *tokenizer.encode("b"), tokenizer.end]) == "b"
    with pytest.raises(ValueError, match="expected 0 to 279"):
        tokenizer.decode([280])


def test_turns(tokenizer) -> None:
    t = tokenizer
    kinds = ["caption", "caption", "qa", "robot", "reasoning", "grounding", "instruction"]
    prompts = ["", "What?", "Which {x}?", "lift", "lift", "where", "do"]
    turns = t.encode_turns(kinds, prompts, ["yes"] * 7)
    encode = t.encode
    assert [prompt for prompt, _ in turns] == [
        encode("Describe the picture."),
        encode("What?"),
        encode("Question: Which {x}? Answer:"),
        [*encode("Task: lift "), t.robot],
        [*encode("Task: lift "), t.robot, t.reasoning_start],
        encode("where"),
        encode("do"),
    ]
    yes = encode(" yes")
    for kind, (_, target) in zip(kinds, turns, strict=True):
        closing = [t.reasoning_end, t.end] if kind == "reasoning" else [t.end]
        assert target == [*yes, *closing]
    assert render("robot", "lift") == "Task: lift "
    with pytest.raises(ValueError, match="unknown kind 'poem'; the kinds are caption"):
        render("poem", "x")
    with pytest.raises(ValueError, match="argument"):
        t.encode_turns(["qa"], ["a", "b"], ["c"])


def test_training_is_deterministic(tokenizer, tmp_path) -> None:
    again = Tokenizer.train(iter(TEXTS), vocab_size=280)
    assert again.digest == tokenizer.digest
    tokenizer.save(tmp_path / "one.json")
    again.save(tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert Tokenizer.train(TEXTS[:-6], vocab_size=270).digest != tokenizer.digest


def test_too_few_texts() -> None:
    with pytest.raises(ValueError, match=r"give \d+ merges .* needs 3834"):
        Tokenizer.train(TEXTS)
    with pytest.raises(ValueError, match="256 bytes"):
        Tokenizer.train(TEXTS, vocab_size=200)


def test_digest_covers_rendering(tokenizer, monkeypatch) -> None:
    before = tokenizer.digest
    assert len(before) == 64
    monkeypatch.setitem(tokens.TEMPLATES, "qa", "Q: {prompt} A:")
    assert tokenizer.digest != before


def test_gpt2_layout_gets_special_ids_at_the_end(tokenizer, tmp_path) -> None:
    tokenizer.save(tmp_path / "saved")
    model = json.loads((tmp_path / "saved" / "tokenizer.json").read_text())["model"]
    vocab = model["vocab"] | {"<|endoftext|>": len(model["vocab"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    t = Tokenizer.load(str(tmp_path))
    assert t.vocab_size == 280 and t.end == 274
    assert (t.pad, t.image, t.reasoning_start, t.robot, t.reasoning_end) == tuple(range(275, 280))
    assert t.encode("the robot <|endoftext|>") == tokenizer.encode("the robot <|endoftext|>")
    t.save(tmp_path)  # now tokenizer.json wins, and says the same
    assert Tokenizer.load(tmp_path).digest == t.digest


def test_other_readers_know_the_special_tokens(tokenizer, tmp_path) -> None:
    tokenizer.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert [theirs.token_to_id(name) for name in SPECIALS] == [275, 276, 277, 278, 279]
    assert theirs.encode("<image>").ids == [276]


def test_transformers_reads_a_prompt_as_it_was_learnt(tokenizer, tmp_path) -> None:
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    ((prompt, _),) = tokenizer.encode_turns(["robot"], ["the robot lifts"], ["x"])
    read = theirs("<image> Task: the robot lifts <robot>")
    assert read["input_ids"] == [tokenizer.image, *prompt]
    assert len(theirs) == 280
    assert (theirs.eos_token_id, theirs.pad_token_id) == (tokenizer.end, tokenizer.pad)
    written = [*tokenizer.encode(" lifts"), tokenizer.reasoning_end, tokenizer.pad]
    assert theirs.decode(written, skip_special_tokens=True) == " lifts"
    both = theirs(["<image>", "<image> the robot"], padding=True)
    assert both["input_ids"][0][1:] == [tokenizer.pad] * (len(both["input_ids"][1]) - 1)


def test_the_end_of_text_is_right_before_the_special_tokens(tokenizer, tmp_path) -> None:
    tokenizer.save(tmp_path)
    description = json.loads((tmp_path / "tokenizer.json").read_text())
    description["added_tokens"][0] |= {"content": "<end>"}
    with pytest.raises(ValueError, match=r"<\|endoftext\|> is None; expected 274, right before"):
        Tokenizer(description)


def test_misplaced_special_tokens_are_refused(tokenizer, tmp_path) -> None:
    tokenizer.save(tmp_path)
    description = json.loads((tmp_path / "tokenizer.json").read_text())
    description["added_tokens"].append({"content": "<extra>", "id": 280})
    with pytest.raises(ValueError, match="expected the last ids"):
        Tokenizer(description)


def test_missing_files(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tokens, "BUILTIN", tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match=r"python -m train\.tokenizer"):
        Tokenizer.load("builtin")
    with pytest.raises(FileNotFoundError, match="has no tokenizer"):
        Tokenizer.load(tmp_path)
