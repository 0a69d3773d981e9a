"""Drawn CC3M and LAION-COCO in the layout of img2dataset."""

import hashlib
import io
import json
import random
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.samples import write_samples
from pipelines.samples.pictures import COLOURS, compose

SEED = 5
SHARDS = ("cc3m/train/00000", "cc3m/train/00001", "cc3m/validation/00000", "laion/00000",
          "laion/00001")  # fmt: skip
KINDS = {"boat": "vehicle", "car": "vehicle", "house": "building", "tree": "plant", "ball": "toy",
         "box": "container"}  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base_vlm")
    write_samples(out, 240, SEED)
    return out


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


@pytest.mark.parametrize("shard", SHARDS)
def test_a_shard_is_a_tar_a_parquet_file_and_its_counts(tree, shard):
    rows = {row["key"]: row for row in pq.read_table(tree / f"{shard}.parquet").to_pylist()}
    fetched = {key: row for key, row in rows.items() if row["status"] == "success"}
    failed = {key: row for key, row in rows.items() if key not in fetched}
    assert list(rows) == [f"{shard[-5:]}{i:04d}" for i in range(len(rows))]
    stats = json.loads((tree / f"{shard}_stats.json").read_text())
    assert stats["count"] == len(rows)
    assert stats["successes"] == len(fetched)
    assert stats["failed_to_download"] + stats["failed_to_resize"] == len(failed) > 0
    assert sum(stats["status_dict"].values()) == len(rows)
    assert all(row["error_message"] and row["sha256"] is None for row in failed.values())
    with tarfile.open(tree / f"{shard}.tar") as tar:
        names = tar.getnames()
        assert names == [f"{key}.{end}" for key in fetched for end in ("jpg", "txt", "json")]
        contents = {name: _content(tar, name) for name in names}
        for key, row in fetched.items():
            image, text, meta = (contents[f"{key}.{end}"] for end in ("jpg", "txt", "json"))
            assert hashlib.sha256(image).hexdigest() == row["sha256"]
            assert Image.open(io.BytesIO(image)).size == (row["width"], row["height"])
            assert text.decode() == row["caption"]
            assert json.loads(meta) == {name: row[name] for name in json.loads(meta)}
            assert json.loads(row["exif"]) == {}


def test_cc3m_captions_are_lower_case_tokenised_and_true(tree):
    kinds = set()
    for split in ("train", "validation"):
        for path in (tree / "cc3m" / split).glob("*.parquet"):
            for row in pq.read_table(path).to_pylist():
                if row["status"] != "success":
                    continue
                place = row["url"].rpartition("/")[2].removesuffix(".jpg")
                scene = compose(random.Random(f"cc3m {split} {SEED} {place}"))
                caption = row["caption"]
                words = caption.replace(",", "").split()
                assert caption == caption.lower()
                assert words[-1] == "."
                colour = next(i for i, w in enumerate(words) if w in COLOURS)
                named = words[colour + 1].removesuffix("s") if scene.alike else words[colour + 1]
                named = {"boxe": "box"}.get(named, named)
                assert any(t.colour == words[colour] and named in (t.shape, KINDS.get(t.shape))
                           for t in scene.things), caption  # fmt: skip
                kinds.add(named)
    assert {"vehicle", "building"} & kinds
    assert {"boat", "car", "house"} & kinds


def test_laion_rows_have_several_captions_and_the_first_is_the_best(tree):
    rows = [row for shard in ("00000", "00001")
            for row in pq.read_table(tree / f"laion/{shard}.parquet").to_pylist()]  # fmt: skip
    for row in rows:
        assert row["top_caption"] == row["all_captions"][0]
        assert len(set(row["all_captions"])) == 5
        assert row["all_similarities"] == sorted(row["all_similarities"], reverse=True)
        assert row["TEXT"] == row["caption"]
        assert row["punsafe"] < 0.5
    assert {type(row["HEIGHT"]) for row in rows} == {float, type(None)}
