"""Pictures and groups that several records of a data set have, by its manifests alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from manifests import store
from shards.inspect import reading

if TYPE_CHECKING:
    import polars as pl


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """Pictures, or groups, that two places have in common, with a record of each for an example."""

    what: str  # "image" (the same source bytes) or "group"
    places: tuple[str, str]
    count: int
    keys: tuple[str, str]


class Duplicates(msgspec.Struct, frozen=True, kw_only=True):
    """`repeated`: by "corpus/split", records whose picture another record there has too. `shared`:
    pictures in two corpora of one split. `leaks`: pictures and groups in two splits."""

    repeated: dict[str, int]
    shared: list[Shared]
    leaks: list[Shared]


def find_duplicates(folder: Path | str, corpora: Sequence[str]) -> Duplicates:
    """What the records of some corpora have in common. Raises SealError, or ValueError."""
    import polars as pl

    rows = store.scan(folder).filter(
        pl.col("status") == "written", pl.col("corpus").is_in(list(corpora))
    )
    place = pl.format("{}/{}", "corpus", "split").alias("place")
    rows = rows.select("key", "split", "group", place, image="source_digest")
    with reading(folder):
        images, groups = _several(rows, "image"), _several(rows, "group")
    doubled = images.filter(pl.len().over("image", "place") > 1)
    repeated = dict(doubled.group_by("place").len().iter_rows())
    shared = [*_shared(images, "image"), *_shared(groups, "group")]
    leaks = [pair for pair in shared if _split(pair.places[0]) != _split(pair.places[1])]
    shared = [pair for pair in shared if pair not in leaks and pair.what == "image"]
    return Duplicates(repeated=repeated, shared=shared, leaks=leaks)


def _split(place: str) -> str:
    return place.rpartition("/")[2]


def _several(rows: "pl.LazyFrame", what: str) -> "pl.DataFrame":
    """The rows of what more than one record has."""
    import polars as pl

    often = rows.group_by(what).agg(pl.len()).filter(pl.col("len") > 1, pl.col(what).is_not_null())
    several = rows.join(often.select(what), on=what, how="semi")
    return several.collect(engine="streaming")


def _shared(rows: "pl.DataFrame", what: str) -> Iterator[Shared]:
    """Pairs of places with something in common, the most first."""
    import polars as pl

    held = rows.group_by(what, "place").agg(pl.col("key").min())
    pairs = held.join(held, on=what, suffix="_too").filter(pl.col("place") < pl.col("place_too"))
    found = pairs.group_by("place", "place_too").agg(
        pl.len(), pl.col("key", "key_too").sort_by(what).first()
    )
    for first, second, count, key, key_too in found.sort(
        "len", "place", "place_too", descending=[True, False, False]
    ).iter_rows():
        yield Shared(what=what, places=(first, second), count=count, keys=(key, key_too))
