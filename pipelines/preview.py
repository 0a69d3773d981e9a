"""A preview of a sealed data set: a dozen pictures, with what is said of them, on one sheet."""

import io
import textwrap
from collections import Counter
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from manifests.schema import Record
from shards.reader import Dataset, Source

_COUNT, _COLUMNS = 12, 4
_SIDE, _TEXT, _GAP = 224, 76, 12
_WIDE = 40  # letters of a line of text
_NAME, _INK, _PAPER = (20, 90, 160), (40, 44, 52), (250, 249, 246)
_LIMIT = 150_000  # bytes; 200,000 when put into a page as base64


def preview(out: Path) -> bytes:
    """A JPEG of at most 150,000 bytes: one record of each corpus, then more, to a dozen.

    Below each picture stands its first turn. Raises SealError or DamageError.
    """
    records = _chosen(Dataset(out))
    rows = -(-len(records) // _COLUMNS)
    size = _COLUMNS * (_SIDE + _GAP) + _GAP, rows * (_SIDE + _TEXT + _GAP) + _GAP
    sheet = Image.new("RGB", size, _PAPER)
    for place, record in enumerate(records):
        row, column = divmod(place, _COLUMNS)
        _cell(sheet, _GAP + column * (_SIDE + _GAP), _GAP + row * (_SIDE + _TEXT + _GAP), record)
    return _jpeg(sheet)


def _chosen(data: Dataset) -> list[Record]:
    """Records from all over each corpus (of its train split, if it has one), corpora in turns."""
    sources: dict[str, Source] = {}
    for corpus, split in sorted(data.names, key=lambda name: name[1] != "train"):
        source = data.source(corpus, split)
        if len(source):
            sources.setdefault(corpus, source)
    rounds = ((n, name) for name, s in sources.items() for n in range(min(_COUNT, len(s))))
    taken = sorted(rounds)[: max(_COUNT, len(sources))]
    shown = Counter(name for _, name in taken)
    return [sources[name].record(n * len(sources[name]) // shown[name]) for n, name in taken]


def _cell(sheet: Image.Image, x: int, y: int, record: Record) -> None:
    """A picture, and below it whose it is and its first turn."""
    picture = Image.open(io.BytesIO(record.image)).convert("RGB")
    picture.thumbnail((_SIDE, _SIDE))
    sheet.paste(picture, (x, y))
    pen, font, turn = ImageDraw.Draw(sheet), ImageFont.load_default(11), record.turns[0]
    pen.text((x, y + _SIDE + 3), f"{record.corpus}/{record.split}  {turn.kind}", _NAME, font)
    said = textwrap.wrap(f"{turn.prompt} {turn.target}", _WIDE, max_lines=4, placeholder=" ...")
    pen.text((x, y + _SIDE + 18), "\n".join(said), _INK, font)


def _jpeg(sheet: Image.Image) -> bytes:
    """`sheet` at the best of a few qualities that keeps to the limit."""
    for quality in (85, 70, 50, 30, 10):
        file = io.BytesIO()
        sheet.save(file, "JPEG", quality=quality)
        if file.tell() <= _LIMIT:
            return file.getvalue()
    raise ValueError(f"a preview of {sheet.width} x {sheet.height} is over {_LIMIT} bytes")
