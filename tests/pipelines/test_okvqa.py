"""OK-VQA: raw answers, joined by id, of which the commonest is the target."""

from pipelines.corpora import okvqa
from pipelines.table import Row

LICENCE = "Creative Commons Attribution 4.0 International License"
ANSWERS = "okvqa/mscoco_train2014_annotations.json"


def question(split, image, identity, prompt, target, answers, error=None, *, folder="train2017"):
    return Row(
        key=f"okvqa-{image:012d}",
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


EXPECTED = [
    question("train", 391895, 3918955, "What sport needs a disc like this?", "discus",
             ["throwing"] * 2 + ["discus"] * 6 + ["racing"] * 2),
    question("train", 262148, 2621480, "What animal has stripes like these?", "zebra",
             ["zebra"] * 4 + ["tiger"] * 4 + ["zebras"] * 2),
    question("train", 900, 9000, "What is in the lost picture?", "nothing", ["nothing"] * 10,
             "image is missing: coco/train2017/000000000900.jpg"),
    question("train", 522418, 5224182, "What game has a board of such squares?", "", (),
             "no answer: question 5224182 has none in mscoco_train2014_annotations.json"),
    question("train", 184613, 1846131, "", "playing music", ["playing music"] * 10,
             "no question: answers to 1846131, which OpenEnded_mscoco_train2014_questions.json "
             "does not have"),
    question("val", 184613, 1846130, "What instrument has this shape?", "triangle",
             ["triangle"] * 8 + ["", "triangles"]),
    question("val", 139, 1393, "Who invented this?", "", [""] * 10, "empty answer",
             folder="val2017"),
]  # fmt: skip


def test_every_question_and_every_answer_without_one_is_a_row(shop):
    assert shop.rows("okvqa") == EXPECTED


def test_a_survey_counts_the_four_files_and_not_the_shadows_of_a_mac(shop):
    assert (shop.raw / "okvqa/__MACOSX/._mscoco_train2014_annotations.json").is_file()
    survey = okvqa.survey(shop.folders("okvqa"))
    assert [path.name for path in survey.files] == [
        "OpenEnded_mscoco_train2014_questions.json",
        "OpenEnded_mscoco_val2014_questions.json",
        "mscoco_train2014_annotations.json",
        "mscoco_val2014_annotations.json",
    ]
    assert (survey.images, survey.notes) == (6, ())


def test_of_answers_as_common_the_one_said_first_is_the_target(shop):
    def change(file):
        said = ["b", "a", "a", "b", "c", "c", "c", "a", "b", ""]
        for answer, text in zip(file["annotations"][0]["answers"], said, strict=True):
            answer["raw_answer"] = text

    shop.edit(shop.raw / ANSWERS, change)
    assert shop.rows("okvqa")[1].target == "b"


def test_an_answer_said_by_fewer_is_the_target_if_most_said_nothing(shop):
    def change(file):
        for answer in file["annotations"][0]["answers"][:9]:
            answer["raw_answer"] = " "

    shop.edit(shop.raw / ANSWERS, change)
    row = shop.rows("okvqa")[1]
    assert (row.target, row.answers, row.status) == ("zebras", ("",) * 9 + ("zebras",), None)


def test_an_annotation_with_stemmed_answers_only_is_malformed(shop):
    shop.edit(
        shop.raw / ANSWERS,
        lambda file: file["annotations"][0]["answers"][2].pop("raw_answer") and None,
    )
    rows = shop.rows("okvqa")
    assert rows[0].error == (
        "malformed annotation: 0 in mscoco_train2014_annotations.json: "
        "Object missing required field `raw_answer` - at `$.answers[2]`"
    )
    assert rows[2].error.startswith("no answer: question 2621480 has none in")


def test_a_number_that_vqa_v2_has_too_is_another_question(shop):
    (ours,) = (row for row in shop.rows("okvqa") if row.id == "9000")
    (theirs,) = (row for row in shop.rows("vqav2") if row.id == "9000")
    assert (ours.key, ours.group) == ("okvqa-000000000900", "coco:900")
    assert (theirs.key, theirs.group) == ("vqav2-000000000009", "coco:9")
