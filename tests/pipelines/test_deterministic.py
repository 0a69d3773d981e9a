"""The bytes follow from the sources: not from the machine, its settings, or who builds."""

import locale
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from manifests.seal import Seal
from shards.validate import validate

ROOT = Path(__file__).parents[2]
ORDINARY = {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"}


def backwards(source: Path, target: Path) -> None:
    """A copy whose files and folders are made in the opposite order of their names, and times of
    their own."""
    target.mkdir()
    for path in sorted(source.iterdir(), reverse=True):
        if path.is_dir():
            backwards(path, target / path.name)
        else:
            (target / path.name).write_bytes(path.read_bytes())


@pytest.fixture
def build_elsewhere(shop, tmp_path):
    """`python -m pipelines build --plain` in a process of its own, of sources below `folder`."""

    def run(out, env, umask, workers, cwd=ROOT, folder=shop.raw.parent):
        command = [sys.executable, "-m", "pipelines", "build", "--plain"]
        command += ["--config", str(shop.written()), "--out", str(out)]
        command += ["--set", f"root={folder / 'base_vlm'}", "--set", f"workers={workers}"]
        command += ["--set", f"corpora.robots.path={folder / 'robots'}"]
        env = {**os.environ, "PYTHONPATH": str(ROOT), **env}
        done = subprocess.run(
            command, cwd=cwd, env=env, umask=umask, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    return run


def modes(folder: Path) -> dict[bool, set[int]]:
    """The modes of folders (True) and files (False)."""
    found: dict[bool, set[int]] = {True: {stat.S_IMODE(folder.stat().st_mode)}, False: set()}
    for path in folder.rglob("*"):
        found[path.is_dir()].add(stat.S_IMODE(path.stat().st_mode))
    return found


def test_settings_of_the_machine_change_no_byte(shop, tmp_path, build_elsewhere, digests):
    build_elsewhere(tmp_path / "one", ORDINARY, umask=0o000, workers=1)
    expected = digests(tmp_path / "one")
    assert list(validate(tmp_path / "one")) == []
    assert modes(tmp_path / "one") == {True: {0o777}, False: {0o666}}

    env = {"PYTHONHASHSEED": "1", "LC_ALL": "C.UTF-8", "TZ": "Asia/Kathmandu"}
    (tmp_path / "here").mkdir()
    folder = tmp_path / "copied"
    folder.mkdir()
    for name in ("base_vlm", "robots"):
        backwards(shop.raw.parent / name, folder / name)
    there = {"cwd": tmp_path / "here", "folder": folder}
    build_elsewhere(tmp_path / "two", env, umask=0o077, workers=3, **there)
    assert digests(tmp_path / "two") == expected
    assert modes(tmp_path / "two") == {True: {0o700}, False: {0o600}}

    env = {"PYTHONHASHSEED": "random", "LC_ALL": turkish(), "TZ": "America/St_Johns"}
    shutil.rmtree(tmp_path / "two")
    build_elsewhere(tmp_path / "two", env, umask=0o027, workers=2)
    assert digests(tmp_path / "two") == expected
    assert modes(tmp_path / "two") == {True: {0o750}, False: {0o640}}


def turkish() -> str:
    """A locale in which "I".lower() is no "i" in C, if this machine has it."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "tr_TR.UTF-8")
    except locale.Error:
        return "POSIX"
    locale.setlocale(locale.LC_ALL, before)
    return "tr_TR.UTF-8"


def test_a_build_that_reuses_shards_of_another_machine_s_settings_changes_no_byte(
    shop, tmp_path, build_elsewhere, digests
):
    shop.only("coco", "robots")
    build_elsewhere(shop.out, ORDINARY, umask=0o022, workers=1)
    captions = shop.raw / "coco/annotations/captions_train2017.json"
    captions.write_text(captions.read_text().replace("Something red", "A thing, red"))
    env = {"PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8", "TZ": "Asia/Kathmandu"}
    before = Seal.read(shop.out)
    files = {path: path.stat().st_ino for path in (shop.out / "robots").glob("*.tar")}
    build_elsewhere(shop.out, env, umask=0o022, workers=2)
    shop.build(tmp_path / "fresh")
    assert digests(shop.out) == digests(tmp_path / "fresh")
    assert files == {path: path.stat().st_ino for path in files}, "none was written again"
    changed = set(Seal.read(shop.out).shards) - set(before.shards)
    assert [shard.tar.rpartition("-")[0] for shard in changed] == ["coco/coco-train-00000"]
