"""Locators: the bytes that they name, and nothing outside of the root."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import locators
from pipelines.locators import Images, byte_range, parquet_value
from shards.images import ImageError


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root/coco").mkdir(parents=True)
    (tmp_path / "root/coco/1.jpg").write_bytes(b"picture")
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path / "root"


def test_a_file_a_range_and_a_value_are_read(root):
    struct = pa.array([{"bytes": b"a"}, {"bytes": b"bb"}, {"bytes": None}])
    pq.write_table(pa.table({"image": struct}), root / "x@y.parquet", row_group_size=2)
    with Images(root) as images:
        assert images.read("file:coco/1.jpg") == b"picture"
        assert images.read(byte_range("coco/1.jpg", 2, 3)) == b"ctu"
        assert images.read(byte_range("coco/1.jpg", 0, 7)) == b"picture"
        assert images.read(parquet_value("x@y.parquet", 0, 1, "image.bytes")) == b"bb"
        assert images.read(parquet_value("x@y.parquet", 0, 0, "image.bytes")) == b"a"
        with pytest.raises(ImageError, match="image is missing: x@y.parquet has null in image.by"):
            images.read(parquet_value("x@y.parquet", 1, 0, "image.bytes"))


def test_a_container_that_is_cut_off_is_said_to_be(root):
    with Images(root) as images, pytest.raises(ImageError, match="container is cut off: coco/1.j"):
        images.read(byte_range("coco/1.jpg", 2, 6))


def test_a_file_that_is_not_there_is_said_to_be_missing(root):
    error = "image cannot be read: coco/2.jpg: No such file or directory"
    with Images(root) as images, pytest.raises(ImageError, match=error):
        images.read("file:coco/2.jpg")


def test_what_is_too_large_is_not_read(root, monkeypatch):
    monkeypatch.setattr(locators, "MAX_BYTES", 6)
    with Images(root) as images:
        for locator in ("file:coco/1.jpg", byte_range("coco/1.jpg", 0, 7)):
            with pytest.raises(ImageError, match="^too many bytes: "):
                images.read(locator)


@pytest.mark.parametrize(
    "path", ["../secret", "coco/../../secret", "/etc/passwd", "", "coco/..", "coco/."]
)
@pytest.mark.parametrize("form", ["file:{}", "range:{}@0+3", "parquet:{}@0/0/image"])
def test_no_path_leads_out_of_the_root(root, path, form):
    with Images(root) as images, pytest.raises(ImageError, match="^unsafe path: "):
        images.read(form.format(path))


def test_links_may_lead_about_in_the_root_and_not_out_of_it(root):
    (root / "in.jpg").symlink_to(root / "coco/1.jpg")
    (root / "also").symlink_to(root / "coco")
    (root / "out.jpg").symlink_to(root.parent / "secret")
    (root / "away").symlink_to(root.parent)
    with Images(root) as images:
        assert images.read("file:in.jpg") == images.read("file:also/1.jpg") == b"picture"
        for path in ("out.jpg", "away/secret", "away/root/../secret"):
            with pytest.raises(ImageError, match="^unsafe path: "):
                images.read(f"file:{path}")


def test_only_regular_files_are_opened(root, monkeypatch):
    os.mkfifo(root / "pipe.jpg")
    (root / "folder.jpg").mkdir()
    (root / "null.jpg").symlink_to("/dev/null")
    really = os.open

    def only_folders(path, flags, **options):
        assert flags & os.O_DIRECTORY, "it is not even tried"
        return really(path, flags, **options)

    monkeypatch.setattr(os, "open", only_folders)
    with Images(root) as images:
        for name in ("pipe.jpg", "folder.jpg", "null.jpg"):
            with pytest.raises(ImageError, match="^unsafe path: "):
                images.read(f"file:{name}")


def test_folders_are_kept_open_but_not_many_and_not_for_long(root):
    folders = [root / f"part-{i}" for i in range(100)]
    for i, folder in enumerate(folders):
        folder.mkdir()
        (folder / "1.jpg").write_bytes(str(i).encode())
    open_files = Path("/proc/self/fd")
    before = len([*open_files.iterdir()])
    with Images(root) as images:
        for i in (*range(100), *range(100)):
            assert images.read(f"file:part-{i}/1.jpg") == str(i).encode()
            assert len([*open_files.iterdir()]) <= before + 64
    assert len([*open_files.iterdir()]) == before


def test_a_root_that_is_a_link_is_the_folder_it_leads_to(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    with Images(tmp_path / "link") as images:
        assert images.read("file:coco/1.jpg") == b"picture"


def test_what_has_no_bytes_is_not_asked_for(root):
    with Images(root) as images, pytest.raises(ValueError, match="'scene:a' is no image's"):
        images.read("scene:a")
