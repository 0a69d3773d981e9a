"""The data-set card, README.md, by the conventions of the Hugging Face hub.

A YAML header (licences, tasks, size; for each corpus a configuration that names its tars and the
features of a record), then the card in words (`card.md.jinja`). Every number is counted from seal
and manifests: equal data sets have equal cards.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from manifests.schema import KINDS, SPLITS
from manifests.seal import Seal, Shard
from shards.rows import written
from shards.sequential import FileError, read_there

NAME = "README.md"
_TEMPLATE = Path(__file__).with_name("card.md.jinja")
_MARK = "Made by `python -m shards sidecars` from root"
_ALL = "default"  # the configuration of all corpora
_HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_TASKS = {
    "caption": "image-to-text",
    "qa": "visual-question-answering",
    "grounding": "object-detection",
    "instruction": "image-text-to-text",
    "robot": "robotics",
    "reasoning": "image-text-to-text",
}
_LICENCES = {  # as corpora name them, in small letters -> the hub's identifiers
    "apache 2.0": "apache-2.0",
    "cc by 4.0": "cc-by-4.0",
    "creative commons attribution 4.0 international": "cc-by-4.0",
    "cc0": "cc0-1.0",
    "mit": "mit",
}
_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B")  # 1000 times 10**place


def may_replace(path: Path) -> bool:
    """Whether a README.md is ours to write: there is none, or it says that it was made here."""
    return _MARK in (_text(path) or _MARK)


def render(folder: Path, sealed: Seal) -> bytes:
    """The card of a data set. Raises DamageError if a manifest cannot be read."""
    import jinja2

    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)  # of records, by corpus
    licences: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for shard in sealed.shards:
        rows = written(folder, shard, "kinds", "licence")
        for kind in rows["kinds"].combine_chunks().flatten().value_counts().to_pylist():
            kinds[shard.corpus][kind["values"]] += kind["counts"]
        for licence in rows["licence"].value_counts().to_pylist():
            licences[shard.corpus][licence["values"]] += licence["counts"]
    named = sorted({name for counts in licences.values() for name in counts})
    header = _header(sealed, {kind for counts in kinds.values() for kind in counts}, named)
    template = jinja2.Template(
        _TEMPLATE.read_text(encoding="utf-8"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    filled = [shard for shard in sealed.shards if shard.records]
    text = template.render(
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=10_000),
        mark=f"{_MARK} {sealed.root}",
        sealed=sealed,
        corpora=sorted({shard.corpus for shard in sealed.shards}),
        records=_records(sealed.shards),
        kinds=kinds,
        kind_names=KINDS,
        licences=licences,
        splits=SPLITS,
        hub_splits=_HUB_SPLITS,
        turns=sum(shard.turns for shard in sealed.shards),
        nbytes=sum(shard.nbytes for shard in sealed.shards),
        first=filled[0] if filled else None,
    )
    return text.encode()


def _records(shards: Sequence[Shard]) -> Counter[tuple[str, str]]:
    """How many records each corpus and split has."""
    counts: Counter[tuple[str, str]] = Counter()
    for shard in shards:
        counts[shard.corpus, shard.split] += shard.records
    return counts


def _header(sealed: Seal, kinds: set[str], licences: Sequence[str]) -> dict[str, Any]:
    filled = [shard for shard in sealed.shards if shard.records]
    corpora = sorted({shard.corpus for shard in filled})
    parts = {_ALL: filled} if filled else {}
    parts |= {name: [shard for shard in filled if shard.corpus == name] for name in corpora}
    records = sum(shard.records for shard in filled)
    return {
        **_licence(licences),
        "task_categories": sorted({_TASKS[kind] for kind in kinds}),
        "size_categories": [_size(records)],
        "tags": ["webdataset"],
        "configs": [_config(name, shards) for name, shards in parts.items()],
        "dataset_info": [_info(name, shards) for name, shards in parts.items()],
    }


def _licence(licences: Sequence[str]) -> dict[str, Any]:
    known = [_LICENCES.get(name.casefold()) for name in licences]
    if known and None not in known:
        return {"license": sorted({str(name) for name in known})}
    return {"license": "other", "license_name": "by-record"}


def _size(records: int) -> str:
    """The hub's name for so many records."""
    place = len(str(records // 1000)) if records >= 1000 else 0
    return f"{_SIZES[place - 1]}<n<{_SIZES[place]}" if place else f"n<{_SIZES[0]}"


def _config(name: str, shards: Sequence[Shard]) -> dict[str, Any]:
    """The tars of a configuration one by one: a pattern would match an unfinished build's too."""
    files = [
        {
            "split": _HUB_SPLITS[split],
            "path": [shard.tar for shard in shards if shard.split == split],
        }
        for split in SPLITS
    ]
    named = {"config_name": name, "data_files": [file for file in files if file["path"]]}
    return named | ({"default": True} if name == _ALL else {})


def _info(name: str, shards: Sequence[Shard]) -> dict[str, Any]:
    """The features of a record, which would else be guessed from five, and the sizes of splits."""
    splits = [
        {
            "name": _HUB_SPLITS[split],
            "num_bytes": sum(shard.nbytes for shard in shards if shard.split == split),
            "num_examples": sum(shard.records for shard in shards if shard.split == split),
        }
        for split in SPLITS
    ]
    nbytes = sum(shard.nbytes for shard in shards)
    return {
        "config_name": name,
        "features": _features(),
        "splits": [split for split in splits if split["num_examples"]],
        "download_size": nbytes,
        "dataset_size": nbytes,
    }


def _features() -> list[dict[str, Any]]:
    """What `datasets` makes of a record, in its words: see manifests.schema.Record."""

    def of(dtype: str, *names: str) -> list[dict[str, Any]]:
        return [{"name": name, "dtype": dtype} for name in names]

    def lists(dtype: str | list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
        return [{"name": name, "list": dtype} for name in names]

    turn = [*of("int64", "thread"), *of("string", "id", "prompt", "target", "kind")]
    turn += lists("string", "answers", "choices", "rationales") + lists("float64", "box")
    step = [*of("string", "text", "robot"), *of("int64", "order")]
    said = of("string", "corpus", "group", "split", "licence", "meta") + lists("string", "robots")
    said += lists(step, "plan") + lists(turn, "turns")
    return [*of("image", "jpg"), {"name": "json", "struct": said}, *of("string", "__key__")]


def _text(path: Path) -> str | None:
    try:
        data = read_there(path.parent, path.name)
    except FileError:  # there, and nothing that is made here
        return "?"
    return None if data is None else data.decode(errors="replace")
