"""The preview shows every corpus, is small, and is the same for the same data set."""

import io

import pytest
from PIL import Image

from manifests.seal import SealError
from pipelines import preview as previews
from pipelines.preview import preview


def test_a_preview_is_a_jpeg_of_four_columns_and_always_the_same(shop):
    shop.build()
    once = preview(shop.out)
    assert preview(shop.out) == once
    sheet = Image.open(io.BytesIO(once))
    assert sheet.format == "JPEG"
    assert sheet.size == (4 * 244 + 20, 52 + 3 * 376), "a dozen records"
    cell = sheet.crop((20, 52, 244, 276))
    assert len(cell.getcolors(224 * 224) or []) > 50, "the first picture is there"


def test_a_preview_keeps_to_its_limit_or_says_that_it_cannot(shop, monkeypatch):
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
