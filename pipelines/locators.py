"""Locators: where the bytes of a source image are, and the one way to read them.

    file:coco/train2017/000000000790.jpg             a whole file
    range:cc3m/train/00000.tar@1536+20311            bytes of a tar member, or of an Arrow value
    parquet:ocrvqa/data/x.parquet@3/17/image.bytes   row group 3, its row 17, that column
    scene:robots-single-0001                         drawn from the row's site: no bytes to read

Paths are relative to the build's root and never lead out of it: no absolute path, no "..", no link
to elsewhere; nothing but regular files is opened.
"""

import os
import stat
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shards.images import MAX_BYTES, ImageError

_OPEN_FOLDERS = 64  # descriptors
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def byte_range(relative: str, offset: int, nbytes: int) -> str:
    """The locator of `nbytes` bytes at `offset` of a file."""
    return f"range:{relative}@{offset}+{nbytes}"


def parquet_value(relative: str, group: int, row: int, column: str) -> str:
    """The locator of a value in a Parquet file: `column` is dotted, `row` counts in its group."""
    return f"parquet:{relative}@{group}/{row}/{column}"


class Images:
    """Reads source images below `root`, one at a time; keeps the container read last open.

    Not for several threads at once: each has its own.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._folders: dict[str, tuple[str, int]] = {}
        self._range_of: tuple[str, int] | None = None
        self._group_of: tuple[str, str, pa.ChunkedArray] | None = None

    def __enter__(self) -> "Images":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._close_folders()
        self._close_range()

    def _close_folders(self) -> None:
        for _, descriptor in self._folders.values():
            os.close(descriptor)
        self._folders.clear()

    def _close_range(self) -> None:
        if self._range_of:
            os.close(self._range_of[1])
            self._range_of = None

    def read(self, locator: str) -> bytes:
        """The bytes at a locator. Raises ImageError if they are not there, or may not be read."""
        kind, _, where = locator.partition(":")
        try:
            if kind == "file":
                return self._file(where)
            path, _, place = where.rpartition("@")
            if kind == "range":
                return self._range(path, *map(int, place.split("+")))
            if kind == "parquet":
                return self._value(path, *place.split("/", 2))
        except OSError as error:
            raise ImageError(f"image cannot be read: {where}: {error.strerror or error}") from error
        except (pa.ArrowException, IndexError) as error:  # a damaged Parquet file, or another one
            raise ImageError(f"image cannot be read: {where}: {error}") from error
        raise ValueError(f"locator {locator!r} is no image's; expected file:, range: or parquet:")

    def _file(self, relative: str) -> bytes:
        descriptor, size = self._open(relative)
        try:
            if size > MAX_BYTES:
                raise ImageError(f"too many bytes: {relative} has {size:,}, over {MAX_BYTES:,}")
            data = os.read(descriptor, size + 1)
            while len(data) < size and (more := os.read(descriptor, size - len(data))):
                data += more  # a signal, or a file system that reads in pieces
        finally:
            os.close(descriptor)
        return data

    def _range(self, relative: str, offset: int, nbytes: int) -> bytes:
        if nbytes > MAX_BYTES:
            raise ImageError(f"too many bytes: {nbytes:,} in {relative}, over {MAX_BYTES:,}")
        if self._range_of is None or self._range_of[0] != relative:
            self._close_range()
            self._range_of = (relative, self._open(relative)[0])
        data = os.pread(self._range_of[1], nbytes, offset)
        while len(data) < nbytes and (
            more := os.pread(self._range_of[1], nbytes - len(data), offset + len(data))
        ):
            data += more
        if len(data) < nbytes:
            raise ImageError(f"container is cut off: {relative} ends before byte {offset + nbytes}")
        return data

    def _value(self, relative: str, group: str, row: str, column: str) -> bytes:
        if self._group_of is None or self._group_of[:2] != (relative, group):
            descriptor, _ = self._open(relative)
            with os.fdopen(descriptor, "rb") as file:
                table = pq.ParquetFile(file).read_row_group(int(group), columns=[column])
            values = table.column(0)
            for name in column.split(".")[1:]:
                values = pa.chunked_array([chunk.field(name) for chunk in values.chunks])
            self._group_of = (relative, group, values)
        data = self._group_of[2][int(row)].as_py()
        if data is None:
            raise ImageError(f"image is missing: {relative} has null in {column}")
        return data

    def _open(self, relative: str) -> tuple[int, int]:
        """An open descriptor and the size of a regular file below the root."""
        folder, _, name = relative.rpartition("/")
        if name in ("", ".", ".."):
            raise ImageError(f"unsafe path: {relative!r} is no file below the root")
        path, within = self._folders.get(folder) or self._folder(folder)
        found = os.stat(name, dir_fd=within, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            name = os.path.realpath(f"{path}/{name}")
            self._inside(name, relative)
            found = os.lstat(name)
        if not stat.S_ISREG(found.st_mode):
            raise ImageError(f"unsafe path: {relative} is no regular file")
        return os.open(name, _FLAGS, dir_fd=within), found.st_size

    def _folder(self, relative: str) -> tuple[str, int]:
        """The real path of a folder below the root, and its descriptor: kept open, so that its path
        is not walked for each of its files."""
        pure = PurePosixPath(relative)
        if pure.is_absolute() or ".." in pure.parts:
            raise ImageError(f"unsafe path: {relative!r} leads out of the root")
        path = os.path.realpath(f"{self._root}/{relative}")
        self._inside(path, relative)
        if len(self._folders) >= _OPEN_FOLDERS:
            self._close_folders()
        self._folders[relative] = path, os.open(path, _FLAGS | os.O_DIRECTORY)
        return self._folders[relative]

    def _inside(self, path: str, relative: str) -> None:
        if path != self._root and not path.startswith(self._root.rstrip("/") + "/"):
            raise ImageError(
                f"unsafe path: {relative} is a link out of the root; name the real folder in the "
                f"config"
            )
