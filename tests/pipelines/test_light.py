"""Parts made by helper processes are sealed together, or nothing is."""

from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from manifests.schema import Record, Turn
from manifests.seal import Seal
from pipelines import light
from pipelines.robots.scene import scene_jpeg
from pipelines.specs import Line, Packed
from shards.validate import validate
from shards.writer import ShardWriter, Source

QUIET = Console(quiet=True)


def part(out: Path, corpus: str, shard: str) -> list[Packed]:
    jpeg = scene_jpeg({"indoor": 1, "terrain": "floor"}, shard)
    turn = Turn(thread=0, id="0", prompt="", target="a floor", kind="caption")
    key = f"{corpus}-{shard}"
    record = Record(key=key, corpus=corpus, group=key, split="train", image=jpeg, turns=(turn,))
    with ShardWriter(out, corpus, "train", shard) as writer:
        writer.add(record, Source(locator="free", digest="0" * 32, width=224, height=224))
        sealed = writer.close()
    line = Line(
        corpus=corpus, split="train", status="written", reason="", annotations=1, example=""
    )
    return [Packed(shard=sealed, lines=(line,))]


def broken(out: Path) -> list[Packed]:
    raise ValueError("the part cannot be made")


def build(out: Path, corpus: str, *parts: light.Part) -> Seal:
    return light.build(out, {corpus: parts}, {"count": len(parts)}, {}, 1, QUIET)


def test_parts_become_one_data_set(tmp_path: Path) -> None:
    out = tmp_path / "data"
    made = build(out, "a", *(partial(part, out, "a", shard) for shard in ("00001", "00000")))
    assert [shard.id for shard in made.shards] == ["00000", "00001"]
    assert Seal.read(out) == made
    assert list(validate(out)) == []
    (count,) = made.ledger
    assert (count.read, count.written, count.records) == (2, 2, 2)


def test_a_part_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "data"
    before = build(out, "a", partial(part, out, "a", "00000"))
    files = sorted(out.rglob("*"))
    with pytest.raises(ValueError, match="cannot be made"):
        build(out, "a", partial(part, out, "a", "00001"), partial(broken, out))
    assert Seal.read(out) == before
    assert sorted(out.rglob("*")) == files


def test_a_data_set_of_other_corpora_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "data"
    build(out, "b", partial(part, out, "b", "00000"))
    with pytest.raises(ValueError, match=r"is a data set of b, which would be lost; name another"):
        build(out, "a", partial(part, out, "a", "00000"))
    assert list(validate(out)) == []
