"""Bad input through the command line: a sentence and exit code 1, or a row and exit code 0."""

import io
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from manifests import store
from shards.validate import validate

CAPTIONS = "coco/annotations/captions_train2017.json"
PICTURE = "coco/train2017/000000391895.jpg"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 91\n"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def empty(shop, key, *names, to):
    for name in names:
        shop.edit(shop.raw / name, lambda file: {**file, key: to} if key else to)


def settings(**more):
    return lambda shop: shop.settings.update(more)


VQA = "vqa/v2_OpenEnded_mscoco_{}2014_questions.json"
VQA_ANSWERS = "vqa/v2_mscoco_{}2014_annotations.json"
REFUSED = {
    "no root": (
        settings(root="/nowhere"),
        ["root /nowhere does not exist, so there is no coco, ",
         "python -m pipelines samples --out"]),
    "no corpus folder": (
        lambda shop: shutil.rmtree(shop.raw / "gqa"),
        ["/base_vlm/gqa does not exist", "train_balanced_questions.json", "Correct root or path"]),
    "no annotations": (
        lambda shop: [p.unlink() for p in (shop.raw / "vqa").iterdir()],
        ["/base_vlm/vqa has none of v2_OpenEnded", "it has nothing"]),
    "truncated JSON": (
        lambda shop: cut(shop.raw / CAPTIONS),
        [CAPTIONS, "(1,000 bytes) cannot be read: Input data was truncated", "Fetch it again"]),
    "not JSON": (
        lambda shop: (shop.raw / CAPTIONS).write_text("<html>404</html>"),
        [CAPTIONS, "JSON is malformed: invalid character (byte 0)", "Fetch it again"]),
    "another JSON": (
        lambda shop: (shop.raw / VQA.format("train")).write_text("[]"),
        [VQA.format("train"), "Expected `object`, got `array`", "Fetch it again"]),
    "an empty file": (
        lambda shop: (shop.robots / "single_robot_selection.json").write_bytes(b""),
        ["single_robot_selection.json (0 bytes) cannot be read", "Fetch it again"]),
    "UTF-16": (
        lambda shop: (shop.raw / CAPTIONS).write_text('{"images": []}', encoding="utf-16"),
        [CAPTIONS, "cannot be read", "Fetch it again"]),
    "git-lfs pointer": (
        lambda shop: (shop.raw / "gqa/train_balanced_questions.json").write_bytes(LFS),
        ["gqa/train_balanced_questions.json is a git-lfs pointer", "run: git lfs pull"]),
    "misspelt key": (
        settings(protekt=[]), ["build.yaml: unknown key 'protekt'; did you mean 'protect'?"]),
    "misspelt corpus": (
        settings(corpora={"cooc": {}}), ["no corpus is called 'cooc'; did you mean 'coco'?"]),
    "misspelt split": (
        settings(protect={"image": ["coco/vla"]}),
        ["protect 'coco/vla' names no split; did you mean 'coco/val'?"]),
    "wrong type": (
        settings(workers="two"),
        ["build.yaml: workers is the text 'two'; expected a whole number"]),
    "zero captions": (
        lambda shop: empty(shop, "annotations", CAPTIONS, CAPTIONS.replace("train", "val"), to=[]),
        ["coco: 0 annotations read, none can be written", "its files hold no annotation",
         "Mend the files, or say coco: {on_empty: report} in the config"]),
    "zero questions": (
        lambda shop: [empty(shop, key, name.format(split), to=[]) for split in ("train", "val")
                      for key, name in (("questions", VQA), ("annotations", VQA_ANSWERS))],
        ["vqav2: 0 annotations read", "its files hold no annotation", "say vqav2: {on_empty"]),
    "zero scenarios": (
        lambda shop: [p.write_text("[]") for p in shop.robots.iterdir()],
        ["robots: 0 annotations read", "its files hold no annotation", "say robots: {on_empty"]),
    "every picture broken": (
        lambda shop: [p.write_bytes(b"") for p in (shop.raw / "gqa/images").iterdir()],
        ["gqa: 6 annotations read, none can be written", "3  train quarantined: empty file (",
         "1  train quarantined: image is missing: gqa/images/", "Mend the files, or say gqa: "]),
    "every picture missing": (
        lambda shop: [p.unlink() for p in (shop.raw / "gqa/images").iterdir()],
        ["gqa: 6 annotations read, none can be written",
         "train quarantined: image is missing: gqa/images/"]),
    "no COCO beside VQA": (
        lambda shop: (shop.only("vqav2"), shutil.rmtree(shop.raw / "coco")),
        ["vqav2: 9 annotations read",
         "image is missing: coco/train2017/0"]),
    "every robot unknown": (
        lambda shop: [p.write_text(p.read_text().replace("obot", "obert").replace("rone", "rune")
                                   .replace("umanoid", "uman").replace("UMAN", "U"))
                      for p in shop.robots.iterdir()],
        ["robots: 14 annotations read", "train quarantined: unknown robot: '"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_built_is_one_sentence_and_no_data_set(shop, unfinished, case):
    spoil, fragments = REFUSED[case]
    spoil(shop)
    result = shop.cli()
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), "anything else would be a traceback"
    assert "Traceback" not in result.output
    _, begins, message = result.stderr.partition("build failed: ")
    assert begins and result.stdout == ""
    assert "\n\n" not in message.strip(), "one paragraph"
    for fragment in fragments:
        assert fragment in message
    assert not (shop.out / "dataset.json").exists()
    assert list(unfinished(shop.out)) == []


def picture(format_name, size=(80, 60)):
    sink = io.BytesIO()
    Image.new("RGB", size, "red").save(sink, format_name)
    return sink.getvalue()


def replaced(name, data):
    return lambda shop: (shop.raw / name).write_bytes(data)


def recaptioned(place, **change):
    def spoil(shop):
        shop.edit(shop.raw / CAPTIONS, lambda f: f["annotations"][place].update(change))

    return spoil


COCO, VQA_KEY = "coco-000000391895", "vqav2-000000391895"
ROWS = {
    "0-byte JPEG": (replaced(PICTURE, b""), {COCO: "empty file", VQA_KEY: "empty file"}),
    "truncated JPEG": (
        lambda shop: cut(shop.raw / PICTURE),
        {COCO: "truncated or damaged: ", VQA_KEY: "truncated"}),
    "HTML": (
        replaced(PICTURE, b"<!DOCTYPE html><title>404</title>"),
        {COCO: "not an image: a page of text", VQA_KEY: "not an image"}),
    "git-lfs pointer": (replaced(PICTURE, LFS), {COCO: "not an image: a git-lfs pointer"}),
    "too many pixels": (
        replaced(PICTURE, picture("PNG", (10_000, 8_001))),
        {COCO: "too many pixels: 10000x8001"}),
    "missing picture": (
        lambda shop: (shop.raw / PICTURE).unlink(),
        {COCO: "image is missing: coco/train2017/000000391895.jpg", VQA_KEY: "image is missing: "}),
    "caption of a missing picture": (
        recaptioned(0, image_id=77),
        {"coco-000000000077": "image is missing: coco/train2017/000000000077.jpg"}),
    "caption of no picture": (
        recaptioned(0, image_id="?"),
        {"coco-captions_train2017-0": "malformed annotation: 0 in captions_train2017.json: Exp"}),
    "caption without words": (
        recaptioned(0, caption="\0"), {"coco-000000522418": "empty caption"}),
    "a name that no tar holds": (
        lambda shop: (shop.robots / "single_robot_selection.json").write_text(
            json.dumps([{"id": "a b", "input": "Fly", "output": "Drone"}])),
        {"robots-single-a b": "unfit key: robots-single-a b is not 1 to 90 of A-Z a-z 0-9 _ -"}),
}  # fmt: skip


@pytest.mark.parametrize("case", ROWS)
def test_what_can_be_left_out_is_a_row_with_its_reason(shop, unfinished, case):
    spoil, expected = ROWS[case]
    spoil(shop)
    result = shop.cli()
    assert result.exit_code == 0, result.output
    rows = store.scan(shop.out).filter(pl.col("status") == "quarantined").collect().to_dicts()
    for key, error in expected.items():
        reasons = [row["error"] for row in rows if row["key"] == key]
        assert any(reason.startswith(error) for reason in reasons), reasons
    assert list(validate(shop.out)) == []
    assert list(unfinished(shop.out)) == []


@pytest.mark.parametrize("format_name", ["PNG", "GIF", "WEBP", "BMP"])
def test_another_format_named_jpg_is_a_picture_all_the_same(shop, format_name):
    shop.only("coco")
    (shop.raw / PICTURE).write_bytes(picture(format_name))
    assert shop.cli().exit_code == 0
    row = store.scan(shop.out).filter(pl.col("key") == COCO, pl.col("status") == "written")
    assert row.collect()["turns"].to_list() == [4]


def test_a_mac_s_shadow_files_change_nothing(shop, tmp_path, digests):
    shop.build(tmp_path / "clean")
    files = [path for folder in (shop.raw, shop.robots) for path in folder.rglob("*.*")]
    assert len(files) >= 21
    for path in files:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X\xff")
    assert shop.cli().exit_code == 0
    assert digests(shop.out) == digests(tmp_path / "clean")
