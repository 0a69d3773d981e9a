"""Uncompressed tars by their headers alone: where each member lies, and the samples they make.

The standard library reads the headers (ustar, GNU long names, pax); contents are seeked over, so no
byte of an image is read. What cannot be used is an item with a `fault`, "<reason>: <detail>", never
dropped and never followed: a link, a device, a sparse file; and, as the last item, the place where
a container is cut off or damaged. A WebDataset sample is a run of members with one key, which is
the path up to the first dot of the base name; the rest is the extension, in any case:

    00000/000000012.jpg  00000/000000012.json  00000/000000012.txt

Names without a key (`README`, AppleDouble `._x.jpg`) belong to no sample.
"""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.corpora import CorpusError, refuse_pointer

_NAMES = 1 << 20  # the most bytes of a long name or a pax header; real ones have hundreds
_TAIL = 1 << 20  # the largest usual padding after an archive's end
_COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
}
_LONG_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


class Member(NamedTuple):
    """A file in a tar: its content is `size` bytes at `offset`, if it has no `fault`."""

    name: str
    offset: int
    size: int
    fault: str | None = None


class Sample(NamedTuple):
    """The members of one key, by extension in lower case ("jpg", "seg.png")."""

    key: str
    members: dict[str, Member]
    fault: str | None = None


class _Header(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        """Refuses sizes that would have tarfile go back, or read contents as a name."""
        header = super().frombuf(buf, encoding, errors)
        named = header.type in (*_LONG_NAMES, *_PAX)
        if header.size < 0 or (named and header.size > _NAMES):
            raise tarfile.HeaderError(f"a header with a size of {header.size:,}")
        return header


class Tar:
    """An open tar. Raises CorpusError for a file that is none, or a compressed one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)  # a buffer would be filled with contents
        self._size = os.fstat(self._file.fileno()).st_size
        try:
            self._check(self._file.read(512))
        except CorpusError:
            self._file.close()
            raise

    def __enter__(self) -> "Tar":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def read(self, member: Member) -> bytes:
        """The content of a member without a fault."""
        return os.pread(self._file.fileno(), member.size, member.offset)

    def members(self) -> Iterator[Member]:
        """Every member but folders, in order; the last has a fault where the rest is lost."""
        self._file.seek(0)
        try:
            tar = tarfile.TarFile(
                fileobj=self._file, tarinfo=_Header, encoding="utf-8", errors="replace"
            )
        except (tarfile.TarError, ValueError, RecursionError) as error:
            yield from self._end(0, error)
            return
        at = tar.offset = 0  # opening has read the first header
        while True:
            self._file.seek(at)
            try:
                header = _Header.fromtarfile(tar)
            except (tarfile.HeaderError, ValueError, RecursionError) as error:
                yield from self._end(at, error)
                return
            if tar.offset <= at or header.size < 0:
                yield self._lost("damaged", f"the header at byte {at:,} leads back")
                return
            at = tar.offset
            if header.isdir():
                continue
            found = Member(header.name, header.offset_data, header.size)
            if (end := min(at, found.offset + found.size)) > self._size:  # links have no content
                ends = f"{header.name} would end at byte {end:,} of {self._size:,}"
                yield self._lost("cut off", ends)._replace(name=header.name)
                return
            if not header.isreg() or header.issparse():
                kind = "a sparse file" if header.issparse() else _KINDS.get(header.type, "special")
                yield found._replace(fault=f"not a regular file: {header.name} is {kind}")
            else:
                yield found

    def samples(self) -> Iterator[Sample]:
        """Members grouped by key. A fault of a member is one of its sample; the first counts."""
        sample: Sample | None = None
        for member in self.members():
            key, extension = _split(member.name)
            if not key and not member.fault:
                continue
            if sample is None or key != sample.key or not key:
                if sample:
                    yield sample
                sample = Sample(key, {}, member.fault)
            elif fault := sample.fault or member.fault or _twice(member, extension, sample):
                sample = sample._replace(fault=fault)
            sample.members.setdefault(extension, member)
        if sample:
            yield sample

    def _check(self, start: bytes) -> None:
        for magic, command in _COMPRESSED.items():
            if start.startswith(magic):
                raise CorpusError(
                    f"{self.path} is compressed; expected a plain tar, whose members can be read "
                    f"in place. Unpack it once: {command} {self.path}"
                )
        refuse_pointer(self.path, start)
        if len(start) == 512 and any(start):
            try:
                _Header.frombuf(start, "utf-8", "replace")
            except tarfile.HeaderError:
                raise CorpusError(
                    f"{self.path} ({self._size:,} bytes) is no tar: it begins with {start[:16]!r}. "
                    f"Fetch it again, or remove it"
                ) from None

    def _end(self, at: int, error: Exception) -> Iterator[Member]:
        """Nothing at a proper end (zeros up to the file's end), else the fault."""
        self._file.seek(at)
        rest = self._file.read(_TAIL)
        if len(rest) < 512 or str(error) in ("empty header", "truncated header"):
            yield self._lost("cut off", f"it stops at byte {self._size:,} without an end mark")
        elif any(rest[:512]):
            yield self._lost("damaged", f"no header can be read at byte {at:,} ({error})")
        elif self._size - at > _TAIL or rest.strip(b"\0"):
            more = f"its end mark is at byte {at:,}, but {self._size - at:,} bytes follow"
            yield self._lost("damaged", more)

    def _lost(self, how: str, detail: str) -> Member:
        lost = f"container is {how}: {self.path.name}: {detail}; fetch it again"
        return Member("", 0, 0, lost)


def _split(name: str) -> tuple[str, str]:
    """Key and extension; no key for what is no part of a sample."""
    folder, slash, base = name.removeprefix("./").rpartition("/")
    stem, dot, extension = base.partition(".")
    return (f"{folder}{slash}{stem}", extension.lower()) if stem and dot else ("", "")


def _twice(member: Member, extension: str, sample: Sample) -> str | None:
    return f"member is there twice: {member.name}" if extension in sample.members else None
