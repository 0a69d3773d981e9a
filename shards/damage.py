"""One shard against its seal: every byte of its tar and manifest, and every record's structure.

    for problem in check_shard(folder, shard).problems: print(problem)

The tar is read once, front to back, through one small buffer. Digests that agree are not enough:
who forges a record can forge them as well, so each record is also taken apart.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import islice
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from manifests import schema, seal
from manifests.place import shard_of
from manifests.schema import MANIFEST, Record
from manifests.seal import Shard
from shards import hazards, jpeg, tar, writer
from shards.sequential import FileError, SequentialFile, read_whole

Row = dict[str, Any]
_COLUMNS = (  # of a manifest row, in the order that `_agree` has them of the record
    *("key", "corpus", "split", "group", "licence"),
    *("turns", "kinds", "pair", "evidence", "shard"),
)
_columns = itemgetter(*_COLUMNS)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something in a data set that is not as its seal says.

    `file` is relative to the data set's folder, `key` the record's if one is meant, `place` the
    (corpus, split, id) of the shard whose tar or manifest it is in. `str` of it is one line.
    """

    file: str
    what: str
    key: str | None = None
    place: tuple[str, str, str] | None = None

    def __str__(self) -> str:
        record = f"record {self.key}: " if self.key is not None else ""
        line = f"{self.file}: {record}{self.what}"
        # Names may be anyone's: none may break the line, or move a terminal's cursor.
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a seal says of every record of a shard: by how many bits its group decides the shard,
    and the side of its square image in pixels; None where it says nothing."""

    bits: int | None = None
    side: int | None = None


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a shard is by its own bytes.

    `sha256` is the tar's, None if it cannot be read. `rows_digest` is the manifest's and `fates`
    counts its annotations by status, and "records"; None unless its bytes are the sealed ones.
    `keys` are those of its written records.
    """

    problems: tuple[Problem, ...]
    sha256: str | None
    rows_digest: str | None
    fates: dict[str, int] | None
    keys: tuple[str, ...]


def check_shard(
    folder: Path | str,
    shard: Shard,
    rules: Rules | None = None,
    progress: Callable[[int], None] = lambda nbytes: None,
) -> Checked:
    """Check one shard; what is on disk never makes it raise.

    `progress` is told how many bytes of the tar were read since it was told last.
    """
    return _Check(Path(folder), shard, rules or Rules()).run(progress)


class _Check:
    def __init__(self, folder: Path, shard: Shard, rules: Rules) -> None:
        self._folder, self._shard, self._rules = folder, shard, rules
        self._tar_name = PurePosixPath(shard.tar).name
        self._problems: list[Problem] = []

    def _tell(self, file: str, what: str, key: str | None = None) -> None:
        self._problems.append(Problem(file=file, what=what, key=key, place=self._shard.place))

    def run(self, progress: Callable[[int], None]) -> Checked:
        rows = self._manifest()
        written = [row for row in rows or () if row["status"] == "written"]
        digest = self._tar(None if rows is None else written, progress)
        fates = Counter(records=len(written))
        for row in rows or ():
            fates[str(row["status"])] += row["turns"] or 1  # an unannotated image is one
        return Checked(
            problems=tuple(self._problems),
            sha256=digest,
            rows_digest=None if rows is None else seal.rows_digest(rows),
            fates=None if rows is None else dict(fates),
            keys=tuple(str(row["key"]) for row in written),
        )

    def _manifest(self) -> list[Row] | None:
        """The manifest's rows, None if its bytes are not the sealed ones."""
        shard, name = self._shard, self._shard.manifest
        try:
            data = read_whole(self._folder, name)
        except FileError as error:
            return self._tell(name, str(error))
        found = sha256(data).hexdigest()
        problem = not_as_sealed(len(data), shard.manifest_nbytes, found, shard.manifest_sha256)
        if problem:
            return self._tell(name, problem)
        self._name(name, "manifests/", ".parquet", found)
        try:
            table = pq.ParquetFile(pa.BufferReader(data)).read()  # read_table imports much more
            if not table.schema.equals(MANIFEST):
                return self._tell(name, "its columns are not those of a manifest")
            rows = table.to_pylist()
        except (OSError, ValueError, pa.ArrowException) as error:
            return self._tell(name, f"is not a Parquet file of a manifest ({error})")
        if seal.rows_digest(rows) != shard.rows_digest:
            self._tell(name, "its rows are not the sealed ones")
        for row in rows:
            if row["status"] not in schema.STATUSES:
                self._tell(name, f"unknown status {row['status']!r}", str(row["key"]))
        return rows

    def _name(self, name: str, folder: str, suffix: str, digest: str) -> None:
        """A file's name follows from what the seal says of it, and from its content."""
        shard = self._shard
        stem = f"{shard.corpus}-{shard.split}-{shard.id}"
        expected = f"{folder}{shard.corpus}/{stem}-{digest[:8]}{suffix}"
        if name != expected:
            self._tell(name, f"its name is not {expected}, as its content asks")

    def _tar(self, rows: list[Row] | None, progress: Callable[[int], None]) -> str | None:
        """Check the tar, and its records if there are rows to say where they are."""
        shard = self._shard
        try:
            with SequentialFile(self._folder, shard.tar, progress) as stream:
                end = None if rows is None else self._records(stream, rows)
                found = stream.drain()
                problem = not_as_sealed(stream.nbytes, shard.nbytes, found, shard.sha256)
                if problem:
                    self._tell(shard.tar, problem)
                else:
                    self._name(shard.tar, "", ".tar", found)
                if end is not None and not _ends(stream, end):
                    what = f"bytes after the last record (byte {end}) are not the end of a tar"
                    self._tell(shard.tar, what)
        except FileError as error:
            self._tell(shard.tar, str(error))
            return None
        return found

    def _records(self, stream: SequentialFile, rows: list[Row]) -> int:
        """Check every record; returns where the last one ends."""
        name, end, damaged, lost = self._shard.tar, 0, list[str](), list[str]()
        for row in rows:
            key, offset, nbytes = str(row["key"]), row["offset"], row["nbytes"]
            if offset is None or nbytes is None or offset < 0 or nbytes < 0:
                self._tell(name, f"its manifest row has offset {offset}, nbytes {nbytes}", key)
                continue
            if offset != end:
                self._tell(name, f"begins at byte {offset}, the one before ends at {end}", key)
            end = offset + nbytes
            extent = stream.at(offset, nbytes)
            if len(extent) < nbytes:
                lost.append(f"cut off: {len(extent)} of {nbytes} bytes are there")
                if len(lost) == 1:
                    self._tell(name, lost[0], key)
            elif writer.digest(extent) != row["digest"]:
                damaged.append(key)
            else:
                for what in self._structure(bytes(extent), row):
                    self._tell(name, what, key)
        if len(lost) > 1:
            self._tell(name, f"the {len(lost) - 1} records after that one are cut off as well")
        if len(damaged) == len(rows) > 1:
            self._tell(name, f"other bytes: none of its {len(rows)} records is there")
        else:
            for key in damaged:
                self._tell(name, "damaged (xxh3-128 differs)", key)
        for key, times in Counter(str(row["key"]) for row in rows).items():
            if times > 1:
                self._tell(name, f"is there {times} times", key)
        turns = sum(row["turns"] or 0 for row in rows)
        if (len(rows), turns) != (self._shard.records, self._shard.turns):
            sealed = f"sealed with {self._shard.records} of {self._shard.turns}"
            self._tell(name, f"{len(rows)} records of {turns} turns, {sealed}")
        return end

    def _structure(self, extent: bytes, row: Row) -> Iterator[str]:
        """What is wrong with a record whose digest is as its row says."""
        found: list[tar.Member] = []
        try:
            found.extend(islice(tar.members(extent), 3))
        except tar.TarError as error:
            at = found[-1].end if found else 0
            odd = hazards.in_block(extent[at : at + tar.BLOCK])
            yield f"{error}; {odd}" if odd else str(error)
            return
        names = [member.name for member in found]
        stem = names[0].removesuffix(".jpg") if names else ""
        if names != [f"{stem}.jpg", f"{stem}.json"]:
            yield f"is not key.jpg, then key.json; it has {', '.join(names) or 'nothing'}"
            return
        image, said = (extent[m.content : m.content + m.size] for m in found)
        side = self._rules.side
        try:
            head = jpeg.header(image)
            if side is not None and not image.endswith(jpeg.END):  # cameras put more behind it
                yield "its image does not end where a JPEG does"
            if side is not None and (head.width, head.height) != (side, side):
                yield f"its image is {head.width}x{head.height}, sealed as {side}x{side}"
        except jpeg.JpegError as error:
            yield f"its image is not a JPEG: {error}"
            for what in hazards.in_content(image[: tar.BLOCK]):
                yield f"its image {what}"
        try:
            record = Record.decode(stem, b"", said)
            schema.check(record)
            meta = schema.decode_meta(record.meta) if record.meta != "{}" else {}
        except (ValueError, RecursionError) as error:  # of msgspec or schema.check
            yield str(error)
            return
        if record.encode() != said:
            yield "its JSON is not canonical"
        yield from self._agree(row, record, meta)

    def _agree(self, row: Row, record: Record, meta: Row) -> Iterator[str]:
        shard, bits = self._shard, self._rules.bits
        said = (
            record.key,
            record.corpus,
            record.split,
            record.group,
            record.licence,
            len(record.turns),
            sorted({turn.kind for turn in record.turns}),
            meta.get("pair"),
            (meta.get("evidence") or {}).get("decided"),
            self._tar_name,
        )
        if _columns(row) != said:
            for column, value in zip(_COLUMNS, said, strict=True):
                if row[column] != value:
                    yield f"its manifest row has {column} {row[column]!r}, the tar {value!r}"
        if (record.corpus, record.split) != (shard.corpus, shard.split):
            yield f"is of {record.corpus}/{record.split}"
        if bits is not None and (right := shard_of(record.group, bits)) != shard.id:
            yield f"its group {record.group!r} belongs in shard {right}"


def _ends(stream: SequentialFile, end: int) -> bool:
    """Whether nothing but the end of a tar follows byte `end`, if anything does."""
    return stream.nbytes <= end or stream.at(end, len(tar.END) + 1) == tar.END


def not_as_sealed(nbytes: int, sealed_nbytes: int, found: str, sealed: str) -> str | None:
    """What is wrong with a file by its size and sha256."""
    if nbytes != sealed_nbytes:
        return f"{nbytes} bytes, sealed with {sealed_nbytes}"
    return None if found == sealed else "sha256 is not the sealed one"
