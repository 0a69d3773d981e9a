"""Archives -> files, and nothing else: no path that leads out, no link, no more than is declared.

An archive is unpacked into a temporary folder beside it and moved into place when it is whole, file
by file where a folder is there already.
"""

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Literal, NamedTuple

from manifests import disk

Kind = Literal["zip", "tar"]
_PIECE = 1 << 20
_RATIO = 200  # bytes unpacked for one packed; JSON comes to about 30, a bomb to over 1,000
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)
_BROKEN += (NotImplementedError,)  # a zip's method of compression


class UnpackError(ValueError):
    """An archive that is damaged, or holds what must not be unpacked."""


class _Member(NamedTuple):
    name: str
    folder: bool
    plain: bool  # a file or a folder: not a link, a device or encrypted
    size: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, kind: Kind, progress: Callable[[int, int | None], None]) -> list[str]:
    """Unpack into the archive's folder; returns the names at the top of what was in it.

    `progress` is called with the bytes written so far. The archive stays. Raises UnpackError.
    """
    temporary = archive.with_name(f"{disk.TEMPORARY}{archive.name}")
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
    temporary.mkdir()
    try:
        _write_all(archive, kind, temporary, progress)
        tops = sorted(path.name for path in temporary.iterdir())
        if not tops:
            raise UnpackError(f"{archive} is empty")
        for name in tops:
            _move(temporary / name, archive.parent / name)
    except _BROKEN as error:
        raise UnpackError(f"{archive} is damaged: {error}; remove it and fetch it again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    os.sync()  # a hundred thousand files at once; only then may the archive go
    return tops


def _write_all(
    archive: Path, kind: Kind, folder: Path, progress: Callable[[int, int | None], None]
) -> None:
    """Write every member below `folder`. Raises UnpackError for the first that must not be."""
    written = declared = 0
    limit = min(archive.stat().st_size * _RATIO, shutil.disk_usage(folder).free)
    for member in (_zip_members if kind == "zip" else _tar_members)(archive):
        path = folder / _safe(archive, member)
        if member.folder:
            path.mkdir(parents=True, exist_ok=True)
            continue
        declared += member.size
        if declared > limit:
            raise UnpackError(
                f"{archive} holds {declared:,} bytes or more; at most {limit:,} are unpacked from "
                f"it (what is free on the disk, and {_RATIO} times its own size)"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        with member.open() as source, path.open("wb") as file:
            while piece := source.read(_PIECE):
                size += len(piece)
                if size > member.size:
                    break
                file.write(piece)
                progress(written + size, None)
        if size != member.size:
            raise UnpackError(f"{archive}: {member.name} is not the {member.size:,} bytes it says")
        written += size


def _safe(archive: Path, member: _Member) -> Path:
    """A member's path inside the folder. Raises UnpackError for one that is not safe."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise UnpackError(f"{archive}: {member.name!r} leads out of the folder; nothing was kept")
    if not member.plain:
        raise UnpackError(f"{archive}: {member.name!r} is a link, a device or encrypted")
    return Path(*path.parts)


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16)
            plain = mode in (0, stat.S_IFREG, stat.S_IFDIR) and not info.flag_bits & 1
            opened = partial(file.open, info)
            yield _Member(info.filename, info.is_dir(), plain, info.file_size, opened)


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r:*") as file:
        for info in file:
            plain, opened = info.isreg() or info.isdir(), partial(_content, file, info)
            yield _Member(info.name, info.isdir(), plain, info.size, opened)
        while file.fileobj and file.fileobj.read(_PIECE):
            pass  # gzip keeps its checksum behind the last member


def _content(file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = file.extractfile(info)
    assert content is not None, "a regular file has content"
    return content


def _move(source: Path, target: Path) -> None:
    """Move a file or a folder; what is in both folders is replaced, what is only there stays."""
    if source.is_dir() and target.is_dir() and not target.is_symlink():
        for path in source.iterdir():
            _move(path, target / path.name)
    else:
        source.replace(target)
