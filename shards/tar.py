"""Plain USTAR, as little of it as a shard needs: regular files, mtime 0, no owner, no extension.

The layout is that of POSIX.1-1988: a 512-byte header, the content, zeros up to the next 512; two
zero blocks end the archive. Fixing every field makes a shard's bytes a function of its records.
"""

from collections.abc import Iterator
from typing import NamedTuple

BLOCK = 512
END = bytes(2 * BLOCK)

# All of a header but the file's name, its size in octal digits, and the checksum.
_OWNER = b"0000644\0" + b"0000000\0" * 2  # mode, owner, group
_TIME = b"\0" + b"%011o\0" % 0
_KIND = (b"\0 0".ljust(103, b"\0") + b"ustar\x0000").ljust(BLOCK - 154, b"\0")  # a regular file
_SUM = sum(_OWNER + _TIME + _KIND[2:]) + 8 * ord(" ")  # the checksum counts itself as spaces


class TarError(ValueError):
    """Bytes that are not the plain USTAR that this project writes."""


class Member(NamedTuple):
    """One file in a tar: `start` is where its header begins, `content` where its bytes do."""

    name: str
    start: int
    content: int
    size: int

    @property
    def end(self) -> int:
        """The first byte after the member's padding."""
        return self.content + padded(self.size)


def padded(size: int) -> int:
    """`size` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def header(name: str, size: int) -> bytes:
    """The 512 bytes before a file's content. Raises ValueError for what plain USTAR cannot hold."""
    encoded, digits = name.encode("ascii"), b"%011o" % size
    if len(encoded) > 100 or not 0 <= size < 8**11:
        raise ValueError(f"{name!r} of {size} bytes does not fit in plain USTAR (100, 8 GiB)")
    checksum = b"%06o" % (_SUM + sum(encoded) + sum(digits))
    return b"".join((encoded.ljust(100, b"\0"), _OWNER, digits, _TIME, checksum, _KIND))


def parts(name: str, content: bytes) -> tuple[bytes, bytes, bytes]:
    """Header, content and padding of one file."""
    return header(name, len(content)), content, bytes(-len(content) % BLOCK)


def member(name: str, content: bytes) -> bytes:
    """One file in a tar: its header, content and padding."""
    return b"".join(parts(name, content))


def members(data: bytes | memoryview) -> Iterator[Member]:
    """The files in the bytes of a tar, or of one record's extent (which has no end blocks).

    Raises TarError at the first byte that this project would not have written.
    """
    at = 0
    while at < len(data):
        block = bytes(data[at : at + BLOCK])
        if block == bytes(BLOCK):
            if bytes(data[at:]) != END:
                raise TarError(
                    f"byte {at}: the archive ends here but {len(data) - at} bytes follow"
                )
            return
        name = block[:100].rstrip(b"\0").decode("ascii", "replace")
        try:
            size = int(block[124:135], 8)
            expected = header(name, size)
        except ValueError:
            expected = None
        if block != expected:
            raise TarError(f"byte {at}: not a plain USTAR header of a regular file")
        found = Member(name, at, at + BLOCK, size)
        if found.end > len(data):
            raise TarError(f"byte {at}: {name} of {size} bytes is cut off")
        if any(data[found.content + size : found.end]):
            raise TarError(f"byte {found.content + size}: padding after {name} is not zero")
        yield found
        at = found.end
