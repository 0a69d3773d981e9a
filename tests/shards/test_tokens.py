"""The token cache holds every turn as the tokenizer says it, is made once, and is never stale."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import xxhash

from manifests.schema import KINDS, ROBOTS, SITE_FACTS, Step, Turn, canonical_json
from shards import tokens
from shards.reader import Dataset
from shards.rows import DamageError
from shards.tokens import TARGET, Encoder, Tokens, cache_of, cached, make_tokens
from shards.tokens import open_tokens as open_cache


def open_tokens(folder: Path, source, encoder: Encoder, progress=lambda n: None) -> Tokens:
    """A source's cache under a data set's folder, made first if it is not there."""
    dataset = SimpleNamespace(folder=folder)
    where = cache_of(cast(Dataset, dataset), source, encoder)
    if not where.exists():
        make_tokens(where, source, encoder, progress)
    return open_cache(where)


def _parts(folder: Path) -> dict[str, bytes]:
    paths = (path for path in (folder / "tokens").rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def small(tmp_path, make_record, write_shard, seal_shards):
    """open(turns or a record's fields) -> the source of a data set of one record."""

    def small(**fields):
        record = make_record("coco", 1, **fields)
        seal_shards(tmp_path, [write_shard(tmp_path, [record])])
        return Dataset(tmp_path).source("coco", "train"), record

    return small


def _facts(cache: Tokens) -> Any:
    (row,) = cache.records
    return cache.facts[row["facts"]]


@pytest.mark.parametrize("corpus", ["coco", "vqa", "llava", "robots"])
def test_every_turn_of_every_record_is_there(copy, encoder, corpus):
    source = Dataset(copy).source(corpus, "train")
    cache = open_tokens(copy, source, encoder)
    assert len(cache.records) == len(source)
    at = 0
    for number, row in enumerate(cache.records):
        record = source.record(number)
        turns = cache.turns[int(row["first"]) : int(row["first"] + row["turns"])]
        assert len(turns) == len(record.turns)
        for turn, said in zip(turns, record.turns, strict=True):
            ids = encoder.ids(said.prompt) + encoder.ids(said.target) + [2]
            assert (int(turn["start"]), int(turn["thread"])) == (at, said.thread)
            here = cache.tokens[at : at + len(ids)]
            assert here["id"].tolist() == ids
            learnt = (here["mark"] & TARGET > 0).tolist()
            assert learnt == [place >= int(turn["prompt"]) for place in range(len(ids))]
            threads = sorted({turn.thread for turn in record.turns})
            assert set((here["mark"] % TARGET).tolist()) == {threads.index(said.thread)}
            assert int(turn["prompt"]) == len(encoder.ids(said.prompt))
            assert int(turn["target"]) == len(encoder.ids(said.target)) + 1
            assert KINDS[turn["kind"]] == said.kind
            at += len(ids)
        key, group = (xxhash.xxh3_64_intdigest(s.encode()) for s in (record.key, record.group))
        assert int(row["key"]) == key
        assert int(row["group"]) % 2**64 == group
    assert at == len(cache.tokens) == cache.lengths.sum()
    assert cache.tokens.dtype.itemsize == 4
    assert cache.lengths.dtype == np.int64


def test_labels_of_a_record_are_described(small, encoder, tmp_path):
    steps = (
        Step(text="look", robot="Humanoid", order=0),
        Step(text="fly", robot="Drone", order=1),
    )
    meta = canonical_json({"site": {"terrain": "water", "wind_ms": 3.0}})
    source, _ = small(robots=("Drone", "Humanoid"), plan=steps, meta=meta)
    row = _facts(open_tokens(tmp_path, source, encoder))
    assert row["robots"].tolist() == [1, 0, 1, 0, 0]
    assert not row["single"], "it has a plan"
    assert row["plan"].tolist() == [[2, 0], [0, 1], [-1, -1], [-1, -1], [-1, -1]]
    site = dict(zip(SITE_FACTS, row["site"].tolist(), strict=True))
    assert (site["terrain_water"], site["terrain_mud"], site["wind_ms"]) == (1, 0, 3)
    assert np.isnan(site["people"])


@pytest.mark.parametrize(
    ("robots", "single"), [((), False), (("Drone",), True), (("Drone", "Humanoid"), True)]
)
def test_one_robot_is_enough_where_there_is_no_plan(small, encoder, tmp_path, robots, single):
    source, _ = small(robots=robots)
    assert bool(_facts(open_tokens(tmp_path, source, encoder))["single"]) is single


def test_records_that_say_the_same_of_robots_share_a_row(copy, encoder):
    source = Dataset(copy).source("robots", "train")
    cache = open_tokens(copy, source, encoder)
    for number, row in enumerate(cache.records):
        record, facts = source.record(number), cache.facts[row["facts"]]
        assert facts["robots"].tolist() == [robot in record.robots for robot in ROBOTS]
    talks = open_tokens(copy, Dataset(copy).source("llava", "train"), encoder)
    assert len(talks.facts) == 1, "what has no robots has the row of all that have none"
    (nothing,) = talks.facts
    assert not nothing["robots"].any() and (nothing["plan"] == -1).all()
    assert np.isnan(nothing["site"]).all()


def test_turns_stand_by_thread_and_inside_a_thread_as_they_were_said(small, encoder, tmp_path):
    def turn(thread: int, target: str) -> Turn:
        return Turn(thread=thread, id=target, prompt="", target=target, kind="qa")

    source, _ = small(turns=(turn(4, "d"), turn(0, "b"), turn(4, "c"), turn(0, "a")))
    cache = open_tokens(tmp_path, source, encoder)
    assert cache.turns["thread"].tolist() == [0, 0, 4, 4]
    expected = [encoder.ids(word)[0] for word in "badc"]
    assert cache.tokens["id"][::2].tolist() == expected


def test_the_cache_is_made_once_and_memory_mapped(copy, encoder):
    source = Dataset(copy).source("coco", "train")
    done = []
    open_tokens(copy, source, encoder, done.append)
    assert sum(done) == 40
    parts = _parts(copy)
    assert {Path(name).name for name in parts} == {
        "tokens.bin",
        "turns.bin",
        "records.bin",
        "facts.bin",
        "xxh3-128",
    }
    assert all(name.startswith(f"tokens/{'f' * 12}/coco-train-") for name in parts)

    class Deaf(type(encoder)):
        def encode_turns(self, *_):
            raise AssertionError("it is there already")

    again = open_tokens(copy, source, Deaf())
    assert isinstance(again.tokens, np.memmap)
    assert _parts(copy) == parts


def test_another_tokenizer_or_build_has_a_cache_of_its_own(copy, encoder, small, tmp_path):
    class Other(type(encoder)):
        digest = "e" * 64

        @staticmethod
        def ids(text: str) -> list[int]:
            return [7] * len(text.split())

    source = Dataset(copy).source("coco", "train")
    first = open_tokens(copy, source, encoder).tokens["id"].tolist()
    assert set(open_tokens(copy, source, Other()).tokens["id"].tolist()) == {2, 7}
    assert open_tokens(copy, source, encoder).tokens["id"].tolist() == first
    one, _ = small()  # another data set, as if it were built over the first
    assert open_tokens(copy, one, encoder).records.shape == (1,)
    assert len({name.split("/")[2] for name in _parts(copy)}) == 2


def test_the_size_of_a_chunk_changes_nothing(whole, copy, encoder, monkeypatch, tmp_path):
    source = Dataset(copy).source("vqa", "train")
    open_tokens(tmp_path / "a", source, encoder)
    monkeypatch.setattr(tokens, "_CHUNK", 7)
    done = []
    open_tokens(tmp_path / "b", source, encoder, done.append)
    assert done == [7, 7, 7, 3]
    assert _parts(tmp_path / "a") == _parts(tmp_path / "b")


def test_what_does_not_fit_is_refused_and_leaves_nothing(small, encoder, tmp_path):
    turn = Turn(thread=0, id="t9", prompt="", target="word " * 65_535, kind="qa")
    source, _ = small(turns=(turn,))
    with pytest.raises(ValueError, match="coco/train: turn t9 is over 65535 tokens long"):
        open_tokens(tmp_path, source, encoder)
    assert _parts(tmp_path) == {}
    assert list((tmp_path / "tokens").rglob(".tmp-*")) == []

    class Wide(type(encoder)):
        vocab_size = 65_537

    with pytest.raises(ValueError, match="a vocabulary of 65537 does not fit in uint16"):
        open_tokens(tmp_path, source, Wide())


def test_the_highest_id_survives(small, encoder, tmp_path):
    class Full(type(encoder)):
        vocab_size = 65_536

        @staticmethod
        def ids(text: str) -> list[int]:
            return [65_535] * len(text.split())

    source, _ = small()
    assert open_tokens(tmp_path, source, Full()).tokens["id"].max() == 65_535


@pytest.mark.parametrize("part", ["tokens", "turns", "records", "facts"])
def test_a_damaged_cache_is_not_used(copy, encoder, part):
    source = Dataset(copy).source("coco", "train")
    open_tokens(copy, source, encoder)
    (path,) = (copy / "tokens").rglob(f"{part}.bin")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamageError, match="is damaged; remove it, and it is made anew"):
        open_tokens(copy, source, encoder)
    assert open_cache(path.parent, checked=False), "another process has read it all"
    path.unlink()
    with pytest.raises(DamageError, match="is damaged; remove it, and it is made anew"):
        open_tokens(copy, source, encoder)


def test_caches_are_found_by_tokenizer(copy, encoder):
    source = Dataset(copy).source("coco", "train")
    assert cached(copy, source) == {}
    open_tokens(copy, source, encoder)
    assert list(cached(copy, source)) == ["f" * 12]
