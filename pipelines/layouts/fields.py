"""Fields of records: found by their dotted names, and guessed from the records themselves.

    dig({"image": {"file": "a.jpg"}}, "image.file")            "a.jpg"
    dig({"answers": [{"text": "a"}, {"text": "b"}]}, "answers.text")   ["a", "b"]

A guess is only ever shown: which field is the picture is seen from values that are pictures, files
or addresses; which are question, answer, id and split, from what such fields are usually called.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pipelines.layouts.pairs import PICTURES
from pipelines.layouts.records import Picture

MISSING = object()
_USUAL = {
    "image": ("image", "image_path", "file_name", "filename", "img", "path", "url", "image_url"),
    "prompt": ("question", "prompt", "instruction", "query", "input"),
    "target": (
        *("caption", "captions", "answer", "answers", "multiple_choice_answer", "target"),
        *("output", "response", "description", "sentence", "sentences", "text", "txt", "label"),
    ),
    "id": ("id", "question_id", "uid", "uuid", "__key__", "key", "image_id"),
    "split": ("split", "set", "subset", "partition"),
}
_PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[A-Za-z_][\w.]*", re.IGNORECASE)


def dig(fields: Mapping[str, Any], name: str) -> Any:
    """The value of a field, through dicts, and through lists to the list of values; or MISSING."""
    if name in fields:
        return fields[name]
    head, _, rest = name.partition(".")
    value = fields.get(head, MISSING)
    if not rest or value is MISSING:
        return MISSING
    if isinstance(value, list):
        inside = [dig(item, rest) if isinstance(item, dict) else MISSING for item in value]
        return MISSING if MISSING in inside else inside
    return dig(value, rest) if isinstance(value, dict) else MISSING


def names(fields: Mapping[str, Any]) -> Iterator[str]:
    """The dotted names of all values in a record."""
    for name, value in fields.items():
        inside = value[0] if isinstance(value, list) and value else value
        if isinstance(inside, dict):
            yield from (f"{name}.{rest}" for rest in names(inside))
        else:
            yield name


def guess(sampled: Iterable[Mapping[str, Any]], is_file: Callable[[str], bool]) -> dict[str, str]:
    """What the fields of some records are likely to be; a meaning that none has is left out.

    `is_file` says whether a value is the path of a file that is there.
    """
    values: dict[str, list[Any]] = {}
    for fields in sampled:
        for name in names(fields):
            values.setdefault(name, []).append(dig(fields, name))
    found: dict[str, str] = {}
    scores = {name: sum(_pictured(v, is_file) for v in some) for name, some in values.items()}
    if pictured := [n for n in values if scores[n] or _rank("image", n) < len(_USUAL["image"])]:
        found["image"] = min(pictured, key=lambda name: (-scores[name], _rank("image", name)))
    for meaning in ("split", "id", "prompt", "target"):
        free = [name for name in values if name not in found.values()]
        usual = [name for name in free if _rank(meaning, name) < len(_USUAL[meaning])]
        if meaning in ("prompt", "target"):
            usual = [name for name in usual if any(map(_is_text, values[name]))]
        if usual:
            found[meaning] = min(usual, key=lambda name: _rank(meaning, name))
    return {meaning: found[meaning] for meaning in _USUAL if meaning in found}


def config_lines(corpus: str, fields: Mapping[str, str]) -> str:
    """What to write in the config for these fields to be used."""
    inside = (f"{meaning}: {_yaml(name)}" for meaning, name in fields.items())
    return f"corpora: {{{corpus}: {{fields: {{{', '.join(inside)}}}}}}}"


def shortened(fields: Mapping[str, Any]) -> str:
    """A record in a line, for a person to see what it is."""
    parts = []
    for name in names(fields):
        value = dig(fields, name)
        text = "(a picture)" if isinstance(value, Picture) else json.dumps(value, default=str)
        parts.append(f"{name}: {text if len(text) <= 60 else text[:57] + '...'}")
    return "; ".join(parts[:12])


def _pictured(value: Any, is_file: Callable[[str], bool]) -> int:
    """How surely a value is a picture: bytes or a file that is there, then what is called one."""
    if isinstance(value, Picture):
        return 100
    if not isinstance(value, str) or not value:
        return 0
    if value.lower().endswith(PICTURES):
        return 100 if is_file(value) else 1
    return 0


def _rank(meaning: str, name: str) -> int:
    usual = _USUAL[meaning]
    last = name.rpartition(".")[2].lower()
    return usual.index(last) if last in usual else len(usual)


def _is_text(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _yaml(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)
