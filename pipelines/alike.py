"""Train images that look like a protected one: which images to compare, and what was found.

The node `fingerprint` of a build. Ids tell COCO's pictures apart under all their names; what has
none of them (GQA's, half of which are COCO's too, and pictures from the web) is told by its pixels.
"""

from collections.abc import Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.buckets import Placed
from pipelines.config import BuildConfig
from pipelines.fingerprint import Each, fingerprints, near, near_each_other, unknown

FOLDER = "fingerprints"  # in the data set's: a cache, so that an image is decoded for this once


class Compared(NamedTuple):
    """(group, locator) of the protected images, and of those that are compared with them."""

    protected: pa.Table
    others: pa.Table

    @property
    def all(self) -> pa.Table:
        return pa.concat_tables([self.protected, self.others])


def look_alikes(config: BuildConfig, images: Compared, cache: Path, each: Each, out: Path) -> None:
    """Write the groups of train that look like another, and which (fingerprint.NEAR), to `out`."""
    root = config.root_folder
    prints = fingerprints(images.all, cache, root, config.workers, each)
    guarded, rest = prints.slice(0, len(images.protected)), prints.slice(len(images.protected))
    found = near(guarded, rest)
    if config.protect.near_duplicates == "all":
        kept = pl.DataFrame(rest).join(pl.DataFrame(found), on="group", how="anti").to_arrow()
        found = pa.concat_tables([found, near_each_other(kept.cast(rest.schema))])
    pq.write_table(found, out)


def unhashed(config: BuildConfig, images: Compared, cache: Path) -> list[str]:
    """The locators of images that `look_alikes` would have to read."""
    return unknown(images.all, cache, config.root_folder)


def codecs(config: BuildConfig) -> dict[str, str]:
    """The library whose version decides what looks alike."""
    off = config.protect.near_duplicates == "off"
    return {} if off else {"imagehash": version("imagehash")}


def compared(config: BuildConfig, placed: Sequence[Placed], groups: Path) -> Compared:
    """What is compared by its pixels; `groups` is the Parquet file of protected images."""
    guarded = pl.read_parquet(groups, columns=["group"], glob=False)
    there = pl.col("status").is_null() | (pl.col("status") == "unannotated")
    drawn = pl.col("locator").str.starts_with("scene:") | (pl.col("locator") == "")
    train = pl.col("split") == "train"
    protected, others = [], []
    columns = ["group", "locator", "split", "status"]
    for bucket in chain.from_iterable(one.buckets for one in placed):
        rows = pl.read_parquet(bucket, columns=columns, glob=False).filter(~drawn)
        protected.append(_distinct(rows.join(guarded, on="group", how="semi")))
        rows = rows.filter(train & there)
        others.append(_distinct(rows.join(guarded, on="group", how="anti")))
    return Compared(_table(protected), _table(others))


def _distinct(rows: pl.DataFrame) -> pl.DataFrame:
    """(group, locator) of each group once, at the least of its locators."""
    return rows.select("group", "locator").group_by("group").agg(pl.col("locator").min())


def _table(parts: Sequence[pl.DataFrame]) -> pa.Table:
    """Distinct images in the order of their containers, as `fingerprints` reads them."""
    empty = pl.DataFrame(schema={"group": pl.String, "locator": pl.String})
    rows = _distinct(pl.concat([empty, *parts])).sort("locator")
    return rows.to_arrow().cast(pa.schema([("group", pa.string()), ("locator", pa.string())]))
