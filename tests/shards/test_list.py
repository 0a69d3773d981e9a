"""`python -m shards list` prints what webdataset.WebDataset takes."""

from pathlib import Path

import braceexpand
import pytest
from typer.testing import CliRunner

from shards import interop
from shards.cli import app


def test_list_prints_a_path_a_line_or_one_brace_expression(whole):
    def listed(*options: str) -> str:
        result = CliRunner().invoke(app, ["list", str(whole), *options])
        assert result.exit_code == 0, result.stderr
        return result.stdout

    every = listed().splitlines()
    assert every == [str(path) for path in interop.tars(whole)]
    assert all(Path(path).is_file() for path in every)
    val = [path for path in every if "/coco-val-" in path]
    assert listed("--corpus", "coco", "--split", "val").splitlines() == val
    assert listed("--split", "val", "--brace") == f"{val[0]}\n"
    assert list(braceexpand.braceexpand(listed("--brace").strip())) == every


def test_list_says_what_there_is(whole, tmp_path):
    result = CliRunner().invoke(app, ["list", str(whole), "--corpus", "coco", "--split", "test"])
    assert (result.exit_code, result.stdout) == (1, "")
    there = "coco/train, coco/val, llava/train, robots/train, vqa/train"
    assert result.stderr == f"list failed: {whole} has no records of coco/test; it has {there}\n"
    wrong = CliRunner().invoke(app, ["list", str(whole), "--split", "foo"])
    assert wrong.exit_code == 1
    assert wrong.stderr == "list failed: there is no split foo; splits are train, val, test\n"
    none = CliRunner().invoke(app, ["list", str(tmp_path)])
    assert none.exit_code == 1
    assert none.stderr.startswith(f"list failed: {tmp_path} is not a sealed data set")


def test_a_folder_with_braces_in_its_name_has_no_brace_expression(whole):
    odd = whole.with_name("a,{b}")
    with pytest.raises(interop.NoTarsError, match="has a brace or comma in its name"):
        interop.braces(odd, [odd / "coco/x.tar"])
