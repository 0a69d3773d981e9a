"""Tokenizer: text to ids and back, and how turns are put into words.

A byte-level BPE encodes text only; it knows no special tokens, so their spelling in somebody's text
stays text. The special ids are added around it, by name.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from embervlm.hub import locate

END = "<|endoftext|>"
SPECIALS = ("<pad>", "<image>", "<reasoning_start>", "<robot>", "<reasoning_end>")
BUILTIN = Path(__file__).with_name("tokenizer.json")

# How a turn's prompt is put into words, and the special tokens that follow prompt and target.
TEMPLATES = {
    "caption": "{prompt}",
    "qa": "Question: {prompt} Answer:",
    "grounding": "{prompt}",
    "instruction": "{prompt}",
    "robot": "Task: {prompt} ",
    "reasoning": "Task: {prompt} ",
}
EMPTY_CAPTION = "Describe the picture."
TARGET = " {target}"
AFTER_PROMPT = {"robot": ("<robot>",), "reasoning": ("<robot>", "<reasoning_start>")}
AFTER_TARGET = {"reasoning": ("<reasoning_end>",)}  # END follows every target


def render(kind: str, prompt: str) -> str:
    """The prompt of a turn in words, without its special tokens. ValueError: unknown kind."""
    if kind not in TEMPLATES:
        raise ValueError(f"unknown kind {kind!r}; the kinds are {', '.join(TEMPLATES)}")
    if kind == "caption" and not prompt:
        prompt = EMPTY_CAPTION
    return TEMPLATES[kind].format(prompt=prompt)


class Tokenizer:
    """Text and ids. `.pad .image .robot .end .reasoning_start .reasoning_end` are special ids."""

    def __init__(self, description: dict[str, Any]) -> None:
        """`description`: the content of a tokenizer.json of a byte-level BPE.

        Special tokens it lacks follow as the last ids. ValueError if it has them elsewhere, if the
        end of text is not right before them, or if it is not a byte-level BPE.
        """
        model = description.get("model", {})
        if model.get("type") != "BPE" or "ByteLevel" not in json.dumps(description["decoder"]):
            raise ValueError("not a byte-level BPE: its text could not be restored from ids")
        known = model["vocab"] | {t["content"]: t["id"] for t in description["added_tokens"]}
        if not any(name in known for name in SPECIALS):
            start = max(known.values()) + 1
            known |= {name: start + i for i, name in enumerate(SPECIALS)}
        size = max(known.values()) + 1
        last = {name: size - len(SPECIALS) + i for i, name in enumerate(SPECIALS)}
        found = {name: known.get(name) for name in SPECIALS}
        if found != last:
            raise ValueError(f"special tokens are {found}; expected the last ids, {last}")
        if known.get(END) != (end := last["<pad>"] - 1):  # where the model looks for it
            raise ValueError(f"{END} is {known.get(END)}; expected {end}, right before <pad>")
        self.vocab_size: int = size
        self.end: int = end
        self._special: dict[str, int] = {END: self.end, **last}
        self.pad, self.image, self.reasoning_start, self.robot, self.reasoning_end = last.values()
        # Without added tokens, without truncation and padding: encoding is of plain text only.
        plain = {"added_tokens": [], "truncation": None, "padding": None, "post_processor": None}
        self._bpe = tokenizers.Tokenizer.from_str(json.dumps({**description, **plain}))
        self._plain: dict[str, Any] = json.loads(self._bpe.to_str())

    @classmethod
    def load(cls, source: str | os.PathLike[str]) -> "Tokenizer":
        """From "builtin", a directory (tokenizer.json, or GPT-2's vocab.json and merges.txt), a
        tokenizer.json itself, or a hub id. FileNotFoundError if it is not there."""
        if source == "builtin" and not BUILTIN.is_file():
            raise FileNotFoundError(
                f"{BUILTIN} does not exist; make it with `python -m train.tokenizer --data D`"
            )
        files = ("tokenizer.json", "vocab.json", "merges.txt")
        path = BUILTIN if source == "builtin" else locate(source, files)
        if path.is_file():
            return cls(json.loads(path.read_text(encoding="utf-8")))
        if (path / "tokenizer.json").is_file():
            return cls(json.loads((path / "tokenizer.json").read_text(encoding="utf-8")))
        vocab, merges = path / "vocab.json", path / "merges.txt"
        if not (vocab.is_file() and merges.is_file()):
            raise FileNotFoundError(f"{path} has no tokenizer.json, nor vocab.json and merges.txt")
        bpe = _byte_level(models.BPE.from_file(str(vocab), str(merges)))
        return cls(json.loads(bpe.to_str()))

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int = 4096, min_frequency: int = 2
    ) -> "Tokenizer":
        """A byte-level BPE of `vocab_size` ids, the last six special. Equal texts, equal result.

        Pairs seen fewer than `min_frequency` times are not merged; ValueError if that leaves too
        few merges to reach `vocab_size`.
        """
        size = vocab_size - 1 - len(SPECIALS)
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        if size < len(alphabet):
            raise ValueError(f"vocab_size {vocab_size} is less than 256 bytes and 6 special tokens")
        bpe = _byte_level(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=min_frequency,
            initial_alphabet=alphabet,
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        if (found := bpe.get_vocab_size()) < size:
            raise ValueError(
                f"the texts give {found - len(alphabet)} merges of pairs seen {min_frequency} "
                f"times; a vocabulary of {vocab_size} needs {size - len(alphabet)}"
            )
        description = json.loads(bpe.to_str())
        return cls({**description, "added_tokens": [{"content": END, "id": size}]})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write tokenizer.json: to `path` if that ends in .json, else into that directory, with the
        tokenizer_config.json that transformers' AutoTokenizer wants beside it.

        Special tokens are listed in it, for the sake of other readers; `<image>` takes the space
        after it, so that "<image> Task: ... <robot>" becomes the ids that the model learnt.
        """
        path = Path(path)
        file = path if path.suffix == ".json" else path / "tokenizer.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        how = {"lstrip": False, "normalized": False, "single_word": False, "special": True}
        special = [
            {"id": number, "content": name, "rstrip": name == "<image>", **how}
            for name, number in sorted(self._special.items(), key=lambda item: item[1])
        ]
        _replace(file, _canonical({**self._plain, "added_tokens": special}))
        if file != path:
            names = {"eos_token": END, "pad_token": "<pad>", "clean_up_tokenization_spaces": False}
            reader = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
            _replace(path / "tokenizer_config.json", json.dumps(reader, indent=2) + "\n")

    @property
    def digest(self) -> str:
        """sha256, hex, of all that decides which ids a turn becomes."""
        rendering = [TEMPLATES, EMPTY_CAPTION, TARGET, AFTER_PROMPT, AFTER_TARGET]
        whole = _canonical([self._plain, self._special, rendering])
        return hashlib.sha256(whole.encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Ids of plain text: never a special one, whatever it spells."""
        return self._bpe.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; special ones say nothing. ValueError for an id past the vocabulary."""
        special = set(self._special.values())
        kept = [number for number in ids if number not in special]
        if kept and not 0 <= min(kept) <= max(kept) < self.vocab_size:
            raise ValueError(f"ids {min(kept)} to {max(kept)}; expected 0 to {self.vocab_size - 1}")
        return self._bpe.decode(kept, skip_special_tokens=False)

    def encode_turns(
        self, kinds: Sequence[str], prompts: Sequence[str], targets: Sequence[str]
    ) -> list[tuple[list[int], list[int]]]:
        """(ids of the prompt, ids of the target) of each turn, special tokens in their places.

        The ids of a turn are one after the other what the model reads, without `<image>`, whose
        place the caller chooses. ValueError for an unknown kind or unequal lengths.
        """
        texts = [render(kind, prompt) for kind, prompt in zip(kinds, prompts, strict=True)]
        texts += [TARGET.format(target=target) for target in targets]
        encoded = [e.ids for e in self._bpe.encode_batch(texts, add_special_tokens=False)]
        count = len(kinds)
        return [
            (
                prompt + [self._special[name] for name in AFTER_PROMPT.get(kind, ())],
                target + [self._special[name] for name in (*AFTER_TARGET.get(kind, ()), END)],
            )
            for kind, prompt, target in zip(kinds, encoded[:count], encoded[count:], strict=True)
        ]


def _byte_level(model: models.BPE) -> tokenizers.Tokenizer:
    bpe = tokenizers.Tokenizer(model)
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    bpe.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return bpe


def _replace(file: Path, text: str) -> None:
    draft = file.with_name(f"{file.name}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)


def _canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
