"""OCR-VQA: a dict of books, or its export in Parquet, becomes exactly these rows."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.place import url_group
from pipelines.corpora import CorpusError, ocrvqa
from pipelines.locators import Images
from pipelines.table import Row

BOOKS = "ocrvqa/dataset.json"
AMAZON = "http://ecx.images-amazon.com/images/I"


def survey(shop, **splits):
    return ocrvqa.survey(shop.folders("ocrvqa", splits={**ocrvqa.SPLITS, **splits}))


def question(split, book, place, cover, prompt, target, error=None, *, image=None):
    return Row(
        key=f"ocrvqa-{book}",
        group=url_group(f"{AMAZON}/{cover}"),
        locator=f"file:ocrvqa/images/{image or book + '.jpg'}",
        split=split,
        id=f"{book}-{place}",
        thread=f"{book}-{place}",
        kind="qa",
        prompt=prompt,
        target=target,
        licence="OCR-VQA (research use)",
        status="quarantined" if error else None,
        error=error,
    )


WHO, TITLE = "Who wrote this book?", "What is the title of this book?"
LOST = "image is missing: ocrvqa/images/895267365.jpg"
EXPECTED = [
    question("train", "761183272", 0, "61Y5cOdHJbL.jpg", WHO, "Ann Ames"),
    question("train", "761183272", 1, "61Y5cOdHJbL.jpg", TITLE, "Mom's Calendar 2016"),
    question("train", "761183272", 2, "61Y5cOdHJbL.jpg", "What is the genre of this book?",
             "Calendars"),
    question("train", "761183272", 3, "61Y5cOdHJbL.jpg", "Is this book related to Calendars?",
             "Yes"),
    question("train", "761183272", 4, "61Y5cOdHJbL.jpg", "Is this book related to Law?", "No"),
    question("train", "B00A1XYZ7Q", 0, "51Wq8c3RSxL.gif", WHO, "Bo Birk"),
    question("train", "B00A1XYZ7Q", 1, "51Wq8c3RSxL.gif", TITLE, "The Small Kitchen"),
    question("val", "1620551020", 0, "41fTr0vWJkL.jpg", WHO, "Cy Cole", image="1620551020.png"),
    question("val", "1620551020", 1, "41fTr0vWJkL.jpg", TITLE, "Hills and Ways",
             image="1620551020.png"),
    question("test", "28605411", 0, "51nMv9pLqaL.jpg", WHO, "", "empty answer"),
    question("test", "28605411", 1, "51nMv9pLqaL.jpg", TITLE, "Old Numbers"),
    question("train", "895267365", 0, "lost.jpg", WHO, "El Egan", LOST),
    question("train", "895267365", 1, "lost.jpg", TITLE, "A Lost Cover", LOST),
    Row(key="ocrvqa-dataset-310719577", group="ocrvqa:dataset.json:310719577", locator="",
        split="train", id="310719577", status="quarantined",
        error="malformed annotation: 310719577 in dataset.json: "
              "2 questions, 1 answers; expected as many"),
    Row(key="ocrvqa-dataset-439893577", group="ocrvqa:dataset.json:439893577", locator="",
        split=None, id="439893577", status="quarantined",
        error="malformed annotation: 439893577 in dataset.json: "
              "Expected 1, 2 or 3, got 4 - at `$.split`"),
]  # fmt: skip


def test_every_question_about_a_cover_is_a_row(shop):
    assert shop.rows("ocrvqa") == EXPECTED


def test_a_survey_counts_the_covers(shop):
    for junk in ("._761183272.jpg", ".DS_Store", "761183272.jpg.part"):
        (shop.raw / "ocrvqa/images" / junk).write_bytes(b"\0")
    found = survey(shop)
    assert [path.name for path in found.files] == ["dataset.json"]
    assert (found.layout, found.images, found.notes) == ("authors' JSON", 4, ())


def test_without_pictures_every_question_is_quarantined_and_a_note_says_what_to_type(shop):
    shutil.rmtree(shop.raw / "ocrvqa/images")
    found = survey(shop)
    assert (found.images, found.notes) == (
        0,
        (
            f"{shop.raw}/ocrvqa/images has no pictures, so no question can be used; fetch them: "
            "python -m pipelines download --corpus ocrvqa",
        ),
    )
    rows = list(found.rows())
    assert {row.status for row in rows} == {"quarantined"}
    assert rows[0].error == "image is missing: ocrvqa/images/761183272.jpg"
    assert rows[5].error == "image is missing: ocrvqa/images/B00A1XYZ7Q.gif"


def test_of_several_covers_the_one_with_the_extension_of_its_address_is_taken(shop):
    images = shop.raw / "ocrvqa/images"
    for name in ("B00A1XYZ7Q.gif", "761183272.gif", "895267365.jpeg"):
        (images / name).write_bytes(b"a cover")
    rows = shop.rows("ocrvqa")
    assert rows[0] == EXPECTED[0]
    assert rows[5].locator == "file:ocrvqa/images/B00A1XYZ7Q.gif"
    assert (rows[11].locator, rows[11].status) == ("file:ocrvqa/images/895267365.jpeg", None)


def test_a_number_that_is_no_key_becomes_one(shop):
    shop.edit(shop.raw / BOOKS, lambda books: {"a/../b.1": books["761183272"]})
    row = shop.rows("ocrvqa")[0]
    assert (row.key, row.id) == ("ocrvqa-a----b-1", "a/../b.1-0")
    assert row.error == "image is missing: ocrvqa/images/a/../b.1.jpg"


def test_a_malformed_book_is_filed_under_its_number_and_the_rest_stays(shop):
    shop.edit(shop.raw / BOOKS, lambda books: books["B00A1XYZ7Q"].pop("imageURL") and None)
    rows = shop.rows("ocrvqa")
    assert rows[:5] + rows[6:] == EXPECTED[:5] + EXPECTED[7:]
    assert rows[5].error == (
        "malformed annotation: B00A1XYZ7Q in dataset.json: Object missing required field `imageURL`"
    )


def test_a_split_that_the_config_leaves_out_is_not_read(shop):
    rows = list(survey(shop, train=None).rows())
    assert rows == [*EXPECTED[7:11], EXPECTED[14]]


def test_an_empty_question_is_quarantined(shop):
    shop.edit(shop.raw / BOOKS, lambda books: books["761183272"]["questions"].__setitem__(0, ""))
    assert shop.rows("ocrvqa")[0].error == "empty question"


def test_a_folder_with_neither_layout_says_what_was_looked_for(shop):
    (shop.raw / BOOKS).unlink()
    with pytest.raises(CorpusError, match=r"has none of dataset.json, data/\*.parquet; it has LIC"):
        shop.rows("ocrvqa")


COVER = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
EXPORT = pa.schema(
    [
        ("image", COVER),
        ("image_id", pa.string()),
        ("questions", pa.list_(pa.string())),
        ("answers", pa.list_(pa.string())),
        ("ocr_tokens", pa.list_(pa.string())),
        ("title", pa.string()),
        ("image_url", pa.string()),
        ("set_name", pa.string()),
    ]
)


def export(folder, name, rows, group=1):
    """Write (number, cover, bytes, questions, answers) as the Hugging Face library exports them."""
    folder.mkdir(exist_ok=True)
    table = [
        {"image": {"bytes": data, "path": cover}, "image_id": number, "questions": questions,
         "answers": answers, "ocr_tokens": ["a"], "title": "t", "set_name": name.split("-")[0],
         "image_url": cover and f"{AMAZON}/{cover}"}
        for number, cover, data, questions, answers in rows
    ]  # fmt: skip
    table = pa.Table.from_pylist(table, schema=EXPORT)
    pq.write_table(table, folder / name, row_group_size=group)


def test_the_export_in_parquet_gives_the_same_rows_with_covers_inside_it(shop):
    data, base = shop.raw / "ocrvqa/data", "ocrvqa/data/train-00000-of-00001-7de80f046ddc3f89"
    export(data, "train-00000-of-00001-7de80f046ddc3f89.parquet", [
        ("761183272", "61Y5cOdHJbL.jpg", b"the first cover", [WHO, TITLE], ["Ann Ames", "Mom's"]),
        ("1620551020", "41fTr0vWJkL.jpg", b"the second", [WHO], ["Cy Cole"]),
        ("310719577", "51unequal.jpg", b"the third", [WHO, TITLE], ["Fay Finn"]),
        ("895267365", None, b"the fourth", [WHO], ["El Egan"]),
    ], group=2)  # fmt: skip
    export(data, "validation-00000-of-00001-4f2fec72a920b3be.parquet", [
        ("28605411", "51nMv9pLqaL.jpg", None, [WHO], ["Di Dahl"]),
    ])  # fmt: skip
    (data / "test-00000-of-00002.parquet.part").write_text("not read")
    found = survey(shop)
    assert (found.layout, len(found.files), found.images) == ("Hugging Face Parquet", 2, 5)
    assert found.notes == (
        "dataset.json is not read: data/*.parquet has its books, with their covers",
        "data/test-*.parquet is not there: nothing of test is read, and its pictures are not "
        "protected",
    )
    rows = list(found.rows())
    assert [(row.key, row.id, row.split, row.target) for row in rows[:3]] == [
        ("ocrvqa-761183272", "761183272-0", "train", "Ann Ames"),
        ("ocrvqa-761183272", "761183272-1", "train", "Mom's"),
        ("ocrvqa-1620551020", "1620551020-0", "train", "Cy Cole"),
    ]
    assert [row.locator for row in rows[:3]] == [
        f"parquet:{base}.parquet@0/0/image.bytes",
        f"parquet:{base}.parquet@0/0/image.bytes",
        f"parquet:{base}.parquet@0/1/image.bytes",
    ]
    assert rows[0].group == EXPECTED[0].group
    assert [row.error for row in rows[3:]] == [
        "malformed annotation: 310719577 in train-00000-of-00001-7de80f046ddc3f89.parquet: "
        "2 questions, 1 answers; expected as many",
        "malformed annotation: 3 in train-00000-of-00001-7de80f046ddc3f89.parquet: "
        "Expected `str`, got `null` - at `$.imageURL`",
        "image is missing: row 0 of "
        "ocrvqa/data/validation-00000-of-00001-4f2fec72a920b3be.parquet has no bytes",
    ]
    assert (rows[5].id, rows[5].split, rows[5].status) == ("28605411-0", "val", "quarantined")
    with Images(shop.raw) as images:
        assert images.read(rows[2].locator) == b"the second"


def test_an_export_of_splits_that_are_not_read_leaves_the_authors_file(shop):
    export(shop.raw / "ocrvqa/data", "test-00000-of-00001.parquet", [])
    assert list(survey(shop, test=None).rows()) == EXPECTED[:9] + EXPECTED[11:]


def test_a_part_of_the_export_that_is_not_there_is_said(shop):
    data = shop.raw / "ocrvqa/data"
    for name in ("train-00000-of-00002", "validation-00000-of-00001", "test-00000-of-00001"):
        export(data, f"{name}.parquet", [])
    shadowed, parts = survey(shop).notes
    assert shadowed.startswith("dataset.json is not read")
    assert parts == "train has 1 of 2 parts"
    export(data, "train-00001-of-00002.parquet", [])
    assert survey(shop).notes == (shadowed,)
