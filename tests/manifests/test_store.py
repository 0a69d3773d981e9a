"""A name on disk means a whole file: what a crash leaves behind, and what is read."""

import subprocess
import sys
from pathlib import Path

import pytest

from manifests import disk, store
from manifests.disk import TEMPORARY


class CrashError(Exception):
    """Stands for anything that can go wrong while a file is written."""


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_crash_in_new_file_leaves_nothing(tmp_path):
    with pytest.raises(CrashError), store.new_file(tmp_path / "a") as file:
        file.write(b"half")
        assert file.path.name.startswith(TEMPORARY)
        assert file.path.read_bytes() == b"half"
        raise CrashError
    assert _names(tmp_path) == ["a"]


def test_a_file_that_is_not_published_leaves_nothing(tmp_path):
    with store.new_file(tmp_path) as file:
        file.write(b"never named")
    assert _names(tmp_path) == []


def test_a_crash_in_new_folder_leaves_nothing(tmp_path):
    with pytest.raises(CrashError), store.new_folder(tmp_path / "a" / "b") as folder:
        (folder / "half.npy").write_bytes(b"half")
        assert folder.parent == tmp_path / "a"
        assert not (tmp_path / "a" / "b").exists()
        raise CrashError
    assert _names(tmp_path) == ["a"]


def test_a_finished_folder_appears_whole_and_is_never_written_over(tmp_path):
    with store.new_folder(tmp_path / "a") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "x").write_bytes(b"1")
    assert _names(tmp_path) == ["a", "a/deep", "a/deep/x"]
    with pytest.raises(FileExistsError, match="a exists already"), store.new_folder(tmp_path / "a"):
        pass
    assert (tmp_path / "a" / "deep" / "x").read_bytes() == b"1"


def test_two_that_finish_the_same_folder_leave_the_first(tmp_path):
    with pytest.raises(OSError), store.new_folder(tmp_path / "a") as slow:
        with store.new_folder(tmp_path / "a") as fast:
            (fast / "x").write_bytes(b"fast")
        (slow / "x").write_bytes(b"slow")
    assert _names(tmp_path) == ["a", "a/x"]
    assert (tmp_path / "a" / "x").read_bytes() == b"fast"


def test_write_replaces_at_once(tmp_path, monkeypatch):
    path = tmp_path / "dataset.json"
    store.write(path, b"old")
    seen = []
    rename = disk.rename

    def watch(old: Path, new: Path) -> None:
        seen.append((path.read_bytes(), old.read_bytes()))
        rename(old, new)

    monkeypatch.setattr(disk, "rename", watch)
    store.write(path, b"new")
    assert seen == [(b"old", b"new")], "the old file stood until the whole new one took its name"
    assert path.read_bytes() == b"new"
    assert _names(tmp_path) == ["dataset.json"]


@pytest.mark.parametrize("step", ["create", "write", "set_mode", "sync", "rename"])
def test_a_crash_while_publishing_keeps_the_old_file(tmp_path, monkeypatch, step):
    store.write(tmp_path / "x", b"old")

    def crash(*arguments: object) -> None:
        raise CrashError

    monkeypatch.setattr(disk, step, crash)
    with pytest.raises(CrashError):
        store.write(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert _names(tmp_path) == ["x"]


def test_a_file_is_synced_before_it_is_named_and_its_folder_after(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(disk, "sync", lambda path: calls.append(("sync", path.name)))
    rename = disk.rename
    monkeypatch.setattr(
        disk, "rename", lambda old, new: calls.append(("rename", new.name)) or rename(old, new)
    )
    store.write(tmp_path / "x", b"1")
    (first, temporary), *rest = calls
    assert first == "sync"
    assert temporary.startswith(TEMPORARY)
    assert rest == [("rename", "x"), ("sync", tmp_path.name)]


@pytest.mark.parametrize(
    ("umask", "file", "folder"),
    [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750), (0o077, 0o600, 0o700)],
)
def test_modes_follow_the_umask(tmp_path, umask, file, folder):
    script = (
        f"import os, pathlib; os.umask({umask}); from manifests import store\n"
        f"out = pathlib.Path({str(tmp_path)!r})\n"
        "store.write(out / 'x', b'1')\n"
        "with store.new_folder(out / 'f') as f: (f / 'y').write_bytes(b'2')\n"
        "(out / 'after').write_bytes(b'3')\n"  # importing store put the umask back
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(store.__file__).parents[1])
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("x", "f", "f/y", "after")}
    assert modes == {"x": file, "f": folder, "f/y": file, "after": file}


ROWS = [
    {"key": "a", "corpus": "coco", "split": "train", "status": "written", "turns": 5},
    {"key": "b", "corpus": "coco", "split": "train", "status": "quarantined", "turns": 2},
    {"key": "c", "corpus": "gqa", "split": "val", "status": "written", "turns": 3},
]


def test_scan_gives_every_row_of_the_listed_manifests_only(tmp_path, write_set):
    folder = tmp_path / "data[1]*"  # no pattern: a name
    other = [row | {"key": "stray"} for row in ROWS[:1]]
    write_set(folder, other)
    write_set(folder, ROWS)  # the first manifest stays on disk, and no seal lists it
    assert len(list(folder.glob("manifests/coco/*.parquet"))) == 2
    frame = store.scan(folder)
    assert type(frame).__name__ == "LazyFrame"
    rows = frame.select("key", "corpus", "split", "status", "turns", "digest").collect()
    assert rows.rows() == [(*row.values(), None) for row in ROWS]


def test_scan_of_a_seal_without_shards_says_so(tmp_path, make_seal):
    store.commit(tmp_path, make_seal([]))
    with pytest.raises(ValueError, match="is sealed but holds no shard"):
        store.scan(tmp_path)
