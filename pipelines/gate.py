"""A bucket of placed rows -> what each of its shards is made of, without a byte of an image.

In this order a row ends as: quarantined (its reader said so, or its key is unfit for a tar), held
back (its image or question is protected by another split), quarantined (its key is another
record's), duplicate (said before of the same image), or goes to its shard. The plan is one Parquet
file a shard, so that a worker is told a path, never rows.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl

from manifests.place import order_in_shard
from manifests.schema import Split
from pipelines.buckets import COUNTED, RECORD, normal, with_functions
from pipelines.specs import Line, ShardPlan

_SAID = ("kind", "prompt", "target", "box", "plan", "meta")


class Gated(msgspec.Struct, frozen=True, kw_only=True):
    """The shards of a bucket, and how those of its rows ended that go to none."""

    plans: tuple[ShardPlan, ...]
    lines: tuple[Line, ...]


def gate(
    bucket: Path, disputed: Path, guards: tuple[Path, Path], near: Path | None, out: Path
) -> Gated:
    """Decide how each row of a bucket ends, and write its shards' plans.

    `disputed` and `guards` are what `place` and `guard` wrote; `near` is a Parquet file (group,
    near_group) of train images that look like another.
    """
    rows = pl.read_parquet(bucket, glob=False)
    groups, texts = (pl.read_parquet(path, glob=False) for path in guards)
    rows = _unfit_keys(rows)
    rows = _hold_back(rows, groups)
    rows = _hold_back_questions(rows, texts)
    if near is not None:
        rows = _hold_back_near(rows, pl.read_parquet(near, glob=False))
    rows = _doubled_keys(rows, _owners(pl.read_parquet(disputed, glob=False), groups))
    rows = _doubled_ids(rows)
    rows = _duplicates(rows)
    rows = _thread_numbers(rows)
    lines = tuple(_lines(rows))
    rows = _in_order(rows)
    plans: list[ShardPlan] = []
    for (corpus, split, shard), part in sorted(
        rows.partition_by("corpus", "split", "shard", as_dict=True).items()
    ):
        path = out / f"{corpus}-{split}-{shard}.parquet"
        part.write_parquet(path)
        plan = ShardPlan(
            corpus=str(corpus),
            split=msgspec.convert(split, Split),
            id=str(shard),
            rows=str(path),
            annotations=part.filter(COUNTED).height,
            records=part.filter(pl.col("status").is_null())["key"].n_unique(),
        )
        plans.append(plan)
    return Gated(plans=tuple(plans), lines=lines)


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
    error = pl.format("unfit key: {} is not 1 to 90 of A-Z a-z 0-9 _ -", "key")
    return _set(rows, unfit, "quarantined", error)


def _owners(disputed: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """The record whose a disputed key is: the first one read that is not held back."""
    if disputed.is_empty():
        return disputed
    rows = _hold_back(disputed, groups).filter(pl.col("status").is_null())
    first = [pl.col(name).first().alias(f"first_{name}") for name in RECORD]
    return rows.group_by("key", maintain_order=True).agg(*first)


def _doubled_keys(rows: pl.DataFrame, owners: pl.DataFrame) -> pl.DataFrame:
    """A key names one record; later rows that would make it another are quarantined."""
    if owners.is_empty():
        return rows
    rows = rows.join(owners, on="key", how="left", maintain_order="left")
    other = pl.any_horizontal(pl.col(name) != pl.col(f"first_{name}") for name in RECORD)
    place = ("key", "first_group", "first_split")
    error = pl.format("doubled key: {} is already that of a record of {} in {}", *place)
    return _set(rows, other, "quarantined", error).drop(f"first_{name}" for name in RECORD)


def _hold_back(rows: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """Train rows whose image is protected are not trained on."""
    rows = rows.join(groups, on="group", how="left", maintain_order="left")
    held = (pl.col("split") == "train") & pl.col("by").is_not_null()
    return _set(rows, held, "held back", pl.format("image is protected by {}", "by")).drop("by")


def _hold_back_questions(rows: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Nor are train rows that ask what a protected question asks, of its image or of any."""
    if texts.is_empty():
        return rows
    # A question may come with lines around it ("Answer in a single word"); each is looked up.
    lines = rows.select("row", "group", text=pl.col("prompt").str.split("\n")).explode("text")
    lines = lines.with_columns(text=normal("text"))
    of_any = texts.filter(pl.col("group").is_null()).select("text", any_by="by")
    lines = lines.join(texts, on=["group", "text"], how="left").join(of_any, on="text", how="left")
    asked = lines.group_by("row").agg(by=pl.coalesce("by", "any_by").max())
    rows = rows.join(asked, on="row", how="left", maintain_order="left")
    # A turn cut out of a conversation would leave a hole.
    rows = rows.with_columns(pl.col("by").max().over("key", "split", "thread", "group"))
    held = (pl.col("split") == "train") & pl.col("by").is_not_null()
    error = pl.format("question is protected by {}", "by")
    return _set(rows, held, "held back", error).drop("by")


def _hold_back_near(rows: pl.DataFrame, near: pl.DataFrame) -> pl.DataFrame:
    """Nor are train images that look like a protected one, or like one that is trained on."""
    near = near.select("group", "near_group")
    rows = rows.join(near, on="group", how="left", maintain_order="left")
    held = (pl.col("split") == "train") & pl.col("near_group").is_not_null()
    error = pl.format("image looks like another: {}", "near_group")
    return _set(rows, held, "held back", error).drop("near_group")


def _doubled_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """An annotation that its files hold twice is no second turn of its own thread."""
    rows = rows.sort("row").with_columns(said=pl.struct(_SAID).hash())
    same = ("key", "thread", "id", "status")
    nth, first = pl.int_range(pl.len()).over(same), pl.col("said").first().over(same)
    rows = rows.with_columns(again=nth > 0, equal=pl.col("said") == first)
    again, equal = pl.col("again"), pl.col("equal")
    rows = _set(rows, again & equal, "duplicate", pl.format("said before: as {}", "id"))
    error = pl.format("doubled id: {} is already that of another annotation", "id")
    return _set(rows, again & ~equal, "quarantined", error).drop("said", "again", "equal")


def _duplicates(rows: pl.DataFrame) -> pl.DataFrame:
    """The same said twice of one image in one corpus: the first stays. A conversation is compared
    as a whole, for a turn cut out of it would leave a hole."""
    rows = rows.sort("row")
    threads = (
        rows.filter(pl.col("status").is_null())
        .with_columns(said=pl.struct(_SAID).hash())
        .group_by("corpus", "split", "shard", "group", "key", "thread", maintain_order=True)
        .agg("said", first=pl.col("id").first())
        .with_columns(said=pl.struct("said").hash())
    )
    same = ("corpus", "split", "shard", "group", "said")
    threads = threads.with_columns(
        first=pl.col("first").first().over(same), nth=pl.int_range(pl.len()).over(same)
    )
    rows = rows.join(
        threads.select("key", "thread", "first", "nth"),
        on=["key", "thread"],
        how="left",
        maintain_order="left",
    )
    error = pl.format("said before: as {}", "first")
    return _set(rows, pl.col("nth") > 0, "duplicate", error).drop("first", "nth")


def _thread_numbers(rows: pl.DataFrame) -> pl.DataFrame:
    """`thread` 0, 1 ... in a record, by the annotations' ids; `turn` keeps the order inside one.

    Numbers sort as numbers ("9" before "10"), so that the order does not depend on the files'.
    """
    natural = pl.struct(pl.col("thread").str.len_chars().alias("length"), "thread")
    return rows.with_columns(turn=pl.col("row")).with_columns(
        thread=natural.rank("dense").over("key", pl.col("status").is_null()).cast(pl.Int64) - 1
    )


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Records in the order of md5(key), or in that of their container."""
    rows = with_functions(rows, ["key"], order=order_in_shard)
    by_container = pl.col("shard").str.contains("-")
    rows = rows.with_columns(at=pl.when(by_container).then("position").otherwise(0))
    return rows.sort("at", "order", "thread", "turn", "id").drop("at")


def _lines(rows: pl.DataFrame) -> Iterator[Line]:
    """How many rows ended how, of those that go to no shard."""
    of = ["corpus", "split", "status", "reason"]
    ended = rows.filter(pl.col("status").is_not_null()).with_columns(
        reason=pl.col("error").str.split(": ").list.first()
    )
    named = pl.concat_str("id", "locator", separator=" ").str.strip_chars()
    example = pl.format("{} ({})", "error", named).min().alias("example")
    for row in ended.group_by(of).agg(pl.len().alias("annotations"), example).sort(of).to_dicts():
        yield msgspec.convert(row, Line)
