"""state.json of a checkpoint: where a run stands, and what every file beside it was when written.

It holds size and xxh3-128 of all others, and a digest of itself: whatever is damaged is seen.
"""

import hashlib
import math
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from manifests import store
from shards.mixing import Mixture

SCHEMA = 3
NAME = "state.json"


class CheckpointError(ValueError):
    """A checkpoint that cannot be gone on from."""


class Best(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The best so far: after `step` steps it had this `score` (more is better) `of` what it names,
    such as macro F1."""

    step: int
    score: float
    of: str

    def __post_init__(self) -> None:
        if not math.isfinite(self.score):  # nor would JSON keep it
            raise ValueError(f"the best {self.of} is {self.score}; nothing compares with that")


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a run stands. `step` steps are done; the order of all others follows from the rest.

    `mixture` was resolved when the run began, and is not resolved again when it goes on.
    """

    step: int
    stage: dict[str, Any]
    root: str  # of the data set's seal
    tokenizer: str  # digest
    mixture: Mixture
    best: Best | None = None


class Digest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file was."""

    nbytes: int
    xxh3_128: str

    def __str__(self) -> str:
        return f"{self.nbytes} bytes of xxh3-128 {self.xxh3_128}"

    @classmethod
    def of(cls, data: bytes) -> "Digest":
        return cls(len(data), xxhash.xxh3_128_hexdigest(data))

    @classmethod
    def read(cls, path: Path) -> "Digest":
        """Raises OSError."""
        with path.open("rb") as file:
            hashed = hashlib.file_digest(file, lambda: xxhash.xxh3_128())  # type: ignore[arg-type]
            return cls(file.tell(), hashed.hexdigest())


class Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of state.json."""

    schema: int
    digest: str  # xxh3-128 of the two others, as they are encoded
    files: dict[str, Digest]
    state: State

    @classmethod
    def of(cls, state: State, files: dict[str, Digest]) -> "Sealed":
        digest = Digest.of(msgspec.json.encode([files, state])).xxh3_128
        return cls(schema=SCHEMA, digest=digest, files=files, state=state)

    def write(self, checkpoint: Path) -> None:
        """Give a checkpoint this state, at once."""
        data = msgspec.json.format(msgspec.json.encode(self))
        store.write(checkpoint / NAME, data + b"\n")


class _Schema(msgspec.Struct):
    schema: int


def read(checkpoint: Path) -> Sealed:
    """What lies in a checkpoint, all of whose files are checked. Raises CheckpointError if one is
    damaged, if it is no checkpoint, or one of another release."""
    path = checkpoint / NAME
    try:
        data = path.read_bytes()
        schema = msgspec.json.decode(data, type=_Schema).schema
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{checkpoint} is not a checkpoint: {path}: {error}") from error
    if schema != SCHEMA:
        raise CheckpointError(
            f"{checkpoint} is of schema {schema}; this code reads {SCHEMA}. Train anew"
        )
    try:
        sealed = msgspec.json.decode(data, type=Sealed)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    there = Sealed.of(sealed.state, sealed.files).digest
    if there != sealed.digest:
        raise CheckpointError(
            f"{path} is damaged: what it says has xxh3-128 {there}; {sealed.digest} was written"
        )
    for name, written in sealed.files.items():
        _check(checkpoint / name, written)
    return sealed


def _check(path: Path, written: Digest) -> None:
    try:
        there = Digest.read(path)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}); {written} were written"
        ) from error
    if there != written:
        raise CheckpointError(f"{path} is damaged: {there}; {written} were written")
