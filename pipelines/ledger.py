"""The ledger: how every annotation of a build ended, by corpus, split and reason.

Kept in the seal as sums, beside it as Parquet (`manifests/ledger-<sha8>.parquet`), and printed.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from manifests import store
from manifests.schema import Split
from manifests.seal import Count, File, Seal
from pipelines.config import BuildConfig
from pipelines.specs import Line

_SCHEMA = pa.schema(
    [
        ("corpus", pa.string()),
        ("split", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("annotations", pa.int64()),
        ("example", pa.string()),
    ]
)


class LedgerError(ValueError):
    """Sums that do not balance: an annotation is lost."""


def merged(lines: Iterable[Line]) -> list[Line]:
    """One line for each corpus, split, status and reason, in this order, with the least example."""
    same: dict[tuple[str, str, str, str], list[Line]] = defaultdict(list)
    for line in lines:
        same[line.corpus, line.split, line.status, line.reason].append(line)
    return [
        msgspec.structs.replace(
            those[0],
            annotations=sum(line.annotations for line in those),
            example=min(line.example for line in those),
        )
        for _, those in sorted(same.items())
    ]


def counts(lines: Iterable[Line], records: dict[tuple[str, Split], int]) -> list[Count]:
    """The seal's sums of a ledger; `records` are the images written by corpus and split."""
    sums: dict[tuple[str, Split], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in lines:
        sums[line.corpus, line.split][line.status] += line.annotations
    return [
        Count(
            corpus=corpus,
            split=split,
            read=sum(count for status, count in of.items() if status != "unannotated"),
            written=of["written"],
            quarantined=of["quarantined"],
            duplicate=of["duplicate"],
            held_back=of["held back"],
            records=records.get((corpus, split), 0),
            unannotated=of["unannotated"],
        )
        for (corpus, split), of in sorted(sums.items())
    ]


def errors(lines: Sequence[Line], config: BuildConfig) -> Iterator[str]:
    """Why a build must not be sealed: corpora that lose too much."""
    for corpus in config.corpora:
        own = _read(lines, corpus)
        read = sum(line.annotations for line in own)
        lost = [line for line in own if line.status == "quarantined"]
        quarantined = sum(line.annotations for line in lost)
        if not _written(own):
            if config.corpus(corpus).on_empty == "fail":
                mend = f"Mend the files, or say {corpus}: {{on_empty: report}} in the config"
                yield _worst(_nothing(corpus, read), own, mend)
        elif quarantined > (most := config.quarantine(corpus)) * read:
            what = f"{corpus}: {quarantined:,} of {read:,} annotations are quarantined"
            mend = f"If that is as it should be, raise max_quarantined ({most:g}) of {corpus}"
            yield _worst(what, lost, mend)


def warnings(lines: Sequence[Line], config: BuildConfig) -> Iterator[str]:
    """What a user should know of a build that may be sealed: corpora that give nothing."""
    for corpus in config.corpora:
        own = _read(lines, corpus)
        if config.corpus(corpus).on_empty == "report" and not _written(own):
            yield _worst(_nothing(corpus, sum(line.annotations for line in own)), own, "")


def _read(lines: Iterable[Line], corpus: str) -> list[Line]:
    return [line for line in lines if line.corpus == corpus and line.status != "unannotated"]


def _written(lines: Iterable[Line]) -> bool:
    return any(line.status == "written" for line in lines)


def _nothing(corpus: str, read: int) -> str:
    return f"{corpus}: {read:,} annotations read, none can be written"


def _worst(what: str, lines: Iterable[Line], mend: str) -> str:
    """A sentence, the ten commonest reasons with an example each, and what to do."""
    worst = sorted(merged(lines), key=lambda line: -line.annotations)[:10]
    told = [f"  {ln.annotations:>9,}  {ln.split} {ln.status}: {ln.example}" for ln in worst]
    return "\n".join(filter(None, [what, *(told or ["  its files hold no annotation"]), mend]))


def write(out: Path, lines: Sequence[Line]) -> File:
    """Put the ledger beside the manifests, under a name that its content gives."""
    rows = [msgspec.structs.asdict(line) for line in lines]
    data = store.parquet_bytes(pa.Table.from_pylist(rows, schema=_SCHEMA))
    return store.write_named(out, "manifests/ledger", ".parquet", data)


def read(out: Path, sealed: Seal) -> list[Line]:
    """The ledger of a sealed data set, reason by reason."""
    rows = pq.read_table(out / sealed.reasons.path).to_pylist()
    return [msgspec.convert(row, Line) for row in rows]


def table(counts: Iterable[Count]) -> Table:
    """The sums by corpus and split."""
    printed = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    names = ("read", "written", "quarantined", "duplicate", "held back", "images", "unannotated")
    printed.add_column("annotations", no_wrap=True)
    for name in names:
        printed.add_column(name, justify="right", no_wrap=True)
    for count in counts:
        values = (count.read, count.written, count.quarantined, count.duplicate, count.held_back)
        values += (count.records, count.unannotated)
        printed.add_row(f"{count.corpus}/{count.split}", *(f"{value:,}" for value in values))
    return printed


def reasons(lines: Iterable[Line]) -> Iterator[str]:
    """All that was not written, by reason: where, how many, and one of them."""
    for line in lines:
        if line.status != "written":
            place = f"{line.corpus}/{line.split}"
            yield f"{place:<18}{line.annotations:>10,}  {line.status}: {line.example}"
