"""Settings: a YAML file and `--set` overrides become one checked, frozen struct.

msgspec decides what is right. What is wrong is found again in the data, so that an error names the
whole path of the key (corpora.coco.bits), what stands there, what may, and the nearest right word.
"""

import datetime
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, repeat
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec
import yaml

T = TypeVar("T")

_WORDS = {
    "object": "a mapping (name: value)",
    "array": "a list",
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
}  # what msgspec calls a type, as people do


class SettingsError(ValueError):
    """A settings file that cannot be read, or says something that no setting is called."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as people mean it: 1e-4 (no dot) is a number, and on, off, yes and no are words.

    A key that is given twice is refused: YAML forbids it, and the first would go unheard.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012, as the class above has it
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":bool")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                continue
            if first := lines.get((key.tag, key.value)):
                where = f"on line {line}" if line == first else f"on lines {first} and {line}"
                raise yaml.YAMLError(f"{key.value!r} is given twice, {where}; keep one")
            lines[key.tag, key.value] = line
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d+)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load(path: Path | str, kind: type[T], overrides: Sequence[str] = ()) -> T:
    """Read `path` as YAML, apply overrides (`a.b=value`, value in YAML), check it.

    An override with null removes what the file says, except in a mapping whose values are scalars
    or null (`dict[str, int | None]`): there null is a value like another.
    Raises SettingsError naming the file, the place in it, what came and what was expected.
    """
    path = Path(path)
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        there = f"; {path.parent} has {', '.join(near)}" if near else ""
        raise SettingsError(f"no settings file {path}{there}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} is not readable as YAML: {error}") from error
    if not isinstance(data, dict):
        what = "empty" if data is None else _shown(data)
        raise SettingsError(f"{path} is {what}; expected a mapping of settings")
    for override in overrides:
        _override(data, override, kind)
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError:
        fault = _find(data, kind)
        last = next((said for said in reversed(overrides) if _sets(said, fault.at)), None)
        source = f"{path} with --set {last}" if last else f"{path}"
        raise SettingsError(f"{source}: {_explain(fault, kind, last)}") from None


def _override(data: dict[str, Any], override: str, kind: type) -> None:
    dotted, equals, value = override.partition("=")
    *parents, last = names = dotted.split(".")
    if not equals or not all(names):
        raise SettingsError(f"--set {override}: expected a.b=value")
    try:
        parsed = yaml.load(value, _Loader)
    except yaml.YAMLError as error:
        raise SettingsError(
            f"--set {override}: {value} is not readable as YAML: {error}"
        ) from error
    node, inside = data, kind
    for name in parents:
        inside = _inner(inside, name)
    removes = parsed is None and not _null_is_a_value(inside)
    for name in parents:
        parent = node
        node = parent.get(name, {}) if removes else parent.setdefault(name, {})
        if node is None:  # `coco:` alone, about to be said more of
            parent[name] = node = {}
        if not isinstance(node, dict):
            raise SettingsError(
                f"--set {override}: {name} is {_shown(node)}; expected {_WORDS['object']}"
            )
    if not removes:
        node[last] = parsed
        return
    known = [name for option in _options(inside) for name in _struct_fields(option)]
    if last not in node and last not in known:
        hint = _nearest(last, [*known, *node]) or f"there are {', '.join(known or node) or 'none'}"
        raise SettingsError(f"--set {override}: there is no {dotted!r} to remove; {hint}")
    node.pop(last, None)


def _null_is_a_value(kind: Any) -> bool:
    """Whether `kind` is a mapping of scalars or null."""
    for option in _options(kind):
        if get_origin(option) is dict:
            values = _options(get_args(option)[1])
            nested = any(_struct_fields(v) or get_origin(v) in (dict, list, tuple) for v in values)
            return NoneType in values and not nested
    return False


class _Fault(NamedTuple):
    """Where data goes wrong: the keys and indices that lead there, the value, its right kind."""

    at: tuple[Any, ...]
    value: Any
    kind: Any


def _find(value: Any, kind: Any, at: tuple[Any, ...] = ()) -> _Fault:
    """The deepest fault in a value that is not of `kind`; msgspec names no keys of mappings."""
    for key, inner, inner_kind in _children(value, kind):
        if _error(inner, inner_kind):
            return _find(inner, inner_kind, (*at, key))
    return _Fault(at, value, kind)


def _explain(fault: _Fault, root: type, override: str | None) -> str:
    at, value, kind = fault
    place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in at).lstrip(".")
    for option in _options(kind) if isinstance(value, dict) else ():
        fields = _struct_fields(option)
        strict = bool(fields) and option.__struct_config__.forbid_unknown_fields
        for name in value:
            if strict and name not in fields:
                return _unknown(str(name), place, list(fields), root)
            if get_origin(option) is dict and _error(name, get_args(option)[0]):
                return _mismatch(f"a key of {place}", name, get_args(option)[0], None)
        for name, field in fields.items():
            if field.required and name not in value:
                path = f"{place}.{name}".lstrip(".")
                reachable = not any(isinstance(key, int) for key in at)
                how = f" or with --set {path}=..." if reachable else ""
                return f"{path} is missing; give it in the file{how}"
    return _mismatch(place, value, kind, override)


def _mismatch(what: str, value: Any, kind: Any, override: str | None) -> str:
    """The sentence about a value that is not of `kind`."""
    message = _error(value, kind)
    options = _options(kind)
    allowed = [word for o in options if get_origin(o) is Literal for word in get_args(o)]
    if allowed:
        near = _nearest(value, allowed)
        *most, last = [*map(str, allowed), *(["null"] if NoneType in options else [])]
        expected = f"{', '.join(most)} or {last}" if most else last
        return f"{what} is {_shown(value)}; expected {expected}{f'; {near}' if near else ''}"
    if not message.startswith("Expected `"):  # a struct's own check
        return f"{what}: {message}" if what else message
    message = re.sub(r", got `.*?`", "", message.removeprefix("Expected "))
    expected = re.sub(
        r"^`(.*?)`",
        lambda types: " or ".join(_WORDS.get(name, name) for name in types[1].split(" | ")),
        message,
    )
    return f"{what} is {_shown(value)}; expected {expected}{_quoting(value, kind, override)}"


def _quoting(value: Any, kind: Any, override: str | None) -> str:
    """What quotes would mend: a number that was to be text, or text that was to be a number."""
    if isinstance(value, str):
        try:
            bare = yaml.load(value, _Loader)
        except yaml.YAMLError:
            return ""
        return "" if isinstance(bare, str) or _error(bare, kind) else "; write it without quotes"
    if isinstance(value, (dict, list, NoneType)) or _error(str(value), kind):
        return ""
    if override and not override.endswith(("}", "]")):
        dotted, _, raw = override.partition("=")
        return f"; put it in quotes that the shell leaves: --set \"{dotted}='{raw}'\""
    return "; put it in quotes"


def _unknown(name: str, place: str, beside: list[str], root: type) -> str:
    hint = _nearest(name, beside)
    if not hint:  # right, or nearly, but it stands elsewhere: say where, from the top
        known = sorted(set(_fields(root)))
        leaves = difflib.get_close_matches(name, [path.rpartition(".")[2] for path in known], n=1)
        near = sorted((path for path in known if path.rpartition(".")[2] in leaves), key=len)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(beside))}"
    return f"unknown key {name!r}{f' in {place}' if place else ''}; {hint}"


def _nearest(word: Any, words: Iterable[Any]) -> str:
    near = difflib.get_close_matches(str(word), [str(known) for known in words], n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _shown(value: Any) -> str:
    """A value as YAML, with the word for what it is."""
    match value:
        case None:
            return "null"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return f"the switch {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value!r}"
        case datetime.date():
            return f"the date {value}"
    return f"{value!r} ({type(value).__name__})"


def _error(value: Any, kind: Any) -> str:
    """What msgspec says of a value that is not of `kind`; "" of one that is."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def _sets(override: str, at: tuple[Any, ...]) -> bool:
    names = tuple(override.partition("=")[0].split("."))
    return names == at[: len(names)]


def _options(kind: Any) -> list[Any]:
    """The kinds of a union, or the one that it is, without annotations."""
    if get_origin(kind) is Annotated:
        return _options(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [option for inner in get_args(kind) for option in _options(inner)]
    return [kind]


def _struct_fields(kind: Any) -> dict[str, msgspec.structs.FieldInfo]:
    """The fields of a struct by their names in a file; none of another kind."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return {}
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _inner(kind: Any, name: Any) -> Any:
    """The kind of what a mapping of `kind` has under `name`; Any where nothing is known of it."""
    for option in _options(kind):
        if name in (fields := _struct_fields(option)):
            return fields[name].type
        if get_origin(option) is dict:
            return get_args(option)[1]
    return Any


def _children(value: Any, kind: Any) -> Iterator[tuple[Any, Any, Any]]:
    """The key or index, the value and the kind of all that a mapping or a list holds."""
    if isinstance(value, dict):
        yield from ((name, inner, _inner(kind, name)) for name, inner in value.items())
    for option in _options(kind) if isinstance(value, list) else ():
        if get_origin(option) in (list, tuple):
            first, *rest = get_args(option)
            fixed = bool(rest) and rest[-1] is not ...
            yield from zip(count(), value, [first, *rest] if fixed else repeat(first), strict=False)


def _fields(kind: Any, at: str = "") -> Iterator[str]:
    """Every field of a struct and of the structs inside it, dotted; `*` is any index or key."""
    for name, field in _struct_fields(kind).items():
        path = f"{at}.{name}".lstrip(".")
        yield path
        yield from _fields(field.type, path)
    inside = f"{at}.*" if get_origin(kind) in (dict, list, tuple) else at
    for inner in get_args(kind):
        yield from _fields(inner, inside)
