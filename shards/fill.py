"""Pictures of rows -> pixels: each record read whole, checked, and decoded into its place.

The work that a loader does for each sample, and nothing else: one preadv into a buffer that is used
again, one digest, one decode. Python's lock is free during all three.
"""

from collections.abc import Sequence
from threading import local

import numpy as np

from shards import tar
from shards.images import decode_into, decode_stored
from shards.reader import Source
from shards.rows import DamageError

_SIZE = slice(124, 135)  # of a tar header: the file's size in octal digits


class Pictures:
    """The pictures of a few sources, by the ordinal of each.

    `squashed`: all were stored upright in the size that is asked for, as policy squash does. Each
    thread that fills has a buffer of its own.
    """

    def __init__(self, sources: Sequence[Source], squashed: bool) -> None:
        self._sources = sources
        self._decode = decode_stored if squashed else decode_into
        self._buffers = local()

    def fill(self, images: np.ndarray, corpus: np.ndarray, entries: np.ndarray) -> None:
        """Fill uint8 [N,H,W,3] from ENTRY [N] in the sources int64 [N].

        Raises DamageError, naming shard and record, and OSError for what cannot be fetched.
        """
        digests = entries["digest"].tobytes()
        columns = (entries[name].tolist() for name in ("shard", "offset", "nbytes"))
        buffer = self._buffer(int(entries["nbytes"].max(initial=0)))
        for row, (number, shard, offset, nbytes) in enumerate(
            zip(corpus.tolist(), *columns, strict=True)
        ):
            extent = buffer[:nbytes]
            source = self._sources[number]
            source.read_into(extent, shard, offset, digests[16 * row : 16 * row + 16])
            # The digest was checked: the header is as written, so its size field can be trusted.
            size = int(bytes(extent[_SIZE]), 8)
            try:
                self._decode(extent[tar.BLOCK : tar.BLOCK + size], images[row])
            except (ValueError, OSError) as error:
                raise DamageError(
                    f"{source.shards[shard].tar}: the picture of record "
                    f"{source.key(shard, offset)} cannot be decoded ({error}), and is as it was "
                    f"stored. Build again with image.policy squash, which quarantines such pictures"
                ) from error

    def _buffer(self, nbytes: int) -> memoryview:
        held = getattr(self._buffers, "memory", None)
        if held is None or len(held) < nbytes:
            held = self._buffers.memory = memoryview(bytearray(nbytes + nbytes // 4))
        return held
