"""`python -m shards inspect DIR`."""

from collections import Counter
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from manifests.schema import canonical_json
from shards import tables
from shards.commands import Folder, Where, failure_told
from shards.inspect import find, show, summary

_LEDGER = ("read", "written", "quarantined", "duplicate", "held_back", "records", "unannotated")


def inspect(
    folder: Folder,
    where: Where = None,
    by: Annotated[
        str | None, typer.Option(help="Count by some of corpus,split,kind,size,licence.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Show this record, down to its source.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what a data set holds: schema, counts, ledger; or all of one record."""
    if key is not None and (where is not None or by is not None):
        raise typer.BadParameter("--key shows one record; --where and --by count many")
    with failure_told("inspect"):
        if key is not None:
            found = [show(folder, row) for row in find(folder, key)]
            said: dict[str, Any] = {"key": key, "found": found}
        else:
            said = summary(folder, where, by.split(",") if by else None)
    if as_json:
        typer.echo(tables.as_json(said))
        return
    with tables.printing() as console:
        if key is not None:
            for one in said["found"]:
                _record(console, one)
        elif where is None:
            _summary(console, said)
        else:
            _filtered(console, said)


def _summary(console: Console, said: dict[str, Any]) -> None:
    schema = ", ".join(f"{name} {kind}" for name, kind in said["schema"].items())
    facts = [
        ("folder", said["folder"]),
        ("root", said["root"]),
        ("config", said["config_digest"]),
        ("images", [f"{name} {value}" for name, value in said["image_policy"].items()]),
        ("codecs", [f"{name} {version}" for name, version in said["codecs"].items()]),
        ("shards", said["shards"]),
        ("records", said["records"]),
        ("turns", said["turns"]),
        ("MB", said["bytes"] / 1e6),
        ("manifest", f"version {said['schema_version']}: {schema}"),
    ]
    console.print(tables.pairs(facts), "")
    _counts(console, said, "Rows by")
    rows = [
        (f"{line['corpus']}/{line['split']}", *(line[name] for name in _LEDGER))
        for line in said["ledger"]
    ]
    heads = ("annotations", *(name.replace("_", " ") for name in _LEDGER))
    console.print(tables.table("Ledger", heads, rows))


def _filtered(console: Console, said: dict[str, Any]) -> None:
    facts = [(name, said[name]) for name in ("folder", "root", "where")]
    console.print(tables.pairs(facts), "")
    if not said["rows"]:
        console.print("No row holds for it.")
        return
    _counts(console, said, "Rows for which it holds, by")
    _rows(console, said)


def _counts(console: Console, said: dict[str, Any], title: str) -> None:
    for counted in said["counts"]:
        heads = (*counted["by"], "records", "turns", "MB", "not written")
        rows = [
            (*(row[name] for name in heads[:-2]), row["bytes"] / 1e6, row["not_written"])
            for row in counted["rows"]
        ]
        console.print(tables.table(f"{title} {', '.join(counted['by'])}", heads, rows), "")


def _rows(console: Console, said: dict[str, Any]) -> None:
    rows = []
    for row in said["rows"]:
        size = f"{row['width']} x {row['height']}" if row["width"] else None
        place = f"{row['corpus']}/{row['split']}"
        fate = row["status"] if row["error"] is None else f"{row['status']}: {row['error']}"
        rows.append((row["key"], place, size, row["turns"], row["kinds"], row["licence"], fate))
    heads = ("key", "place", "size", "turns", "kinds", "licence", "status")
    console.print(tables.table("The first of them", heads, rows))


def _record(console: Console, one: dict[str, Any]) -> None:
    row, record, lineage = one["row"], one["record"], one["lineage"]
    named = tables.printable(f"{row['corpus']}/{row['split']}  {row['key']}")
    console.rule(Text(named), align="left")
    if record is None:
        what = f"not written, {row['status']}: {row['error']}"
        facts = [("status", what), ("annotations", row["turns"]), ("source", lineage["source"])]
        console.print(tables.pairs([*facts, ("group", row["group"])]), "")
        return
    image = one["image"]
    stored = f"stored {image['width']} x {image['height']}, {image['bytes']:,} bytes"
    bytes_ = f"bytes {lineage['first_byte']:,} to {lineage['end_byte']:,} of {lineage['tar']}"
    facts = [
        ("image", f"{stored}; source {row['width']} x {row['height']} upright"),
        ("source", lineage["source"]),
        ("", f"xxh3-128 {lineage['source_digest']}"),
        ("lies in", bytes_),
        ("", f"xxh3-128 {lineage['digest']}, verified"),
        ("group", row["group"]),
        ("licence", row["licence"]),
        ("pair", row["pair"]),
        ("decided by", row["evidence"]),
        ("robots", record["robots"]),
        *((f"step {step['order']}", f"{step['robot']}: {step['text']}") for step in record["plan"]),
        *((f"meta {name}", canonical_json(value)) for name, value in record["meta"].items()),
    ]
    console.print(tables.pairs(facts), "")
    for number, turn in enumerate(record["turns"], 1):
        facts = [
            (f"turn {number}", f"{turn['kind']}, thread {turn['thread']}, id {turn['id']}"),
            ("  prompt", turn["prompt"]),
            ("  target", turn["target"]),
            ("  box", turn["box"] and " ".join(f"{side:.4f}" for side in turn["box"])),
            ("  answers", [f"{a} ({n})" for a, n in Counter(turn["answers"]).most_common()]),
            ("  choices", turn["choices"]),
            *(("  rationale", rationale) for rationale in turn["rationales"]),
        ]
        console.print(tables.pairs(facts), "")
