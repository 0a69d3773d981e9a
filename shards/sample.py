"""Records of a sealed data set as files: KEY.jpg and KEY.json side by side in a new folder."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from heapq import nsmallest
from pathlib import Path
from typing import Any

from manifests import store
from shards.inspect import describe, find, read, reading, select
from shards.outputs import check_outside, writing
from shards.tables import as_json


def sample(
    folder: Path | str,
    out: Path,
    count: int = 10,
    seed: int = 1,
    where: str | None = None,
    key: str | None = None,
) -> list[str]:
    """Write `count` written records for which `where` holds, or that of `key`; returns their keys.

    Which ones: those of least hash of seed, corpus, split and key, so no other record and no order
    of shards changes the rank of one. Raises ValueError if there is none, or two have one key, or
    `out` lies in `folder`, SealError, DamageError, OSError if `out` cannot be written, and
    FileExistsError if it is there; then `out` is as it was.
    """
    check_outside("--out", out, folder)
    if key is not None:
        rows = [row for row in find(folder, key) if row["status"] == "written"]
        if not rows:
            raise ValueError(
                f"{key} was not written; see why: python -m shards inspect {folder} --key {key}"
            )
    else:
        rows = _drawn(folder, count, seed, where)
    keys = [row["key"] for row in rows]
    if doubled := {key for key, times in Counter(keys).items() if times > 1}:
        places = [f"{row['corpus']}/{row['split']}" for row in rows if row["key"] in doubled]
        raise ValueError(
            f"{min(doubled)} is a record in each of {', '.join(places)}, but names one file; ask "
            f"for one of them: --where \"split = '{rows[0]['split']}' and key = '{min(doubled)}'\""
        )
    with writing("--out", out), store.new_folder(out) as temporary:
        for row in rows:
            record = read(folder, row)
            store.write(temporary / f"{row['key']}.jpg", record.image)
            said = as_json(describe(row, record)) + "\n"
            store.write(temporary / f"{row['key']}.json", said.encode())
    return keys


def _drawn(folder: Path | str, count: int, seed: int, where: str | None) -> list[dict[str, Any]]:
    """The rows of least keyed hash, in its order."""
    import polars as pl

    rows = select(folder, where).filter(pl.col("status") == "written")
    with reading(folder, where=where):
        names = rows.select("corpus", "split", "key").collect(engine="streaming")

    def rank(row: Mapping[str, Any]) -> str:
        name = f"{seed}:{row['corpus']}/{row['split']}/{row['key']}"
        return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()

    chosen = nsmallest(count, names.iter_rows(named=True), key=rank)
    if not chosen:
        raise ValueError(f"{folder} has no written record" + (f" where {where}" if where else ""))
    rows = rows.join(pl.LazyFrame(chosen), on=["corpus", "split", "key"], how="semi")
    with reading(folder, where=where):
        found = rows.collect(engine="streaming")
    return sorted(found.to_dicts(), key=rank)
