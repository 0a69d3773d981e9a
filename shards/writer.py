"""Records -> one tar and its manifest, deterministically.

    with ShardWriter(out, "coco", "train", "00003") as writer:
        for record, source in ...: writer.add(record, source)    # in the order of the plan
        shard = writer.close(failures)                           # -> manifests.seal.Shard

Both files carry 8 hex of their content's sha256 in their names, and appear under them whole. sha256
is taken of each block while it is in the processor's cache: on a thread of its own it costs more
in handing over than it saves, as shards are packed side by side.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import xxhash

from manifests import schema, store
from manifests.place import order_in_shard
from manifests.schema import MANIFEST, Record, Split
from manifests.seal import Shard, rows_digest
from shards import tar

_BLOCK = 512 * 1024  # bytes: what a processor's cache holds, and a kernel takes at once with ease
_EMPTY = dict.fromkeys(MANIFEST.names)
_META = msgspec.json.Decoder(dict[str, Any])


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a record's image came from: its locator, its bytes' digest, its oriented size."""

    locator: str
    digest: str
    width: int
    height: int


def extent(record: Record) -> bytes:
    """A record's bytes in a tar, first header to last padding: `key.jpg`, then `key.json`."""
    return b"".join(_parts(record))


def _parts(record: Record) -> tuple[bytes, ...]:
    schema.check(record)
    image = tar.parts(f"{record.key}.jpg", record.image)
    return image + tar.parts(f"{record.key}.json", record.encode())


def digest(data: bytes | memoryview) -> str:
    """xxh3-128 in hex: finds damage (not tampering), at memory speed."""
    return xxhash.xxh3_128_hexdigest(data)


def row(**fields: Any) -> dict[str, Any]:
    """A manifest row with every column in its order; those not named are null."""
    if unknown := fields.keys() - _EMPTY.keys():
        raise ValueError(f"a manifest has no column {', '.join(sorted(unknown))}")
    return _EMPTY | fields


class ShardWriter:
    """Writes the records of one (corpus, split, id) in the order that `add` is called.

    Use as a context manager; `close` publishes. Without it nothing stays on disk.
    """

    def __init__(self, out: Path, corpus: str, split: Split, shard_id: str) -> None:
        self._out, self._corpus, self._id = out, corpus, shard_id
        self._split: Split = split
        self._stem = f"{corpus}-{split}-{shard_id}"
        self._rows: dict[str, dict[str, Any]] = {}  # by key
        self._sha256 = hashlib.sha256()
        self._block = memoryview(bytearray(_BLOCK))  # what is not written yet, up to `_filled`
        self._filled = 0
        self._offset = 0

    def __enter__(self) -> "ShardWriter":
        self._context = store.new_file(self._out / self._corpus)
        self._file = self._context.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._context.__exit__(*exception)

    def add(self, record: Record, source: Source) -> None:
        """Append a record. Raises ValueError if it is not of this shard, or its key comes twice."""
        if (record.corpus, record.split) != (self._corpus, self._split):
            raise ValueError(f"{record.key} is {record.corpus}/{record.split}, not {self._stem}")
        if record.key in self._rows:
            raise ValueError(f"{record.key} comes twice in {self._stem}")
        parts, offset = _parts(record), self._offset
        meta = _META.decode(record.meta)
        extent = self._write(*parts)
        self._rows[record.key] = {
            "key": record.key,
            "corpus": self._corpus,
            "split": self._split,
            "group": record.group,
            "shard": None,  # its name is known when it is whole
            "offset": offset,
            "nbytes": len(extent),
            "digest": digest(extent),
            "width": source.width,
            "height": source.height,
            "turns": len(record.turns),
            "kinds": sorted({turn.kind for turn in record.turns}),
            "licence": record.licence,
            "pair": meta.get("pair"),
            "evidence": (meta.get("evidence") or {}).get("decided"),
            "locator": source.locator,
            "source_digest": source.digest,
            "status": "written",
            "error": None,
        }

    def copy(self, row: dict[str, Any], data: bytes) -> None:
        """Append a record as it lies in another shard: its manifest row and its extent."""
        self._rows[row["key"]] = row | {"offset": self._offset}
        self._write(data)

    def _write(self, *parts: bytes) -> memoryview:
        """Append the parts; they lie in what is returned until the next call."""
        nbytes = sum(map(len, parts))
        if self._filled + nbytes > len(self._block):
            self._flush()
            if nbytes > len(self._block):
                self._block = memoryview(bytearray(nbytes))
        start = end = self._filled
        for part in parts:
            begin, end = end, end + len(part)
            self._block[begin:end] = part
        self._filled = end
        self._offset += nbytes
        return self._block[start:end]

    def _flush(self) -> None:
        whole = self._block[: self._filled]
        self._sha256.update(whole)
        self._file.write(whole)
        self._filled = 0

    def close(self, failures: Iterable[Mapping[str, Any]] = ()) -> Shard:
        """Publish tar and manifest; `failures` are rows (see `row`) that did not become records."""
        corpus, split = self._corpus, self._split
        self._write(tar.END)
        self._flush()
        sha256 = self._sha256.hexdigest()
        tar_name = store.tar_name(corpus, split, self._id, sha256)
        for written in self._rows.values():
            written["shard"] = Path(tar_name).name
        failed = [{**f, "corpus": corpus, "split": split} for f in failures]
        failed.sort(key=lambda r: (order_in_shard(r["key"]), str(r["error"])))
        rows = [*self._rows.values(), *failed]
        manifest = store.parquet_bytes(pa.Table.from_pylist(rows, schema=MANIFEST))
        manifest_sha256 = hashlib.sha256(manifest).hexdigest()
        manifest_name = store.manifest_name(corpus, split, self._id, manifest_sha256)
        self._file.publish(self._out / tar_name)
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
            turns=sum(written["turns"] for written in self._rows.values()),
        )
