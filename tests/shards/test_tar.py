"""Our tars are plain USTAR to everyone, and anything else is refused."""

import hashlib
import io
import tarfile

import pytest

from shards import tar
from shards.tar import END, TarError, header, member, members, padded

FILES = {
    "a-1.jpg": b"\xff\xd8" + b"x" * 700,
    "a-1.json": b"{}",
    "b_2.jpg": b"",
    "b_2.json": b"0" * 512,
}
ARCHIVE = b"".join(member(name, content) for name, content in FILES.items()) + END


def _python_tar(kind: int, **fields: object) -> bytes:
    """One file by Python's tarfile, which is plain but for `fields`."""
    info = tarfile.TarInfo("a-1.jpg")
    info.size = 3
    for name, value in fields.items():
        setattr(info, name, value)
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=kind) as archive:
        archive.addfile(info, io.BytesIO(b"abc"))
    return sink.getvalue()


def test_tarfile_reads_our_bytes_and_finds_plain_ustar():
    with tarfile.open(fileobj=io.BytesIO(ARCHIVE), mode="r:") as archive:
        assert archive.pax_headers == {}
        infos = archive.getmembers()
        found = {info.name: archive.extractfile(info).read() for info in infos}  # pyright: ignore
    assert found == FILES
    for info in infos:
        assert info.type == tarfile.REGTYPE
        assert (info.mode, info.uid, info.gid, info.mtime) == (0o644, 0, 0, 0)
        assert (info.uname, info.gname, info.linkname, info.pax_headers) == ("", "", "", {})
        assert ARCHIVE[info.offset + 257 : info.offset + 265] == b"ustar\x0000"


def test_golden_header():
    digest = hashlib.sha256(header("coco-7.jpg", 12345)).hexdigest()
    assert digest == "1a18f92f77cb3533dbb5bfa0568c8ba651dfa6f6581a55e57a7850858547147a"
    assert header("coco-7.jpg", 12345)[124:136] == b"00000030071\0"
    same = tarfile.TarInfo("coco-7.jpg")
    same.size = 12345
    assert header("coco-7.jpg", 12345) == same.tobuf(tarfile.USTAR_FORMAT)


def test_members_say_where_the_bytes_are():
    found = list(members(ARCHIVE))
    assert [(m.name, m.size) for m in found] == [(n, len(c)) for n, c in FILES.items()]
    assert [ARCHIVE[m.content : m.content + m.size] for m in found] == list(FILES.values())
    assert [m.start for m in found] == [0, *(m.end for m in found[:-1])]
    assert found[-1].end == len(ARCHIVE) - len(END)
    assert list(members(memoryview(ARCHIVE))) == found
    assert list(members(ARCHIVE[: -len(END)])) == found, "an extent has no end blocks"
    assert list(members(END)) == []


@pytest.mark.parametrize(("size", "blocks"), [(0, 0), (1, 512), (512, 512), (513, 1024)])
def test_padded(size, blocks):
    assert padded(size) == blocks


@pytest.mark.parametrize("cut", range(0, len(ARCHIVE), 512))
def test_an_archive_cut_at_any_byte_is_refused_or_plainly_incomplete(cut):
    whole = list(members(ARCHIVE))
    ends = {0: 0} | {m.end: i + 1 for i, m in enumerate(whole)}
    for at in range(cut, min(cut + 512, len(ARCHIVE))):
        if at in ends:
            assert list(members(ARCHIVE[:at])) == whole[: ends[at]]
        else:
            with pytest.raises(TarError, match=r"byte \d+: "):
                list(members(ARCHIVE[:at]))


def test_any_bit_flipped_in_a_header_is_refused():
    plain = member("a-1.jpg", b"abc")
    for bit in range(tar.BLOCK * 8):
        damaged = bytearray(plain)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TarError):
            list(members(bytes(damaged)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ARCHIVE + b"x", "but 1025 bytes follow"),
        (ARCHIVE + bytes(512), "but 1536 bytes follow"),
        (ARCHIVE[:-512], "but 512 bytes follow"),
        (ARCHIVE + member("c.jpg", b""), "bytes follow"),
        (member("a.jpg", b"abc")[:-1] + b"x", "byte 515: padding after a.jpg is not zero"),
        (member("a.jpg", b"abc")[:-1], "byte 0: a.jpg of 3 bytes is cut off"),
        (b"\x1f\x8b" + bytes(600), "byte 0: not a plain USTAR header"),
    ],
)
def test_what_is_not_an_archive_of_ours_is_refused_with_its_place(data, message):
    with pytest.raises(TarError, match=message):
        list(members(data))


def test_tarfile_can_be_as_plain_as_we_are():
    (found,) = members(_python_tar(tarfile.USTAR_FORMAT)[:1024])
    assert (found.name, found.size) == ("a-1.jpg", 3)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (tarfile.GNU_FORMAT, {}),
        (tarfile.GNU_FORMAT, {"name": "n" * 120}),
        (tarfile.PAX_FORMAT, {"name": "n" * 120}),
        (tarfile.PAX_FORMAT, {"pax_headers": {"comment": "hello"}}),
        (tarfile.USTAR_FORMAT, {"mtime": 1}),
        (tarfile.USTAR_FORMAT, {"mode": 0o600}),
        (tarfile.USTAR_FORMAT, {"uid": 1}),
        (tarfile.USTAR_FORMAT, {"uname": "root"}),
        (tarfile.USTAR_FORMAT, {"type": tarfile.DIRTYPE}),
        (tarfile.USTAR_FORMAT, {"type": tarfile.SYMTYPE, "linkname": "x"}),
        (tarfile.USTAR_FORMAT, {"name": "folder/" + "n" * 99}),  # a prefix field
    ],
)
def test_other_archives_are_refused(kind, fields):
    with pytest.raises(TarError, match="byte 0: not a plain USTAR header of a regular file"):
        list(members(_python_tar(kind, **fields)))


@pytest.mark.parametrize(
    ("name", "size"), [("n" * 101, 0), ("a", 8**11), ("a", -512), ("caf\u00e9", 0)]
)
def test_what_ustar_cannot_hold_is_refused(name, size):
    with pytest.raises(ValueError, match=r"does not fit|ascii"):
        header(name, size)
    assert len(header("n" * 100, 8**11 - 1)) == 512
