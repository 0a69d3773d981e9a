"""The table -> what each shard is made of: joined, placed, gated, without a byte of an image.

In this order a row ends as: quarantined (its reader said so, or its key is unfit for a tar), held
back (its image is protected by another split), quarantined (its key is another record's), duplicate
(said before of the same image), or goes to its shard. The plan is one Parquet file a shard, so that
a worker is told a path, never rows.
"""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import polars as pl

from manifests.place import order_in_shard, shard_of, split_of
from manifests.schema import Split

_SAID = ("corpus", "split", "group", "kind", "prompt", "target", "box", "plan", "meta")
# What all rows of a record share; `pack.py` takes them from the first.
_RECORD = ("group", "split", "locator", "robots", "plan", "meta")


class ShardPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One shard to be packed: its place, the Parquet file of its rows, and that of its scenes."""

    corpus: str
    split: Split
    id: str
    rows: str
    annotations: int
    scenes: str | None = None

    @property
    def name(self) -> str:
        return f"{self.corpus}-{self.split}-{self.id}"


def gate(
    tables: Sequence[Path], bits: Mapping[str, int], protect: Sequence[str], out: Path
) -> list[ShardPlan]:
    """Place and gate the rows of all corpora; one plan a shard, sorted by place.

    `tables` are Parquet files of pipelines.table.SCHEMA, `bits` the shards' exponent by place,
    `protect` patterns such as "coco/val".
    """
    rows = pl.concat([pl.read_parquet(path, glob=False) for path in tables])
    rows = _place(rows, bits)
    rows = _unfit_keys(rows)
    rows = _hold_back(rows, protect)
    rows = _doubled_keys(rows)
    rows = _duplicates(rows)
    rows = _thread_numbers(rows)
    plans: list[ShardPlan] = []
    for (corpus, split, shard), part in sorted(
        rows.partition_by("corpus", "split", "shard", as_dict=True).items()
    ):
        path = out / f"{corpus}-{split}-{shard}.parquet"
        part.sort("order", "thread", "turn", "id").write_parquet(path)
        plan = ShardPlan(
            corpus=str(corpus),
            split=msgspec.convert(split, Split),
            id=str(shard),
            rows=str(path),
            annotations=_annotations(part),
        )
        plans.append(plan)
    return plans


def _annotations(rows: pl.DataFrame) -> int:
    return rows.filter(pl.col("status").ne_missing("unannotated")).height


def _place(rows: pl.DataFrame, bits: Mapping[str, int]) -> pl.DataFrame:
    """Add `split` where the corpus has none, `shard`, and `order` in it."""
    rows = rows.with_row_index("row")  # joins do not keep the order in which a corpus was read
    rows = _with(rows, ["group"], by_md5=split_of)
    rows = rows.with_columns(split=pl.coalesce("split", "by_md5")).drop("by_md5")
    rows = _with(
        rows,
        ["corpus", "split", "group"],
        shard=lambda corpus, split, group: shard_of(group, bits[f"{corpus}/{split}"]),
    )
    return _with(rows, ["key"], order=order_in_shard).sort("row")


def _with(rows: pl.DataFrame, of: list[str], **new: Callable[..., str]) -> pl.DataFrame:
    """Add columns that are functions of the columns `of`, called once for each distinct value."""
    distinct = rows.select(of).unique()
    columns = {
        name: pl.Series([function(*row) for row in distinct.iter_rows()], dtype=pl.String)
        for name, function in new.items()
    }
    return rows.join(distinct.with_columns(**columns), on=of, how="left")


def _set(rows: pl.DataFrame, where: pl.Expr, status: str, error: pl.Expr) -> pl.DataFrame:
    """Give rows that have no status yet, and for which `where` holds, one."""
    chosen = pl.col("status").is_null() & where.fill_null(value=False)
    return rows.with_columns(
        error=pl.when(chosen).then(error).otherwise("error"),
        status=pl.when(chosen).then(pl.lit(status)).otherwise("status"),
    )


def _unfit_keys(rows: pl.DataFrame) -> pl.DataFrame:
    """One odd name in a corpus is one row quarantined; `schema.check` would refuse its shard."""
    unfit = ~pl.col("key").str.contains(r"^[A-Za-z0-9_-]{1,90}$")
    error = pl.format("key {} is not 1 to 90 of A-Z a-z 0-9 _ -", "key")
    return _set(rows, unfit, "quarantined", error)


def _doubled_keys(rows: pl.DataFrame) -> pl.DataFrame:
    """A key names one record; later rows that would make it another are quarantined."""
    usable = rows.filter(pl.col("status").is_null())
    first = [pl.col(name).first().alias(f"first_{name}") for name in _RECORD]
    owner = usable.group_by("key", maintain_order=True).agg(*first)
    rows = rows.join(owner, on="key", how="left", maintain_order="left")
    other = pl.any_horizontal(pl.col(name) != pl.col(f"first_{name}") for name in _RECORD)
    place = ("key", "first_group", "first_split")
    error = pl.format("key {} is already that of a record of {} in {}", *place)
    return _set(rows, other, "quarantined", error).drop(f"first_{name}" for name in _RECORD)


def _hold_back(rows: pl.DataFrame, protect: Sequence[str]) -> pl.DataFrame:
    """Train rows whose image stands in a protected corpus/split are not trained on."""
    places = rows.select("corpus", "split").unique()
    guarded = places.filter(
        pl.Series(
            [
                any(fnmatch.fnmatchcase(f"{c}/{s}", p) for p in protect)
                for c, s in places.iter_rows()
            ],
            dtype=pl.Boolean,
        )
    )
    groups = (
        rows.filter(pl.col("status").is_null() | (pl.col("status") == "unannotated"))
        .join(guarded, on=["corpus", "split"], how="semi")
        .group_by("group")
        .agg(by=pl.format("{}/{}", "corpus", "split").min())
    )
    rows = rows.join(groups, on="group", how="left", maintain_order="left")
    held = (pl.col("split") == "train") & pl.col("by").is_not_null()
    return _set(rows, held, "held back", pl.format("image is protected by {}", "by")).drop("by")


def _duplicates(rows: pl.DataFrame) -> pl.DataFrame:
    """The same said twice of one image in one corpus: the first stays."""
    usable = pl.col("status").is_null()
    same = rows.filter(usable).with_columns(
        first=pl.col("id").first().over(*_SAID), nth=pl.int_range(pl.len()).over(*_SAID)
    )
    rows = rows.join(
        same.select("row", "first", "nth"), on="row", how="left", maintain_order="left"
    )
    return _set(rows, pl.col("nth") > 0, "duplicate", pl.format("same as {}", "first")).drop(
        "first", "nth"
    )


def _thread_numbers(rows: pl.DataFrame) -> pl.DataFrame:
    """`thread` 0, 1 ... in a record, by the annotations' ids; `turn` keeps the order inside one.

    Numbers sort as numbers ("9" before "10"), so that the order does not depend on the files'.
    """
    natural = pl.struct(pl.col("thread").str.len_chars().alias("length"), "thread")
    return rows.with_columns(turn=pl.col("row")).with_columns(
        thread=natural.rank("dense").over("key", pl.col("status").is_null()).cast(pl.Int64) - 1
    )
