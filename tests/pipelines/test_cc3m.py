"""CC3M in each of its layouts: which rows come out, and what is told of the rest."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.place import url_group
from pipelines.corpora import CorpusError, EmptyCorpusError, Folders, Survey, cc3m
from pipelines.locators import Images
from pipelines.table import Row
from tests.pipelines.containers import write_tar

URL = "http://example.org/0.jpg"
PAIR = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SAID = pa.struct([("caption", pa.string()), ("url", pa.string())])


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "cc3m").mkdir()
    return tmp_path / "cc3m"


def survey(folder: Path, **splits) -> Survey:
    said = {**cc3m.SPLITS, **splits}
    return cc3m.survey(Folders("cc3m", folder.parent, folder, folder.parent / "coco", said))


def rows(folder: Path) -> list[Row]:
    return list(survey(folder).rows())


def bytes_of(folder: Path, row: Row) -> bytes:
    with Images(folder.parent) as images:
        return images.read(row.locator)


def arrow(path: Path, **given) -> Path:
    """A cache of one batch as the datasets library writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"jpg": PAIR, "json": SAID}
    fields = {
        name: pa.array(values, kinds.get(name, pa.string())) for name, values in given.items()
    }
    batch = pa.RecordBatch.from_pydict(fields)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, batch.schema) as writer:
        writer.write_batch(batch)
    return path


def parquet(path: Path, *given: dict) -> None:
    pq.write_table(pa.Table.from_pylist(list(given)), path)


def test_an_arrow_cache_below_the_folder_names_records_by_split_tar_and_key(folder):
    cache = folder / "pixparse___cc3m-wds/default/0.0.0" / ("f" * 40)
    train = arrow(
        cache / "cc3m-wds-train-00000-of-00001.arrow",
        jpg=[{"bytes": b"zero", "path": "000000000.jpg"}, {"bytes": b"one", "path": "1.jpg"}],
        json=[{"caption": "x", "url": URL}, None],
        txt=["a dog\n on  a\0 beach ", "a cat"],
        __key__=["000000000", "000000000"],
        __url__=["hf://d/pixparse/cc3m-wds@1/cc3m-train-0003.tar", "/tmp/cc3m-train-0004.tar"],
    )
    arrow(
        cache / "cc3m-wds-validation.arrow",
        jpg=[{"bytes": b"two", "path": None}],
        txt=["a bird"],
        __key__=["000000000"],
        __url__=["hf://d/pixparse/cc3m-wds@1/cc3m-validation-0003.tar"],
    )
    (cache / "dataset_info.json").write_text("not read")
    arrow(cache / "cache-1234.arrow", other=["not read"])
    arrow(folder / "a.incomplete/cc3m-wds-train-00000-of-00001.arrow", other=["not read"])
    found = survey(folder)
    assert (found.layout, found.images, found.notes) == ("Hugging Face Arrow", 3, ())
    first, second, third = found.rows()
    assert first == Row(
        key="cc3m-train-0003-000000000",
        group=url_group(URL),
        locator=first.locator,
        split="train",
        id="train/0003/000000000",
        thread="train/0003/000000000",
        kind="caption",
        target="a dog on a beach",
        licence="CC3M terms (Google)",
        container=train.relative_to(folder.parent).as_posix(),
        position=0,
    )
    assert (second.key, second.group) == ("cc3m-train-0004-000000000", "cc3m:train/0004/000000000")
    assert (second.position, second.target) == (1, "a cat")
    assert (third.key, third.split) == ("cc3m-validation-0003-000000000", "val")
    assert [bytes_of(folder, row) for row in (first, second, third)] == [b"zero", b"one", b"two"]


def test_an_arrow_row_without_caption_or_bytes_is_quarantined(folder):
    path = arrow(
        folder / "cc3m-wds-train-00000-of-00001.arrow",
        jpg=[{"bytes": b"zero", "path": None}, {"bytes": None, "path": "000000001.jpg"}],
        txt=[" \n", "a cat"],
        __key__=["000000000", "000000001"],
        __url__=["cc3m-train-0000.tar"] * 2,
    )
    assert [(row.status, row.error) for row in rows(folder)] == [
        ("quarantined", "empty caption"),
        ("quarantined", f"image is missing: 000000001 of cc3m/{path.name} has no bytes"),
    ]


def test_json_that_is_text_gives_the_address_too(folder):
    path = folder / "cc3m-wds-train-00000-of-00001.arrow"
    given = {"jpg": [{"bytes": b"z", "path": None}] * 2, "txt": ["a", "b"]}
    given |= {"__key__": ["0", "1"], "__url__": ["t.tar"] * 2}
    text = pa.array([json.dumps({"url": URL}), "{"])
    batch = pa.RecordBatch.from_pydict(
        {name: pa.array(values, PAIR if name == "jpg" else None) for name, values in given.items()}
    ).append_column("json", text)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, batch.schema) as writer:
        writer.write_batch(batch)
    good, bad = rows(folder)
    assert (good.group, good.error) == (url_group(URL), None)
    assert bad.error and bad.error.startswith("malformed annotation: 1 of cc3m/cc3m-wds-train")


def test_missing_arrow_files_are_noted(folder):
    for number in (0, 2):
        arrow(
            folder / f"cc3m-wds-train-{number:05d}-of-00003.arrow",
            jpg=[{"bytes": b"z", "path": None}],
            txt=["a"],
            __key__=[str(number)],
            __url__=["cc3m-train-0000.tar"],
        )
    assert survey(folder).notes == ("train has 2 of 3 parts",)


def test_a_split_in_two_caches_is_refused(folder):
    for revision in ("1", "2"):
        arrow(folder / revision / "cc3m-wds-train-00000-of-00001.arrow", txt=["a"])
    with pytest.raises(CorpusError, match="train of cc3m is there more than once, in .*1 and .*2;"):
        survey(folder)
    assert survey(folder, train=None).files == ()


def test_img2dataset_shards_give_their_pictures_and_a_row_for_each_failure(folder):
    files = {"000000002.jpg": b"two", "000000002.txt": b"", "000000000.jpg": b"zero"}
    path = write_tar(folder / "train/00000.tar", files)
    row = {"error_message": None, "width": 8, "exif": "{}"}
    parquet(
        path.with_suffix(".parquet"),
        {"key": "000000000", "url": URL, "caption": "a dog", "status": "success", **row},
        {"key": "000000001", "url": "http://b", "caption": "a cat", "status": "failed_to_download",
         **row, "error_message": "HTTP Error 404: Not Found"},
        {"key": "000000002", "url": "http://c", "caption": None, "status": "success", **row},
        {"key": "000000003", "url": "http://d", "caption": "a bird", "status": "success", **row},
    )  # fmt: skip
    path.with_name("00000_stats.json").write_text('{"count": 4, "successes": 3}')
    found = survey(folder)
    assert (found.layout, found.images, found.notes) == ("tars", 3, ())
    assert found.files == (path,)
    given = [(r.key, r.group, r.position, r.target, r.error) for r in found.rows()]
    assert given == [
        ("cc3m-train-00000-000000002", url_group("http://c"), 0, "", "empty caption"),
        ("cc3m-train-00000-000000000", url_group(URL), 1, "a dog", None),
        ("cc3m-train-00000-000000001", url_group("http://b"), 2, "a cat",
         "download failed: HTTP Error 404: Not Found"),
        ("cc3m-train-00000-000000003", url_group("http://d"), 3, "a bird",
         "image is missing: 000000003 is not in cc3m/train/00000.tar, though its download "
         "succeeded"),
    ]  # fmt: skip
    good = rows(folder)[1]
    assert good.container == "cc3m/train/00000.tar"
    assert good.locator == "range:cc3m/train/00000.tar@2048+4", "after three headers and 3 bytes"
    assert bytes_of(folder, good) == b"zero"


def test_shards_directly_in_the_folder_are_train_and_validation_has_its_own(folder):
    for name in ("00000.tar", "validation/00000.tar", "val/00001.tar"):
        write_tar(folder / name, {"000000000.jpg": b"z", "000000000.txt": b"a dog"})
    assert [(row.key, row.split) for row in rows(folder)] == [
        ("cc3m-train-00000-000000000", "train"),
        ("cc3m-validation-00001-000000000", "val"),
        ("cc3m-validation-00000-000000000", "val"),
    ]
    without = survey(folder, validation=None)
    assert [path.name for path in without.files] == ["00000.tar"]
    assert {row.split for row in without.rows()} == {"train"}


def test_a_shard_without_stats_was_interrupted_is_read_and_noted(folder):
    path = write_tar(folder / "train/00001.tar", {"000010000.jpg": b"z", "000010000.txt": b"a dog"})
    path.with_suffix(".parquet").write_bytes(b"PAR1 half of it")
    (note,) = survey(folder).notes
    assert note == (
        "1 of 1 shards have no _stats.json (00001.tar is the first): their download was "
        "interrupted. What is in them is read; finish them by: "
        "python -m pipelines download --corpus cc3m --images"
    )
    assert [(row.target, row.error) for row in rows(folder)] == [("a dog", None)]
    path.with_name("00001_stats.json").write_text('{"successes": 1}')
    with pytest.raises(CorpusError, match=r"00001.parquet \(15 bytes\) cannot be read"):
        rows(folder)


def test_published_tars_are_read_by_their_own_texts(folder):
    said = json.dumps({"caption": "a dog", "url": URL, "key": "000000000"}).encode()
    files = {
        "000000000.jpg": b"zero", "000000000.json": said, "000000000.txt": b"not asked for",
        "000000001.jpg": b"one", "000000001.txt": "un café".encode(),
        "000000002.txt": b"no picture",
        "000000003.jpg": b"three", "000000003.json": b"[1]",
        "000000004.jpg": b"four", "000000004.txt": b"\xff",
        "000000005.jpg": b"five", "000000005.json": b'{"caption": 5}',
    }  # fmt: skip
    write_tar(folder / "cc3m-train-0007.tar", files)
    write_tar(folder / "cc3m-validation-0007.tar", {"000000000.png": b"p", "000000000.txt": b"a"})
    found = survey(folder)
    assert (found.layout, found.notes) == ("tars", ())
    *train, val = found.rows()
    assert (val.key, val.split) == ("cc3m-validation-0007-000000000", "val")
    assert [(row.key, row.target) for row in train[:2]] == [
        ("cc3m-train-0007-000000000", "a dog"),
        ("cc3m-train-0007-000000001", "un café"),
    ]
    assert (train[0].group, train[1].group) == (url_group(URL), "cc3m:train/0007/000000001")
    assert [row.error for row in train[2:]] == [
        "image is missing: 000000002 in cc3m/cc3m-train-0007.tar has only txt",
        "malformed annotation: 000000003.json in cc3m-train-0007.tar: Expected `object`, "
        "got `array`",
        "malformed annotation: 000000004.txt in cc3m-train-0007.tar: 'utf-8' codec can't decode "
        "byte 0xff in position 0: invalid start byte",
        "malformed annotation: 000000005: Expected `str | null`, got `int` - at `$.caption`",
    ]


def test_a_tar_that_is_cut_off_gives_its_whole_pairs_and_one_row_for_the_rest(folder):
    path = write_tar(folder / "00000.tar", {"0.jpg": b"z", "0.txt": b"a dog", "1.jpg": b"y" * 600})
    path.write_bytes(path.read_bytes()[:2600])
    whole, lost = rows(folder)
    assert (whole.target, whole.error) == ("a dog", None)
    assert (lost.key, lost.position) == ("cc3m-train-00000-1", 1)
    assert lost.error and lost.error.startswith("container is cut off: 00000.tar: 1.jpg would end")


def test_the_authors_lists_name_no_picture_and_say_how_to_fetch_them(folder):
    lines = [
        f'the girl \'s room - "pink"\t{URL}\n',
        "two\ttabs\there\n",
        "£ on sale\thttp://b\r\n",
        "no address\n",
    ]
    (folder / "Train_GCC-training.tsv").write_bytes("".join(lines).encode())
    found = survey(folder)
    assert (found.layout, found.images) == ("authors' TSV", 0)
    assert found.notes == (
        "Train_GCC-training.tsv has addresses and no pictures, so every row of train is "
        "quarantined; fetch the pictures: python -m pipelines download --corpus cc3m --images",
    )
    first, second, third, fourth = found.rows()
    assert first == Row(
        key="cc3m-train-00000000",
        group=url_group(URL),
        locator="",
        split="train",
        id="train/00000000",
        thread="train/00000000",
        target='the girl \'s room - "pink"',
        licence="CC3M terms (Google)",
        container="cc3m/Train_GCC-training.tsv",
        status="quarantined",
        error=f"image is missing: it is known by its address alone: {URL}",
    )
    assert third.target == "£ on sale"
    assert third.error and third.error.endswith("alone: http://b")
    for row, line, fields in ((second, 2, "too many values"), (fourth, 4, "not enough values")):
        assert row.error and row.error.startswith(f"malformed annotation: line {line} of Train_GCC")
        assert fields in row.error


def test_a_split_is_read_from_one_layout_and_the_others_are_noted(folder):
    (folder / "Train_GCC-training.tsv").write_text(f"a dog\t{URL}\n")
    (folder / "Validation_GCC-1.1.0-Validation.tsv").write_text(f"a cat\t{URL}\n")
    write_tar(folder / "train/00000.tar", {"0.jpg": b"z", "0.txt": b"a dog"})
    found = survey(folder)
    assert found.layout == "tars and authors' TSV"
    assert found.notes[0] == (
        "Train_GCC-training.tsv (authors' TSV) is not read: train is read from tars, with the "
        "same pairs"
    )
    assert [(row.split, row.error is None) for row in found.rows()] == [
        ("train", True),
        ("val", False),
    ]


def test_a_folder_that_is_missing_empty_or_foreign_is_refused_with_the_mend(folder):
    with pytest.raises(CorpusError, match="none does not exist; expected a folder with"):
        survey(folder.with_name("none"))
    (folder / ".download_attempted").touch()
    with pytest.raises(EmptyCorpusError, match="is empty; .*python -m pipelines download --corpus"):
        survey(folder)
    (folder / "README.txt").touch()
    with pytest.raises(CorpusError, match="has README.txt; expected cc3m-wds-train-"):
        survey(folder)
