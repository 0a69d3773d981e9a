"""What an operator sees of `python -m shards validate` and `verify`."""

import json
import os
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from manifests import disk, store
from manifests.seal import Seal, merkle_root
from shards.cli import app
from shards.validate import validate

LEFT = f"{disk.TEMPORARY}0123456789abcdef"  # as `disk.create` names a file


def _run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_says_one_line_a_problem_and_exits_with_1(copy):
    seal = Seal.read(copy)
    before = _files(copy)
    whole = _run("validate", copy)
    assert whole.exit_code == 0
    records = sum(shard.records for shard in seal.shards)
    count = f"{len(seal.shards)} shards, {records} records, root {seal.root}"
    assert whole.stdout == f"{copy} is whole: {count}\n"
    assert _run("validate", copy, "--quick").stdout == (
        f"{copy} has the names and sizes of its seal; no tar was read: {count}\n"
    )
    assert _files(copy) == before, "nothing is written"
    first, second, *_ = seal.select("coco", "train")
    os.truncate(copy / second.tar, 100)
    (copy / first.tar).unlink()
    harmed = _run("validate", copy)
    assert harmed.exit_code == 1
    problems = [str(problem) for problem in validate(copy)]
    assert harmed.stdout.splitlines() == problems
    assert len(problems) >= 2
    mend = f"mend: python -m shards repair {copy}"
    assert harmed.stderr == f"{len(problems)} problem(s) in {copy}; {mend}\n"
    quick = _run("validate", copy, "--quick")
    assert quick.exit_code == 1
    assert quick.stdout.splitlines() == [
        f"{first.tar}: missing",
        f"{second.tar}: 100 bytes, sealed with {second.nbytes}",
    ]


def test_quick_reads_no_tar(copy):
    shard = Seal.read(copy).select("coco", "train")[0]
    (copy / shard.tar).write_bytes(bytes(shard.nbytes))
    assert _run("validate", copy, "--quick").exit_code == 0
    assert _run("validate", copy).exit_code == 1


def test_json_is_one_object(copy):
    seal = Seal.read(copy)
    shard = seal.select("coco", "train")[1]
    (copy / shard.manifest).unlink()
    (copy / "coco" / LEFT).touch()
    result = _run("validate", copy, "--json")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert said.pop("seconds") >= 0
    assert said == {
        "folder": str(copy),
        "root": seal.root,
        "shards": len(seal.shards),
        "records": 91,
        "bytes": sum(shard.nbytes for shard in seal.shards),
        "whole": False,
        "notes": [
            f"coco/{LEFT}: left by a build that was killed or still runs; the next build removes it"
        ],
        "problems": [
            {
                "file": shard.manifest,
                "what": "missing",
                "key": None,
                "place": ["coco", "train", "00001"],
            }
        ],
    }


def test_what_a_killed_build_left_is_a_note_that_fails_nothing(copy):
    (copy / f"{disk.TEMPORARY}build").mkdir()
    result = _run("validate", copy)
    assert result.exit_code == 0
    assert result.stderr == (
        f"note: {disk.TEMPORARY}build: left by a build that was killed or still runs; the next "
        f"build removes it\n"
    )
    (copy / "index").mkdir()
    (copy / "index" / LEFT).touch()
    assert _run("validate", copy).stderr.splitlines()[1] == (
        f"note: index/{LEFT}: left by a reader that was killed or still runs; remove it "
        f"if none does"
    )


@pytest.mark.parametrize("command", [["validate"], ["verify", "--root", "0" * 64]])
def test_no_data_set_is_exit_code_3(tmp_path, command):
    result = _run(*command, tmp_path)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.startswith(f"{tmp_path} is not a sealed data set")


def test_a_seal_that_cannot_be_read_is_a_problem(copy):
    (copy / "dataset.json").write_text("{")
    result = _run("validate", copy)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"dataset.json: {copy}/dataset.json cannot be read: ")


def test_verify_proves_a_root_or_says_what_differs(copy):
    seal = Seal.read(copy)
    proven = _run("verify", "--root", seal.root.upper(), copy)
    assert proven.exit_code == 0
    assert proven.stdout == f"{copy}: proven, its bytes have root {seal.root}\n"
    other = _run("verify", "--root", "0" * 64, copy)
    assert other.exit_code == 1
    assert other.stdout == ""
    assert other.stderr.splitlines() == [
        f"{copy}: NOT proven: its bytes have root {seal.root}",
        f"asked for {'0' * 64}; its dataset.json says {seal.root}",
        f"every shard is as its own seal says: this is another data set; compare with: "
        f"python -m shards diff OTHER {copy}",
    ]
    shard = seal.select("vqa", "train")[0]
    os.truncate(copy / shard.tar, shard.nbytes - 1)
    changed = _run("verify", "--root", seal.root, copy)
    assert changed.exit_code == 1
    assert changed.stdout == "vqa/train/00000: its bytes are not those that were sealed\n"
    assert "NOT proven: its bytes have root " in changed.stderr
    assert changed.stderr.endswith(f"\nmend: python -m shards repair {copy}\n")
    both = _run("verify", "--root", "0" * 64, copy)
    assert both.stderr.endswith("\nthis is another data set, and shards of it are damaged\n")
    (copy / shard.tar).unlink()
    gone = _run("verify", "--root", seal.root, copy)
    assert gone.exit_code == 1
    assert gone.stdout == f"vqa/train/00000: {shard.tar}: missing\n"
    assert "NOT proven: its bytes cannot all be read, so have no root\n" in gone.stderr


def test_verify_is_not_deceived_by_a_seal_that_fits_other_bytes(copy):
    seal = Seal.read(copy)
    kept = tuple(shard for shard in seal.shards if shard.corpus != "vqa")
    store.commit(copy, msgspec.structs.replace(seal, shards=kept, root=merkle_root(kept)))
    result = _run("verify", "--root", seal.root, copy)
    assert result.exit_code == 1
    assert f"asked for {seal.root}; its dataset.json says {merkle_root(kept)}\n" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "--root", "abc"],
        ["verify", "--root", "g" * 64],
        ["verify"],
        ["validate", "--quick", "--foreign"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(copy, words):
    assert _run(*words, copy).exit_code == 2


def test_foreign_tars_are_judged_by_the_same_command(copy):
    result = _run("validate", "--foreign", copy)
    assert (result.exit_code, result.stdout) == (0, f"{copy}: 16 tars, nothing wrong\n")
    shard = Seal.read(copy).select("coco", "val")[0]
    os.truncate(copy / shard.tar, shard.nbytes - 1024)
    cut = _run("validate", "--foreign", copy / shard.tar)
    assert cut.exit_code == 1
    name = shard.tar.removeprefix("coco/")
    assert cut.stdout.startswith(f"{name}: does not end as a tar does: 0 of 1024 zero bytes")
    (copy / "none").mkdir()
    assert _run("validate", "--foreign", copy / "none").exit_code == 3
