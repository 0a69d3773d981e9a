"""The corpus `robots` without the one table: the robot-selection set alone, as a build packs it.

Its rows go through the nodes of `augment.py`, shard by shard. No other corpus has pictures of its
tasks, so nothing is left to be joined: the shards are those that a build makes of
`pipelines/configs/full.yaml`, byte for byte where the codecs are the same.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.place import order_in_shard, shard_of, split_of
from manifests.schema import Split, canonical_json
from pipelines import augment
from pipelines.corpora import Folders, robots
from pipelines.light import POLICY, Part
from pipelines.pack import Row as Annotation
from pipelines.pack import pack
from pipelines.scenes import draw_scenes
from pipelines.specs import Line, Packed, ShardPlan
from pipelines.table import SCHEMA, Row, reason

CORPUS = "robots"
BITS = {f"{CORPUS}/train": 3, f"{CORPUS}/val": 0, f"{CORPUS}/test": 0}
PARAPHRASES = 2  # of each train task
_SCHEMA = pa.schema(
    [field.with_type(pa.int64()) if field.name == "thread" else field for field in SCHEMA]
)


def rows(folder: Path) -> list[Row]:
    """The tasks of the set in `folder`, each with its split. Raises CorpusError where there is
    none, ValueError for one whose records cannot be told apart."""
    folder = folder.resolve()
    folders = Folders(CORPUS, folder.parent, folder, folder, robots.SPLITS)
    found = list(robots.survey(folders).rows())
    twice = [key for key, count in Counter(row.key for row in found).items() if count > 1]
    if twice:
        raise ValueError(
            f"{folder} has {len(twice)} ids twice, such as {twice[0]}; expected one a record. "
            f"python -m pipelines build tells doubles apart: build it with that"
        )
    return [msgspec.structs.replace(row, split=row.split or split_of(row.group)) for row in found]


def parts(folder: Path, out: Path) -> list[Part]:
    """The parts of a data set in `out`, a shard each, the longest first."""
    checked = list(augment.split(list(augment.scenarios(rows(folder)))))
    apart = [row for row in checked if row.split != "train" and row.status is None]
    shards: dict[tuple[Split, str], list[Row]] = {}
    for row in checked:
        assert row.split is not None
        shard = shard_of(row.group, BITS[f"{CORPUS}/{row.split}"])
        shards.setdefault((row.split, shard), []).append(row)
    return [
        partial(_part, split, shard, of, apart if split == "train" else [], out)
        for (split, shard), of in sorted(shards.items())
    ]


def _part(
    split: Split, shard: str, tasks: list[Row], apart: list[Row], out: Path
) -> Sequence[Packed]:
    """Put tasks in other words that are near none of `apart`, reason, draw, and write the shard."""
    told = [*augment.paraphrase([*tasks, *apart], PARAPHRASES)][: -len(apart) or None]
    told = [*augment.reasoning(told)]
    told.sort(key=lambda row: (order_in_shard(row.key), len(row.thread), row.thread))
    with TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        path = Path(folder) / "rows.parquet"
        pq.write_table(_table(told), path)
        plan = ShardPlan(
            corpus=CORPUS,
            split=split,
            id=shard,
            rows=str(path),
            annotations=len(told),
            records=len({row.key for row in told if row.status is None}),
        )
        packed = pack(draw_scenes(plan, Path(folder), pool), Path(folder), out, POLICY)
    return [msgspec.structs.replace(packed, lines=(*packed.lines, *_lines(split, told)))]


def _table(told: Sequence[Row]) -> pa.Table:
    """Rows as `pack` reads them, the threads of each record numbered in their order."""
    values, threads = [], Counter[str]()
    for row in told:
        fields = msgspec.structs.asdict(row)
        fields |= {"thread": threads[row.key], "plan": canonical_json(row.plan)}
        threads[row.key] += row.status is None
        values.append({name: fields[name] for name in Annotation._fields})
    wanted = pa.schema([_SCHEMA.field(name) for name in Annotation._fields])
    return pa.Table.from_pylist(values, schema=wanted)


def _lines(split: Split, told: Sequence[Row]) -> Iterator[Line]:
    """A line for each row that is not to be written; `ledger.merged` adds them up."""
    for row in told:
        if row.status is not None:
            yield Line(
                corpus=CORPUS,
                split=split,
                status=row.status,
                reason=reason(row.error or ""),
                annotations=1,
                example=f"{row.error} ({row.id} {row.locator})",
            )
