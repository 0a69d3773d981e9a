"""Lengths, sizes, duplicates and leaks, counted by hand on a few records."""

import json
from pathlib import Path

import pytest
import tokenizers
from typer.testing import CliRunner

from manifests.schema import Split, Turn
from manifests.seal import Seal
from shards import tokens
from shards.cli import app
from shards.duplicates import Shared
from shards.reader import DamageError, Dataset
from shards.stats import Spread, spread, stats
from shards.writer import ShardWriter, Source


def _turn(number: int, prompt: str, target: str, thread: int = 0) -> Turn:
    return Turn(thread=thread, id=str(number), prompt=prompt, target=target, kind="qa")


# corpus, split, key, group, digest of the source, its size, prompts and targets
RECORDS = (
    ("a", "train", "a-1", "coco:1", "1", (640, 480), [("is it red", "Yes."), ("", "no way  now")]),
    ("a", "train", "a-2", "coco:2", "1", (300, 400), [("is it", "yes")]),
    ("a", "val", "a-3", "coco:3", "3", (64, 48), [("what", "a b c d e f g h")]),
    ("b", "train", "b-1", "coco:1", "1", (640, 480), [("tell", "it"), ("more", "it is")]),
    ("b", "train", "b-2", "coco:9", "3", (64, 48), [("tell", "it")]),
    ("b", "test", "b-3", "coco:2", "5", (64, 48), [("tell", "it")]),
)


PLACES: tuple[tuple[str, Split], ...] = (
    ("a", "train"),
    ("a", "val"),
    ("b", "test"),
    ("b", "train"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_record, seal_shards) -> Path:
    out = tmp_path_factory.mktemp("stats") / "d"
    shards = []
    for corpus, split in PLACES:
        with ShardWriter(out, corpus, split, "00000") as writer:
            mine = (record[2:] for record in RECORDS if record[:2] == (corpus, split))
            for key, group, digest, (width, height), said in mine:
                turns = tuple(_turn(i, *texts, thread=i % 2) for i, texts in enumerate(said))
                record = make_record(corpus, 1, split, key=key, group=group, turns=turns)
                place = {"locator": f"file:{key}", "digest": digest * 32}
                writer.add(record, Source(**place, width=width, height=height))
            shards.append(writer.close())
    seal_shards(out, shards)
    return out


def test_texts_and_pictures_are_measured(data):
    found = stats(data)
    assert found.root == Seal.read(data).root
    assert [place.name for place in found.places] == ["a/train", "a/val", "b/test", "b/train"]
    place = found.places[0]
    assert (place.records, place.turns, place.threads) == (2, 3, 3)
    assert place.prompts.words == Spread(total=5, mean=5 / 3, p50=2, p95=3, max=3)
    assert place.targets.words == Spread(total=5, mean=5 / 3, p50=1, p95=3, max=3)
    assert place.targets.characters == Spread(total=18, mean=6, p50=4, p95=11, max=11)
    assert place.prompts.histogram == [1, 0, 2]  # of 0, 1, and 2 or 3 words
    assert found.places[1].targets.histogram == [0, 0, 0, 0, 1]  # 8 to 15
    assert place.width == Spread(total=940, mean=470, p50=300, p95=640, max=640)
    assert place.height == Spread(total=880, mean=440, p50=400, p95=480, max=480)
    assert place.stored == {"32x32": 2}
    shard = Seal.read(data).select("a", "train")[0]
    assert place.nbytes.total == shard.nbytes - 1024
    assert place.distinct == 2  # "Yes." is "yes"


def test_a_picture_of_several_records_is_found(data):
    found = stats(data)
    assert [(place.name, place.repeated) for place in found.places] == [
        ("a/train", 2),
        ("a/val", 0),
        ("b/test", 0),
        ("b/train", 0),
    ]
    image = {"what": "image", "count": 1}
    assert found.shared == [Shared(**image, places=("a/train", "b/train"), keys=("a-1", "b-1"))]
    assert found.leaks == [
        Shared(**image, places=("a/val", "b/train"), keys=("a-3", "b-2")),
        Shared(what="group", count=1, places=("a/train", "b/test"), keys=("a-2", "b-3")),
    ]
    alone = stats(data, ["b"])
    assert [place.name for place in alone.places] == ["b/test", "b/train"]
    assert (alone.shared, alone.leaks) == ([], [])


def test_a_corpus_that_is_not_there_is_refused(data):
    with pytest.raises(ValueError, match="has no corpus c; it has a, b"):
        stats(data, ["a", "c"])


def test_tokens_are_those_of_a_cache_or_of_the_tokenizer_given(data, encoder, tmp_path):
    source = Dataset(data).source("a", "train")
    tokens.make_tokens(tokens.cache_of(Dataset(data), source, encoder), source, encoder)
    model = tokenizers.models.WordLevel({"it": 0, "[UNK]": 1}, unk_token="[UNK]")
    words = tokenizers.Tokenizer(model)
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "words.json"))
    first, *_, last = stats(data, tokenizer=tmp_path / "words.json").places
    cached = encoder.digest[:12]
    assert first.targets.tokens == {
        cached: Spread(total=8, mean=8 / 3, p50=2, p95=4, max=4),  # each ends in one of its own
        "given": Spread(total=6, mean=2, p50=2, p95=3, max=3),  # "Yes" and "." are two
    }
    assert first.prompts.tokens[cached].total == 5
    assert set(last.targets.tokens) == {"given"}
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(ValueError, match="no.json is no tokenizer.json"):
        stats(data, tokenizer=tmp_path / "no.json")
    with pytest.raises(ValueError, match="none.json cannot be read: No such file or directory; "):
        stats(data, tokenizer=tmp_path / "none.json")


def test_a_damaged_record_ends_it(copy):
    shard = Dataset(copy).seal.select("llava", "train")[0]
    with (copy / shard.tar).open("r+b") as tar:
        tar.seek(600)
        tar.write(b"\xa5\x5a")
    with pytest.raises(DamageError, match=f"{shard.tar}: record llava-train-.* is damaged"):
        stats(copy, ["llava"])
    stats(copy, ["robots"])
    (copy / shard.manifest).unlink()
    with pytest.raises(DamageError, match=f"a manifest cannot be read: .* validate {copy}$"):
        stats(copy, ["llava"])


@pytest.mark.parametrize(
    ("times", "p50", "p95"),
    [({7: 1}, 7, 7), ({1: 1, 2: 1}, 1, 2), ({1: 95, 2: 5}, 1, 1), ({1: 94, 9: 6}, 1, 9)],
)
def test_quantiles_are_values_that_are_there(times, p50, p95):
    assert (spread(times).p50, spread(times).p95) == (p50, p95)


def test_the_spread_of_nothing_is_zero():
    assert spread({}) == Spread(total=0, mean=0, p50=0, p95=0, max=0)


def test_the_command_prints_tables_and_leaks_or_one_object(data, whole):
    told = CliRunner().invoke(app, ["stats", str(data)])
    assert told.exit_code == 0
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert "a/train prompts 5 1.7 2 3 3 ▄ █" in lines
    assert "a/train 3 2 33.3 2 2" in lines
    assert "LEAKS: pictures or groups in two splits" in lines
    assert "group a/train b/test 1 a-2, b-3" in lines
    assert lines[-1].startswith("2 leak(s): what is in two splits")
    assert max(map(len, told.stdout.splitlines())) <= 100
    assert (
        "No picture and no group is in two splits."
        in CliRunner().invoke(app, ["stats", str(whole), "--corpus", "robots"]).stdout
    )
    said = json.loads(CliRunner().invoke(app, ["stats", str(data), "--json"]).stdout)
    assert [leak["keys"] for leak in said["leaks"]] == [["a-3", "b-2"], ["a-2", "b-3"]]
    assert said["places"][0]["distinct"] == 2


def test_the_command_on_no_data_set(tmp_path):
    told = CliRunner().invoke(app, ["stats", str(tmp_path)])
    assert told.exit_code == 1
    assert told.stderr.startswith(f"stats failed: {tmp_path} is not a sealed data set")
