"""The drawn tree as a downloader's disk has it: caches, gaps, and files that no reader wants."""

import io
import json
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from pipelines.samples import write_samples

PROMPT = "Please carefully observe the area circled in the image and come up with a caption "
PROMPT += "for the area."
CACHES = {
    "refcoco": ("lmms-lab___ref_coco/default/0.0.0", "ref_coco",
                {"val": 2, "test": 2, "testA": 1, "testB": 1}),
    "refcoco_plus": ("lmms-lab___ref_coc_oplus/default/0.0.0", "ref_coc_oplus",
                     {"val": 2, "testA": 1, "testB": 1}),
    "refcocog": ("lmms-lab___ref_coc_og/default/0.0.0", "ref_coc_og", {"val": 2, "test": 2}),
    "cc3m": ("pixparse___cc3m-wds/default/0.0.0", "cc3m-wds", {"train": 3, "validation": 1}),
}  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base_vlm")
    write_samples(out, 400, 5, as_on_disk=True)
    return out


def _folder(tree: Path, corpus: str) -> Path:
    (folder,) = (p for p in (tree / corpus / CACHES[corpus][0]).iterdir() if p.is_dir())
    assert re.fullmatch("[0-9a-f]{40}", folder.name)
    return folder


def _rows(tree: Path, corpus: str, split: str) -> list[dict]:
    name = CACHES[corpus][1]
    paths = sorted(_folder(tree, corpus).glob(f"{name}-{split}*.arrow"))
    exact = [p for p in paths if re.fullmatch(rf"{name}-{split}(-\d+-of-\d+)?\.arrow", p.name)]
    return [row for path in exact
            for row in pa.ipc.open_stream(path.read_bytes()).read_all().to_pylist()]  # fmt: skip


def test_files_beside_the_corpora_are_those_that_a_downloader_leaves(tree):
    def names(corpus: str) -> set[str]:
        files = (p for p in (tree / corpus).rglob("*") if p.is_file())
        return {p.relative_to(tree / corpus).as_posix() for p in files if p.suffix != ".jpg"}

    coco = names("coco")
    assert len(coco) == 12, "6 JSON, 3 zips, 3 markers"
    assert ".extracted_train2017.zip.marker" in coco
    assert {f"annotations/{kind}_{split}2017.json" for split in ("train", "val")
            for kind in ("captions", "instances", "person_keypoints")} <= coco  # fmt: skip
    assert Counter(Path(n).suffix for n in names("vqa")) == {".zip": 4, ".json": 4, ".marker": 4}
    okvqa = names("okvqa")
    assert len(okvqa) == 14
    assert "__MACOSX/._mscoco_train2014_annotations.json" in okvqa
    fork = (tree / "okvqa/__MACOSX/._mscoco_val2014_annotations.json").read_bytes()
    assert fork[:8] == b"\x00\x05\x16\x07\x00\x02\x00\x00"
    with pytest.raises(UnicodeDecodeError):
        fork.decode()
    assert names("aokvqa") == {
        *("aokvqa_v1p0.tar.gz", ".extracted_aokvqa_v1p0.tar.gz.marker", "aokvqa_v1p0_train.json"),
        *("aokvqa_v1p0_val.json", "aokvqa_v1p0_test.json"),
        *("large_vocab_train.csv", "specialized_vocab_train.csv"),
    }
    gqa = names("gqa")
    assert len(gqa) == 25
    assert Counter(Path(n).suffix for n in gqa) == {".json": 20, ".zip": 2, ".marker": 2, ".txt": 1}
    assert names("ocrvqa") == {"dataset.json", "LICENCE.txt", "loadDataset.py"}
    assert not (tree / "ocrvqa/images").exists()
    assert names("laion") == {".download_attempted"}
    assert names("llava") == {"llava_instruct_150k.json"}
    assert {"README.txt", ".download_attempted"} <= names("cc3m")


@pytest.mark.parametrize("corpus", CACHES)
def test_caches_are_arrow_streams_named_as_the_datasets_library_names_them(tree, corpus):
    _, name, splits = CACHES[corpus]
    folder = _folder(tree, corpus)
    expected = {
        f"{name}-{split}{f'-{i:05d}-of-{count:05d}' if count > 1 else ''}.arrow"
        for split, count in splits.items()
        for i in range(count)
    }
    assert {p.name for p in folder.iterdir()} == expected | {"dataset_info.json"}
    assert sum(1 for p in (tree / corpus).rglob("*.lock")) == 3
    info = json.loads((folder / "dataset_info.json").read_text())
    assert {s: i["num_examples"] for s, i in info["splits"].items()} == {
        split: len(_rows(tree, corpus, split)) for split in splits
    }
    for path in folder.glob("*.arrow"):
        with pytest.raises(pa.ArrowInvalid):  # the trap of the format: it is no Arrow *file*
            pa.ipc.open_file(path.read_bytes())
        with pa.ipc.open_stream(path.read_bytes()) as reader:
            features = json.loads(reader.schema.metadata[b"huggingface"])["info"]["features"]
            assert list(features) == reader.schema.names
            batches = list(reader)
        assert all(0 < batch.num_rows <= 7 for batch in batches)
    widest = max(folder.glob("*.arrow"), key=lambda path: path.stat().st_size)
    with pa.ipc.open_stream(widest.read_bytes()) as reader:
        assert len(list(reader)) > 1


def test_refcoco_caches_have_evaluation_splits_alone_and_repeat_rows(tree):
    with pa.ipc.open_stream((_folder(tree, "refcoco") / "ref_coco-testA.arrow").read_bytes()) as r:
        assert r.schema.remove_metadata() == pa.schema([
            ("question_id", pa.string()),
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("question", pa.string()),
            ("answer", pa.list_(pa.string())),
            ("segmentation", pa.list_(pa.float32())),
            ("bbox", pa.list_(pa.float32())),
            ("iscrowd", pa.int8()),
            ("file_name", pa.string()),
        ])  # fmt: skip
    rows = {split: _rows(tree, "refcoco", split) for split in ("val", "test", "testA", "testB")}
    ids = {split: Counter(row["question_id"] for row in held) for split, held in rows.items()}
    assert ids["test"] == ids["testA"] + ids["testB"]
    assert ids["test"] < ids["val"], "val holds the rows of test, and its own"
    everything = [row for held in rows.values() for row in held]
    assert {row["question"] for row in everything} == {PROMPT}
    assert any(len(set(row["answer"])) < len(row["answer"]) for row in everything)
    for row in everything:
        x, y, w, h = row["bbox"]
        picture = Image.open(io.BytesIO(row["image"]["bytes"]))
        assert 0 <= x < x + w <= picture.width
        assert 0 <= y < y + h <= picture.height
        assert row["segmentation"] == [x, y, x + w, y, x + w, y + h, x, y + h]
        match = re.fullmatch(r"COCO_train2014_(\d{12})_(\d+)\.jpg", row["file_name"])
        assert match is not None
        assert match[2] == row["question_id"]
        stored = tree / f"coco/train2017/{match[1]}.jpg"
        assert stored.read_bytes() == row["image"]["bytes"]


def test_cc3m_keys_begin_anew_in_each_split_and_validation_has_no_json(tree):
    train, validation = (_rows(tree, "cc3m", split) for split in ("train", "validation"))
    assert set(train[0]) == {"jpg", "json", "txt", "__key__", "__url__"}
    assert set(validation[0]) == {"jpg", "txt", "__key__", "__url__"}
    assert [row["__key__"] for row in train] == [f"{i:09d}" for i in range(len(train))]
    assert [row["__key__"] for row in validation] == [f"{i:09d}" for i in range(len(validation))]
    for row in train + validation:
        assert row["jpg"]["path"] == f"{row['__key__']}.jpg"
        assert re.fullmatch(
            r"hf://datasets/pixparse/cc3m-wds@[0-9a-f]{40}/cc3m-(train|validation)-000\d\.tar",
            row["__url__"],
        )
        Image.open(io.BytesIO(row["jpg"]["bytes"])).load()
    assert all(row["json"]["caption"] == row["txt"] for row in train)


def test_what_is_not_left_out_is_the_same_in_both_layouts(tmp_path):
    disk, official = tmp_path / "disk", tmp_path / "official"
    write_samples(disk, 40, 5, as_on_disk=True)
    write_samples(official, 40, 5)
    for name in (
        *("coco/annotations/captions_train2017.json", "okvqa/mscoco_val2014_annotations.json"),
        *("gqa/testdev_balanced_questions.json", "ocrvqa/dataset.json"),
        "llava/llava_instruct_150k.json",
    ):
        assert (disk / name).read_bytes() == (official / name).read_bytes()

    def train_all(root: Path, parts: int) -> dict:
        folder = root / "gqa/train_all_questions"
        assert len(list(folder.iterdir())) == parts
        files = (folder / f"train_all_questions_{i}.json" for i in range(parts))
        return {key: entry for f in files for key, entry in json.loads(f.read_text()).items()}

    assert train_all(disk, 10) == train_all(official, 2)
