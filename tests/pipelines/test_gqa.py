"""GQA: a dict of questions becomes exactly these rows, ids untouched."""

import json

import pytest

from pipelines.corpora import CorpusError, gqa
from pipelines.table import Row

TRAIN = "gqa/train_balanced_questions.json"


NO_TESTDEV = (
    "testdev_balanced_questions.json is not there: nothing of testdev_balanced is read, and its "
    "pictures are not protected"
)


def survey(shop, **splits):
    return gqa.survey(shop.folders("gqa", splits={**gqa.SPLITS, **splits}))


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
             "image is missing: gqa/images/2375429.jpg"),
    question("val", "2371269", "05451385", "What shape is black?", "square",
             "The square is black."),
    question("val", "2371269", "05451384", "What shape is black?", "square",
             "The square is black."),
    Row(key="gqa-n161313", group="vg:n161313", locator="file:gqa/images/n161313.jpg",
        split="train", status="unannotated", error="no question names this image"),
]  # fmt: skip


def test_every_question_is_a_row_and_its_id_keeps_its_zeros(shop):
    assert shop.rows("gqa") == EXPECTED


def test_all_questions_are_not_read_beside_the_balanced_ones(shop):
    folder = shop.raw / "gqa/train_all_questions"
    folder.mkdir()
    (folder / "train_all_questions_0.json").write_text((shop.raw / TRAIN).read_text())
    (shop.raw / "gqa/val_all_questions.json").write_text("not read")
    assert shop.rows("gqa") == EXPECTED
    found = survey(shop)
    assert [path.name for path in found.files] == [
        "train_balanced_questions.json",
        "val_balanced_questions.json",
    ]
    assert (found.layout, found.images, found.notes) == ("authors' JSON", 4, (NO_TESTDEV,))


def test_all_questions_are_read_from_the_parts_that_are_there_if_the_config_says_so(shop):
    folder = shop.raw / "gqa/train_all_questions"
    folder.mkdir()
    questions = json.loads((shop.raw / TRAIN).read_text())
    parts = {0: ["00126851", "07333408"], 3: ["02930152", "07333405"]}
    for part, ids in parts.items():
        path = folder / f"train_all_questions_{part}.json"
        path.write_text(json.dumps({identity: questions[identity] for identity in ids}))
    found = survey(shop, train_all="train", train_balanced=None)
    assert [path.name for path in found.files] == [
        "val_balanced_questions.json",
        "train_all_questions_0.json",
        "train_all_questions_3.json",
    ]
    assert found.notes == (
        NO_TESTDEV,
        "2 of 10 parts of train_all are there (1, 2, 4, 5, 6, 7, 8 and 9 are not)",
    )
    assert [row for row in found.rows() if row.split == "train"] == [
        EXPECTED[1], EXPECTED[0], EXPECTED[2], EXPECTED[3], EXPECTED[6],
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["train", "val", "testdev"])
def test_balanced_questions_and_all_of_them_are_not_both_read(shop, name):
    for kind in ("balanced", "all"):
        (shop.raw / f"gqa/{name}_{kind}_questions.json").write_text("{}")
    with pytest.raises(CorpusError) as caught:
        survey(shop, **{f"{name}_balanced": "train", f"{name}_all": "train"})
    assert str(caught.value) == (
        f"gqa reads both {name}_all and {name}_balanced, which is a part of it; leave one out in "
        f"the config: gqa: {{splits: {{{name}_balanced: null}}}}"
    )


def test_the_images_of_questions_without_a_public_answer_are_one_row_each_and_of_test(shop):
    asked = [("201", "n161313"), ("07", "n999"), ("202", "n161313")]
    path = shop.raw / "gqa/test_balanced_questions.json"
    path.write_text(json.dumps({
        identity: {"question": "What?", "imageId": image, "isBalanced": True}
        for identity, image in asked
    }))  # fmt: skip
    error = "test question without a public answer"
    assert shop.rows("gqa") == EXPECTED[:6] + [
        Row(key=f"gqa-{image}", group=f"vg:{image}", locator=f"file:gqa/images/{image}.jpg",
            split="test", status="unannotated", error=error)
        for image in ("n161313", "n999")
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["test_all", "challenge_balanced", "challenge_all"])
def test_every_file_without_answers_keeps_its_images_out_of_training(shop, name):
    path = shop.raw / f"gqa/{name}_questions.json"
    path.write_text('{"1": {"question": "What?", "imageId": "n161313"}}')
    rows = shop.rows("gqa")
    assert rows[:6] == EXPECTED[:6]
    assert [(row.key, row.split, row.status) for row in rows[6:]] == [
        ("gqa-n161313", "test", "unannotated")
    ]


def test_submission_files_are_read_only_if_the_config_says_so(shop):
    path = shop.raw / "gqa/submission_all_questions.json"
    path.write_text('{"1": {"question": "What?", "imageId": "n161313"}}')
    assert shop.rows("gqa") == EXPECTED
    *_, last = survey(shop, submission_all="val").rows()
    assert (last.key, last.split, last.status) == ("gqa-n161313", "val", "unannotated")


def test_an_image_that_is_also_asked_about_with_an_answer_is_not_unannotated(shop):
    source = shop.raw / "gqa/val_balanced_questions.json"
    source.rename(source.with_name("testdev_balanced_questions.json"))
    path = shop.raw / "gqa/test_balanced_questions.json"
    path.write_text('{"1": {"question": "What?", "imageId": "2371269"}}')
    rows = shop.rows("gqa")
    assert [row.key for row in rows if row.status == "unannotated"] == ["gqa-n161313"]


def test_a_list_as_lavis_exports_it_is_read_like_the_dict(shop):
    exported: list[dict] = [
        {"image": f"{row.group[3:]}.jpg", "question_id": row.id, "question": row.prompt,
         "answer": row.target}
        for row in EXPECTED[:4]
    ]  # fmt: skip
    exported[2]["question_id"] = 2930152
    exported[1] = {"image": "2370134.jpg", "question_id": "00126851"}
    (shop.raw / TRAIN).write_text(json.dumps(exported))
    rows = shop.rows("gqa")
    assert rows[0] == question("train", "2354786", "07333408", "What colour is the triangle?",
                               "green", "")  # fmt: skip
    assert rows[1].error == (
        "malformed annotation: 1 in train_balanced_questions.json: "
        "Object missing required field `question`"
    )
    assert rows[2].id == "2930152"
    assert rows[3].error == "image is missing: gqa/images/2375429.jpg"
    assert rows[4:6] == EXPECTED[4:6]


def test_a_list_of_questions_without_answers_is_no_training_data(shop):
    path = shop.raw / "gqa/test_balanced_questions.json"
    asked = [{"image": "n161313.jpg", "question_id": "1", "question": "What?"}]
    path.write_text(json.dumps(asked))
    assert [(row.key, row.split) for row in shop.rows("gqa") if row.status == "unannotated"] == [
        ("gqa-n161313", "test")
    ]


def test_pictures_may_be_png_and_of_two_the_jpg_is_taken(shop):
    images = shop.raw / "gqa/images"
    (images / "2354786.jpg").rename(images / "2354786.png")
    (images / "2370134.png").write_bytes((images / "2370134.jpg").read_bytes())
    rows = shop.rows("gqa")
    assert survey(shop).images == 4
    assert rows[0].locator == "file:gqa/images/2354786.png"
    assert rows[1] == EXPECTED[1]


def test_an_empty_question_is_quarantined(shop):
    shop.edit(shop.raw / TRAIN, lambda questions: questions["00126851"].update(question="\0 "))
    assert shop.rows("gqa")[1].error == "empty question"


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
        f"malformed annotation: 00126851 in train_balanced_questions.json: {why}"
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
        f"image is missing: gqa/images/{image}.jpg"
        for image in ("2354786", "2370134", "2375429", "2371269")
    }


def test_a_folder_without_questions_is_refused(shop):
    for path in (shop.raw / "gqa").glob("*.json"):
        path.unlink()
    with pytest.raises(CorpusError, match="has none of train_balanced_questions.json.* it has im"):
        shop.rows("gqa")


def test_all_questions_stand_in_for_balanced_ones_that_are_not_there(shop):
    source = shop.raw / TRAIN
    source.rename(source.with_name("train_all_questions.json"))
    found = survey(shop, train_all="train")
    assert found.notes == (NO_TESTDEV,)
    assert [row for row in found.rows() if row.split == "train"] == EXPECTED[:4] + EXPECTED[6:]


def test_evaluation_questions_that_are_not_there_are_said(shop):
    (shop.raw / "gqa/val_balanced_questions.json").unlink()
    assert survey(shop, testdev_balanced=None).notes == (
        "val_balanced_questions.json is not there: nothing of val_balanced is read, and its "
        "pictures are not protected",
    )


def test_where_only_all_questions_are_there_the_error_ends_with_what_to_write(shop):
    for name in ("train", "val"):
        (shop.raw / f"gqa/{name}_balanced_questions.json").unlink()
    folder = shop.raw / "gqa/train_all_questions"
    folder.mkdir()
    (folder / "train_all_questions_4.json").write_text("{}")
    with pytest.raises(CorpusError) as caught:
        survey(shop)
    assert str(caught.value).endswith(
        "write in the config gqa: {splits: {train_all: train, train_balanced: null}}"
    )
    (shop.raw / "gqa/val_all_questions.json").write_text("{}")
    with pytest.raises(CorpusError) as caught:
        survey(shop)
    assert str(caught.value).endswith(
        "gqa: {splits: {train_all: train, train_balanced: null, val_all: val, val_balanced: null}}"
    )


def test_without_pictures_a_note_says_what_to_type(shop):
    (shop.raw / "gqa/images").rename(shop.raw / "gqa/allImages")
    found = survey(shop, testdev_balanced=None)
    assert (found.images, found.notes) == (
        0,
        (
            "gqa/images is not there: no question can be used; fetch it: "
            "python -m pipelines download --corpus gqa",
        ),
    )
