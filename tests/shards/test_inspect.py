"""What a data set holds, by any filter, and one record down to its source."""

import json

import pytest
from typer.testing import CliRunner

from manifests.seal import Seal
from shards import inspect
from shards.cli import app
from shards.reader import DamageError, Dataset


def test_rows_are_counted_by_what_is_asked(whole):
    rows = inspect.select(whole)
    assert inspect.counts(rows, ["corpus", "split"])[:2] == [
        _count(corpus="coco", split="train", records=40, turns=200, not_written=4, of=whole),
        _count(corpus="coco", split="val", records=6, turns=30, not_written=0, of=whole),
    ]
    kinds = {row["kind"]: row["records"] for row in inspect.counts(rows, ["kind"])}
    # A robot's record has a reasoning too; a failure of no kind is counted all the same.
    assert kinds == {
        "caption": 46, "instruction": 12, "qa": 24, "reasoning": 9, "robot": 9, None: 0,
    }  # fmt: skip
    sizes = inspect.counts(rows, ["size"])
    assert [(row["size"], row["records"]) for row in sizes] == [("to 256 px", 91), (None, 0)]
    assert sizes[1]["not_written"] == 4
    (licence, none) = inspect.counts(rows, ["licence"])
    assert (licence["licence"], licence["records"]) == ("CC0", 91)
    assert (none["licence"], none["not_written"]) == (None, 4)


def _count(of, **fields) -> dict:
    sealed = Seal.read(of)
    shards = sealed.select(fields["corpus"], fields["split"])
    return fields | {"bytes": sum(shard.nbytes - 1024 for shard in shards)}  # but the tars' ends


@pytest.mark.parametrize(
    ("side", "size"),
    [
        (256, "to 256 px"),
        (257, "to 512 px"),
        (1024, "to 1024 px"),
        (2048, "to 2048 px"),
        (2049, "over 2048 px"),
    ],
)
def test_the_size_is_that_of_the_longer_side(side, size):
    import polars as pl

    row = {"status": "written", "kinds": ["qa"], "turns": 1, "nbytes": 512, "width": 8}
    rows = pl.LazyFrame([row | {"height": side}])
    assert [found["size"] for found in inspect.counts(rows, ["size"])] == [size]


def test_a_filter_is_sql_over_the_manifest(whole):
    rows = inspect.select(whole, "corpus = 'coco' and status <> 'written'").collect()
    assert sorted(rows["key"]) == ["bad-0", "bad-1", "bad-2", "bad-3"]
    robots = inspect.select(whole, "array_contains(kinds, 'robot')").collect()
    assert set(robots["corpus"]) == {"robots"}


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("corpus = 'coco", "Unterminated string literal"),
        ("colour = 'red'", 'unable to find column "colour"'),
        ("corpus > 3", "cannot compare string with numeric type"),
        ("width", "gives Int32; expected true or false"),
    ],
)
def test_a_wrong_filter_says_what_and_names_the_columns(whole, where, what):
    with pytest.raises(ValueError, match=what) as error:
        inspect.select(whole, where)
    assert repr(where) in str(error.value)
    assert "key, corpus, split, group, shard," in str(error.value)


def test_an_unknown_column_to_count_by_is_refused(whole):
    with pytest.raises(ValueError, match="--by colour: expected some of corpus,split,kind,size"):
        inspect.counts(inspect.select(whole), ["split", "colour"])


def test_a_record_is_shown_with_its_lineage(whole):
    (row,) = inspect.find(whole, "robots-train-0004")
    shown = inspect.show(whole, row)
    (record,) = (r for r in Dataset(whole).records("robots", "train") if r.key == row["key"])
    assert shown["record"] == {
        "key": "robots-train-0004",
        "corpus": "robots",
        "split": "train",
        "group": "robots:4",
        "licence": "CC0",
        "robots": ["Drone", "Humanoid"],
        "plan": [{"text": "go 0", "robot": "Drone", "order": 0}],
        "meta": {"site": {"terrain": "mud", "wind_ms": 4.0}},
        "turns": [
            _turn("4.0", "inspect site 4", "Robot with Legs", "robot"),
            _turn("4.1", "why", "because of 4", "reasoning"),
        ],
    }
    assert shown["image"] == {"bytes": len(record.image), "width": 32, "height": 32}
    lineage = shown["lineage"]
    assert lineage["source"] == "the whole file robots-train-0004.jpg"
    assert (lineage["source_digest"], lineage["digest"]) == ("0" * 32, row["digest"])
    assert lineage["end_byte"] - lineage["first_byte"] == row["nbytes"]
    with (whole / lineage["tar"]).open("rb") as tar:
        tar.seek(lineage["first_byte"])
        assert tar.read(21) == b"robots-train-0004.jpg"


def _turn(number: str, prompt: str, target: str, kind: str) -> dict:
    empty = {"answers": [], "choices": [], "rationales": [], "box": None, "thread": 0}
    return {"id": number, "prompt": prompt, "target": target, "kind": kind} | empty


def test_a_key_that_was_not_written_says_why(whole):
    (row,) = inspect.find(whole, "bad-2")
    shown = inspect.show(whole, row)
    assert (shown["record"], shown["image"], shown["lineage"]["tar"]) == (None, None, None)
    assert (row["status"], row["error"]) == ("duplicate", "as coco-train-0001")


def test_a_key_that_is_not_there_is_answered_by_those_most_like_it(whole):
    with pytest.raises(ValueError, match="has no record 'coco-train-004'") as error:
        inspect.find(whole, "coco-train-004")
    near = str(error.value).partition("the keys most like it: ")[2].split(", ")
    assert len(near) == 3
    assert all(key.startswith("coco-train-00") for key in near)
    with pytest.raises(ValueError, match="most like it: robots-train-0007"):
        inspect.find(whole, "s-train-0007")
    with pytest.raises(ValueError, match="most like it: vqa-train-0000, "):
        inspect.find(whole, "=vq=")


def test_a_damaged_record_is_not_shown(copy):
    (row,) = inspect.find(copy, "coco-val-0003")
    with (copy / "coco" / row["shard"]).open("r+b") as tar:
        tar.seek(row["offset"] + 700)
        tar.write(b"\xa5\x5a")
    with pytest.raises(DamageError, match="record coco-val-0003 at byte .* is damaged"):
        inspect.show(copy, row)
    (copy / "coco" / row["shard"]).unlink()
    with pytest.raises(DamageError, match="coco-val-00000-.*cannot be read"):
        inspect.show(copy, row)


@pytest.mark.parametrize(
    ("locator", "words"),
    [
        ("file:coco/a b.jpg", "the whole file coco/a b.jpg"),
        ("range:cc3m/00000.tar@1536+20311", "tar member in cc3m/00000.tar, bytes 1,536 to 21,847"),
        ("range:x/y@2.arrow@0+10", "value in x/y@2.arrow, bytes 0 to 10"),
        (
            "parquet:ocr/x.parquet@3/17/image.bytes",
            "row 17 of row group 3 in ocr/x.parquet, column image.bytes",
        ),
        (
            "scene:robots-single-0001",
            "scene drawn from the site of task robots-single-0001; no source image",
        ),
        ("s3:bucket", "unknown locator s3:bucket"),
    ],
)
def test_a_locator_is_said_in_words(locator, words):
    assert inspect.explain(locator) == words


def _run(*arguments: object):
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


def test_the_command_prints_tables_of_100_columns_or_one_object(whole):
    told = _run(whole)
    assert told.exit_code == 0
    assert Seal.read(whole).root in told.stdout
    assert "coco    train       40    200" in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 100
    said = json.loads(_run(whole, "--where", "corpus = 'vqa'", "--by", "split", "--json").stdout)
    assert [(table["by"], table["rows"][0]["records"]) for table in said["counts"]] == [
        (["split"], 24)
    ]
    assert {row["corpus"] for row in said["rows"]} == {"vqa"}
    assert len(said["rows"]) == 10
    assert said["schema"]["offset"] == "int64"
    assert said["ledger"][0]["held_back"] == 3


def test_a_filter_is_answered_without_the_schema_and_one_that_finds_nothing_in_a_line(whole):
    def lines_of(where: str) -> list[str]:
        told = _run(whole, "--where", where)
        assert told.exit_code == 0
        return [line.rstrip() for line in told.stdout.splitlines()]

    lines = lines_of("corpus = 'vqa'")
    root = Seal.read(whole).root
    assert lines[:3] == [f"folder  {whole}", f"root    {root}", "where   corpus = 'vqa'"]
    assert lines[4] == "Rows for which it holds, by corpus, split"
    assert lines_of("width > 9999")[2:] == ["where   width > 9999", "", "No row holds for it."]


def test_a_damaged_manifest_is_told_with_the_folder(copy):
    shard = Seal.read(copy).shards[0]
    (copy / shard.manifest).write_bytes(b"PAR1 no longer PAR1")
    begin, end = f"inspect failed: reading the manifests of {copy} failed: ", f"validate {copy}\n"
    told = _run(copy).stderr
    assert told.startswith(begin) and told.endswith(f". Check with: python -m shards {end}")
    told = _run(copy, "--where", "width > 5").stderr
    doubt = f". If --where 'width > 5' is as you mean it, check with: python -m shards {end}"
    assert told.startswith(begin) and told.endswith(doubt)


def test_the_command_shows_a_record(whole):
    told = _run(whole, "--key", "robots-train-0004")
    assert told.exit_code == 0
    for line in ("robots   Drone, Humanoid", "step 0   Drone: go 0", "target  because of 4"):
        assert any(found.split() == line.split() for found in told.stdout.splitlines()), line
    said = json.loads(_run(whole, "--key", "bad-2", "--json").stdout)
    assert said["found"][0]["row"]["error"] == "as coco-train-0001"
    assert "not written, duplicate: as coco-train-0001" in _run(whole, "--key", "bad-2").stdout


def test_the_command_fails_in_one_line(whole, tmp_path):
    for arguments in ((tmp_path,), (whole, "--where", "no"), (whole, "--key", "no")):
        told = _run(*arguments)
        assert told.exit_code == 1
        assert told.stdout == ""
        (line,) = told.stderr.splitlines()
        assert line.startswith("inspect failed: ")
    assert _run(whole, "--key", "a", "--by", "split").exit_code == 2


def test_nothing_is_written(copy):
    before = sorted(path for path in copy.rglob("*"))
    _run(copy)
    _run(copy, "--key", "coco-val-0003")
    assert sorted(path for path in copy.rglob("*")) == before
