"""Small sealed data sets, written without a pipeline: a picture and a caption a record."""

from collections.abc import Callable, Sequence
from pathlib import Path

from photos import caption

from manifests import store
from manifests.schema import SCHEMA_VERSION, Record, Turn
from manifests.seal import FORMAT, Count, Seal, Shard, merkle_root
from shards.images import ImagePolicy
from shards.writer import ShardWriter, Source


def _captioned(count: int) -> Turn:
    return Turn(thread=0, id=str(count), prompt="", target=caption(count), kind="caption")


def write_shard(
    out: Path,
    corpus: str,
    number: int,
    pictures: Sequence[tuple[int, bytes]],
    side: int,
    said: Callable[[int], Turn] = _captioned,
) -> Shard:
    """Shard `number` of a corpus's train split: (number, JPEG) of each record, and what is `said`
    of each by its number."""
    with ShardWriter(out, corpus, "train", f"{number:05d}") as writer:
        for count, jpeg in pictures:
            key = f"{corpus}-{count:012d}"
            record = Record(
                key=key,
                corpus=corpus,
                group=f"{corpus}:{count}",
                split="train",
                image=jpeg,
                turns=(said(count),),
            )
            writer.add(record, Source(locator=key, digest="0" * 32, width=side, height=side))
        return writer.close()


def seal(out: Path, shards: Sequence[Shard], policy: ImagePolicy) -> None:
    """Seal shards of train splits, whose every annotation was written."""
    fates = {"quarantined": 0, "duplicate": 0, "held_back": 0, "unannotated": 0}
    ledger = []
    for corpus in sorted({shard.corpus for shard in shards}):
        records = sum(shard.records for shard in shards if shard.corpus == corpus)
        sums = {"read": records, "written": records, "records": records}
        ledger.append(Count(corpus=corpus, split="train", **sums, **fates))
    sealed = Seal(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        root=merkle_root(shards),
        config_digest="0" * 64,
        image_policy={"policy": policy.policy, "size": policy.size, "quality": policy.quality},
        codecs={},
        bits={},
        ledger=tuple(ledger),
        reasons=store.write_named(out, "manifests/ledger", ".parquet", b"reasons"),
        shards=tuple(shards),
    )
    store.commit(out, sealed)
