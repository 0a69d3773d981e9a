"""The one table: every corpus, whatever its files, becomes rows of one Arrow schema.

A row is one annotation (one turn), its image named by a locator; no image is opened to make it:

    file:coco/train2017/000000000790.jpg      a file below the build's root
    scene:robots-single-0001                  drawn from the row's meta["site"]
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.schema import Kind, Split, Status, Step, canonical_json

_BATCH = 8192  # rows held before they are written


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One annotation as its corpus says it; what a reader cannot use has a `status` and an `error`.

    `key` names the record (one image and all that its corpus says of it), `id` the annotation in
    its corpus, `thread` the turns that follow one another. `split` None: by md5 of the group. Texts
    are cleaned (see `clean`). A row of status "unannotated" is an image that no annotation names.
    """

    key: str
    group: str
    locator: str
    split: Split | None
    id: str = ""
    thread: str = ""
    kind: Kind = "caption"
    prompt: str = ""
    target: str = ""
    answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    rationales: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None
    robots: tuple[str, ...] = ()
    plan: tuple[Step, ...] = ()
    licence: str = ""
    meta: str = "{}"
    status: Status | None = None
    error: str | None = None


_TEXTS = pa.list_(pa.string())
SCHEMA = pa.schema(
    [
        ("corpus", pa.string()),
        ("key", pa.string()),
        ("group", pa.string()),
        ("locator", pa.string()),
        ("split", pa.string()),
        ("id", pa.string()),
        ("thread", pa.string()),
        ("kind", pa.string()),
        ("prompt", pa.string()),
        ("target", pa.string()),
        ("answers", _TEXTS),
        ("choices", _TEXTS),
        ("rationales", _TEXTS),
        ("box", pa.list_(pa.float64())),
        ("robots", _TEXTS),
        ("plan", pa.string()),  # canonical JSON of the steps
        ("licence", pa.string()),
        ("meta", pa.string()),
        ("status", pa.string()),
        ("error", pa.string()),
    ]
)


def write_rows(path: Path, corpus: str, rows: Iterable[Row]) -> int:
    """Stream `rows` into one Parquet file, a few thousand in memory at a time; returns how many.

    Rows of status "unannotated" are written but not counted: they are images, not annotations.
    """
    read = 0
    held: list[dict] = []
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for row in rows:
            read += row.status != "unannotated"
            fields = msgspec.structs.asdict(row)
            held.append({**fields, "corpus": corpus, "plan": canonical_json(row.plan)})
            if len(held) == _BATCH:
                writer.write_table(pa.Table.from_pylist(held, schema=SCHEMA))
                held.clear()
        writer.write_table(pa.Table.from_pylist(held, schema=SCHEMA))
    return read


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file that `write_rows` wrote, in their order."""
    plan = msgspec.json.Decoder(tuple[Step, ...])
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            for fields in batch.to_pylist():
                del fields["corpus"]
                yield msgspec.convert({**fields, "plan": plan.decode(fields["plan"])}, Row)


def clean(text: str) -> str:
    """One line without blanks at its ends: no newline, tab, NUL or doubled space survives."""
    return " ".join(text.replace("\0", " ").split())
