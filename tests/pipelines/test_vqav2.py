"""VQA v2: questions and answers, joined by id, become exactly these rows."""

import pytest

from pipelines.corpora import CorpusError, vqav2
from pipelines.table import Row

LICENCE = "Creative Commons Attribution 4.0 International License"
QUESTIONS = "vqa/v2_OpenEnded_mscoco_train2014_questions.json"
ANSWERS = "vqa/v2_mscoco_train2014_annotations.json"


def question(split, identity, prompt, target, answers=(), error=None, *, folder="train2017"):
    image = identity // 1000
    return Row(
        key=f"vqav2-{image:012d}",
        group=f"coco:{image}",
        locator=f"file:coco/{folder}/{image:012d}.jpg",
        split=split,
        id=str(identity),
        thread=str(identity),
        kind="qa",
        prompt=prompt,
        target=target,
        answers=tuple(answers),
        licence=LICENCE,
        status="quarantined" if error else None,
        error=error,
    )


TRAIN = [
    question("train", 262148000, "How many stripes are there?", "5", ["5"] * 6 + ["4"] * 4),
    question("train", 391895000, "Is the disc red?", "yes", ["yes"] * 10),
    question("train", 262148001, "What colour are the stripes?", "purple",
             [*["purple"] * 8, "violet", "purple"]),
    question("train", 9000, "What is in the lost picture?", "nothing", ["nothing"] * 10,
             "image is missing: coco/train2017/000000000009.jpg"),
    question("train", 522418000, "What shape is this?", "", (),
             "no answer: question 522418000 has none in v2_mscoco_train2014_annotations.json"),
    question("train", 522418005, "", "square", ["square"] * 10,
             "no question: answers to 522418005, which "
             "v2_OpenEnded_mscoco_train2014_questions.json does not have"),
]  # fmt: skip
VAL = [
    question("val", 184613000, "What colour is the triangle?", "gold",
             ["gold"] * 6 + ["yellow"] * 4),
    question("val", 139001, "Is there a tree?", "no", ["no"] * 10, folder="val2017"),
    question("val", 139000, "What shape is brown?", "square", ["square"] * 7 + ["box"] * 3,
             folder="val2017"),
]  # fmt: skip


def test_every_question_and_every_answer_without_one_is_a_row(shop):
    assert shop.rows("vqav2") == TRAIN + VAL


def test_the_fixtures_need_a_join_by_id(shop):
    """Not one pair is at the same place in both files, else the test above could not fail."""
    places = []
    shop.edit(shop.raw / QUESTIONS, lambda f: places.append(f["questions"]))
    shop.edit(shop.raw / ANSWERS, lambda f: places.append(f["annotations"]))
    assert len(places[0]) == len(places[1]) == 5
    pairs = zip(*places, strict=True)
    assert not [1 for asked, given in pairs if asked["question_id"] == given["question_id"]]


def test_a_survey_counts_all_four_files_and_the_pictures_of_coco(shop):
    survey = vqav2.survey(shop.folders("vqav2"))
    assert (len(survey.files), survey.images, survey.notes) == (4, 6, ())


def test_without_the_file_of_answers_every_question_is_quarantined(shop):
    (shop.raw / ANSWERS).unlink()
    rows = shop.rows("vqav2")
    assert rows[5:] == VAL
    errors = [row.error for row in rows[:5]]
    assert errors[0] == (
        "no answer: question 262148000 has none in v2_mscoco_train2014_annotations.json"
    )
    assert errors[3] == "image is missing: coco/train2017/000000000009.jpg"
    assert {(row.status, row.target, row.answers) for row in rows[:5]} == {("quarantined", "", ())}
    assert vqav2.survey(shop.folders("vqav2")).notes == (
        f"v2_mscoco_train2014_annotations.json is not in {shop.raw}/vqa, "
        "so the questions of train2014 have no answer",
    )


def test_a_malformed_question_is_quarantined_and_so_are_its_answers(shop):
    shop.edit(shop.raw / QUESTIONS, lambda f: f["questions"][1].pop("question") and None)
    rows = shop.rows("vqav2")
    assert rows[0] == TRAIN[0]
    assert rows[2:5] + rows[7:] == TRAIN[2:5] + VAL
    assert rows[1].error == (
        "malformed annotation: 1 in v2_OpenEnded_mscoco_train2014_questions.json: "
        "Object missing required field `question`"
    )
    orphans = {row.id: row.error for row in rows[5:7]}
    assert set(orphans) == {"391895000", "522418005"}
    assert orphans["391895000"].startswith("no question: answers to 391895000, which v2_Open")


def test_malformed_answers_are_quarantined_and_leave_their_question_without(shop):
    shop.edit(shop.raw / ANSWERS, lambda f: f["annotations"][1].update(answers="purple"))
    rows = shop.rows("vqav2")
    assert (rows[0].key, rows[0].status) == (
        "vqav2-v2_mscoco_train2014_annotations-1",
        "quarantined",
    )
    assert rows[0].error == (
        "malformed annotation: 1 in v2_mscoco_train2014_annotations.json: "
        "Expected `array`, got `str` - at `$.answers`"
    )
    assert rows[1:3] == TRAIN[:2]
    assert rows[3].error == (
        "no answer: question 262148001 has none in v2_mscoco_train2014_annotations.json"
    )


def test_a_question_answered_twice_keeps_the_first_answers_and_files_the_second(shop):
    again = {"question_id": 391895000, "image_id": 391895, "multiple_choice_answer": "no",
             "answers": [{"answer": "no"}]}  # fmt: skip
    shop.edit(shop.raw / ANSWERS, lambda f: f["annotations"].append(again))
    filed, *rest = shop.rows("vqav2")
    assert rest == TRAIN + VAL
    assert (filed.status, filed.id) == ("quarantined", "5")
    assert filed.error.endswith("question 391895000 is answered a second time")


def test_a_question_asked_twice_is_asked_once_and_the_second_is_filed(shop):
    again = {"question_id": 391895000, "image_id": 391895, "question": "Is it red?"}
    shop.edit(shop.raw / QUESTIONS, lambda f: f["questions"].append(again))
    rows = shop.rows("vqav2")
    assert rows[:5] + rows[6:] == TRAIN + VAL
    assert rows[5].error == (
        "malformed annotation: 5 in v2_OpenEnded_mscoco_train2014_questions.json: "
        "question 391895000 is asked a second time"
    )


def test_an_empty_question_is_quarantined(shop):
    shop.edit(shop.raw / QUESTIONS, lambda f: f["questions"][1].update(question=" \0\n"))
    assert shop.rows("vqav2")[1] == question(
        "train", 391895000, "", "yes", ["yes"] * 10, "empty question"
    )


def test_a_split_that_the_config_leaves_out_is_not_read(shop):
    (shop.raw / "vqa/v2_OpenEnded_mscoco_val2014_questions.json").write_text("not read")
    folders = shop.folders("vqav2", splits={"train2014": "train", "val2014": None})
    assert list(vqav2.survey(folders).rows()) == TRAIN


def test_an_empty_consensus_is_quarantined(shop):
    shop.edit(
        shop.raw / ANSWERS,
        lambda f: f["annotations"][2].update(multiple_choice_answer=" \n"),
    )
    assert shop.rows("vqav2")[1] == question(
        "train", 391895000, "Is the disc red?", "", ["yes"] * 10, "empty answer"
    )


def test_a_folder_without_questions_is_refused(shop):
    for path in (shop.raw / "vqa").glob("*questions.json"):
        path.unlink()
    with pytest.raises(CorpusError, match="vqa has none of v2_OpenEnded_mscoco_train2014_quest"):
        shop.rows("vqav2")


def test_questions_that_are_not_there_are_said_to_be_unprotected(shop):
    (shop.raw / "vqa/v2_OpenEnded_mscoco_val2014_questions.json").unlink()
    assert vqav2.survey(shop.folders("vqav2")).notes == (
        "v2_OpenEnded_mscoco_val2014_questions.json is not there: nothing of val2014 is read, and "
        "its questions are not protected",
    )
    left = shop.folders("vqav2", splits={"train2014": "train", "val2014": None})
    assert vqav2.survey(left).notes == ()


def test_a_folder_of_coco_s_pictures_that_is_not_there_is_said(shop):
    (shop.raw / "coco/train2017").rename(shop.raw / "coco/train2014")
    (note,) = vqav2.survey(shop.folders("vqav2")).notes
    assert note.startswith("coco/train2017 is not there: no text about its pictures can be used")
