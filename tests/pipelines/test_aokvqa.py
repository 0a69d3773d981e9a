"""A-OKVQA: lists of questions with choices, direct answers and rationales become these rows."""

import pytest

from pipelines.corpora import aokvqa
from pipelines.table import Row

TRAIN = "aokvqa/aokvqa_v1p0_train.json"


def question(split, image, identity, prompt, target, choices, answers, rationales,
             error=None, *, meta="{}", folder="train2017"):  # fmt: skip
    return Row(
        key=f"aokvqa-{image:012d}",
        group=f"coco:{image}",
        locator=f"file:coco/{folder}/{image:012d}.jpg",
        split=split,
        id=identity,
        thread=identity,
        kind="qa",
        prompt=prompt,
        target=target,
        answers=tuple(answers),
        choices=tuple(choices),
        rationales=tuple(rationales),
        licence="Apache 2.0",
        meta=meta,
        status="quarantined" if error else None,
        error=error,
    )


def unanswered(image):
    return Row(
        key=f"aokvqa-{image:012d}",
        group=f"coco:{image}",
        locator=f"file:coco/test2017/{image:012d}.jpg",
        split="test",
        status="unannotated",
        error="test question without a public answer",
    )


DIFFICULT = '{"difficult_direct_answer":["2Aq5RiEn7eyfWjEbpuYy4o"]}'
EXPECTED = [
    question("train", 391895, "22MexNkBPpdZGX6sxbxVBH", "What could one do with the red thing?",
             "throw it", ["throw it", "eat it", "throw it", "wear it"],
             ["throw it"] * 7 + ["throw"] * 3,
             ["It is a disc.", "A disc is thrown.", "Discs fly well."]),
    question("train", 262148, "2Aq5RiEn7eyfWjEbpuYy4o", "What animal looks like this?", "tiger",
             ["zebra", "", "tiger", "cat"], ["tiger"] * 6 + ["zebra"] * 4,
             ["It has stripes.", "Tigers have purple stripes here.", "Stripes."], meta=DIFFICULT),
    question("train", 262148, "2BHLMXXWyHkYcXa9u6ZdQj", "How many colours are there?", "two",
             ["one", "two", "three", "four"], ["two"] * 10,
             ["Count them.", "There are two.", "Two colours."], meta=DIFFICULT),
    question("train", 9, "2CUXBcx4mYbZjVBSGTJGXe", "Where is this picture?", "lost",
             ["lost", "here", "there", "nowhere"], ["lost"] * 10, "abc",
             "image is missing: coco/train2017/000000000009.jpg"),
    question("train", 522418, "2Dd3hXxFaPKhSGJZEqMKxM", "What is drawn?", "",
             ["", "a square", "a disc", "a star"], ["a square"] * 10, "abc", "empty answer"),
    question("train", 184613, "2EmGJrMBdHVzxNsbXwGSWq", "Which side is up?", "",
             ["left", "right", "top", "bottom"], ["top"] * 10, "abc",
             "malformed annotation: 2EmGJrMBdHVzxNsbXwGSWq in aokvqa_v1p0_train.json: "
             "correct_choice_idx is 4; expected 0 to 3, the places of its choices"),
    question("val", 139, "23BB4PCsbNmdgUdgHmHdqL", "What is under the blue?", "a brown square",
             ["a brown square", "a car", "a dog", "a tree"], ["brown square"] * 10,
             ["The square is brown.", "It is below.", "The sky is blue."], folder="val2017"),
    unanswered(200),
    unanswered(100),
]  # fmt: skip


def test_every_question_is_a_row_and_an_image_of_the_test_file_is_one(shop):
    assert shop.rows("aokvqa") == EXPECTED


def test_a_survey_counts_the_three_lists_and_not_the_vocabularies(shop):
    survey = aokvqa.survey(shop.folders("aokvqa"))
    assert [path.name for path in survey.files] == [
        "aokvqa_v1p0_train.json",
        "aokvqa_v1p0_val.json",
        "aokvqa_v1p0_test.json",
    ]
    assert (survey.images, survey.notes) == (6, ())


@pytest.mark.parametrize("index", [-1, 4, 1000])
def test_a_place_that_no_choice_has_is_malformed_not_counted_from_the_end(shop, index):
    shop.edit(shop.raw / TRAIN, lambda items: items[0].update(correct_choice_idx=index))
    first, *rest = shop.rows("aokvqa")
    assert rest == EXPECTED[1:]
    assert first.target == ""
    assert first.error == (
        "malformed annotation: 22MexNkBPpdZGX6sxbxVBH in aokvqa_v1p0_train.json: "
        f"correct_choice_idx is {index}; expected 0 to 3, the places of its choices"
    )


@pytest.mark.parametrize("field", ["correct_choice_idx", "direct_answers", "choices"])
def test_a_train_question_without_its_answer_is_malformed_and_the_rest_stays(shop, field):
    shop.edit(shop.raw / TRAIN, lambda items: items[0].pop(field) and None)
    first, *rest = shop.rows("aokvqa")
    assert rest == EXPECTED[1:]
    assert first.error == (
        "malformed annotation: 0 in aokvqa_v1p0_train.json: "
        f"Object missing required field `{field}`"
    )


def test_answers_in_a_test_file_are_not_learnt(shop):
    answered = {"correct_choice_idx": 0, "direct_answers": ["a"] * 10, "rationales": []}
    path = shop.raw / "aokvqa/aokvqa_v1p0_test.json"
    shop.edit(path, lambda items: [item.update(answered) for item in items] and None)
    assert shop.rows("aokvqa") == EXPECTED


def test_files_that_are_not_there_are_said_in_one_sentence(shop):
    for name in ("train", "test"):
        (shop.raw / f"aokvqa/aokvqa_v1p0_{name}.json").unlink()
    assert aokvqa.survey(shop.folders("aokvqa")).notes == (
        "aokvqa_v1p0_train.json and aokvqa_v1p0_test.json are not there: nothing of train and test "
        "is read, and the pictures of test are not protected",
    )
