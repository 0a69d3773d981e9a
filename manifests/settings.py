"""Settings: a YAML file and `--set` overrides become one checked, frozen struct.

An unknown key is refused with the nearest right one, a wrong type with the place where it stands.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import msgspec
import yaml

T = TypeVar("T")


class SettingsError(ValueError):
    """A settings file that cannot be read, or says something that no setting is called."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as people mean it: 1e-4 (no dot) is a number, and on, off, yes and no are words."""

    yaml_implicit_resolvers = {  # noqa: RUF012, as the class above has it
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":bool")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d+)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load(path: Path | str, kind: type[T], overrides: Sequence[str] = ()) -> T:
    """Read `path` as YAML, apply overrides (`a.b=value`, value in YAML; null removes), check it.

    Raises SettingsError naming the file, the place in it, what came and what was expected.
    """
    path = Path(path)
    try:
        data = yaml.load(path.read_text(), _Loader)
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        there = f"; {path.parent} has {', '.join(near)}" if near else ""
        raise SettingsError(f"no settings file {path}{there}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} is not readable as YAML: {error}") from error
    if not isinstance(data, dict):
        raise SettingsError(f"{path} holds {type(data).__name__}; expected a mapping of settings")
    for override in overrides:
        _override(data, override, kind)
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {_explain(str(error), kind)}") from None


def _override(data: dict[str, Any], override: str, kind: type) -> None:
    dotted, equals, value = override.partition("=")
    *parents, last = names = dotted.split(".")
    if not equals or not all(names):
        raise SettingsError(f"--set {override}: expected a.b=value")
    try:
        parsed = yaml.load(value, _Loader)
    except yaml.YAMLError as error:
        raise SettingsError(f"--set {override}: {value} is not readable as YAML") from error
    node = data
    for name in parents:
        parent = node
        node = parent.get(name, {}) if parsed is None else parent.setdefault(name, {})
        if node is None:  # `coco:` alone, about to be said more of
            parent[name] = node = {}
        if not isinstance(node, dict):
            raise SettingsError(f"--set {override}: {name} is a value, not a mapping")
    if parsed is None:
        if last not in node and dotted not in set(_fields(kind)):
            near = difflib.get_close_matches(last, list(node), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(node)}"
            raise SettingsError(f"--set {override}: there is no {dotted!r} to remove; {hint}")
        node.pop(last, None)
    else:
        node[last] = parsed


def _explain(message: str, kind: type) -> str:
    unknown = re.match(r"Object contains unknown field `(.*?)`(?: - at `\$(.*)`)?", message)
    if not unknown:
        return message
    name, where = unknown.group(1), (unknown.group(2) or "").lstrip(".")
    known = sorted(set(_fields(kind)))
    parents = re.sub(r"\[.*?\]", ".*", where)
    beside = [last for path in known for at, _, last in [path.rpartition(".")] if at == parents]
    near = difflib.get_close_matches(name, beside, n=1)
    if not near:  # right, or nearly, but it stands elsewhere: say where, from the top
        leaves = difflib.get_close_matches(name, [path.rpartition(".")[2] for path in known], n=1)
        near = sorted((path for path in known if path.rpartition(".")[2] in leaves), key=len)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(beside)}"
    return f"unknown key {name!r}{f' in {where}' if where else ''}; {hint}"


def _fields(kind: Any, at: str = "") -> Iterator[str]:
    """Every field of a struct and of the structs inside it, dotted; `*` is any index or key."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            path = f"{at}.{field.encode_name}".lstrip(".")
            yield path
            yield from _fields(field.type, path)
    inside = f"{at}.*" if get_origin(kind) in (dict, list, tuple) else at
    for inner in get_args(kind):
        yield from _fields(inner, inside)
