"""Tars that others wrote: webdataset's ShardWriter, img2dataset, GNU tar. No seal is needed.

    for problem in judge(file_or_folder): ...

A member's key is its name up to the first dot of its last part, as webdataset has it; members of a
key must follow one another. PAX and GNU headers are read by Python's `tarfile`, which ends at the
first header it does not understand as if the archive did: what lies there is looked at here.
"""

import json
import tarfile
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Self

from PIL import Image

from shards import hazards, jpeg, tar
from shards.damage import Problem
from shards.pool import ordered_map

Advance = Callable[[int], None]
_JPEGS = (".jpg", ".jpeg")
_IMAGES = (".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_LARGE = 256_000_000  # bytes of a member that is held in memory to be judged
# Bytes of a header that extends another: the longest path twice, and more. `tarfile` takes time and
# memory by the square of them.
_EXTENSION = 16_384
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_IN_HEADER = 8**11  # the sizes below it are those that a plain header can hold
# What `tarfile` raises at headers that are broken: chained without end, or with no numbers in them.
_BROKEN = (tarfile.TarError, ValueError, OverflowError, RecursionError, MemoryError)


def judge(path: Path, progress: Advance = lambda nbytes: None) -> Iterator[Problem]:
    """What is wrong with a tar, or with every `*.tar` below a folder, in the order of their names.

    `progress` is told how many bytes were read since it was told last. Raises FileNotFoundError if
    there is no tar, and ChildProcessError if a helper process is killed.
    """
    folder, names = tars(path)
    nbytes = sum((folder / name).stat().st_size for name in names)
    for found in ordered_map(
        partial(_judge, folder), [(name,) for name in names], nbytes, progress
    ):
        yield from found


def tars(path: Path) -> tuple[Path, list[str]]:
    """The folder and the names in it that `judge` looks at. Raises FileNotFoundError if none."""
    if path.is_file():
        return path.parent, [path.name]
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*.tar") if p.is_file())
    if not names:
        raise FileNotFoundError(f"{path} is no tar, and no folder that holds one (*.tar)")
    return path, names


def _judge(folder: Path, name: str, progress: Advance) -> list[Problem]:
    try:
        with (folder / name).open("rb") as file:
            found = list(_Archive(file, name, progress).problems())
    except OSError as error:
        return [Problem(file=name, what=f"cannot be read: {error.strerror}")]
    return found


class _Header(tarfile.TarInfo):
    """A header whose size leads on, not back, and which is not read if it is absurdly long."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if info.type in _EXTENSIONS and info.size > _EXTENSION:
            what = f"a header that extends another has {info.size} bytes"
            raise tarfile.ReadError(f"{what}, more than {_EXTENSION}")
        return info._checked()

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        return super().fromtarfile(tarfile)._checked()  # PAX may have given it another size

    def _checked(self) -> Self:
        if self.size < 0:
            raise tarfile.ReadError(f"member {self.name!r} has a negative size, {self.size}")
        return self


class _Archive:
    def __init__(self, file: IO[bytes], name: str, progress: Advance) -> None:
        self._file, self._name, self._progress = file, name, progress
        self._nbytes = file.seek(0, 2)
        self._told = 0

    def _problem(self, what: str, key: str | None = None) -> Problem:
        return Problem(file=self._name, what=what, key=key)

    def _at(self, offset: int, nbytes: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(max(min(nbytes, self._nbytes - offset), 0))

    def problems(self) -> Iterator[Problem]:
        head = self._at(0, tar.BLOCK)
        for magic, kind in _COMPRESSED.items():
            if head.startswith(magic):
                yield self._problem(f"is compressed ({kind}); judged is what it holds: unpack it")
                return
        if head == bytes(tar.BLOCK):
            yield from self._after(0)
            return
        self._file.seek(0)
        try:
            archive = tarfile.TarFile(fileobj=self._file, tarinfo=_Header)  # owns no file
        except _BROKEN as error:
            yield self._problem(f"is not a tar: {error or 'too large a header'}")
            return
        names, keys, last, end = Counter[str](), set[str](), None, 0
        unfolded: dict[str, str] = {}
        try:
            for info in archive:
                end = archive.offset
                key = _key(info.name)
                names[info.name] += 1
                alike = unfolded.setdefault(_folded(info.name), info.name)
                for what in self._member(info, key):
                    yield self._problem(f"member {info.name!r} {what}", key)
                if names[info.name] == 2:
                    yield self._problem(f"member {info.name!r} is there more than once", key)
                elif alike != info.name and names[info.name] == 1:
                    what = f"is the same file as {alike!r} where case or Unicode forms do not count"
                    yield self._problem(f"member {info.name!r} {what}", key)
                elif key is not None and key != last and key in keys:
                    yield self._problem(
                        f"member {info.name!r} is apart from others of its key", key
                    )
                if key is not None:
                    last = key
                    keys.add(key)
                archive.members = []  # pyright: ignore[reportAttributeAccessIssue] - it keeps all
                self._tell(end)
        except _BROKEN as error:
            yield self._problem(f"byte {archive.offset}: broken: {error or 'too large a header'}")
            return
        yield from self._after(max(end, archive.offset))
        self._tell(self._nbytes)

    def _tell(self, at: int) -> None:
        at = min(at, self._nbytes)
        self._progress(at - self._told)
        self._told = at

    def _member(self, info: tarfile.TarInfo, key: str | None) -> Iterator[str]:
        yield from hazards.in_header(info)
        if not info.isreg() or info.issparse():
            return
        if "size" in info.pax_headers:
            block = self._at(info.offset_data - tar.BLOCK, tar.BLOCK)
            plain = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").size
            if plain != info.size < _IN_HEADER:
                yield f"has {info.size} bytes by PAX but {plain} by its own header"
        if info.offset_data + info.size > self._nbytes:
            there = max(self._nbytes - info.offset_data, 0)
            yield f"is cut off: {there} of {info.size} bytes are there"
            return
        if key is None:
            yield "has no extension, so it belongs to no record"
        if info.size > _LARGE:
            yield f"has {info.size} bytes; larger than {_LARGE} is not looked into"
            return
        content = self._at(info.offset_data, info.size)
        padding = self._at(info.offset_data + info.size, -info.size % tar.BLOCK)
        if any(padding):
            yield "is padded with something else than zeros"
        yield from hazards.in_content(content[: tar.BLOCK])
        yield from _decodes(content, PurePosixPath(info.name).suffix.lower())

    def _after(self, end: int) -> Iterator[Problem]:
        """What follows the last member: two zero blocks, and zeros up to a whole tape record."""
        rest = self._at(end, len(tar.END))
        if rest.startswith(bytes(tar.BLOCK)) and any(rest):
            at = end + tar.BLOCK
        elif rest == tar.END:
            at = end + len(tar.END)
            while (block := self._at(at, 1 << 20)) and not any(block):
                at += len(block)
            at += len(block) - len(block.lstrip(b"\0"))
            at -= at % tar.BLOCK
            if at >= self._nbytes:
                return
        elif not any(rest):
            what = f"does not end as a tar does: {len(rest)} of {len(tar.END)} zero bytes"
            yield self._problem(f"{what} follow its last member; it was cut off, or never closed")
            return
        else:
            at = end
        try:
            tarfile.TarInfo.frombuf(self._at(at, tar.BLOCK), "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            what = f"byte {at}: {self._nbytes - at} bytes follow that are no member ({error})"
            yield self._problem(f"{what}; what may lie after them is not read")
        else:
            yield self._problem(f"byte {at}: another archive begins; most readers end before it")


def _key(name: str) -> str | None:
    """A member's key as webdataset has it; None if its name has no extension."""
    folder, _, last = name.rpartition("/")
    stem, dot, _ = last.partition(".")
    return (f"{folder}/{stem}" if folder else stem) if dot else None


def _folded(name: str) -> str:
    """The same for names that are one file on a disk that is blind to case and Unicode forms."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _decodes(content: bytes, suffix: str) -> Iterator[str]:
    """What is wrong with an image by its header, or with JSON."""
    try:
        if suffix in _JPEGS:
            jpeg.header(content)
        elif suffix in _IMAGES:
            with warnings.catch_warnings():  # of a picture that is large, which is no fault
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                Image.open(BytesIO(content)).verify()
        elif suffix == ".json":
            json.loads(content)
    except jpeg.JpegError as error:
        yield f"is not a JPEG: {error}"
    except RecursionError:
        yield "is JSON nested too deeply to be read"
    except Exception as error:  # noqa: BLE001 - Pillow's readers raise anything at broken files
        yield f"does not decode: {error}"
