"""Other libraries find the very records in the data set, by files that the seal alone decides."""

import errno
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from manifests.schema import Turn
from manifests.seal import Seal
from pipelines import state
from shards import energon, interop
from shards.cli import app
from shards.reader import DamageError, Dataset

ROOT = Path(__file__).parents[2]
NAMES = {
    "README.md", "wids-train.json", "wids-val.json", "wids-test.json", ".nv-meta/.info.json",
    ".nv-meta/split.yaml", ".nv-meta/dataset.yaml", ".nv-meta/index.sqlite",
    ".nv-meta/index.sha256", ".nv-meta/index.uuid",
    *(f".nv-meta/split-{corpus}.yaml" for corpus in ("coco", "llava", "refcoco", "robots", "vqa")),
}  # fmt: skip
BOX = Turn(
    thread=0,
    id="7",
    prompt="the left cup",
    target="here",
    kind="grounding",
    answers=("here", "left"),
    box=(0.1, 0.25, 0.3, 1.0),
)


@pytest.fixture(scope="module")
def data(whole, make_record, write_shard, seal_shards, tmp_path_factory) -> Path:
    """`whole` and a test split of boxes, with sidecars. Some shards of robots/train are empty."""
    folder = tmp_path_factory.mktemp("interop") / "data"
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("index", "tok*"))
    boxes = [make_record("refcoco", number, "test", turns=(BOX,)) for number in range(3)]
    shards = [*Seal.read(folder).shards, write_shard(folder, boxes)]
    seal_shards(folder, sorted(shards, key=lambda shard: shard.place))
    interop.write(folder)
    return folder


@pytest.fixture
def mine(data, tmp_path) -> Path:
    """A copy of `data` that a test may change."""
    return shutil.copytree(data, tmp_path / "mine")


@pytest.fixture(scope="module")
def bare(data, tmp_path_factory) -> Path:
    """The tars of `data` alone; energon has prepared them when `opened` is there."""
    return shutil.copytree(
        data, tmp_path_factory.mktemp("bare") / "d", ignore=shutil.ignore_patterns(".nv*", "*.idx")
    )


@pytest.fixture(scope="module")
def opened(data, bare, tmp_path_factory) -> dict[str, Any]:
    """What four libraries find in `data`; see libraries.py."""
    home = tmp_path_factory.mktemp("home")
    settings = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    settings |= {"TMPDIR": str(home), "WIDS_CACHE": str(home), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, Path(__file__).with_name("libraries.py"), data, bare],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(run.stdout.splitlines()[-1])


def files(folder: Path) -> dict[str, bytes]:
    """The sidecars that are there, by name."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {name: path.read_bytes() for name, path in paths.items() if interop.is_sidecar(name)}


def ours(folder: Path, split: str, corpora: tuple[str, ...] = ()) -> dict[str, list]:
    """What the project's own reader finds, in the form of libraries.py."""
    dataset = Dataset(folder)
    return {
        record.key: [hashlib.sha256(record.image).hexdigest(), json.loads(record.encode())]
        for corpus, part in dataset.names
        if part == split and corpus in (corpora or (corpus,))
        for record in dataset.records(corpus, part)
    }


@pytest.mark.parametrize("library", ["webdataset", "wids", "datasets", "energon"])
def test_four_libraries_find_the_same_records_in_one_folder(data, opened, library):
    found = opened["found"][library]
    assert {split: len(of) for split, of in found.items()} == {"train": 85, "val": 6, "test": 3}
    for split in ("train", "val", "test"):
        assert found[split] == ours(data, split), f"{library}: {split}"


def test_what_a_build_remembers_is_not_called_like_a_file_of_datasets():
    # load_dataset refuses a folder with a state.json: it takes it for one of save_to_disk.
    assert state.NAME not in ("state.json", "dataset_info.json", "dataset_dict.json")


def test_a_box_comes_through_every_library(opened):
    for library in ("webdataset", "wids", "datasets", "energon"):
        _, said = opened["found"][library]["test"]["refcoco-test-0002"]
        (turn,) = said["turns"]
        assert (turn["box"], turn["answers"]) == ([0.1, 0.25, 0.3, 1.0], ["here", "left"]), library


def test_energon_trains_on_every_record_once_a_pass(data, opened):
    assert opened["found"]["energon, training"]["train"] == ours(data, "train")


def test_hugging_face_has_a_configuration_for_each_corpus(data, opened):
    corpora = ("coco", "robots")
    assert opened["found"]["datasets, by corpus"]["train"] == ours(data, "train", corpora)


def test_the_examples_of_the_card_run_as_they_stand(opened):
    own, web, wids, hugging, energons = (told.splitlines() for told in opened["examples"])
    assert len(own) == 40
    first = own[0].split()[0]
    assert first.startswith("coco-train-")
    assert own[0].endswith(f"caption 0 of picture {int(first[-4:])}")
    assert web[0].startswith(f"{first} (32, 32) caption 0 of picture")
    assert wids == [f"85 {first} (32, 32)"]
    assert hugging[0].startswith(f"{first} (32, 32) caption 0 of picture")
    assert len(energons) == 85
    assert energons[0].startswith(f"{first} torch.Size([3, 32, 32]) caption 0 of picture")


def test_energon_itself_would_have_made_the_same_index(data, opened, bare):
    assert opened  # by then energon has prepared `bare`
    made, expected = files(data), files(bare)
    indices = [name for name in expected if name.endswith(".tar.idx")]
    assert len(indices) == len(interop.tars(data)) == 13
    for name in (*indices, ".nv-meta/split.yaml"):
        assert made[name] == expected[name], name
    info = json.loads(expected[".nv-meta/.info.json"])
    del info["energon_version"]
    assert json.loads(made[".nv-meta/.info.json"]) == info
    assert rows(data) == rows(bare)


def rows(folder: Path) -> dict[str, list]:
    """All that index.sqlite holds, spaces in its statements aside."""
    with sqlite3.connect(f"file:{folder}/.nv-meta/index.sqlite?mode=ro", uri=True) as base:
        named = base.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        return {
            "tables": [(name, " ".join((sql or "").split())) for name, sql in named],
            "samples": base.execute("SELECT * FROM samples ORDER BY 1, 3").fetchall(),
            "parts": base.execute("SELECT * FROM sample_parts ORDER BY 1, 2, 4").fetchall(),
        }


def test_the_uuid_is_the_first_half_of_the_root(data):
    told = (data / ".nv-meta/index.uuid").read_text()
    assert uuid.UUID(told).hex == Seal.read(data).root[:32]


def test_every_sidecar_is_known_as_one_and_nothing_else_is(data):
    indices = {f"{path.relative_to(data).as_posix()}.idx" for path in interop.tars(data)}
    assert files(data).keys() == NAMES | indices
    for name in ("dataset.json", "coco/README.md", "a.tar.idx", ".nv-meta/x.sqlite", "wids-a.json"):
        assert not interop.is_sidecar(name), name


def test_sidecars_are_a_function_of_the_seal(data, mine):
    for name in files(mine):
        (mine / name).unlink()
    interop.write(mine)
    assert files(mine) == files(data)


def test_nothing_is_written_again_while_it_is_fresh(mine):
    before = {name: (mine / name).stat().st_ino for name in files(mine)}
    interop.write(mine)
    assert {name: (mine / name).stat().st_ino for name in files(mine)} == before
    assert list(interop.stale(mine)) == []


@pytest.mark.parametrize("bit", [4, 128])  # the other, and text is no UTF-8 any more
@pytest.mark.parametrize("name", [*sorted(NAMES - {".nv-meta/dataset.yaml"}), "tar.idx"])
def test_a_flipped_bit_in_a_sidecar_is_found_and_mended(data, mine, name, bit):
    if name == "tar.idx":
        name = f"{Seal.read(mine).shards[0].tar}.idx"
    flipped = bytearray((mine / name).read_bytes())
    flipped[len(flipped) // 2] ^= bit
    (mine / name).write_bytes(flipped)
    found = [file for file, _ in interop.stale(mine)]
    assert found == [name.replace("sha256", "sqlite")]  # either of the two may be the wrong one
    result = CliRunner().invoke(app, ["sidecars", str(mine)])
    root = Seal.read(mine).root
    assert result.stdout == f"{mine}: sidecars of 13 tars made for root {root}\n"
    assert files(mine) == files(data)


def test_an_empty_tar_index_is_found(mine):
    name = f"{Seal.read(mine).shards[0].tar}.idx"
    (mine / name).write_bytes(b"")
    ((file, what),) = interop.stale(mine)
    told = f"not the index of its tar; it is made anew by: python -m shards sidecars {mine}"
    assert (file, what) == (name, told)
    interop.write(mine)
    assert list(interop.stale(mine)) == []


def test_another_seal_makes_the_sidecars_of_the_old_one_stale(mine, seal_shards):
    seal_shards(mine, [shard for shard in Seal.read(mine).shards if shard.split == "train"])
    expected = {
        "README.md", "wids-train.json", "wids-val.json", "wids-test.json",
        ".nv-meta/.info.json", ".nv-meta/split.yaml", ".nv-meta/index.uuid",
        ".nv-meta/split-coco.yaml", ".nv-meta/split-refcoco.yaml",
    }  # fmt: skip
    assert {file for file, _ in interop.stale(mine)} == expected
    interop.write(mine)
    assert list(interop.stale(mine)) == []
    assert not (mine / "wids-val.json").exists(), "the split is gone"
    parts = yaml.safe_load((mine / ".nv-meta/split.yaml").read_text())["split_parts"]
    assert (len(parts["train"]), parts["val"], parts["test"]) == (11, [], [])


def test_what_users_wrote_stays(mine):
    (mine / "README.md").write_text("# Mine\n")
    (mine / ".nv-meta/dataset.yaml").write_text("__class__: Mine\n")
    interop.write(mine, anew=True)
    assert (mine / "README.md").read_text() == "# Mine\n"
    assert (mine / ".nv-meta/dataset.yaml").read_text() == "__class__: Mine\n"
    assert list(interop.stale(mine)) == []


def test_a_key_of_two_corpora_is_refused_by_name(tmp_path, make_record, write_shard, seal_shards):
    shards = [
        write_shard(tmp_path, [make_record(corpus, 1, key="same")]) for corpus in ("coco", "vqa")
    ]
    seal_shards(tmp_path, shards)
    one, other = (shard.tar for shard in shards)
    with pytest.raises(energon.KeyTwiceError, match=f"record same is in {one} and in {other}; "):
        interop.write(tmp_path)
    assert not list((tmp_path / ".nv-meta").iterdir()), "nothing half-written"


def test_a_full_disk_leaves_the_index_that_was_there(mine, monkeypatch):
    before = files(mine)
    few = f"PRAGMA max_page_count = 3; {energon._TABLES}"
    monkeypatch.setattr(energon, "_TABLES", few)
    with pytest.raises(OSError, match="disk is full: '.*/index.sqlite'") as error:
        interop.write(mine, anew=True)
    assert error.value.errno == errno.ENOSPC
    assert files(mine) == before
    assert not list((mine / ".nv-meta").glob(".tmp-*"))


def test_a_damaged_header_is_named_not_indexed(mine):
    shard = Seal.read(mine).shards[0]
    with (mine / shard.tar).open("r+b") as file:
        file.write(b"X")
    (mine / ".nv-meta/index.uuid").unlink()
    key = "record coco-train-[0-9]{4} at byte 0 has no coco-train-[0-9]{4}.jpg"
    with pytest.raises(DamageError, match=f"{shard.tar}: {key}"):
        interop.write(mine)
    result = CliRunner().invoke(app, ["sidecars", str(mine)])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"sidecars failed: {shard.tar}: record coco-train-")


def test_a_missing_tar_is_told_with_what_to_type(mine):
    shard = Seal.read(mine).shards[0]
    (mine / shard.tar).unlink()
    result = CliRunner().invoke(app, ["sidecars", str(mine)])
    why = "cannot be read (No such file or directory). Check with: python -m shards validate"
    assert result.exit_code == 1
    assert result.stderr == f"sidecars failed: {shard.tar} {why} {mine}\n"


def test_the_card_says_what_the_hub_wants_to_know(data):
    _, header, text = (data / "README.md").read_text().split("---\n", 2)
    told = yaml.safe_load(header)
    assert told["license"] == ["cc0-1.0"]
    assert told["size_categories"] == ["n<1K"]
    assert told["task_categories"] == [
        "image-text-to-text", "image-to-text", "object-detection", "robotics",
        "visual-question-answering",
    ]  # fmt: skip
    names = [config["config_name"] for config in told["configs"]]
    assert names == ["default", "coco", "llava", "refcoco", "robots", "vqa"]
    assert [config.get("default") for config in told["configs"][:2]] == [True, None]
    coco = told["configs"][1]["data_files"]
    assert [(part["split"], len(part["path"])) for part in coco] == [
        ("train", 4),
        ("validation", 1),
    ]
    (boxes,) = told["configs"][3]["data_files"]
    (tar,) = interop.tars(data, "refcoco")
    assert boxes == {"split": "test", "path": [tar.relative_to(data).as_posix()]}
    sizes = told["dataset_info"][1]["splits"]
    assert [(part["name"], part["num_examples"]) for part in sizes] == [
        ("train", 40), ("validation", 6),
    ]  # fmt: skip
    assert "| coco | 40 | 6 | 0 | 46 | 0 | 0 | 0 | 0 | 0 |" in text
    assert "| refcoco | CC0 | 3 |" in text
    assert f"python -m shards verify --root {Seal.read(data).root} ." in text
