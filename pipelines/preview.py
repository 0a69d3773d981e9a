"""A contact sheet of a sealed data set that is small enough for Prefect's page."""

import io
from pathlib import Path

from manifests.seal import Seal
from shards.preview import choose, sheet

_COUNT, _COLUMNS = 12, 4
_LIMIT = 150_000  # bytes; 200,000 when put into a page as base64


def preview(out: Path) -> bytes:
    """A JPEG of at most 150,000 bytes: a record of each corpus, then more, to a dozen.

    Raises SealError or DamageError, and ValueError if a sheet is too large.
    """
    corpora = {shard.corpus for shard in Seal.read(out).shards}
    shown = sheet(out, choose(out, max(_COUNT, len(corpora)), seed=1), _COLUMNS)
    for quality in (85, 70, 50, 30, 10):
        file = io.BytesIO()
        shown.save(file, "JPEG", quality=quality)
        if file.tell() <= _LIMIT:
            return file.getvalue()
    raise ValueError(f"a preview of {shown.width} x {shown.height} is over {_LIMIT} bytes")
