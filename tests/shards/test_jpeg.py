"""What a JPEG says before its pixels, read as every decoder reads it."""

import io
import struct

import pytest
from PIL import Image

from shards import jpeg
from shards.jpeg import Header, JpegError, exif_orientation, header


def _file(image: Image.Image, **options) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "JPEG", **options)
    return sink.getvalue()


def _exif(orientation: int, order: str = "<", kind: int = 3, count: int = 1) -> bytes:
    """An EXIF block of two tags, the second the orientation."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    make = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"abc\0")
    turn = struct.pack(f"{order}HHIHH", 0x0112, kind, count, orientation, 0)
    return mark + struct.pack(f"{order}IH", 8, 2) + make + turn + bytes(4)


def _segment(kind: int, content: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(content) + 2) + content


PLAIN = _file(Image.new("RGB", (40, 20)))
EXIF = _segment(0xE1, b"Exif\0\0" + _exif(6))


@pytest.mark.parametrize(("mode", "components"), [("L", 1), ("RGB", 3), ("CMYK", 4)])
@pytest.mark.parametrize("progressive", [False, True])
def test_size_and_components(mode, components, progressive):
    data = _file(Image.new(mode, (40, 20)), progressive=progressive)
    found = header(data)
    assert found == (40, 20, components, 1, data.index(b"\xff\xda"))
    assert header(memoryview(data)) == found


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_in_exif(order, orientation):
    data = _file(Image.new("RGB", (40, 20)), exif=b"Exif\0\0" + _exif(orientation, order))
    assert header(data)[:4] == (40, 20, 3, orientation)


@pytest.mark.parametrize(
    "tiff",
    [
        b"",
        b"garbage, and more of it",
        b"II*\0\xff\xff\xff\xff",
        _exif(6)[:-10],  # cut inside of the tag
        _exif(0),
        _exif(9),
        _exif(6, kind=2),  # a text
        _exif(6, count=2),
        b"MM*\0" + _exif(6)[4:],  # of no order
        b"II*\0\x08\0\0\0\0\0",  # no tags
    ],
)
def test_a_broken_exif_turns_nothing(tiff):
    assert exif_orientation(tiff) == 1


def test_the_first_exif_counts_wherever_it_is():
    profile = _segment(0xE2, b"ICC_PROFILE\0" + bytes(60_000))
    xmp = _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta")
    other = _segment(0xE1, b"Exif\0\0" + _exif(3))
    data = PLAIN[:2] + profile + xmp + EXIF + other + b"\xff\xff\xff" + PLAIN[2:]
    assert header(data)[:4] == (40, 20, 3, 6)


def test_a_thumbnail_inside_of_exif_is_not_the_picture():
    thumb = _file(Image.new("L", (8, 8)))
    data = PLAIN[:2] + _segment(0xE1, b"Exif\0\0" + _exif(8) + thumb) + PLAIN[2:]
    assert header(data)[:4] == (40, 20, 3, 8)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with b''"),
        (b"\x89PNG", "begins with"),
        (jpeg.START, "ends after 3 bytes, before its first scan"),
        (PLAIN[:2] + b"\xff\xe0\0\x10" + bytes(20), "byte 20 is 0x00, not the next segment's 0xff"),
        (PLAIN[:2] + PLAIN[PLAIN.index(b"\xff\xda") :], "no frame header"),
        (PLAIN.replace(b"\xff\xc0", b"\xff\xc3"), "no frame header of a baseline or progressive"),
        (PLAIN.replace(struct.pack(">HH", 20, 40), bytes(4)), "frame of 0x0 at 8 bits"),
        (PLAIN.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "40x20 at 12 bits"),
    ],
)
def test_what_does_not_begin_as_a_jpeg_is_refused(data, message):
    with pytest.raises(JpegError, match=message):
        header(data)


def test_a_header_cut_anywhere_is_refused():
    scan = PLAIN.index(b"\xff\xda")
    for cut in range(scan + 2):
        with pytest.raises(JpegError):
            header(PLAIN[:cut])
    assert header(PLAIN[: scan + 4]) == Header(40, 20, 3, 1, scan)
