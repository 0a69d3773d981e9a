"""Is a data set what its seal says? Reads every byte, changes none.

for problem in validate(folder): ...      # none: whole
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq

from manifests import schema, seal
from manifests.disk import TEMPORARY
from manifests.schema import MANIFEST, Record
from manifests.seal import Count, Seal, SealError, Shard
from shards import tar, writer
from shards.reader import DamageError, Source, parse


def validate(
    folder: Path | str, progress: Callable[[Shard], None] = lambda shard: None
) -> Iterator[str]:
    """One line a problem, naming shard and record; nothing for a whole data set.

    `progress` is told each shard before it is read.
    """
    folder = Path(folder)
    try:
        sealed = Seal.read(folder)
    except SealError as error:
        yield str(error)
        return
    yield from _unlisted(folder, sealed)
    reasons = sealed.reasons
    if problem := _file(folder, reasons.path, reasons.nbytes, reasons.sha256)[1]:
        yield problem
    totals: dict[tuple[str, str], Counter[str]] = {}
    unread: set[tuple[str, str]] = set()  # sums over a manifest that is damaged would say nothing
    for shard in sealed.shards:
        progress(shard)
        rows = yield from _manifest(folder, shard)
        yield from _tar(folder, shard, rows)
        if rows is None:
            unread.add((shard.corpus, shard.split))
        total = totals.setdefault((shard.corpus, shard.split), Counter())
        for row in rows or ():
            total[row["status"]] += row["turns"] or 1  # an unannotated image is one
            total["records"] += row["status"] == "written"
    for corpus, split in sorted(totals.keys() - unread):
        source = Source(folder, sealed.root, sealed.select(corpus, split))
        with suppress(DamageError):  # of a manifest, named above
            if source.index_damaged():
                yield f"index/{corpus}-{split}.idx: damaged; remove it, it is made anew when read"
    counts = {(count.corpus, count.split): count for count in sealed.ledger}
    for corpus, split in sorted(totals.keys() | counts.keys()):
        if (corpus, split) not in counts:
            yield f"ledger of {corpus}/{split}: missing"
        elif (corpus, split) not in unread:
            yield from _ledger(counts[corpus, split], totals.get((corpus, split), Counter()))


def _unlisted(folder: Path, sealed: Seal) -> Iterator[str]:
    listed = {name for shard in sealed.shards for name in (shard.tar, shard.manifest)}
    named = (*folder.glob("*/*.tar"), *folder.glob("manifests/*/*"))  # as shards of any corpus are
    found = {path for path in named if path.name.startswith(f"{path.parent.name}-")}
    listed.add(sealed.reasons.path)
    found.update(folder.glob("manifests/ledger-*.parquet"))
    found.update(*((folder / corpus).glob("*") for corpus in {s.corpus for s in sealed.shards}))
    for path in sorted(found):
        name = path.relative_to(folder).as_posix()
        if name not in listed and not path.name.startswith(TEMPORARY):
            yield f"{name}: not listed in {seal.NAME}"


def _file(folder: Path, name: str, nbytes: int, sha256: str) -> tuple[bytes, str | None]:
    """A listed file's bytes, and what is wrong with it."""
    try:
        data = (folder / name).read_bytes()
    except FileNotFoundError:
        return b"", f"{name}: missing"
    except OSError as error:
        return b"", f"{name}: cannot be read: {error.strerror}"
    if len(data) != nbytes:
        return data, f"{name}: {len(data)} bytes, sealed with {nbytes}"
    if hashlib.sha256(data).hexdigest() != sha256:
        return data, f"{name}: sha256 is not the sealed one"
    if sha256[:8] != Path(name).stem.rsplit("-", 1)[-1]:
        return data, f"{name}: its name does not end in {sha256[:8]}, as its content asks"
    return data, None


def _manifest(folder: Path, shard: Shard) -> Generator[str, None, list[dict] | None]:
    """Returns the manifest's rows, None if it is not the sealed one."""
    _, problem = _file(folder, shard.manifest, shard.manifest_nbytes, shard.manifest_sha256)
    if problem:
        yield problem
        return None
    table = pq.read_table(folder / shard.manifest)
    if not table.schema.equals(MANIFEST):
        yield f"{shard.manifest}: its columns are not those of a manifest"
        return None
    rows = table.to_pylist()
    if seal.rows_digest(rows) != shard.rows_digest:
        yield f"{shard.manifest}: its rows are not the sealed ones"
    for row in rows:
        if row["status"] not in schema.STATUSES:
            yield f"{shard.manifest}: record {row['key']}: unknown status {row['status']!r}"
    return rows


def _tar(folder: Path, shard: Shard, every: list[dict] | None) -> Iterator[str]:
    data, problem = _file(folder, shard.tar, shard.nbytes, shard.sha256)
    if problem:
        yield problem
    if not data or every is None:
        return
    rows, end = [row for row in every if row["status"] == "written"], 0
    for row in rows:
        name = f"{shard.tar}: record {row['key']}"
        extent = data[row["offset"] : row["offset"] + row["nbytes"]]
        if row["offset"] != end:
            yield f"{name}: begins at byte {row['offset']}, the one before ends at {end}"
        end = row["offset"] + row["nbytes"]
        if writer.digest(extent) != row["digest"]:
            yield f"{name}: damaged (xxh3-128 differs)"
            continue
        try:
            record = parse(extent)
            if writer.extent(record) != extent:
                yield f"{name}: its JSON is not canonical"
        except ValueError as error:  # of tar, msgspec or schema.check
            yield f"{name}: {error}"
            continue
        yield from _agree(name, shard, row, record)
    for key, times in Counter(row["key"] for row in rows).items():
        if times > 1:
            yield f"{shard.tar}: record {key} is there {times} times"
    turns = sum(row["turns"] for row in rows)
    if (len(rows), turns) != (shard.records, shard.turns):
        sealed = f"sealed with {shard.records} of {shard.turns}"
        yield f"{shard.tar}: {len(rows)} records of {turns} turns, {sealed}"
    if not problem and data[end:] != tar.END:
        yield f"{shard.tar}: bytes after the last record (byte {end}) are not the end of a tar"


def _agree(name: str, shard: Shard, row: dict, record: Record) -> Iterator[str]:
    expected = {
        "key": record.key,
        "corpus": record.corpus,
        "split": record.split,
        "group": record.group,
        "turns": len(record.turns),
        "licence": record.licence,
        "shard": Path(shard.tar).name,
    }
    for column, value in expected.items():
        if row[column] != value:
            yield f"{name}: its manifest row has {column} {row[column]!r}, the tar {value!r}"
    if (record.corpus, record.split) != (shard.corpus, shard.split):
        yield f"{name}: is of {record.corpus}/{record.split}"


def _ledger(count: Count, total: Counter[str]) -> Iterator[str]:
    name = f"ledger of {count.corpus}/{count.split}"
    if not count.balances:
        yield f"{name}: {count.read} annotations read, but its parts add up to another number"
    counted = {
        "written": count.written,
        "quarantined": count.quarantined,
        "duplicate": count.duplicate,
        "held back": count.held_back,
        "records": count.records,
        "unannotated": count.unannotated,
    }
    for status, number in counted.items():
        if total[status] != number:
            yield f"{name}: {number} {status}, its manifests have {total[status]}"
