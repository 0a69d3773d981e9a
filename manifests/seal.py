"""The seal: `dataset.json` lists every file with its digest, and is written last.

The root is the sha256 of a Merkle tree (RFC 6962: leaves and nodes are hashed apart, so that
neither can pass for the other) over the sorted (corpus, split, id, tar sha256, rows_digest) and the
schema's version: who knows the root can check a copy from anywhere. A seal holds no time, host or
path of a machine; those are in `build.json`.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from manifests.schema import SCHEMA_VERSION, Split, canonical_json

NAME = "dataset.json"
FORMAT = "embervlm-shards"
_AGAIN = "Copy it again from where it came, or build it again with: python -m pipelines build"


class SealError(ValueError):
    """A folder holds no readable seal, or one that contradicts itself."""


class Shard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tar and its manifest, paths relative to the data set's folder."""

    corpus: str
    split: Split
    id: str
    tar: str
    nbytes: int
    sha256: str
    manifest: str
    manifest_nbytes: int
    manifest_sha256: str
    rows_digest: str
    records: int
    turns: int

    @property
    def place(self) -> tuple[str, str, str]:
        return (self.corpus, self.split, self.id)


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of a data set, its path relative to the folder."""

    path: str
    nbytes: int
    sha256: str


class Count(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the ledger: how annotations of a corpus and split ended.

    `read` = `written` + `quarantined` + `duplicate` + `held_back`, or the build fails. `records` is
    the number of images written, `unannotated` of images on disk that no annotation names.
    """

    corpus: str
    split: Split
    read: int
    written: int
    quarantined: int
    duplicate: int
    held_back: int
    records: int
    unannotated: int

    @property
    def balances(self) -> bool:
        return self.read == self.written + self.quarantined + self.duplicate + self.held_back


class Seal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a data set consists of.

    `bits` is the shard count's exponent by "corpus/split"; places that are not in it have shards by
    container. `reasons` is the Parquet file of the whole ledger, reason by reason.
    """

    format: str
    schema_version: int
    root: str
    config_digest: str
    image_policy: dict[str, str | int]
    codecs: dict[str, str]
    bits: dict[str, int]
    ledger: tuple[Count, ...]
    reasons: File
    shards: tuple[Shard, ...]

    @classmethod
    def read(cls, folder: Path | str) -> "Seal":
        """The seal of a data set. Raises SealError, saying what was found and what to type next."""
        path = Path(folder) / NAME
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise SealError(
                f"{folder} is not a sealed data set: it has no {NAME}. Build one with: "
                f"python -m pipelines build --config pipelines/configs/demo.yaml --out {folder}"
            ) from None
        try:
            seal = msgspec.json.decode(data, type=cls)
        except ValueError as error:  # of msgspec, or bytes that are not UTF-8
            raise SealError(f"{path} cannot be read: {error}. {_AGAIN}") from error
        if seal.format != FORMAT or seal.schema_version != SCHEMA_VERSION:
            raise SealError(
                f"{path} is {seal.format} version {seal.schema_version}; this code reads "
                f"{FORMAT} version {SCHEMA_VERSION}. {_AGAIN}"
            )
        if seal.root != merkle_root(seal.shards):
            raise SealError(
                f"{path} was edited: its root does not follow from the shards it lists. {_AGAIN}"
            )
        return seal

    def encode(self) -> bytes:
        """The content of `dataset.json`; `manifests.store.commit` puts it there."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted")) + b"\n"

    def select(self, corpus: str, split: str) -> list[Shard]:
        """The shards of a corpus and split in the order of their ids."""
        return [s for s in self.shards if (s.corpus, s.split) == (corpus, split)]


def rows_digest(rows: Iterable[dict]) -> str:
    """sha256 over manifest rows as canonical JSON lines: independent of Parquet's writer."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(canonical_json(row).encode() + b"\n")
    return digest.hexdigest()


def merkle_root(shards: Iterable[Shard]) -> str:
    """The root over sorted shards; the schema's version is the first leaf."""
    leaves = [canonical_json(["schema", SCHEMA_VERSION])]
    ordered = sorted(shards, key=lambda shard: shard.place)
    leaves += [canonical_json([*s.place, s.sha256, s.rows_digest]) for s in ordered]
    level = [hashlib.sha256(b"\0" + leaf.encode()).digest() for leaf in leaves]
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [
            hashlib.sha256(b"\1" + b"".join(pair)).digest() if len(pair) == 2 else pair[0]
            for pair in pairs
        ]
    return level[0].hex()
