"""Is there anything to do? By sizes and times of files, and in doubt there is."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from manifests.seal import Seal
from pipelines import config as configs
from pipelines import state

ROOT = Path(__file__).parents[2]
OLD = 1_600_000_000_123_456_789  # ns


@pytest.fixture
def built(shop):
    """A shop whose data set is sealed, and the question whether there is anything to do."""

    def ask():
        return state.compare(configs.load(shop.written()), shop.out)

    del shop.settings["corpora"]["robots"]  # which takes longest
    settle()
    shop.build()
    return ask


def settle():
    """Be further from what was just written than a file system's clock can tell."""
    time.sleep(0.06)


def caption_file(shop):
    return shop.raw / "coco/annotations/captions_train2017.json"


def test_nothing_to_do_is_said_with_the_root_and_what_was_looked_at(shop, built):
    folders = (shop.raw / "coco", shop.raw / "vqa", shop.raw / "gqa")
    count = sum(path.is_file() for folder in folders for path in folder.rglob("*"))
    answer = built()
    assert answer.same
    assert answer.said.startswith(
        f"nothing to do: {shop.out} is sealed with root {Seal.read(shop.out).root} (checked "
        f"{count} source files and 6 shards by size and time in "
    )
    assert answer.said.endswith(" s; --deep re-reads)")


def test_nothing_is_said_of_a_first_build(shop, tmp_path):
    assert state.compare(configs.load(shop.written()), tmp_path / "new") == (False, "")


def changed_caption(shop):
    path = caption_file(shop)
    path.write_text(path.read_text() + " ")
    return shop.raw / "coco"


def same_size_other_time(shop):
    os.utime(caption_file(shop), ns=(OLD, OLD))
    return shop.raw / "coco"


def new_picture(shop):
    (shop.raw / "coco/train2017/000000000001.jpg").write_bytes(b"")
    return shop.raw / "coco"


def lost_picture(shop):
    next((shop.raw / "gqa/images").iterdir()).unlink()
    return shop.raw / "gqa"


def renamed_picture(shop):
    path = next((shop.raw / "gqa/images").iterdir())
    path.rename(path.with_name("other.jpg"))
    return shop.raw / "gqa"


def new_folder(shop):
    (shop.raw / "vqa/more").mkdir()
    return shop.raw / "vqa"


def lost_corpus(shop):
    (shop.raw / "gqa").rename(shop.raw / "elsewhere")
    return shop.raw / "gqa"


@pytest.mark.parametrize(
    "change",
    [
        *(changed_caption, same_size_other_time, new_picture, lost_picture, renamed_picture),
        *(new_folder, lost_corpus),
    ],
)
def test_a_source_that_changed_is_named_by_its_folder(shop, built, change):
    folder = change(shop)
    assert built() == (False, f"{folder} has changed since the last build")


def test_a_file_of_the_data_set_that_changed_is_named(shop, built):
    patterns = ["dataset.json", "build.json", "coco/*.tar", "manifests/gqa/*"]
    for pattern in [*patterns, "manifests/ledger-*", "coco/*.idx"]:
        path = sorted(shop.out.glob(pattern))[0]
        data, changed = path.read_bytes(), path.stat().st_mtime_ns
        said = f"{path} is not as the last build left it"
        path.write_bytes(data + b" ")
        os.utime(path, ns=(changed, changed))
        assert built() == (False, said), "its size is another"
        path.write_bytes(data)
        os.utime(path, ns=(OLD, OLD))
        assert built() == (False, said), "its time is another"
        path.unlink()
        assert built() == (False, said), "it is gone"
        path.write_bytes(data)
        os.utime(path, ns=(changed, changed))
        assert built().same


def test_what_a_killed_build_left_is_something_to_do(shop, built):
    (shop.out / ".tmp-build").mkdir()
    assert built() == (False, f"another build into {shop.out} runs, or was killed")
    shop.build()
    assert not (shop.out / ".tmp-build").exists()
    assert built().same


@pytest.mark.parametrize("to", ["nothing", "folder", "file"])
def test_a_link_or_file_in_the_place_of_a_build_s_folder_is_removed_alone(shop, tmp_path, to):
    shop.only("gqa")
    settle()
    shop.build()
    work, kept = shop.out / ".tmp-build", tmp_path / "kept"
    if to == "folder":
        kept.mkdir()
        (kept / "mine").write_bytes(b"1")
    if to == "file":
        work.write_bytes(b"")
    else:
        work.symlink_to(kept)
    answer = state.compare(configs.load(shop.written()), shop.out)
    assert answer == (False, f"another build into {shop.out} runs, or was killed")
    shop.build()
    assert not os.path.lexists(work)
    assert (kept / "mine").exists() == (to == "folder")


def test_another_config_is_another_build_but_workers_change_nothing(shop, built):
    shop.settings["workers"] = 7
    assert built().same
    other = "the config is not that of the last build"
    shop.settings["corpora"]["gqa"] = {"bits": 1}
    assert built() == (False, other)
    shop.settings["corpora"]["gqa"] = {}
    shop.settings["image"] = {"quality": 91}
    assert built() == (False, other)
    del shop.settings["image"]
    assert built().same


def test_a_list_of_protected_pictures_is_compared_by_its_content(shop, tmp_path):
    listed = tmp_path / "mine.txt"
    listed.write_text("coco:391895\n")
    shop.only("coco")
    shop.settings["protect"] = {"image": [str(listed)], "text": [], "near_duplicates": "off"}
    settle()
    shop.build()
    config = configs.load(shop.written())
    os.utime(listed, ns=(OLD, OLD))
    assert state.compare(config, shop.out).same
    listed.write_text("coco:522418\n")
    said = "the config is not that of the last build"
    assert state.compare(config, shop.out) == (False, said)


def test_other_code_is_another_build(built, monkeypatch):
    monkeypatch.setattr(state, "code", lambda: "another")
    said = "the code, or a library that it uses, is not that of the last build"
    assert built() == (False, said)


def test_the_code_is_known_by_every_file_and_every_library(tmp_path, monkeypatch):
    for name in (
        "manifests/a.py",
        "pipelines/b/c.yaml",
        "shards/d.json",
        "shards/g.jinja",
        "shards/e.pyc",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    monkeypatch.setattr(state, "_ROOT", tmp_path)
    seen = {state.code()}
    names = ("manifests/a.py", "pipelines/b/c.yaml", "shards/d.json", "shards/g.jinja")
    for number, name in enumerate(names, 2):
        (tmp_path / name).write_text("y")
        seen.add(state.code())
        assert len(seen) == number
    (tmp_path / "shards/e.pyc").write_text("y")
    assert state.code() in seen
    (tmp_path / "shards/d.json").rename(tmp_path / "shards/f.json")
    assert state.code() not in seen
    monkeypatch.setattr(state, "codecs", lambda: {"pillow": "0"})
    assert state.code() not in seen


def test_a_damaged_state_is_as_none_and_said(shop, built):
    path = shop.out / "build-state.json"
    data = path.read_bytes()
    flipped = data.replace(b'"records":2', b'"records":3', 1)
    other = json.dumps({**json.loads(data), "format": 0}).encode()
    for damaged in (b"\xff\xfe no JSON", data[: len(data) // 2], flipped, other, b""):
        path.write_bytes(damaged)
        assert damaged != data
        assert state.read(shop.out) is None
        assert built() == (False, f"{path} cannot be read: all is packed again")
    path.write_bytes(data)
    assert built().same


def test_a_source_that_changed_while_the_build_ran_is_looked_at_again(shop, monkeypatch):
    from pipelines import build as building

    merkle = building.merkle_root

    def late(shards):
        os.utime(caption_file(shop), ns=(OLD, OLD))  # its time is old, that of this change is not
        return merkle(shards)

    shop.only("coco")
    settle()
    with monkeypatch.context() as patch:
        patch.setattr(building, "merkle_root", late)
        shop.build()
    said = f"{caption_file(shop)} changed while the last build ran, or just before"
    assert state.compare(configs.load(shop.written()), shop.out) == (False, said)
    settle()
    shop.build()
    assert state.compare(configs.load(shop.written()), shop.out).same


@pytest.mark.parametrize(
    ("changed", "late"),
    [
        (1_000_000_000_000_000_001, True),  # after
        (999_999_999_960_000_000, True),  # 40 ms before: as late as a clock's tick may be
        (999_999_999_900_000_000, False),
        (999_999_999_000_000_000, True),  # whole seconds: perhaps a clock of two
        (999_999_997_000_000_000, False),
    ],
)
def test_a_file_is_late_if_its_time_may_be_that_of_a_later_change(changed, late):
    fields = os.stat_result([0] * 10, {"st_mtime_ns": changed, "st_ctime_ns": 1})
    assert state.is_late(fields, 1_000_000_000_000_000_000) is late
    fields = os.stat_result([0] * 10, {"st_mtime_ns": 1, "st_ctime_ns": changed})
    assert state.is_late(fields, 1_000_000_000_000_000_000) is late


def test_links_are_followed_and_each_folder_is_walked_once(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "far").mkdir()
    (tmp_path / "far/x.jpg").write_bytes(b"1")
    (tmp_path / "a/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/far").symlink_to(tmp_path / "far")
    (tmp_path / "a/nowhere").symlink_to(tmp_path / "nothing")
    before = state.look(tmp_path / "a")
    assert before.files == 2, "x.jpg and the link to nowhere"
    (tmp_path / "far/x.jpg").write_bytes(b"22")
    assert state.look(tmp_path / "a").digest != before.digest


def test_a_link_to_itself_hides_no_other_file(tmp_path):
    for number in range(20):  # a folder is listed in no order: some would come after a link
        (tmp_path / f"link{number}").symlink_to(tmp_path / f"link{number}")
        (tmp_path / f"{number}.jpg").write_bytes(b"1")
    before = state.look(tmp_path)
    assert before.files == 40
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(b"22")
    assert state.look(tmp_path).digest != before.digest


def test_names_that_are_no_unicode_count(tmp_path):
    before = state.look(tmp_path)
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff.jpg", os.O_CREAT))
    after = state.look(tmp_path)
    assert (before.files, after.files) == (0, 1)
    assert before.digest != after.digest


def test_the_program_answers_before_prefect_and_polars_are_imported(shop):
    shop.only("gqa")
    settle()
    shop.build()
    script = (
        "import sys\nfrom pipelines.cli import app\n"
        "code = app(sys.argv[1:], standalone_mode=False) or 0\n"
        "print(code, *(m for m in ('prefect', 'polars', 'pipelines.build') if m in sys.modules))"
    )
    command = [sys.executable, "-c", script, "build", "--config", str(shop.written())]
    done = subprocess.run(
        [*command, "--out", str(shop.out)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
    assert done.stderr.startswith(f"nothing to do: {shop.out} is sealed with root ")
