"""Tars by their headers: what is in them, where, and what becomes of damage."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from pipelines.corpora import CorpusError
from pipelines.layouts.tars import Member, Tar
from tests.pipelines.containers import write_tar


def members(path: Path) -> list[Member]:
    with Tar(path) as tar:
        return list(tar.members())


def samples(path: Path) -> list[tuple]:
    with Tar(path) as tar:
        return [(key, list(parts), fault) for key, parts, fault in tar.samples()]


@pytest.fixture
def pair(tmp_path) -> Path:
    return write_tar(tmp_path / "a.tar", {"0.jpg": b"j" * 600, "0.txt": b"two words"})


def test_a_member_is_its_name_and_where_its_content_lies(pair):
    assert members(pair) == [("0.jpg", 512, 600, None), ("0.txt", 2048, 9, None)]
    assert pair.read_bytes()[2048 : 2048 + 9] == b"two words"
    with Tar(pair) as tar:
        assert tar.read(Member("0.txt", 2048, 9)) == b"two words"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read_in_every_form(tmp_path, form):
    name = f"{'d' * 90}/{'n' * 90}.jpg"
    path = write_tar(tmp_path / "a.tar", {name: b"abc", "b.jpg": b"defg"}, format=form)
    found = members(path)
    assert [(member.name, member.size, member.fault) for member in found] == [
        (name, 3, None),
        ("b.jpg", 4, None),
    ]
    data = path.read_bytes()
    contents = [data[member.offset : member.offset + member.size] for member in found]
    assert contents == [b"abc", b"defg"]


def test_a_pax_header_may_hold_the_size_and_a_global_one_says_nothing_of_files(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", pax_headers={"comment": "global"}) as tar:
        header = tarfile.TarInfo("é.jpg")
        header.size, header.pax_headers = 3, {"size": "3"}
        tar.addfile(header, io.BytesIO(b"abc"))
    (found,) = members(tmp_path / "a.tar")
    assert (found.name, found.size, found.fault) == ("é.jpg", 3, None)
    assert (tmp_path / "a.tar").read_bytes()[found.offset :][:3] == b"abc"


def test_folders_are_no_members_and_links_and_devices_are_never_followed(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (
            ("folder", tarfile.DIRTYPE),
            ("0.jpg", tarfile.SYMTYPE),
            ("1.jpg", tarfile.LNKTYPE),
            ("2.jpg", tarfile.CHRTYPE),
            ("3.jpg", tarfile.FIFOTYPE),
            ("4.jpg", b"Z"),
        ):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "/etc/passwd"
            tar.addfile(header)
    assert [member.fault for member in members(tmp_path / "a.tar")] == [
        "not a regular file: 0.jpg is a symbolic link",
        "not a regular file: 1.jpg is a hard link",
        "not a regular file: 2.jpg is a device",
        "not a regular file: 3.jpg is a pipe",
        "not a regular file: 4.jpg is special",
    ]


def test_no_content_is_read(pair, monkeypatch):
    read: list[int] = []
    call = io.FileIO.read

    class Watched(io.FileIO):
        def read(self, size=-1):
            at = self.tell()
            data = call(self, size)
            read.extend(range(at, at + len(data)))
            return data

    monkeypatch.setattr(Path, "open", lambda self, *_, **__: Watched(self))
    assert len(members(pair)) == 2
    assert not set(read) & set(range(512, 512 + 600)), "the picture's bytes"
    assert not set(read) & set(range(2048, 2048 + 9)), "the caption's bytes"


@pytest.mark.parametrize(
    ("nbytes", "whole", "fault"),
    [
        (0, 0, "container is cut off: a.tar: it stops at byte 0 without an end mark"),
        (300, 0, "container is cut off: a.tar: it stops at byte 300 without an end mark"),
        (700, 0, "container is cut off: a.tar: 0.jpg would end at byte 1,112 of 700"),
        (1536, 1, "container is cut off: a.tar: it stops at byte 1,536 without an end mark"),
        (1700, 1, "container is cut off: a.tar: it stops at byte 1,700 without an end mark"),
        (2050, 1, "container is cut off: a.tar: 0.txt would end at byte 2,057 of 2,050"),
        (2560, 2, "container is cut off: a.tar: it stops at byte 2,560 without an end mark"),
    ],
)
def test_a_tar_that_is_cut_off_gives_what_is_whole_and_then_says_so(pair, nbytes, whole, fault):
    os.truncate(pair, nbytes)
    *found, last = members(pair)
    assert len(found) == whole
    assert last.fault == f"{fault}; fetch it again"


def test_a_long_name_whose_file_is_cut_off_is_no_proper_end(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"n" * 200: b"abc"}, format=tarfile.GNU_FORMAT)
    os.truncate(path, 1024)
    (found,) = members(path)
    assert found.fault and found.fault.startswith("container is cut off: a.tar: it stops at byte")


def test_a_damaged_header_ends_the_tar_aloud(pair):
    data = bytearray(pair.read_bytes())
    data[1536 + 130] ^= 1  # in the size of the second member: its checksum is wrong now
    pair.write_bytes(data)
    first, last = members(pair)
    assert (first.name, first.fault) == ("0.jpg", None)
    assert last.fault == (
        "container is damaged: a.tar: no header can be read at byte 1,536 (bad checksum); "
        "fetch it again"
    )


def test_a_header_may_not_lead_back_or_be_read_as_a_name_of_gigabytes(tmp_path):
    def header(kind: bytes, size: bytes) -> bytes:
        block = bytearray(tarfile.TarInfo("0.jpg").tobuf(tarfile.GNU_FORMAT))
        block[156:157], block[124:136], block[148:156] = kind, size, b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block)

    back = header(b"0", (-1024).to_bytes(12, "big", signed=True))
    huge = header(b"L", b"77777777777\0")
    good = header(b"0", b"%011o\0" % 0)
    for second, why in ((back, "size of -1,024"), (huge, "size of 8,589,934,591")):
        (tmp_path / "a.tar").write_bytes(good + second + bytes(1024))
        first, last = members(tmp_path / "a.tar")
        assert (first.name, first.fault) == ("0.jpg", None)
        assert last.fault and why in last.fault


def test_what_follows_the_end_mark_is_not_lost_in_silence(tmp_path, pair):
    both = tmp_path / "both.tar"
    both.write_bytes(pair.read_bytes() * 2)
    assert len(members(pair)) == 2
    found = members(both)
    assert [member.name for member in found] == ["0.jpg", "0.txt", ""]
    assert found[-1].fault == (
        "container is damaged: both.tar: its end mark is at byte 2,560, but 17,920 bytes follow; "
        "fetch it again"
    )


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"\x1f\x8b\x08", "is compressed; expected a plain tar.* Unpack it once: gunzip "),
        (b"BZh9", "Unpack it once: bunzip2 "),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer.*git lfs pull"),
        (b"<!DOCTYPE html>" + b" " * 600, "is no tar: it begins with b'<!DOCTYPE html> '"),
    ],
)
def test_a_file_that_is_no_plain_tar_is_refused_with_the_mend(tmp_path, start, message):
    (tmp_path / "a.tar").write_bytes(start)
    with pytest.raises(CorpusError, match=message):
        Tar(tmp_path / "a.tar")


def test_samples_are_runs_of_one_key_up_to_the_first_dot(tmp_path):
    names = ["a/img.v2.JPG", "a/img.txt", "b/img.jpg", "README", "._c.jpg", "c.jpg", "c.seg.png"]
    path = write_tar(tmp_path / "a.tar", dict.fromkeys(names, b"x"))
    assert samples(path) == [
        ("a/img", ["v2.jpg", "txt"], None),
        ("b/img", ["jpg"], None),
        ("c", ["jpg", "seg.png"], None),
    ]


def test_a_fault_of_a_member_is_that_of_its_sample_and_of_no_other(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("0.jpg", "0.txt", "1.txt", "1.txt", "2.txt"):
            header = tarfile.TarInfo(name)
            header.type = tarfile.SYMTYPE if name == "0.jpg" else tarfile.REGTYPE
            tar.addfile(header)
    assert samples(path) == [
        ("0", ["jpg", "txt"], "not a regular file: 0.jpg is a symbolic link"),
        ("1", ["txt"], "member is there twice: 1.txt"),
        ("2", ["txt"], None),
    ]


def test_a_sample_that_is_cut_in_two_has_the_fault_itself(pair):
    os.truncate(pair, 2050)
    ((key, parts, fault),) = samples(pair)
    assert (key, parts) == ("0", ["jpg", "txt"])
    assert fault.startswith("container is cut off: a.tar: 0.txt would end")


def test_a_tar_cut_between_samples_ends_with_a_sample_of_its_fault(pair):
    os.truncate(pair, 2560)
    first, last = samples(pair)
    assert first == ("0", ["jpg", "txt"], None)
    assert (last[0], last[2].partition(": ")[0]) == ("", "container is cut off")
