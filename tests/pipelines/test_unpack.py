"""Archives, and those that would write where they should not."""

import io
import shutil
import stat
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from pipelines.download.unpack import UnpackError, unpack


def nothing(done: int, total: int | None) -> None:
    pass


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, members: list[tarfile.TarInfo], data: bytes = b"") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            member.size = len(data) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_a_zip_lies_unpacked_beside_itself_and_folders_are_merged(tmp_path):
    folder = tmp_path / "coco"
    (folder / "val2017").mkdir(parents=True)
    (folder / "val2017" / "mine.txt").write_text("mine")
    (folder / "val2017" / "1.jpg").write_text("old")
    files = {"val2017/": b"", "val2017/1.jpg": b"new", "val2017/2.jpg": b"two", "notes.txt": b""}
    archive = zipped(tmp_path / "coco" / "val2017.zip", files)
    told: list[int] = []
    made = unpack(archive, "zip", lambda done, total: told.append(done))
    assert made == ["notes.txt", "val2017"]
    archive.unlink()
    assert tree(folder) == {
        "notes.txt": "",
        "val2017/1.jpg": "new",
        "val2017/2.jpg": "two",
        "val2017/mine.txt": "mine",
    }
    assert told == [3, 6]


def test_a_tar_with_a_root_of_its_own_is_unpacked(tmp_path):
    members = [member("./", tarfile.DIRTYPE), member("./a/b.json"), member("c.json")]
    archive = tarred(tmp_path / "a.tar.gz", members, b"{}")
    assert unpack(archive, "tar", nothing) == ["a", "c.json"]
    archive.unlink()
    assert tree(tmp_path) == {"a/b.json": "{}", "c.json": "{}"}


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a\\..\\x"])
def test_a_path_that_leads_out_is_refused(tmp_path, name):
    inside = tmp_path / "root"
    inside.mkdir()
    as_zip = zipped(inside / "a.zip", {"good.txt": b"1", name: b"2"})
    as_tar = tarred(inside / "a.tar.gz", [member("good.txt"), member(name)], b"2")
    with pytest.raises(UnpackError, match="leads out of the folder"):
        unpack(as_zip, "zip", nothing)
    with pytest.raises(UnpackError, match="leads out of the folder"):
        unpack(as_tar, "tar", nothing)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar.gz", "a.zip", "root"]


def test_a_link_in_a_zip_is_refused(tmp_path):
    archive = tmp_path / "a.zip"
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(info, "/etc")
        file.writestr("link/passwd", b"x")
    with pytest.raises(UnpackError, match="'link' is a link, a device or encrypted"):
        unpack(archive, "zip", nothing)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_a_link_or_device_in_a_tar_is_refused(tmp_path, kind):
    archive = tarred(tmp_path / "a.tar.gz", [member("x", kind, "/etc/passwd")])
    with pytest.raises(UnpackError, match="'x' is a link, a device or encrypted"):
        unpack(archive, "tar", nothing)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_an_archive_that_swells_is_refused_before_it_is_written(tmp_path):
    archive = zipped(tmp_path / "bomb.zip", {"zeros": bytes(10_000_000)})
    packed = archive.stat().st_size
    with pytest.raises(
        UnpackError, match=f"holds 10,000,000 bytes or more; at most {packed * 200:,}"
    ):
        unpack(archive, "zip", nothing)
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.zip"]


def test_an_archive_larger_than_the_room_left_is_refused(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 0, 100))
    archive = zipped(tmp_path / "a.zip", {"a": bytes(range(101))})
    with pytest.raises(UnpackError, match="holds 101 bytes or more; at most 100 are unpacked"):
        unpack(archive, "zip", nothing)


def test_a_size_that_is_not_what_the_zip_says_is_damage(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a.json": b"0123456789" * 10}, zipfile.ZIP_STORED)
    data = archive.read_bytes()
    archive.write_bytes(data.replace((100).to_bytes(4, "little"), (60).to_bytes(4, "little")))
    with pytest.raises(UnpackError):
        unpack(archive, "zip", nothing)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_damaged_archive_leaves_nothing_and_says_what_to_do(tmp_path, kind):
    whole = zipped(tmp_path / "a", {"a": bytes(range(256)) * 99}, zipfile.ZIP_STORED)
    if kind == "tar":
        whole = tarred(tmp_path / "a", [member("a")], bytes(range(256)) * 99)
    data = bytearray(whole.read_bytes())
    data[len(data) // 2] ^= 255
    whole.write_bytes(data)
    with pytest.raises(UnpackError, match="is damaged: .*; remove it and fetch it again"):
        unpack(whole, kind, nothing)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_empty_archive_is_an_error(tmp_path):
    with pytest.raises(UnpackError, match="is empty"):
        unpack(zipped(tmp_path / "a.zip", {}), "zip", nothing)
