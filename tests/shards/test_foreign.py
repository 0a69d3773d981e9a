"""Tars that others wrote are judged, and theirs that are good pass."""

import gzip
import io
import os
import pickle
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from webdataset.writer import TarWriter

from shards.foreign import judge


def _jpeg() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (8, 8)).save(sink, "JPEG")
    return sink.getvalue()


def _objects() -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.array([{1: 2}], dtype=object), allow_pickle=True)
    return sink.getvalue()


def _numbers() -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.zeros(2, dtype=[("O", "<i4"), ("Other", "<f4")])["Other"])
    return sink.getvalue()


JPEG = _jpeg()
PLAIN = [("a.jpg", JPEG), ("a.json", b"{}"), ("b.jpg", JPEG), ("b.json", b"{}")]


def _tar(members: list, kind: int = tarfile.PAX_FORMAT) -> bytes:
    """Members are (name, content) or (name, content, {field: value})."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=kind) as archive:
        for name, content, *fields in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in (fields[0] if fields else {}).items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def _said(folder: Path, data: bytes) -> list[str]:
    (folder / "x.tar").write_bytes(data)
    return [str(problem) for problem in judge(folder / "x.tar")]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_python_s_tarfile_is_accepted(tmp_path, kind):
    assert _said(tmp_path, _tar(PLAIN, kind)) == []


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_accepted(tmp_path, kind):
    assert _said(tmp_path, _tar([("n" * 200 + ".jpg", JPEG), ("é.json", b"1")], kind)) == []


def test_webdataset_s_writer_is_accepted(tmp_path):
    with TarWriter(str(tmp_path / "w.tar")) as sink:
        for key in ("one", "two"):
            sink.write({"__key__": f"sub/{key}", "jpg": JPEG, "json": {"a": 1}, "cls": 3})
    assert list(judge(tmp_path)) == []


def test_gnu_tar_is_accepted(tmp_path):
    (tmp_path / "in").mkdir()
    for name, content in PLAIN:
        (tmp_path / "in" / name).write_bytes(content)
    command = ["tar", "cf", str(tmp_path / "g.tar"), "-C", str(tmp_path / "in"), "."]
    subprocess.run([*command, "--sort=name"], check=True)
    assert list(judge(tmp_path)) == []


LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}


@pytest.mark.parametrize(
    ("member", "what"),
    [
        (("../a.jpg", JPEG), "has a name that leads out of the folder it is unpacked in (..)"),
        (("/a.jpg", JPEG), "has an absolute name"),
        (("a\n.jpg", JPEG), "has a name with characters that cannot be printed"),
        (("a.jpg", b"", LINK), "is a symbolic link to '/etc/passwd'"),
        (("a.jpg", b"", LINK | {"type": tarfile.LNKTYPE}), "is a hard link to '/etc/passwd'"),
        (("a.jpg", b"", {"type": tarfile.CHRTYPE}), "is a character device"),
        (("a.jpg", b"", {"type": tarfile.BLKTYPE}), "is a block device"),
        (("a.jpg", b"", {"type": tarfile.FIFOTYPE}), "is a named pipe"),
        (("a.jpg", JPEG, {"mode": 0o755}), "is marked as executable (mode 0755)"),
        (("a.jpg", JPEG, {"mode": 0o4644}), "has set-user-id, set-group-id or sticky bits"),
        (("a.pyd", b"x"), "is a pickle by its name; to load it may run any program"),
        (("a.pth", b"x"), "is a pickle by its name; to load it may run any program"),
        (("a.cls", pickle.dumps({"a": 1}, 2)), "is a pickle by its content"),
        (("a.cls", pickle.dumps({"a": 1}, 5)), "is a pickle by its content"),
        (("a.PYD.gz", gzip.compress(b"x")), "is a pickle by its name; to load it may run any"),
        (("a.pickle.bz2.xz", b"x"), "is a pickle by its name; to load it may run any program"),
        (("a.cls", pickle.dumps({"a": 1}, 0)), "is a pickle by its content"),
        (("a.cls", b"cos\nsystem\n(S'id'\ntR."), "is a pickle by its content"),
        (("a.npy", _objects()), "is a pickle by its content"),
        (("a.bin", b"\x7fELF\x02"), "is an ELF program"),
        (("a.txt", b"#!/bin/sh\n"), "is a script (#!)"),
        (("a.jpg", b"\x7fELF\x02"), "is not a JPEG: begins with b'\\x7fEL'"),
        (("a.jpg", JPEG[:20]), "is not a JPEG: ends after 20 bytes, before its first scan"),
        (("a.png", b"\x89PNG"), "does not decode: cannot identify image file"),
        (("a.json", b"{"), "does not decode: Expecting property name"),
        (("a.json", b"[" * 100_000), "is JSON nested too deeply to be read"),
        (("readme", b"x"), "has no extension, so it belongs to no record"),
    ],
)
def test_what_a_tar_must_not_hold_is_named(tmp_path, member, what):
    found = _said(tmp_path, _tar([("ok.json", b"1"), member]))
    assert any(what in line for line in found), found
    assert all(line.startswith("x.tar: ") and "ok.json" not in line for line in found)
    assert all(f"member '{ascii(member[0])[1:-1]}'" in line for line in found), found


def test_words_and_numbers_are_no_pickles(tmp_path):
    members = [("a.txt", b"cat\ndog\nfish\n"), ("a.npy", _numbers()), ("a.json.gz", b"x")]
    assert _said(tmp_path, _tar(members)) == []


@pytest.mark.parametrize(("one", "other"), [("A.txt", "a.txt"), ("\u00e9.txt", "e\u0301.txt")])
def test_names_that_are_one_file_on_some_disks_are_named(tmp_path, one, other):
    (found,) = _said(tmp_path, _tar([(one, b"1"), ("b.txt", b"1"), (other, b"2")]))
    what = f"is the same file as '{one}' where case or Unicode forms do not count"
    assert found == f"x.tar: record {other[:-4]}: member '{other}' {what}"


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header with its size in base 256, which may be negative or larger than any disk."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (b"\xff" if size < 0 else b"\x80") + size.to_bytes(11, "big", signed=True)
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(b" " * 8) + sum(block[156:]))
    return bytes(block)


def _pax(name: str, fields: dict[str, str], content: bytes = b"") -> bytes:
    """One member with these PAX fields, whose own header says that it is empty."""
    info = tarfile.TarInfo(name)
    info.pax_headers = fields
    return info.tobuf(tarfile.PAX_FORMAT) + content


LONG = "a header that extends another has 35184372088832 bytes, more than 16384"
DEEP = "maximum recursion depth exceeded"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (_header("b.txt", -512), "member 'b.txt' has a negative size, -512"),
        (_header("b.txt", -1), "member 'b.txt' has a negative size, -1"),
        (_pax("b.txt", {"size": "-1536"}), "member 'b.txt' has a negative size, -1536"),
        (_pax("b.txt", {"size": "0", "GNU.sparse.size": "-1"}), "has a negative size, -1"),
        (_pax("b.txt", {"GNU.sparse.size": "x"}), "invalid literal for int()"),
        (_header("p", 2**45, tarfile.XHDTYPE), LONG),
        (_header("p", 2**45, tarfile.XGLTYPE), LONG),
        (_header("p", 2**45, tarfile.GNUTYPE_LONGNAME), LONG),
        (_pax("b.txt", {"comment": "x"})[:1024] * 3000, DEEP),
        ((_header("l", 6, tarfile.GNUTYPE_LONGNAME) + b"hello".ljust(512, b"\0")) * 3000, DEEP),
    ],
)
def test_headers_that_lead_astray_are_one_line(tmp_path, data, what):
    good = _tar(PLAIN[:1], tarfile.USTAR_FORMAT)[: 512 + len(JPEG) + -len(JPEG) % 512]
    (first,) = _said(tmp_path, data + bytes(1024))
    assert first.startswith("x.tar: is not a tar: ") and what in first
    (later,) = _said(tmp_path, good + data + bytes(1024))
    assert later.startswith("x.tar: byte ") and ": broken: " in later and what in later


def test_a_size_by_pax_that_hides_a_member_is_named(tmp_path):
    hidden = _header("hidden.sh", 0) + bytes(512)
    (found,) = _said(tmp_path, _pax("b.bin", {"size": "1024"}, hidden) + bytes(1024))
    what = "member 'b.bin' has 1024 bytes by PAX but 0 by its own header"
    assert found == f"x.tar: record b: {what}"


def test_a_size_by_pax_that_no_plain_header_holds_is_believed(tmp_path):
    (found,) = _said(tmp_path, _pax("b.bin", {"size": str(8**11)}, bytes(1024)))[:1]
    assert found == f"x.tar: record b: member 'b.bin' is cut off: 1024 of {8**11} bytes are there"


def test_a_sparse_file_by_pax_is_named(tmp_path):
    fields = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "0"}
    found = _said(tmp_path, _pax("b.bin", fields, b"0\n".ljust(512, b"\0")) + bytes(1024))
    assert found[0] == "x.tar: record b: member 'b.bin' is a sparse file"


def test_members_and_keys_that_come_twice_are_named(tmp_path):
    (twice,) = _said(tmp_path, _tar([("a.jpg", JPEG), ("a.jpg", JPEG)]))
    assert twice == "x.tar: record a: member 'a.jpg' is there more than once"
    (apart,) = _said(tmp_path, _tar([("a.jpg", JPEG), ("b.jpg", JPEG), ("a.json", b"1")]))
    assert apart == "x.tar: record a: member 'a.json' is apart from others of its key"


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_every_length_that_a_tar_can_be_cut_to_is_found(tmp_path, kind):
    data = _tar([("a" * 120 + ".json", b"1"), ("b.json", b"2")] if kind else PLAIN[:2], kind)
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    end = len(data.rstrip(b"\0"))
    end += -end % 512 + 1024  # zeros after the two blocks are of a tape's record
    for length in reversed(range(end)):
        os.truncate(path, length)
        assert list(judge(path)) != [], length


def test_two_archives_are_found(tmp_path):
    data = _tar(PLAIN, tarfile.USTAR_FORMAT)
    (found,) = _said(tmp_path, data + data)
    assert found == f"x.tar: byte {len(data)}: another archive begins; most readers end before it"
    short = data[: len(data.rstrip(b"\0")) // 512 * 512 + 512 + 1024]
    (found,) = _said(tmp_path, short + data)
    assert found == f"x.tar: byte {len(short)}: another archive begins; most readers end before it"


def test_bytes_after_the_end_are_found(tmp_path):
    data = _tar(PLAIN)
    (found,) = _said(tmp_path, data + b"secret")
    assert found.startswith(f"x.tar: byte {len(data)}: 6 bytes follow that are no member")


def test_a_header_that_is_broken_is_found_and_not_taken_for_the_end(tmp_path):
    data = bytearray(_tar(PLAIN, tarfile.USTAR_FORMAT))
    second = 512 + len(JPEG) + -len(JPEG) % 512
    data[second] ^= 1
    (found,) = _said(tmp_path, bytes(data))
    assert found.startswith(f"x.tar: byte {second}: {len(data) - second} bytes follow that are no")


def test_what_is_no_tar_is_said(tmp_path):
    assert _said(tmp_path, b"x" * 2000)[0].startswith("x.tar: is not a tar: ")
    assert _said(tmp_path, b"")[0].startswith("x.tar: is not a tar: ")
    assert "is compressed (gzip)" in _said(tmp_path, b"\x1f\x8b" + bytes(600))[0]
    with pytest.raises(FileNotFoundError, match="is no tar, and no folder that holds one"):
        list(judge(tmp_path / "none"))


def test_a_folder_s_tars_are_judged_in_the_order_of_their_names(tmp_path):
    for name in ("b/1.tar", "a.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(_tar([("x", b"")]))
    assert [problem.file for problem in judge(tmp_path)] == ["a.tar", "b/1.tar"]
