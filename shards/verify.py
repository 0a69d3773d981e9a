"""Does a copy have the root that somebody trusted wrote down?

    proof = verify(folder, root)
    assert proof.proven, proof.changed

The root is computed from the bytes of every tar and the rows of every manifest; of `dataset.json`
only the list of shards is believed, and that is part of what the root proves.
"""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from manifests.seal import Seal, Shard, merkle_root
from shards.damage import Checked
from shards.validate import check_shards


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """`wanted` is the root that was asked for, `sealed` that of `dataset.json`, `found` that of the
    bytes, None if a tar is missing or a manifest is not the sealed one. `changed` says of each
    shard that differs from the seal how it does, a line each."""

    wanted: str
    sealed: str
    found: str | None
    changed: tuple[str, ...]

    @property
    def proven(self) -> bool:
        return self.found == self.wanted


def verify(
    folder: Path | str, root: str, progress: Callable[[int], None] = lambda nbytes: None
) -> Proof:
    """Compute the root from the files. Raises ValueError for a `root` that is none, SealError
    without a seal, and ChildProcessError if a helper process is killed."""
    wanted = root.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise ValueError(f"{root!r} is not a root; expected 64 hexadecimal digits, got {len(root)}")
    sealed = Seal.read(folder)
    shards, changed, lost = [], [], False
    checks = check_shards(Path(folder), sealed, progress)
    for shard, checked in zip(sealed.shards, checks, strict=True):
        found = (checked.sha256, checked.rows_digest)
        if found != (shard.sha256, shard.rows_digest):
            changed.append(f"{'/'.join(shard.place)}: {_difference(shard, checked)}")
        if checked.sha256 is None or checked.rows_digest is None:
            lost = True
            continue
        digests = {"sha256": checked.sha256, "rows_digest": checked.rows_digest}
        shards.append(msgspec.structs.replace(shard, **digests))
    return Proof(
        wanted=wanted,
        sealed=sealed.root,
        found=None if lost else merkle_root(shards),
        changed=tuple(changed),
    )


def _difference(shard: Shard, checked: Checked) -> str:
    """How a shard differs from the seal: a file has no digest, or another."""
    for file, digest in ((shard.tar, checked.sha256), (shard.manifest, checked.rows_digest)):
        if digest is None:
            return next(str(one) for one in reversed(checked.problems) if one.file == file)
    return "its bytes are not those that were sealed"
