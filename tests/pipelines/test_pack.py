"""Packing one shard: bytes that anyone can check, and a row for every image that failed."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import xxhash
from PIL import Image

from manifests.schema import MANIFEST, Step
from pipelines.pack import pack
from pipelines.robots.scene import scene_jpeg
from pipelines.robots.site import site_from_text
from pipelines.scenes import draw_scenes
from pipelines.table import write_rows
from shards import reader, tar
from shards.images import ImagePolicy


@pytest.fixture
def packed(shop, gate_all, tmp_path: Path):
    """A corpus of the fixtures -> (Packed, manifest rows by key and status, records by key)."""

    def run(corpus, split="train", *, policy=None, out=tmp_path / "out"):
        table = tmp_path / f"{corpus}.rows"
        write_rows(table, corpus, shop.rows(corpus))
        (plan,) = (plan for plan in gate_all([table]) if plan.split == split)
        with ThreadPoolExecutor(1) as pool:
            plan = draw_scenes(plan, tmp_path, pool)
        result = pack(plan, shop.raw, out, policy or ImagePolicy())
        manifest = pq.read_table(out / result.shard.manifest)
        assert manifest.schema.equals(MANIFEST)
        data = (out / result.shard.tar).read_bytes()
        rows, records = {}, {}
        for row in manifest.to_pylist():
            rows[row["key"], row["status"], row["error"]] = row
            if row["status"] == "written":
                extent = data[row["offset"] : row["offset"] + row["nbytes"]]
                assert row["digest"] == xxhash.xxh3_128_hexdigest(extent)
                records[row["key"]] = reader.parse(extent)
        assert [m.name for m in tar.members(data)] == [
            f"{key}.{kind}" for key in records for kind in ("jpg", "json")
        ]
        return result, rows, records

    return run


def fates(result):
    return {(line.status, line.reason): line.annotations for line in result.lines}


def test_a_shard_holds_its_records_by_md5_and_its_manifest_says_the_rest(packed):
    result, rows, records = packed("coco")
    md5 = {key: hashlib.md5(key.encode()).hexdigest() for key in records}
    assert list(records) == sorted(records, key=md5.__getitem__)
    assert set(records) == {f"coco-000000{n}" for n in ("391895", "522418", "184613")}
    assert fates(result) == {("written", ""): 8}
    assert (result.shard.records, result.shard.turns) == (3, 8)
    said = {(key, status): row["turns"] for (key, status, _), row in rows.items()}
    assert said == {
        ("coco-000000391895", "written"): 4,
        ("coco-000000391895", "duplicate"): 1,
        ("coco-000000522418", "written"): 2,
        ("coco-000000184613", "written"): 2,
        ("coco-000000000009", "quarantined"): 1,
        ("coco-000000262148", "unannotated"): 0,
    }


def test_a_record_is_its_image_and_all_that_is_said_of_it(packed):
    _, rows, records = packed("coco")
    record = records["coco-000000391895"]
    assert [(turn.thread, turn.id, turn.target) for turn in record.turns] == [
        (0, "9999", "One red circle, all alone."),
        (1, "770337", "A red disc on a green field."),
        (2, "772707", "A round red shape on green."),
        (3, "781998", "Something red and round."),
    ]
    assert {turn.kind for turn in record.turns} == {"caption"}
    assert (record.corpus, record.split, record.group) == ("coco", "train", "coco:391895")
    assert record.licence == "Attribution-NonCommercial-NoDerivs License"
    row = rows["coco-000000391895", "written", None]
    assert (row["kinds"], row["locator"]) == (["caption"], "file:coco/train2017/000000391895.jpg")


def test_the_picture_is_squashed_upright_and_true_to_its_colours(packed, shop):
    _, rows, records = packed("coco")
    images = {k: Image.open(io.BytesIO(r.image)).convert("RGB") for k, r in records.items()}
    assert {image.size for image in images.values()} == {(224, 224)}
    red, green, blue = np.asarray(images["coco-000000391895"])[112, 112]
    assert red > 220 and green < 40 and blue < 40, "a red disc lies in the middle"
    upright = {"coco-000000391895": (80, 60), "coco-000000184613": (60, 80)}  # the second by EXIF
    for key, size in upright.items():
        row = rows[key, "written", None]
        assert (row["width"], row["height"]) == size
    source = (shop.raw / "coco/train2017/000000184613.jpg").read_bytes()
    digest = rows["coco-000000184613", "written", None]["source_digest"]
    assert digest == xxhash.xxh3_128_hexdigest(source)


def test_policy_keep_stores_the_source_s_own_bytes(packed, shop):
    _, _, records = packed("gqa", policy=ImagePolicy(policy="keep"))
    assert records["gqa-2354786"].image == (shop.raw / "gqa/images/2354786.jpg").read_bytes()


def test_answers_stay_with_their_question(packed):
    _, _, records = packed("vqav2")
    first, second = records["vqav2-000000262148"].turns
    assert (first.id, first.prompt, first.target) == (
        "262148000",
        "How many stripes are there?",
        "5",
    )
    assert first.answers == ("5",) * 6 + ("4",) * 4
    assert (second.id, second.thread) == ("262148001", 1)


def test_a_scenario_is_packed_with_its_scene_its_set_and_its_plan(packed):
    _, rows, records = packed("robots")
    record = records["robots-multi-0001"]
    assert record.robots == ("Drone", "Humanoid", "Robot with Legs")
    assert record.plan[2] == Step(text="Carry the injured to the road", robot="Humanoid", order=2)
    site = site_from_text("Search the collapsed school, then carry out the injured")
    row = rows["robots-multi-0001", "written", None]
    drawn = scene_jpeg(site, "robots-multi-0001")
    assert row["source_digest"] == xxhash.xxh3_128_hexdigest(drawn)
    other = records["robots-single-00000"].image
    assert record.image != other


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: path.write_bytes(b"<!DOCTYPE html><html>"),
         "not an image: a page of text"),
        (lambda path: path.write_bytes(path.read_bytes()[:700]), "truncated or damaged: "),
        (lambda path: path.unlink(),
         "image cannot be read: coco/train2017/000000391895.jpg: No such file or directory"),
        (lambda path: (path.unlink(), path.mkdir()),
         "unsafe path: coco/train2017/000000391895.jpg is no regular file"),
    ],
)  # fmt: skip
def test_an_image_that_fails_takes_its_record_and_no_other(packed, shop, monkeypatch, spoil, error):
    rows_of = shop.rows

    def then_spoilt(corpus):
        found = rows_of(corpus)
        spoil(shop.raw / "coco/train2017/000000391895.jpg")  # after it was surveyed
        return found

    monkeypatch.setattr(shop, "rows", then_spoilt)
    result, rows, records = packed("coco")
    assert set(records) == {"coco-000000522418", "coco-000000184613"}
    kind = error.partition(": ")[0]
    assert fates(result) == {("written", ""): 4, ("quarantined", kind): 4}
    (line,) = (line for line in result.lines if line.status == "quarantined")
    where = "(9999 file:coco/train2017/000000391895.jpg)"
    assert line.example.startswith(error) and line.example.endswith(where)
    (failed,) = (
        row for (key, status, _), row in rows.items()
        if (key, status) == ("coco-000000391895", "quarantined")
    )  # fmt: skip
    assert failed["error"].startswith(error)
    assert (failed["turns"], failed["kinds"], failed["shard"]) == (4, ["caption"], None)


def test_the_same_rows_are_the_same_bytes(packed, tmp_path, digests):
    packed("coco", out=tmp_path / "a")
    packed("coco", out=tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert len(digests(tmp_path / "a")) == 2


def test_names_end_in_the_content_s_sha256(packed, tmp_path, unfinished):
    result, _, _ = packed("gqa", "val")
    sha256 = hashlib.sha256((tmp_path / "out" / result.shard.tar).read_bytes()).hexdigest()
    assert result.shard.tar == f"gqa/gqa-val-00000-{sha256[:8]}.tar"
    assert result.shard.sha256 == sha256
    assert list(unfinished(tmp_path / "out")) == []


def test_a_plan_s_rows_all_end_in_the_manifest(packed, tmp_path):
    result, rows, _ = packed("vqav2")
    planned = pl.read_parquet(tmp_path / "vqav2-train-00000.parquet").height
    assert sum(row["turns"] for row in rows.values()) == planned == 6
    assert sum(line.annotations for line in result.lines) == 3, "the gate told of the others"
