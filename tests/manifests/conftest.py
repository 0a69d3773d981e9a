"""A sealed data set of manifests alone, made by hand: what `manifests/` reads, without a tar."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from manifests import store
from manifests.schema import MANIFEST, SCHEMA_VERSION
from manifests.seal import FORMAT, Count, File, Seal, Shard, merkle_root, rows_digest

Row = dict[str, Any]


@pytest.fixture(scope="session")
def make_shard() -> Callable[..., Shard]:
    """A shard as the seal lists it, with fields of one's choice."""

    def make_shard(number: int = 0, **fields: Any) -> Shard:
        whole = {
            "corpus": "coco",
            "split": "train",
            "id": f"{number:05d}",
            "tar": f"coco/{number}.tar",
            "nbytes": 1024,
            "sha256": f"{number:064x}",
            "manifest": f"manifests/coco/{number}.parquet",
            "manifest_nbytes": 1,
            "manifest_sha256": "0" * 64,
            "rows_digest": f"{100 + number:064x}",
            "records": 0,
            "turns": 0,
            **fields,
        }
        return Shard(**whole)

    return make_shard


@pytest.fixture(scope="session")
def make_seal() -> Callable[..., Seal]:
    """A seal over shards, its root right."""

    def make_seal(shards: Sequence[Shard], **fields: Any) -> Seal:
        whole = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "root": merkle_root(shards),
            "config_digest": "0" * 64,
            "image_policy": {"policy": "squash", "size": 224, "quality": 90},
            "codecs": {"pillow": "11"},
            "bits": {"coco": 0},
            "ledger": (),
            "reasons": File(path="manifests/ledger-0.parquet", nbytes=0, sha256="0"),
            "shards": tuple(shards),
            **fields,
        }
        return Seal(**whole)

    return make_seal


@pytest.fixture
def write_set(make_shard, make_seal) -> Callable[..., Seal]:
    """Write rows as manifests, one a (corpus, split), and seal them with a ledger."""

    def write_set(folder: Path, rows: Sequence[Row]) -> Seal:
        shards, ledger = [], []
        for corpus, split in sorted({(row["corpus"], row["split"]) for row in rows}):
            of_shard = [
                {name: row.get(name) for name in MANIFEST.names}
                for row in rows
                if (row["corpus"], row["split"]) == (corpus, split)
            ]
            data = store.parquet_bytes(pa.Table.from_pylist(of_shard, schema=MANIFEST))
            sha256 = hashlib.sha256(data).hexdigest()
            name = f"manifests/{corpus}/{corpus}-{split}-00000-{sha256[:8]}.parquet"
            store.write(folder / name, data)
            fates = Counter[str]()
            for row in of_shard:
                fates[str(row["status"])] += row["turns"] or 0
            records = sum(row["status"] == "written" for row in of_shard)
            shards.append(
                make_shard(
                    corpus=corpus,
                    split=split,
                    tar=f"{corpus}/{corpus}-{split}-00000.tar",
                    manifest=name,
                    manifest_nbytes=len(data),
                    manifest_sha256=sha256,
                    rows_digest=rows_digest(of_shard),
                    records=records,
                    turns=fates["written"],
                )
            )
            ledger.append(
                Count(
                    corpus=corpus,
                    split=split,
                    read=sum(fates.values()),
                    written=fates["written"],
                    quarantined=fates["quarantined"],
                    duplicate=fates["duplicate"],
                    held_back=fates["held back"],
                    records=records,
                    unannotated=0,
                )
            )
        seal = make_seal(shards, ledger=tuple(ledger))
        store.commit(folder, seal)
        return seal

    return write_set
