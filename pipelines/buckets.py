"""A corpus's rows, as they were read -> buckets of whole shards, and what the corpus protects.

The first of the gate's two passes. It streams: no more than a batch of rows is in memory, and of a
whole corpus only hashes of its keys and the images and questions that it protects.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow.parquet as pq

from manifests.place import shard_of, split_of
from pipelines.protect import Protect

CONTAINER_ROWS = 8192  # rows of a container in one shard
RECORD = ("group", "split", "locator", "robots", "plan", "meta")  # what a record's rows share
COUNTED = pl.col("status").ne_missing("unannotated")
_BATCH = 65_536  # rows placed at a time
_BUCKET = 250_000  # rows gated at a time, about


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A corpus in buckets of whole shards. The other files are of what it protects, by group and by
    question, and of rows that disagree on whose their key is."""

    corpus: str
    buckets: tuple[str, ...]
    places: tuple[str, ...]  # corpus/split of which something was read
    groups: str
    texts: str
    disputed: str


def place(table: Path, corpus: str, bits: Mapping[str, int], protect: Protect, out: Path) -> Placed:
    """Give each row of a corpus its split and its shard, and sort them into buckets.

    `table` is a Parquet file of pipelines.table.SCHEMA; `bits` the shards' exponent by
    "corpus/split", a place that is not in it has a shard for each 8,192 rows of a container.
    """
    groups: list[pl.DataFrame] = []
    texts: list[pl.DataFrame] = []
    keys: list[pl.DataFrame] = []
    places: set[str] = set()
    read = 0
    with pq.ParquetFile(table) as file, ExitStack() as stack:
        count = max(1, -(-file.metadata.num_rows // _BUCKET))
        buckets = _Buckets(out, corpus, count, stack)
        for batch in file.iter_batches(_BATCH):
            frame = pl.DataFrame(batch)
            rows = _place(frame.with_row_index("row", offset=read), bits)
            read += rows.height
            guarded = _guards(rows, corpus, protect)
            groups.append(guarded[0])
            texts.append(guarded[1])
            keys.append(_keys(rows))
            buckets.add(rows)
            places.update(f"{corpus}/{split}" for split in rows["split"].unique())
    paths = buckets.paths
    files = {name: out / f"{corpus}.{name}" for name in ("groups", "texts", "disputed")}
    _union(groups, {"group": pl.String, "by": pl.String}).write_parquet(files["groups"])
    _union(texts, {"group": pl.String, "text": pl.String, "by": pl.String}).write_parquet(
        files["texts"]
    )
    _disputed(paths, keys).write_parquet(files["disputed"])
    return Placed(
        corpus=corpus,
        buckets=tuple(paths),
        places=tuple(sorted(places)),
        **{name: str(path) for name, path in files.items()},
    )


class _Buckets:
    """Files of placed rows, each of whole shards."""

    def __init__(self, out: Path, corpus: str, count: int, stack: ExitStack) -> None:
        self._out, self._corpus, self._count, self._stack = out, corpus, count, stack
        self._writers: dict[int, tuple[str, pq.ParquetWriter]] = {}

    def add(self, rows: pl.DataFrame) -> None:
        """Append rows, each to the bucket of its shard."""
        shards = rows.select("split", "shard").unique()
        numbers = [self._number(*place) for place in shards.iter_rows()]
        shards = shards.with_columns(bucket=pl.Series(numbers, dtype=pl.Int64))
        rows = rows.join(shards, on=["split", "shard"], how="left", maintain_order="left")
        for (number,), part in rows.partition_by("bucket", as_dict=True).items():
            arrow = part.drop("bucket").to_arrow()
            if number not in self._writers:
                path = str(self._out / f"{self._corpus}-{number}.bucket")
                writer = pq.ParquetWriter(path, arrow.schema, compression="zstd")
                self._writers[number] = (path, self._stack.enter_context(writer))
            self._writers[number][1].write_table(arrow)

    @property
    def paths(self) -> list[str]:
        return [self._writers[number][0] for number in sorted(self._writers)]

    def _number(self, split: str, shard: str) -> int:
        return int(sha256(f"{split}/{shard}".encode()).hexdigest()[:8], 16) % self._count


def guard(placed: Sequence[Placed], protect: Protect, out: Path) -> tuple[Path, Path]:
    """Join what all corpora and the user's lists protect: by group, and by question."""
    groups = [pl.read_parquet(one.groups, glob=False) for one in placed]
    texts = [pl.read_parquet(one.texts, glob=False) for one in placed]
    listed = [(entry, name) for entry, name in protect.listed()]
    groups.append(_frame(["group", "by"], [(e.group, by) for e, by in listed if not e.text]))
    said = _frame(["group", "text", "by"], [(*e, by) for e, by in listed if e.text])
    texts.append(said.with_columns(text=normal("text")).filter(pl.col("text") != ""))
    paths = out / "all.groups", out / "all.texts"
    _by(groups, "group").write_parquet(paths[0])
    _by(texts, "group", "text").write_parquet(paths[1])
    return paths


def _place(rows: pl.DataFrame, bits: Mapping[str, int]) -> pl.DataFrame:
    """Add `split` where the corpus has none, and `shard`."""
    rows = with_functions(rows, ["group"], by_md5=split_of)
    rows = rows.with_columns(split=pl.coalesce("split", "by_md5")).drop("by_md5")

    def shard(corpus: str, split: str, group: str, container: str, part: int) -> str:
        if (exponent := bits.get(f"{corpus}/{split}")) is not None:
            return shard_of(group, exponent)
        return f"{sha256(container.encode()).hexdigest()[:8]}-{part:05d}"

    rows = rows.with_columns(part=pl.col("position") // CONTAINER_ROWS)
    return with_functions(
        rows, ["corpus", "split", "group", "container", "part"], shard=shard
    ).drop("part")


def with_functions(rows: pl.DataFrame, of: list[str], **new: Callable[..., str]) -> pl.DataFrame:
    """Add columns that are functions of the columns `of`, called once for each distinct value."""
    distinct = rows.select(of).unique()
    columns = {
        name: pl.Series([function(*row) for row in distinct.iter_rows()], dtype=pl.String)
        for name, function in new.items()
    }
    return rows.join(distinct.with_columns(**columns), on=of, how="left", maintain_order="left")


def _guards(rows: pl.DataFrame, corpus: str, protect: Protect) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The groups, and the questions, that these rows protect, be they usable here or not."""
    of_split = {s: protect.guards(corpus, s) for s in rows["split"].unique()}
    splits = [[split for split, guards in of_split.items() if guards[i]] for i in (0, 1)]
    by = pl.format("{}/{}", "corpus", "split").alias("by")
    groups = rows.filter(pl.col("split").is_in(splits[0])).select("group", by)
    asked = pl.col("split").is_in(splits[1]) & (pl.col("prompt") != "")
    texts = rows.filter(asked).select("group", normal("prompt").alias("text"), by)
    return groups.unique(), texts.filter(pl.col("text") != "").unique()


def normal(column: str) -> pl.Expr:
    """A question's words alone: without case, punctuation and doubled blanks."""
    words = pl.col(column).str.to_lowercase().str.replace_all(r"[^\w\s]", "")
    return words.str.replace_all(r"\s+", " ").str.strip_chars()


def _keys(rows: pl.DataFrame) -> pl.DataFrame:
    """The distinct (key, record) of these rows, as hashes."""
    record = pl.struct(RECORD).hash().alias("record")
    return rows.select(pl.col("key").hash(), record).unique()


def _disputed(buckets: list[str], keys: list[pl.DataFrame]) -> pl.DataFrame:
    """The rows whose key others claim for another record, in the order in which they were read."""
    none = pl.DataFrame(schema={"key": pl.UInt64, "record": pl.UInt64})
    claims = pl.concat([none, *keys]).unique().group_by("key").len()
    disputed = claims.filter(pl.col("len") > 1)["key"]
    if disputed.is_empty():
        return pl.DataFrame()
    columns = ["row", "key", "status", "error", *RECORD]
    of_these = pl.col("key").hash().is_in(disputed.implode())
    rows = (pl.read_parquet(path, columns=columns, glob=False) for path in buckets)
    return pl.concat([part.filter(of_these) for part in rows]).sort("row")


def _frame(names: list[str], rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def _union(frames: list[pl.DataFrame], schema: Mapping[str, Any]) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=schema), *frames]).unique().sort(list(schema))


def _by(frames: list[pl.DataFrame], *of: str) -> pl.DataFrame:
    """One row for each distinct `of`, with all that protect it: "coco/val and gqa/val"."""
    said = pl.concat(frames).unique().sort("by")
    return said.group_by(of).agg(pl.col("by").str.join(" and ")).sort(of)
