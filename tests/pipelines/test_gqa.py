"""GQA: a dict of questions becomes exactly these rows, ids untouched."""

import hashlib

import pytest

from pipelines import corpora
from pipelines.corpora import CorpusError, Folders
from pipelines.table import Row

TRAIN = "gqa/train_balanced_questions.json"


def question(split, image, identity, prompt, target, full, error=None):
    return Row(
        key=f"gqa-{image}",
        group=f"vg:{image}",
        locator=f"file:gqa/images/{image}.jpg",
        split=split,
        id=identity,
        thread=identity,
        kind="qa",
        prompt=prompt,
        target=target,
        answers=tuple(text for text in (target, full) if text),
        licence="CC BY 4.0",
        status="quarantined" if error else None,
        error=error,
    )


EXPECTED = [
    question("train", "2354786", "07333408", "What colour is the triangle?", "green",
             "The triangle is green."),
    question("train", "2370134", "00126851", "Is the circle blue?", "yes",
             "Yes, the circle is blue."),
    question("train", "2354786", "02930152", "Is the ground tan?", "yes",
             "Yes, the ground is tan."),
    question("train", "2375429", "07333405", "Is it overcast?", "no", "No, it is clear.",
             "image is not in gqa/images"),
    question("val", "2371269", "05451385", "What shape is black?", "square",
             "The square is black."),
    question("val", "2371269", "05451384", "What shape is black?", "square",
             "The square is black."),
    Row(key="gqa-n161313", group="vg:n161313", locator="file:gqa/images/n161313.jpg",
        split="train", status="unannotated", error="no question names this image"),
]  # fmt: skip


def test_every_question_is_a_row_and_its_id_keeps_its_zeros(shop):
    assert shop.rows("gqa") == EXPECTED


def test_a_picture_that_no_question_names_is_placed_by_md5():
    bucket = int(hashlib.md5(b"vg:n161313").hexdigest(), 16) % 100
    assert bucket < 70, "the row above says train"


def test_all_questions_are_not_read_beside_the_balanced_ones(shop):
    folder = shop.raw / "gqa/train_all_questions"
    folder.mkdir()
    (folder / "train_all_questions_0.json").write_text((shop.raw / TRAIN).read_text())
    (shop.raw / "gqa/val_all_questions.json").write_text("not read")
    assert shop.rows("gqa") == EXPECTED
    survey = corpora.load("gqa").survey(Folders(shop.raw, shop.raw / "gqa", shop.raw / "coco"))
    assert [path.name for path in survey.files] == [
        "train_balanced_questions.json",
        "val_balanced_questions.json",
    ]
    assert survey.images == 4


def test_testdev_is_the_test_split(shop):
    source = shop.raw / "gqa/val_balanced_questions.json"
    source.rename(source.with_name("testdev_balanced_questions.json"))
    splits = [(row.id, row.split) for row in shop.rows("gqa") if row.group == "vg:2371269"]
    assert splits == [("05451385", "test"), ("05451384", "test")]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"imageId": 2370134}, "Expected `str`, got `int` - at `$.imageId`"),
        ({"answer": None}, "Expected `str`, got `null` - at `$.answer`"),
        ({"question": ["Is", "it"]}, "Expected `str`, got `array` - at `$.question`"),
    ],
)
def test_a_malformed_question_is_filed_under_its_id_and_the_rest_stays(shop, change, why):
    shop.edit(shop.raw / TRAIN, lambda questions: questions["00126851"].update(change))
    rows = shop.rows("gqa")
    assert [rows[0], *rows[2:6]] == [EXPECTED[0], *EXPECTED[2:6]]
    assert rows[1].status == "quarantined"
    assert rows[1].id == "00126851"
    assert rows[1].key == "gqa-train_balanced_questions-00126851"
    assert rows[1].error == (
        f"malformed annotation 00126851 in train_balanced_questions.json: {why}"
    )
    unannotated = [row.key for row in rows if row.status == "unannotated"]
    assert unannotated == ["gqa-2370134", "gqa-n161313"], "its picture has no other question"


def test_a_question_without_its_answer_is_no_training_sample(shop):
    """As in the test and challenge files of GQA, which have no answers."""
    shop.edit(shop.raw / TRAIN, lambda questions: questions["00126851"].pop("answer") and None)
    assert shop.rows("gqa")[1].error.endswith("Object missing required field `answer`")


def test_an_empty_answer_is_quarantined_and_a_missing_sentence_is_not(shop):
    def change(questions):
        questions["00126851"]["answer"] = " "
        del questions["02930152"]["fullAnswer"]

    shop.edit(shop.raw / TRAIN, change)
    rows = shop.rows("gqa")
    assert (rows[1].status, rows[1].error) == ("quarantined", "empty answer")
    assert rows[1].answers == ("Yes, the circle is blue.",)
    assert (rows[2].status, rows[2].answers) == (None, ("yes",))


def test_a_mac_s_shadow_files_are_not_pictures(shop):
    for name in ("._2354786.jpg", ".DS_Store", "2354786.jpg.part"):
        (shop.raw / "gqa/images" / name).write_bytes(b"\0\5\x16\7")
    assert shop.rows("gqa") == EXPECTED


def test_without_pictures_every_question_is_quarantined(shop):
    for path in (shop.raw / "gqa/images").iterdir():
        path.unlink()
    (shop.raw / "gqa/images").rmdir()
    assert {row.error for row in shop.rows("gqa")} == {
        "image is not in gqa/images" for image in ("2354786", "2370134", "2375429", "2371269")
    }


def test_a_folder_without_questions_is_refused(shop):
    for path in (shop.raw / "gqa").glob("*.json"):
        path.unlink()
    with pytest.raises(CorpusError, match="has none of train_balanced_questions.json.* it has im"):
        shop.rows("gqa")
