"""Megatron-Energon draws from the sources of an exported mixture, near their shares."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
import yaml

from manifests import store
from manifests.seal import Seal
from shards import blend, interop
from shards.mixing import Mixing, SourceSpec, resolve
from shards.reader import Dataset
from shards.schedule import Exhausted
from shards.validate import validate

SOURCES = {
    "coco": SourceSpec(weight=5, turns="rotate"),
    "questions": SourceSpec(corpus="vqa", weight=3, turns="pack"),
    "seen": SourceSpec(corpus="coco", split="val", weight=1, turns="rotate"),
    "robots": SourceSpec(weight=1, kinds=("robot",)),
}
MIXTURE = resolve(
    Mixing(),
    {name: spec.weight for name, spec in SOURCES.items()},
    dict.fromkeys(SOURCES, 9),
    dict.fromkeys(SOURCES, 9.0),
    dict.fromkeys(SOURCES, 1),
)
# Opens a blend as its users do and prints what each of many samples is.
DRAW = """
import json, sys
from megatron.energon import (
    Cooker, DefaultTaskEncoder, WorkerConfig, get_loader, get_train_dataset, stateless,
)

@stateless
def as_it_is(sample):
    return sample

class Bytes(DefaultTaskEncoder):
    decoder = None
    cookers = (Cooker(as_it_is),)

loader = iter(get_loader(get_train_dataset(
    sys.argv[1],
    split_part="train",
    batch_size=None,
    worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
    task_encoder=Bytes(),
    shuffle_buffer_size=None,
    max_samples_per_sequence=4,
)))
samples = [next(loader) for _ in range(int(sys.argv[2]))]
print(json.dumps([(s["__subflavors__"], s["__key__"]) for s in samples]))
"""


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    """A copy of `whole` with sidecars."""
    ignored = shutil.ignore_patterns("index", "tok*")
    folder = shutil.copytree(whole, tmp_path / "data", ignore=ignored)
    interop.write(folder)
    return folder


def export(folder: Path, out: Path) -> list[str]:
    return blend.write(Dataset(folder), out, SOURCES, MIXTURE)


def test_energon_draws_from_every_source_near_its_share(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "blend.yaml"
    export(data, out)
    drawn = 600
    run = subprocess.run(
        [sys.executable, "-c", DRAW, out, str(drawn)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    samples = json.loads(run.stdout.splitlines()[-1])
    counts: Counter[str] = Counter()
    keys: dict[str, set[str]] = {name: set() for name in SOURCES}
    for flavors, key in samples:
        spec = SOURCES[flavors["source"]]
        assert key.startswith(f"{spec.corpus or flavors['source']}-{spec.split}-")
        assert (flavors["turns"], tuple(flavors["kinds"])) == (spec.turns, spec.kinds)
        counts[flavors["source"]] += 1
        keys[flavors["source"]].add(key)
    for name, part in MIXTURE.parts.items():
        deviation = (drawn * part.asked * (1 - part.asked)) ** 0.5
        assert abs(counts[name] - drawn * part.asked) < 4 * deviation, name
    assert {name: len(of) for name, of in keys.items()} == {
        "coco": 40, "questions": 24, "seen": 6, "robots": 9,
    }  # fmt: skip


def test_the_weights_are_the_rounded_shares(data: Path, tmp_path: Path) -> None:
    export(data, tmp_path / "blend.yaml")
    told = yaml.safe_load((tmp_path / "blend.yaml").read_text())
    assert (told["__module__"], told["__class__"]) == ("megatron.energon", "MetadatasetV2")
    parts = told["splits"]["train"]["blend"]
    assert [part["weight"] for part in parts] == list(MIXTURE.shares.values()) == [5, 3, 1, 1]
    assert {part["path"] for part in parts} == {str(data.resolve())}
    assert [part["split_part"] for part in parts] == ["train", "train", "val", "train"]


def test_a_split_file_has_the_tars_of_one_corpus(data: Path, tmp_path: Path) -> None:
    files = blend.listings(Seal.read(data))
    assert list(files) == [
        f".nv-meta/split-{corpus}.yaml" for corpus in ("coco", "llava", "robots", "vqa")
    ]
    for name, content in files.items():
        split = yaml.safe_load(content)
        corpus = name.removeprefix(".nv-meta/split-").removesuffix(".yaml")
        whole = yaml.safe_load((data / ".nv-meta/split.yaml").read_text())
        assert split["exclude"] == []
        assert split["split_parts"] == {
            part: [tar for tar in tars if tar.startswith(f"{corpus}/")]
            for part, tars in whole["split_parts"].items()
        }
    assert set(export(data, tmp_path / "one.yaml")) <= files.keys()
    assert all((data / name).read_bytes() == content for name, content in files.items())
    assert export(data, tmp_path / "two.yaml") == [], "they are there"
    (data / ".nv-meta/split-coco.yaml").write_text("of an older build")
    assert export(data, tmp_path / "two.yaml") == [".nv-meta/split-coco.yaml"]


def test_a_corpus_that_is_gone_leaves_no_split_file(data, tmp_path, seal_shards) -> None:
    export(data, tmp_path / "blend.yaml")
    own = data / ".nv-meta/split-mine.yaml"
    own.write_text("split_parts: {train: []}")
    assert blend.left_over(data, Seal.read(data)) == []
    seal_shards(data, [shard for shard in Seal.read(data).shards if shard.corpus != "llava"])
    assert blend.left_over(data, Seal.read(data)) == [".nv-meta/split-llava.yaml"]
    interop.write(data)
    export(data, tmp_path / "blend.yaml")
    names = {path.name for path in (data / ".nv-meta").glob("split-*.yaml")}
    assert names == {f"split-{name}.yaml" for name in ("coco", "robots", "vqa", "mine")}


def test_what_energon_cannot_express_is_said() -> None:
    said = list(blend.limits(SOURCES, MIXTURE))
    assert [sentence.partition(" ")[0] for sentence in said] == [
        "Shares:", "Order:", "Turns", "Kinds",
    ]  # fmt: skip
    assert "coco rotate, questions pack, seen rotate, robots one" in said[2]
    assert "(robots robot)" in said[3]
    ends: dict[Exhausted, str] = {"stop": "ends with the first source", "drop": "is left out"}
    for exhausted, what in ends.items():
        ended = msgspec.structs.replace(MIXTURE, exhausted=exhausted)
        _, _, end, *_ = blend.limits(SOURCES, ended)
        assert what in end
    head = blend.render(Path(), SOURCES, MIXTURE).partition("__module__")[0]
    assert head.splitlines() == [f"# {sentence}." for sentence in said]


def test_what_cannot_be_exported_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"blend.yml: Energon takes .* only if it ends in .yaml"):
        export(data, tmp_path / "blend.yml")
    with pytest.raises(ValueError, match="lies in the data set"):
        export(data, data / "blend.yaml")
    with store.sole_writer(data), pytest.raises(BlockingIOError, match="another build"):
        (data / ".nv-meta/split-coco.yaml").unlink(missing_ok=True)
        export(data, tmp_path / "blend.yaml")
    (data / ".nv-meta/.info.json").write_text("{}")
    with pytest.raises(ValueError, match=f"Make them with: python -m shards sidecars {data}"):
        export(data, tmp_path / "blend.yaml")
    assert not list(tmp_path.glob("blend*"))


def test_what_is_exported_is_a_sidecar_like_another(data: Path, tmp_path: Path) -> None:
    export(data, tmp_path / "blend.yaml")
    assert list(validate(data)) == []
    (data / ".nv-meta/split-coco.yaml").write_text("split_parts: {train: []}")
    (data / ".nv-meta/split-mine.yaml").write_text("split_parts: {train: []}")
    found = {problem.file: problem.what for problem in validate(data)}
    assert set(found) == {".nv-meta/split-coco.yaml", ".nv-meta/split-mine.yaml"}
    assert "python -m shards sidecars" in found[".nv-meta/split-coco.yaml"]
    interop.write(data)
    assert [problem.file for problem in validate(data)] == [".nv-meta/split-mine.yaml"]
