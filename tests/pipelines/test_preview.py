"""The preview shows every corpus, is small, and is the same for the same data set."""

import io

import pytest
from PIL import Image

from manifests.seal import SealError
from pipelines import preview as previews
from pipelines.preview import preview
from shards.reader import Dataset


def test_a_sheet_has_a_record_of_each_corpus_first_and_no_record_twice(shop):
    shop.build()
    chosen = previews._chosen(Dataset(shop.out))
    assert [record.corpus for record in chosen[:4]] == ["coco", "gqa", "robots", "vqav2"]
    assert {record.split for record in chosen} == {"train"}
    assert len({record.key for record in chosen}) == len(chosen) <= 12


def test_a_sheet_is_a_jpeg_of_four_columns_and_always_the_same(shop):
    shop.only("coco", "gqa")
    shop.build()
    once = preview(shop.out)
    assert preview(shop.out) == once
    sheet = Image.open(io.BytesIO(once))
    records = len(previews._chosen(Dataset(shop.out)))
    assert sheet.format == "JPEG"
    assert sheet.size == (4 * 236 + 12, -(-records // 4) * 312 + 12)
    cell = sheet.crop((12, 12, 236, 236))
    assert len(cell.getcolors(224 * 224) or []) > 50, "the first picture is there"


def test_a_sheet_keeps_to_its_limit_or_says_that_it_cannot(shop, monkeypatch):
    shop.only("coco")
    shop.build()
    whole = len(preview(shop.out))
    monkeypatch.setattr(previews, "_LIMIT", whole - 1)
    assert len(preview(shop.out)) < whole
    monkeypatch.setattr(previews, "_LIMIT", 100)
    with pytest.raises(ValueError, match="is over 100 bytes"):
        preview(shop.out)


def test_there_is_no_preview_of_what_is_not_sealed(tmp_path):
    with pytest.raises(SealError, match="is not a sealed data set"):
        preview(tmp_path)
