"""Whatever is done to a data set, `validate` says so and names the shard."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import disk, store
from manifests.schema import MANIFEST
from manifests.seal import Seal, Shard
from shards import interop, tar, unlisted
from shards.validate import validate


def _shard(folder: Path, number: int = 1) -> Shard:
    return Seal.read(folder).select("coco", "train")[number]


def _flip(at: int) -> Callable[[Path], None]:
    def flip(folder: Path) -> None:
        path = folder / _shard(folder).tar
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    return flip


def _truncate(folder: Path) -> None:
    os.truncate(folder / _shard(folder).tar, _shard(folder).nbytes - 1)


def _swap(folder: Path) -> None:
    one, two = (folder / _shard(folder, number).tar for number in (0, 1))
    one.rename(folder / "aside")
    two.rename(one)
    (folder / "aside").rename(two)


def _rename(folder: Path) -> None:
    path = folder / _shard(folder).tar
    path.rename(path.with_name("coco-train-00001-00000000.tar"))


def _double(folder: Path) -> None:
    path = folder / _shard(folder).tar
    data = path.read_bytes()
    first = pq.read_table(folder / _shard(folder).manifest)["nbytes"][0].as_py()
    path.write_bytes(data[: -len(tar.END)] + data[:first] + tar.END)


def _edit_manifest(folder: Path) -> None:
    path = folder / _shard(folder).manifest
    rows = pq.read_table(path).to_pylist()
    rows[0]["licence"] = "mine"
    path.write_bytes(store.parquet_bytes(pa.Table.from_pylist(rows, schema=MANIFEST)))


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (_flip(700), "{tar}: sha256 is not the sealed one"),
        (_flip(700), "{tar}: record {first}: damaged (xxh3-128 differs)"),
        (_flip(-1), "{tar}: sha256 is not the sealed one"),
        (_truncate, "{tar}: {less} bytes, sealed with {nbytes}"),
        (lambda folder: (folder / _shard(folder).tar).unlink(), "{tar}: missing"),
        (lambda folder: (folder / _shard(folder).manifest).unlink(), "{manifest}: missing"),
        (_rename, "{tar}: missing"),
        (_rename, "coco/coco-train-00001-00000000.tar: not listed in dataset.json"),
        (_swap, "{tar}: "),
        (_double, "{tar}: "),
        (_edit_manifest, "{manifest}: "),
        (lambda f: (f / "coco" / "x.tar").touch(), "coco/x.tar: not listed in dataset.json"),
        (
            lambda f: shutil.copy(f / _shard(f).tar, f / "manifests/coco/coco-1.parquet"),
            "manifests/coco/coco-1.parquet: not listed in dataset.json",
        ),
        (
            lambda f: store.write(f / "gqa" / "gqa-val-0-12345678.tar", b""),
            "gqa/gqa-val-0-12345678.tar: not listed in dataset.json",
        ),
    ],
)
def test_harm_is_named(copy, harm, problem):
    shard = _shard(copy)
    first = pq.read_table(copy / shard.manifest)["key"][0].as_py()
    harm(copy)
    known = {"tar": shard.tar, "manifest": shard.manifest, "nbytes": shard.nbytes}
    expected = problem.format(first=first, less=shard.nbytes - 1, **known)
    found = [str(problem) for problem in validate(copy)]
    assert any(line.startswith(expected) for line in found), found
    assert not any("\n" in line for line in found)


def test_a_whole_data_set_has_no_problem_and_every_shard_is_looked_at(copy):
    (copy / "index").mkdir()
    (copy / "index" / "coco-train.idx").touch()
    store.write(copy / "mine" / "holiday.jpg", b"a user's own")
    (copy / "coco" / f"{disk.TEMPORARY}0123456789abcdef").touch()  # of a build that runs now
    seen = []
    assert list(validate(copy, seen.append)) == []
    assert sum(seen) == sum(shard.nbytes for shard in Seal.read(copy).shards)


def test_what_no_seal_lists_is_a_problem_or_a_note(copy):
    interop.write(copy)
    own = ("mine/a.tar", "mine/run.py", ".nv-meta/own.yaml", "manifests/__init__.py", "b.txt")
    for name in own:
        store.write(copy / name, b"")
    os.mkfifo(copy / "pipe")
    (copy / "link").symlink_to("b.txt")
    store.write(copy / ".nv-meta" / "dataset.yaml", b"sample_loader: own.py:load\n")
    (copy / "README.md").write_text("mine")
    program = "is a program by its name"
    assert [str(problem) for problem in validate(copy)] == [
        ".nv-meta/own.yaml: not listed in dataset.json",
        "link: is a symbolic link",
        f"manifests/__init__.py: not listed in dataset.json, {program}",
        "mine/a.tar: not listed in dataset.json",
        f"mine/run.py: {program}",
        "pipe: is not a regular file",
    ]
    assert list(unlisted.notes(copy)) == [
        "b.txt: no part of the data set, not checked",
        ".nv-meta/dataset.yaml: not as it was made; Energon imports what it names",
        "README.md: not made by `python -m shards sidecars`, not checked",
    ]


@pytest.mark.parametrize(
    "name", ["README.md", "wids-train.json", "index/coco-train.idx", ".nv-meta/index.uuid"]
)
def test_a_pipe_in_the_place_of_a_derived_file_is_named_and_not_waited_for(copy, name):
    interop.write(copy)
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).unlink(missing_ok=True)
    os.mkfifo(copy / name)
    (problem,) = validate(copy)
    assert (problem.file, problem.what.partition(";")[0]) == (name, "is not a regular file")


@pytest.mark.parametrize("old", ['"sha256": "', '"rows_digest": "', '"root": "'])
def test_an_edited_seal_is_one_problem(copy, old):
    path = copy / "dataset.json"
    text = path.read_text()
    at = text.index(old, text.index('"root"' if "root" in old else '"shards"')) + len(old)
    path.write_text(text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :])
    (problem,) = validate(copy)
    assert "dataset.json was edited" in str(problem)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nbytes", 1),
        ("records", 1),
        ("turns", 1),
        ("tar", "coco/other.tar"),
        ("manifest", "manifests/coco/other.parquet"),
    ],
)
def test_what_the_root_does_not_cover_is_checked_against_the_files(copy, field, value):
    seal, shard = Seal.read(copy), _shard(copy)
    changed = msgspec.structs.replace(shard, **{field: value})
    shards = tuple(changed if s == shard else s for s in seal.shards)
    store.commit(copy, msgspec.structs.replace(seal, shards=shards))
    assert any(problem.file in (changed.tar, changed.manifest) for problem in validate(copy))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"written": 199, "read": 205}, "199 written, its manifests have 200"),
        ({"written": 199}, "206 annotations read, but its parts add up to another number"),
        ({"quarantined": 0}, "0 quarantined, its manifests have 1"),
        ({"duplicate": 3}, "3 duplicate, its manifests have 2"),
        ({"held_back": 0}, "0 held back, its manifests have 3"),
        ({"records": 41}, "41 records, its manifests have 40"),
        ({"unannotated": 0}, "0 unannotated, its manifests have 1"),
        (None, "missing"),
    ],
)
def test_the_ledger_is_checked_against_the_manifests(copy, change, problem):
    seal = Seal.read(copy)
    first, *rest = seal.ledger
    lines = (msgspec.structs.replace(first, **change), *rest) if change else tuple(rest)
    store.commit(copy, msgspec.structs.replace(seal, ledger=lines))
    expected = f"dataset.json: ledger of coco/train: {problem}"
    assert expected in [str(problem) for problem in validate(copy)]


def test_a_damaged_manifest_is_one_problem_and_no_more(copy):
    _edit_manifest(copy)
    (problem,) = validate(copy)
    assert (problem.file, problem.place) == (_shard(copy).manifest, ("coco", "train", "00001"))
