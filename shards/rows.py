"""A shard's manifest rows, as far as they are needed, and the records that they name."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from manifests.schema import KINDS
from manifests.seal import Shard

_OPTIONAL = ("pair", "evidence", "locator", "source_digest", "width", "height", "error")


class DamageError(ValueError):
    """Bytes on disk are not those that were sealed."""


def written(folder: Path, shard: Shard, *columns: str) -> pa.Table:
    """Columns of the rows that became records, in the order of the tar.

    Raises DamageError if the manifest cannot be read, or has not as many as were sealed, or rows
    that no record has.
    """
    again = f"Check with: python -m shards validate {folder}"
    try:
        # read_table with a filter would load pandas, where it is installed: a second.
        with pq.ParquetFile(folder / shard.manifest) as file:
            rows = file.read(columns=[*{*columns, "status"}])
        rows = rows.filter(
            pc.call_function("equal", [rows["status"], pa.scalar("written")])
        ).select(columns)
    except (OSError, KeyError, pa.ArrowException) as error:  # KeyError: not a manifest's columns
        raise DamageError(
            f"{shard.manifest} is sealed but cannot be read ({error}). {again}"
        ) from error
    if rows.num_rows != shard.records:
        raise DamageError(
            f"{shard.manifest} has {rows.num_rows} written rows, its seal says {shard.records}. "
            f"{again}"
        )
    if odd := _odd(rows, shard):
        raise DamageError(f"{shard.manifest} has written rows whose {odd}. {again}")
    return rows


def _odd(rows: pa.Table, shard: Shard) -> str:
    """What no row of a record has, if a row has it."""
    for name in rows.column_names:
        if rows[name].null_count and name not in _OPTIONAL:
            return f"{name} is null"
    if "digest" in rows.column_names:
        shape = pc.MatchSubstringOptions("^[0-9a-f]{32}$")
        found = pc.call_function("match_substring_regex", [rows["digest"]], shape)
        if not found.to_numpy().all():
            return "digest is not 32 hexadecimal digits"
    if "kinds" in rows.column_names and not _kinds(rows["kinds"]) <= {*KINDS}:
        return f"kinds are not among {', '.join(KINDS)}"
    if {"offset", "nbytes"} <= {*rows.column_names}:
        offset, nbytes = rows["offset"].to_numpy(), rows["nbytes"].to_numpy()
        inside = (offset >= 0) & (nbytes >= 0) & (nbytes <= shard.nbytes)
        if not (inside & (offset <= shard.nbytes - nbytes)).all():
            return f"offset and nbytes are not inside of the tar's {shard.nbytes} bytes"
    return ""


def _kinds(column: pa.ChunkedArray) -> set[str | None]:
    return {*column.combine_chunks().flatten().unique().to_pylist()}


def extent(folder: Path, tar: str, descriptor: int, row: Mapping[str, Any]) -> bytes:
    """The bytes of the record of a written row, from its open tar.

    Raises DamageError if they are not those that were sealed.
    """
    first, nbytes = row["offset"], row["nbytes"]
    size = os.fstat(descriptor).st_size
    if first is None or nbytes is None or not 0 <= first <= first + nbytes <= size:
        raise DamageError(
            f"{tar}: record {row['key']} cannot be in its {size} bytes: its manifest row has "
            f"offset {first}, nbytes {nbytes}. Check with: python -m shards validate {folder}"
        )
    data = os.pread(descriptor, nbytes, first)
    if xxhash.xxh3_128_hexdigest(data) != row["digest"]:
        raise DamageError(
            f"{tar}: record {row['key']} at byte {row['offset']} is damaged: its digest differs. "
            f"Repair it with: python -m shards repair {folder}"
        )
    return data
