"""What a JPEG says of itself before its pixels: size, components, orientation.

A JPEG is FFD8, then segments (FF, kind, two bytes of length, content), among them the frame header
with the size and, in the segment APP1, EXIF. The scan follows, and FFD9 ends the file. Reading this
takes a few microseconds and decodes nothing.
"""

import struct
from typing import NamedTuple

START, END = b"\xff\xd8\xff", b"\xff\xd9"
_SEGMENT = struct.Struct(">BBH")  # 0xff, its kind, its length
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive: what every decoder reads
_APP1, _SCAN, _MARK, _FILL = 0xE1, 0xDA, 0xFF, 0xFF
_ORIENTATION, _SHORT = 0x0112, 3


class JpegError(ValueError):
    """Bytes that do not begin as a JPEG does, up to its first scan."""


class Header(NamedTuple):
    """The size in pixels as the file stores it; `orientation` is EXIF's, 1 to 8, and 1 without one.

    `components`: 1 for grey, 3 for colour, 4 for CMYK and YCCK. `scan`: where the first one begins.
    """

    width: int
    height: int
    components: int
    orientation: int
    scan: int


def header(data: bytes | memoryview) -> Header:
    """The header of a JPEG. Raises JpegError where a marker, a size or the frame is not there."""
    if data[:3] != START:
        raise JpegError(f"begins with {bytes(data[:3])!r}, not {START!r}")
    at, frame, orientation = 2, None, None
    try:
        while True:
            mark, kind, length = _SEGMENT.unpack_from(data, at)
            if mark != _MARK:
                raise JpegError(f"byte {at} is {mark:#04x}, not the next segment's 0xff")
            if kind == _FILL:
                at += 1
                continue
            if kind == _SCAN:
                break
            if kind in _FRAMES and frame is None:
                frame = struct.unpack_from(">BHHB", data, at + 4)
            elif kind == _APP1 and orientation is None and data[at + 4 : at + 10] == b"Exif\0\0":
                orientation = exif_orientation(bytes(data[at + 10 : at + 2 + length]))
            at += 2 + (length if length > 2 else 2)
    except (IndexError, struct.error):
        raise JpegError(f"ends after {len(data):,} bytes, before its first scan") from None
    if frame is None:
        raise JpegError("no frame header of a baseline or progressive JPEG before its first scan")
    precision, height, width, components = frame
    if precision != 8 or not width or not height:
        raise JpegError(f"frame of {width}x{height} at {precision} bits; expected a size and 8")
    return Header(width, height, components, orientation or 1, at)


def exif_orientation(tiff: bytes) -> int:
    """The orientation in an EXIF block (which is laid out as a TIFF file), 1 where it has none or
    is broken: what is wrong in it says nothing about the pixels."""
    try:
        order = {b"II*\0": "<", b"MM\0*": ">"}[tiff[:4]]
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, values, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == _ORIENTATION:
                return value if (kind, values) == (_SHORT, 1) and 1 <= value <= 8 else 1
    except (KeyError, struct.error):
        pass
    return 1
