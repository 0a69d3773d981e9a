"""The seal: `dataset.json` lists every file with its digest, and is written last.

The root is the sha256 of a Merkle tree (RFC 6962: leaves and nodes are hashed apart, so that
neither can pass for the other) over the sorted (corpus, split, id, tar sha256, rows_digest) and the
schema's version: who knows the root can check a copy from anywhere. A seal holds no time, host or
path of a machine; those are in `build.json`. Its checksum, over all the rest of it, finds damage,
not tampering: only a root that is known from elsewhere does.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from manifests.place import MAX_BITS
from manifests.schema import SCHEMA_VERSION, Split, canonical_json

NAME = "dataset.json"
FORMAT = "embervlm-shards"
_AGAIN = "Copy it again from where it came, or build it again with: python -m pipelines build"


class SealError(ValueError):
    """A folder holds no readable seal, or one that contradicts itself."""


# A seal may come from anywhere: what it says is checked before a file is looked for by it. No name
# holds a line's end or leads out of the folder, no number is one that nothing can have.
_WORD = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"
Word = Annotated[str, msgspec.Meta(pattern=rf"\A{_WORD}\Z")]
Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Amount = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Bits = Annotated[int, msgspec.Meta(ge=0, le=MAX_BITS)]


class Shard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tar and its manifest, paths relative to the data set's folder."""

    corpus: Word
    split: Split
    id: Word
    tar: Annotated[str, msgspec.Meta(pattern=rf"\A{_WORD}/{_WORD}\.tar\Z")]
    nbytes: Amount
    sha256: Digest
    manifest: Annotated[str, msgspec.Meta(pattern=rf"\Amanifests/{_WORD}/{_WORD}\.parquet\Z")]
    manifest_nbytes: Amount
    manifest_sha256: Digest
    rows_digest: Digest
    records: Amount
    turns: Amount

    @property
    def place(self) -> tuple[str, str, str]:
        return (self.corpus, self.split, self.id)


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of a data set, its path relative to the folder."""

    path: Annotated[str, msgspec.Meta(pattern=rf"\Amanifests/{_WORD}\.parquet\Z")]
    nbytes: Amount
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
    bits: dict[str, Bits]
    ledger: tuple[Count, ...]
    reasons: File
    shards: tuple[Shard, ...]

    @classmethod
    def read(cls, folder: Path | str) -> "Seal":
        """The seal of a data set. Raises SealError, saying what was found and what to type next."""
        path = Path(folder) / NAME
        if path.exists() and not path.is_file():  # a pipe would keep us waiting
            raise SealError(f"{path} is no regular file, so no seal. {_AGAIN}")
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            why = _why_none(Path(folder))
            raise SealError(f"{folder} is not a sealed data set: {why}") from None
        try:
            said = msgspec.json.decode(data, type=dict)
            checksum = said.pop("checksum", None)
            seal = msgspec.convert(said, cls)
        except (ValueError, RecursionError) as error:  # of msgspec, or bytes that are not UTF-8
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
        if checksum != _checksum(said):
            raise SealError(f"{path} is damaged or was edited: its checksum differs. {_AGAIN}")
        return seal

    def encode(self) -> bytes:
        """The content of `dataset.json`; `manifests.store.commit` puts it there."""
        said = msgspec.to_builtins(self)
        whole = {**said, "checksum": _checksum(said)}
        return msgspec.json.format(msgspec.json.encode(whole, order="sorted")) + b"\n"

    def select(self, corpus: str, split: str) -> list[Shard]:
        """The shards of a corpus and split in the order of their ids."""
        return [s for s in self.shards if (s.corpus, s.split) == (corpus, split)]


def _why_none(folder: Path) -> str:
    """What a path without a seal in it is, and what to type instead."""
    if folder.is_dir():
        return (
            f"it has no {NAME}. Build one with: python -m pipelines build "
            f"--config pipelines/configs/demo.yaml --out {folder}"
        )
    if folder.name == NAME and folder.is_file():
        return f"it is a file of one. Name its folder: {folder.parent}"
    if folder.exists():
        return f"it is a file; expected the folder that holds {NAME}"
    return f"it does not exist; expected the folder that holds {NAME}"


def _checksum(said: dict) -> str:
    """sha256 of a seal's content as canonical JSON."""
    return hashlib.sha256(canonical_json(said).encode()).hexdigest()


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
