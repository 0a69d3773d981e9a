"""The one table: every corpus, whatever its files, becomes rows of one Arrow schema.

A row is one annotation (one turn), its image named by a locator (`locators.py`); no image is opened
to make it.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.schema import Kind, Split, Status, Step, canonical_json

BOX = "<box>"  # in a prompt or target: the row's box, put in when the image is opened
_BATCH = 8192  # rows held before they are written


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One annotation as its corpus says it; what a reader cannot use has a `status` and an `error`.

    `key` names the record (one image and all that its corpus says of it), `id` the annotation in
    its corpus, `thread` the turns that follow one another. `split` None: by md5 of the group. Texts
    are cleaned (see `clean`). A row of status "unannotated" is an image that nothing usable is said
    of. `error` is "<reason>: <detail>", the reason without a name or number, so that it is counted.

    `box` is (x0, y0, x1, y1) in pixels of the image as its file stores it, before EXIF turns it.
    `container` is the file that the row came from, relative to the root, and `position` its row
    there: what places the records of a corpus in the layout "container".
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
    container: str = ""
    position: int = 0
    status: Status | None = None
    error: str | None = None


_TEXTS = pa.list_(pa.string())
SCHEMA = pa.schema(
    [
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
        ("container", pa.string()),
        ("position", pa.int64()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("corpus", pa.string()),
    ]
)


_values = msgspec.structs.astuple  # in the order of SCHEMA, which ends with the corpus


def write_rows(path: Path, corpus: str, rows: Iterable[Row]) -> int:
    """Stream `rows` into one Parquet file, a few thousand in memory at a time; returns how many.

    Rows of status "unannotated" are written but not counted: they are images, not annotations.
    """
    read, rows = 0, iter(rows)
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        while batch := list(islice(rows, _BATCH)):
            values = zip(*map(_values, batch), strict=True)
            columns: dict[str, Sequence] = dict(zip(SCHEMA.names, values, strict=False))
            read += len(batch) - columns["status"].count("unannotated")
            if any(columns["plan"]):
                columns["plan"] = [canonical_json(plan) for plan in columns["plan"]]
            else:
                columns["plan"] = ["[]"] * len(batch)
            columns["corpus"] = [corpus] * len(batch)
            writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=SCHEMA))
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
    """One line, composed (NFC), no blanks at its ends: no newline, tab, NUL, doubled space."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if text.isprintable() and "  " not in text:  # as nearly all are
        return text.strip()
    return " ".join(text.replace("\0", " ").split())


def clean_lines(text: str) -> str:
    """As `clean`, line by line: lines stay, at most one empty between two."""
    lines: list[str] = []
    for line in map(clean, text.replace("\r\n", "\n").split("\n")):
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines).strip()


def reason(error: str) -> str:
    """What kind of error it is: the part without names and numbers."""
    return error.partition(": ")[0]
