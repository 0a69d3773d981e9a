"""The scenes of a shard's records, drawn by helper processes: drawing is Python, which one process
does on one core only."""

from concurrent.futures import Executor
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.schema import seen_site
from pipelines.robots.scene import scene_jpeg
from pipelines.specs import ShardPlan

_CHUNK = 64  # scenes that a helper draws at a time
_SCHEMA = pa.schema([("key", pa.string()), ("jpeg", pa.binary())])


def draw_scenes(plan: ShardPlan, folder: Path, pool: Executor) -> ShardPlan:
    """The plan with the file of its scenes: a key and a JPEG for each record that has one."""
    rows = pq.read_table(plan.rows, columns=["key", "locator", "meta", "status"]).to_pylist()
    wanted = {
        row["key"]: (row["locator"].partition(":")[2], row["meta"])
        for row in rows
        if row["status"] is None and row["locator"].startswith("scene:")
    }
    if not wanted:
        return plan
    path = folder / f"{plan.name}.scenes"
    keys, sites = list(wanted), list(wanted.values())
    chunks = [sites[i : i + _CHUNK] for i in range(0, len(sites), _CHUNK)]
    draw_all = pool.map if len(chunks) > 1 else map  # a few are drawn before a helper has started
    with pq.ParquetWriter(path, _SCHEMA, compression="none") as writer:
        for number, drawn in enumerate(draw_all(_draw, chunks)):
            begin = number * _CHUNK
            columns = {"key": keys[begin : begin + len(drawn)], "jpeg": drawn}
            writer.write_table(pa.table(columns, schema=_SCHEMA))
    return msgspec.structs.replace(plan, scenes=str(path))


def _draw(scenes: list[tuple[str, str]]) -> list[bytes]:
    """The JPEG of each (seed, meta)."""
    return [scene_jpeg(seen_site(msgspec.json.decode(meta)), seed) for seed, meta in scenes]
