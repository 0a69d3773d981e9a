"""Records -> one tar and its manifest, deterministically.

    with ShardWriter(out, "coco", "train", "00003") as writer:
        for record, source in ...: writer.add(record, source)    # in the order of md5(key)
        shard = writer.close(failures)                           # -> manifests.seal.Shard

Both files carry 8 hex of their content's sha256 in their names, and appear under them whole.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec
import pyarrow as pa
import xxhash

from manifests import schema, store
from manifests.place import order_in_shard
from manifests.schema import MANIFEST, Record, Split
from manifests.seal import Shard, rows_digest
from shards import tar


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a record's image came from: its locator, its bytes' digest, its oriented size."""

    locator: str
    digest: str
    width: int
    height: int


def extent(record: Record) -> bytes:
    """A record's bytes in a tar, first header to last padding: `key.jpg`, then `key.json`."""
    schema.check(record)
    image = tar.member(f"{record.key}.jpg", record.image)
    return image + tar.member(f"{record.key}.json", record.encode())


def digest(data: bytes | memoryview) -> str:
    """xxh3-128 in hex: finds damage (not tampering), at memory speed."""
    return xxhash.xxh3_128_hexdigest(data)


def row(**fields: Any) -> dict[str, Any]:
    """A manifest row with every column in its order; those not named are null."""
    if unknown := fields.keys() - set(MANIFEST.names):
        raise ValueError(f"a manifest has no column {', '.join(sorted(unknown))}")
    return {name: fields.get(name) for name in MANIFEST.names}


class ShardWriter:
    """Writes the records of one (corpus, split, id) in the order that `add` is called.

    Use as a context manager; `close` publishes. Without it nothing stays on disk.
    """

    def __init__(self, out: Path, corpus: str, split: Split, shard_id: str) -> None:
        self._out, self._corpus, self._id = out, corpus, shard_id
        self._split: Split = split
        self._stem = f"{corpus}-{split}-{shard_id}"
        self._rows: list[dict[str, Any]] = []
        self._sha256 = hashlib.sha256()
        self._offset = 0
        self._last = ""

    def __enter__(self) -> "ShardWriter":
        self._context = store.new_file(self._out / self._corpus)
        self._file: IO[bytes]
        self._file, self._temporary = self._context.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._context.__exit__(*exception)

    def add(self, record: Record, source: Source) -> None:
        """Append a record. Raises ValueError if it is not of this shard, or out of order."""
        if (record.corpus, record.split) != (self._corpus, self._split):
            raise ValueError(f"{record.key} is {record.corpus}/{record.split}, not {self._stem}")
        if (order := order_in_shard(record.key)) <= self._last:
            raise ValueError(f"{record.key} comes twice or out of order in {self._stem}")
        data, meta = extent(record), msgspec.json.decode(record.meta, type=dict)
        self._last = order
        self._write(data)
        self._rows.append(
            row(
                key=record.key,
                group=record.group,
                offset=self._offset - len(data),
                nbytes=len(data),
                digest=digest(data),
                width=source.width,
                height=source.height,
                turns=len(record.turns),
                kinds=sorted({turn.kind for turn in record.turns}),
                licence=record.licence,
                pair=meta.get("pair"),
                evidence=(meta.get("evidence") or {}).get("decided"),
                locator=source.locator,
                source_digest=source.digest,
                status="written",
            )
        )

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        self._offset += len(data)

    def close(self, failures: Iterable[Mapping[str, Any]] = ()) -> Shard:
        """Publish tar and manifest; `failures` are rows (see `row`) that did not become records."""
        corpus, split = self._corpus, self._split
        self._write(tar.END)
        self._file.flush()
        sha256 = self._sha256.hexdigest()
        tar_name = f"{corpus}/{self._stem}-{sha256[:8]}.tar"
        rows = [r | {"shard": Path(tar_name).name} for r in self._rows] + [
            dict(f) for f in failures
        ]
        rows = [r | {"corpus": corpus, "split": split} for r in rows]
        rows.sort(key=lambda r: (r["offset"] is None, order_in_shard(r["key"]), str(r["error"])))
        manifest = store.parquet_bytes(pa.Table.from_pylist(rows, schema=MANIFEST))
        manifest_sha256 = hashlib.sha256(manifest).hexdigest()
        manifest_name = f"manifests/{corpus}/{self._stem}-{manifest_sha256[:8]}.parquet"
        store.publish(self._temporary, self._out / tar_name)
        store.write(self._out / manifest_name, manifest)
        return Shard(
            corpus=corpus,
            split=split,
            id=self._id,
            tar=tar_name,
            nbytes=self._offset,
            sha256=sha256,
            manifest=manifest_name,
            manifest_nbytes=len(manifest),
            manifest_sha256=manifest_sha256,
            rows_digest=rows_digest(rows),
            records=len(self._rows),
            turns=sum(r["turns"] for r in self._rows),
        )
