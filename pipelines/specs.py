"""What nodes tell each other: a shard to be packed, a line of the ledger, a packed shard."""

import msgspec

from manifests.schema import Split, Status
from manifests.seal import Shard


class ShardPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One shard to be packed: its place, the Parquet file of its rows, and that of its scenes."""

    corpus: str
    split: Split
    id: str
    rows: str
    annotations: int
    records: int  # that will be written, if their images can be read
    scenes: str | None = None

    @property
    def name(self) -> str:
        return f"{self.corpus}-{self.split}-{self.id}"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the ledger: how many annotations (images, if unannotated) ended so, and one of
    them."""

    corpus: str
    split: Split
    status: Status
    reason: str
    annotations: int
    example: str


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """A packed shard, and the ledger's lines for what was written and what failed in packing.

    `again`: an image could not be read for a reason that may pass, so that it must be tried again.
    """

    shard: Shard
    lines: tuple[Line, ...]
    again: bool = False
