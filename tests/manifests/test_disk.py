"""The calls that change a disk: what they promise, and what a user is told when one fails."""

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from manifests import disk, store
from tests.faults import Fault, FaultyOS, How


@pytest.fixture
def faulty(monkeypatch):
    """faulty(how, at): from here on the disk fails so; returns what stands for `os`."""

    def faulty(how: How, at: int) -> FaultyOS:
        stand_in = FaultyOS(Fault(how, at))
        monkeypatch.setattr(disk, "os", stand_in)
        return stand_in

    return faulty


def test_every_new_folder_is_synced_into_the_one_above_before_it_is_used(tmp_path, monkeypatch):
    said = []
    mkdir = disk.os.mkdir
    monkeypatch.setattr(
        disk, "os", SimpleNamespace(mkdir=lambda path: (said.append(("mkdir", path)), mkdir(path)))
    )
    monkeypatch.setattr(disk, "sync", lambda path: said.append(("sync", path)))
    disk.make_folder(tmp_path / "a" / "b")
    a, b = tmp_path / "a", tmp_path / "a" / "b"
    assert said == [("mkdir", a), ("sync", tmp_path), ("mkdir", b), ("sync", a)]
    disk.make_folder(b)
    assert len(said) == 4, "what is there needs nothing"


def test_a_folder_that_another_makes_first_is_taken(tmp_path, monkeypatch):
    def mkdir(path: Path) -> None:
        path.mkdir()
        raise FileExistsError(errno.EEXIST, "File exists", str(path))

    monkeypatch.setattr(disk, "os", SimpleNamespace(mkdir=mkdir))
    monkeypatch.setattr(disk, "sync", lambda path: None)
    disk.make_folder(tmp_path / "a")
    assert (tmp_path / "a").is_dir()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(FileExistsError, match="/a'"):
        disk.make_folder(tmp_path / "a")
    with pytest.raises(FileExistsError, match="/a'"):
        disk.make_folder(tmp_path / "a" / "b")


def test_a_write_goes_on_where_it_was_cut_short(tmp_path, faulty):
    calls = faulty("short", 1).calls
    store.write(tmp_path / "x", b"0123456789")
    assert (tmp_path / "x").read_bytes() == b"0123456789"
    assert calls == ["open", "write", "write", "chmod", "fsync", "rename", "fsync", "unlink"]


def failing(code: int):
    def call(*_: object) -> None:
        raise OSError(code, disk.os.strerror(code))

    return call


@pytest.mark.parametrize(
    ("call", "code", "told"),
    [
        ("open", errno.EROFS, "[Errno 30] Read-only file system"),
        ("open", errno.EACCES, "[Errno 13] Permission denied"),
        ("write", errno.ENOSPC, "[Errno 28] No space left on device"),
        ("write", errno.EDQUOT, "[Errno 122] Disk quota exceeded"),
        ("fsync", errno.EIO, "[Errno 5] Input/output error"),
    ],
)
def test_an_error_names_the_folder_that_could_not_be_written(
    tmp_path, monkeypatch, call, code, told
):
    monkeypatch.setattr(disk.os, call, failing(code))
    with pytest.raises(OSError) as raised:
        store.write(tmp_path / "x", b"1")
    monkeypatch.undo()
    assert str(raised.value) == f"{told}: '{tmp_path}'"
    assert list(tmp_path.iterdir()) == []


CALLS = ("open", "write", "chmod", "fsync", "rename", "fsync")


@pytest.mark.parametrize("how", ["EIO", "ENOSPC"])
@pytest.mark.parametrize(("n", "call"), list(enumerate(CALLS)))
def test_whichever_call_fails_the_file_is_the_old_or_the_new_and_the_error_is_told(
    tmp_path, faulty, how, n, call
):
    (tmp_path / "x").write_bytes(b"old")
    stand_in = faulty(how, n)
    with pytest.raises(OSError, match="Input/output error|No space left"):
        store.write(tmp_path / "x", b"new")
    assert stand_in.calls[n] == call
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == (b"new" if n == 5 else b"old")


def test_nothing_is_tried_twice_after_a_sync_that_failed(tmp_path, faulty):
    """A kernel may forget what it could not write: a second fsync would say that all is well."""
    calls = faulty("EIO", 3).calls
    with pytest.raises(OSError, match="Input/output error"):
        store.write(tmp_path / "x", b"1")
    assert calls == ["open", "write", "chmod", "fsync", "unlink"]
