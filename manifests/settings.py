"""Settings: a YAML file and `--set` overrides become one checked, frozen struct.

An unknown key is refused with the nearest right one, a wrong type with the place where it stands.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

T = TypeVar("T")


class SettingsError(ValueError):
    """A settings file that cannot be read, or says something that no setting is called."""


def load(path: Path | str, kind: type[T], overrides: Sequence[str] = ()) -> T:
    """Read `path` as YAML, apply overrides (`a.b=value`, value in YAML; null removes), check it.

    Raises SettingsError naming the file, the place in it, what came and what was expected.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        there = f"; {path.parent} has {', '.join(near)}" if near else ""
        raise SettingsError(f"no settings file {path}{there}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} is not readable as YAML: {error}") from error
    if not isinstance(data, dict):
        raise SettingsError(f"{path} holds {type(data).__name__}; expected a mapping of settings")
    for override in overrides:
        _override(data, override)
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {_explain(str(error), kind)}") from None


def _override(data: dict[str, Any], override: str) -> None:
    dotted, equals, value = override.partition("=")
    if not equals or not dotted:
        raise SettingsError(f"--set {override}: expected a.b=value")
    *parents, last = dotted.split(".")
    node = data
    for name in parents:
        node = node.setdefault(name, {})
        if not isinstance(node, dict):
            raise SettingsError(f"--set {override}: {name} is a value, not a mapping")
    if (parsed := yaml.safe_load(value)) is None:
        node.pop(last, None)
    else:
        node[last] = _number(parsed)


def _number(value: Any) -> Any:
    # YAML 1.1 reads 1e-4 (no dot) as text; a person typing a learning rate means the number.
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d+)?[eE][-+]?\d+", value):
        return float(value)
    return value


def _explain(message: str, kind: type) -> str:
    unknown = re.match(r"Object contains unknown field `(.+?)`(?: - at `\$(.*)`)?", message)
    if not unknown:
        return message
    name, where = unknown.group(1), (unknown.group(2) or "").lstrip(".")
    known = sorted(_fields(kind))
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"unknown key {name!r}{f' in {where}' if where else ''}; {hint}"


def _fields(kind: Any) -> set[str]:
    """The names of every field of a struct and of the structs inside it."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(kind)
        return {f.encode_name for f in fields}.union(*(_fields(f.type) for f in fields))
    return set().union(*(_fields(inner) for inner in getattr(kind, "__args__", ())))
