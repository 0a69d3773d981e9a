"""LAION-COCO: captions as threads, what is unsafe or not there, and what an empty folder says."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.place import url_group
from pipelines.corpora import CorpusError, EmptyCorpusError, Folders, Survey, laion
from pipelines.locators import Images
from pipelines.table import Row
from tests.pipelines.containers import write_tar

URL = "http://example.org/0.jpg"


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "laion").mkdir()
    return tmp_path / "laion"


def survey(folder: Path, **splits) -> Survey:
    said = {**laion.SPLITS, **splits}
    return laion.survey(Folders("laion", folder.parent, folder, folder.parent / "coco", said))


def rows(folder: Path) -> list[Row]:
    return list(survey(folder).rows())


def shard(path: Path, files: dict[str, bytes], *said: dict[str, Any]) -> Path:
    write_tar(path, files)
    if said:
        pq.write_table(pa.Table.from_pylist(list(said)), path.with_suffix(".parquet"))
        path.with_name(f"{path.stem}_stats.json").write_text(f'{{"successes": {len(files)}}}')
    return path


def test_each_distinct_caption_of_a_picture_is_a_thread_of_its_own(folder):
    shard(
        folder / "train/00000.tar",
        {"000000000.jpg": b"zero", "000000001.jpg": b"one"},
        {"key": "000000000", "url": URL, "caption": "alt text", "status": "success",
         "top_caption": "a dog\non a beach", "all_captions": ["a beach", "a dog on a beach", " "]},
        {"key": "000000001", "url": "http://b", "caption": "a cat", "status": "success",
         "top_caption": None, "all_captions": None},
    )  # fmt: skip
    found = survey(folder)
    assert (found.layout, found.images, found.notes) == ("tars", 2, ())
    first, second, third = found.rows()
    assert first == Row(
        key="laion-train-00000-000000000",
        group=url_group(URL),
        locator="range:laion/train/00000.tar@512+4",
        split="train",
        id="train/00000/000000000-0",
        thread="train/00000/000000000-0",
        kind="caption",
        target="a dog on a beach",
        licence="LAION-COCO: CC BY 4.0 (captions); pictures are their owners'",
        container="laion/train/00000.tar",
        position=0,
    )
    assert (second.key, second.thread) == (first.key, "train/00000/000000000-1")
    assert (second.target, second.locator, second.position) == ("a beach", first.locator, 0)
    assert (third.key, third.target) == ("laion-train-00000-000000001", "a cat")
    with Images(folder.parent) as images:
        assert [images.read(row.locator) for row in (first, third)] == [b"zero", b"one"]


def test_a_tar_without_its_parquet_says_the_same_in_json(folder):
    said = {"url": URL, "TEXT": "alt", "all_captions": ["a dog"], "WIDTH": None, "HEIGHT": 3.5}
    shard(folder / "00000.tar", {"0.jpg": b"z", "0.json": json.dumps(said).encode()})
    assert [(row.key, row.target, row.group) for row in rows(folder)] == [
        ("laion-00000-0", "a dog", url_group(URL))
    ]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"NSFW": "NSFW"}, "marked unsafe: NSFW"),
        ({"NSFW": "UNSURE"}, None),
        ({"punsafe": 0.87}, "marked unsafe: punsafe 0.87"),
        ({"punsafe": 0.5}, None),
        ({"punsafe": None}, None),
        ({"TEXT": ""}, "empty caption"),
        ({"all_captions": "one text"},
         "malformed annotation: 0: Expected `array | null`, got `str` - at `$.all_captions`"),
    ],
)  # fmt: skip
def test_what_is_unsafe_or_says_nothing_is_quarantined(folder, said, error):
    given = json.dumps({"url": URL, "TEXT": "a dog", **said}).encode()
    shard(folder / "00000.tar", {"0.jpg": b"z", "0.json": given})
    ((status, found),) = [(row.status, row.error) for row in rows(folder)]
    assert (status, found) == ("quarantined" if error else None, error)


def test_a_failed_download_is_a_row_for_each_of_its_captions(folder):
    shard(
        folder / "00000.tar",
        {},
        {"key": "000000000", "url": URL, "status": "failed_to_resize", "error_message": "no image",
         "all_captions": ["a dog", "a beach"]},
    )  # fmt: skip
    assert [(row.target, row.locator, row.error) for row in rows(folder)] == [
        ("a dog", "", "download failed: no image"),
        ("a beach", "", "download failed: no image"),
    ]


def test_a_list_of_addresses_names_no_picture_and_says_how_to_fetch_them(folder):
    columns = {
        "URL": [URL, None],
        "TEXT": ["alt", "alt"],
        "top_caption": ["a dog", None],
        "WIDTH": pa.array([640.0, None]),
    }
    pq.write_table(pa.table(columns), folder / "part-0.parquet")
    found = survey(folder)
    assert (found.layout, found.images) == ("Parquet of addresses", 0)
    assert found.notes == (
        "part-0.parquet has addresses and no pictures, so every row of it is quarantined; fetch "
        "the pictures: python -m pipelines download --corpus laion --images",
    )
    assert [(r.key, r.position, r.target, r.error) for r in found.rows()] == [
        ("laion-part-0-0", 0, "a dog",
         f"image is missing: it is known by its address alone: {URL}"),
        ("laion-part-0-1", 1, "alt",
         "image is missing: it is known by its address alone: none"),
    ]  # fmt: skip
    shard(folder / "train/00000.tar", {"0.jpg": b"z", "0.txt": b"a dog"})
    beside = survey(folder)
    assert beside.notes == ("1 lists of addresses (part-0.parquet) are not read beside tars",)
    assert [row.key for row in beside.rows()] == ["laion-train-00000-0"]


def test_a_split_that_the_config_leaves_out_is_not_read(folder):
    shard(folder / "00000.tar", {"0.jpg": b"z", "0.txt": b"a dog"})
    assert [row.split for row in survey(folder, train="test").rows()] == ["test"]
    assert list(survey(folder, train=None).rows()) == []


def test_a_folder_that_an_attempt_left_empty_says_so_and_what_to_do(folder):
    (folder / ".download_attempted").touch()
    with pytest.raises(EmptyCorpusError) as caught:
        survey(folder)
    assert str(caught.value) == (
        f"{folder} is empty; expected img2dataset shards, 00000.tar + 00000.parquet. Fetch it: "
        f"python -m pipelines download --corpus laion, or remove it from the config"
    )
    (folder / "readme.md").touch()
    with pytest.raises(CorpusError, match="laion has readme.md; expected img2dataset shards"):
        survey(folder)
