"""LLaVA: whole conversations become exactly these rows."""

import json

import pytest

from pipelines.corpora import llava
from pipelines.table import Row

WHOLE = "llava_instruct_150k.json"


def turn(image, thread, place, prompt, target, error=None):
    return Row(
        key=f"llava-{image:012d}",
        group=f"coco:{image}",
        locator=f"file:coco/train2017/{image:012d}.jpg",
        split="train",
        id=f"{image:012d}-{thread}-{place}",
        thread=f"{image:012d}-{thread}",
        kind="instruction",
        prompt=prompt,
        target=target,
        licence="CC BY-NC 4.0; OpenAI terms of use",
        status="quarantined" if error else None,
        error=error,
    )


def text_only(place, prompt, target):
    return Row(
        key="llava-text-llava_instruct_150k-4",
        group="llava:llava_instruct_150k.json:4",
        locator="",
        split="train",
        id=f"wgByO4Y_0-0-{place}",
        thread="wgByO4Y_0-0",
        kind="instruction",
        prompt=prompt,
        target=target,
        licence="CC BY-NC 4.0; OpenAI terms of use",
        status="quarantined",
        error="no image: text-only conversation",
    )


DISORDER = "malformed annotation: {} in llava_instruct_150k.json: {}"
EXPECTED = [
    turn(391895, 0, 0, "What colour is the disc?", "The disc is red."),
    turn(391895, 0, 1, "Where does it lie?", "On a green field.\n\nNothing else is there."),
    turn(262148, 0, 0, "What do you see?",
         "Five stripes:\n\n1. they are purple,\n2. they are upright."),
    turn(391895, 1, 0, "Describe the picture.", "A red disc on a green field."),
    turn(9, 0, 0, "What is it?", "A lost picture.",
         "image is missing: coco/train2017/000000000009.jpg"),
    text_only(0, "Who are you?", "A text without a picture."),
    text_only(1, "Why?", "The mix has such texts."),
    turn(522418, 0, 0, "And what colour?", "A white square.",
         DISORDER.format(5, "turn 1 is from 'human'; expected 'gpt'")),
    turn(522418, 1, 0, "What shape is it?", "A square.",
         DISORDER.format(6, "3 turns; expected questions, each with its answer")),
    turn(522418, 2, 0, "What shape?", "A square.",
         DISORDER.format(7, "turn 0 is from 'system'; expected 'human'")),
    turn(522418, 3, 0, "", "A white square.", "empty question"),
    turn(522418, 4, 0, "What is white?", "The square.", "empty answer"),
    turn(522418, 4, 1, "And grey?", "", "empty answer"),
    turn(522418, 5, 0, "What is grey?", "The wall."),
]  # fmt: skip


def talk(image, *texts, identity="1"):
    """A conversation; without an image if that is None."""
    said = [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]
    return {"id": identity, **({"image": image} if image else {}), "conversations": said}


def test_every_answer_is_a_row_and_conversations_of_one_picture_are_threads(shop):
    assert shop.rows("llava") == EXPECTED


def test_a_survey_counts_the_file_and_the_pictures_of_coco(shop):
    found = llava.survey(shop.folders("llava"))
    assert [path.name for path in found.files] == [WHOLE]
    assert (found.layout, found.images, found.notes) == ("authors' JSON", 6, ())


def test_a_conversation_in_which_nobody_answers_is_one_row(shop):
    shop.edit(shop.raw / "llava" / WHOLE, lambda items: [talk("000000391895.jpg", "<image>\nWhy?")])
    (row,) = shop.rows("llava")
    assert (row.key, row.status, row.target) == ("llava-000000391895", "quarantined", "")
    assert row.error == DISORDER.format(0, "1 turns; expected questions, each with its answer")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"conversations": "Hello"}, "Expected `array`, got `str` - at `$.conversations`"),
        (
            {"conversations": [{"from": "human"}]},
            "Object missing required field `value` - at `$.conversations[0]`",
        ),
        ({"image": ["a.jpg", "b.jpg"]}, "Expected `str | null`, got `array` - at `$.image`"),
    ],
)
def test_a_malformed_conversation_is_a_row_of_its_own_and_the_rest_stays(shop, change, why):
    shop.edit(shop.raw / "llava" / WHOLE, lambda items: items[1].update(change))
    rows = shop.rows("llava")
    assert rows[:2] + rows[3:] == EXPECTED[:2] + EXPECTED[3:]
    assert rows[2].error == f"malformed annotation: 1 in llava_instruct_150k.json: {why}"


@pytest.fixture
def mix(shop):
    """The 665k mix with pictures of five corpora, one of them not on disk."""
    for name in ("vg/VG_100K_2/2354786.jpg", "ocr_vqa/images/761183272.jpg",
                 "textvqa/train_images/a0f.b.jpg"):  # fmt: skip
        (shop.raw / name).parent.mkdir(parents=True)
        (shop.raw / name).write_bytes(b"a picture")
    names = [
        "coco/train2017/000000391895.jpg", "gqa/images/2354786.jpg", "vg/VG_100K_2/2354786.jpg",
        "ocr_vqa/images/761183272.jpg", "textvqa/train_images/a0f.b.jpg", "vg/VG_100K/7.jpg",
        "../outside.jpg", "/etc/passwd", "textvqa/" + "x" * 300 + ".jpg",
    ]  # fmt: skip
    items = [talk(name, "<image>\nQ?", "A.") for name in names]
    (shop.raw / "llava/llava_v1_5_mix665k.json").write_text(json.dumps(items))
    return shop


def test_pictures_of_the_mix_are_found_below_the_root_by_what_they_are(mix):
    rows = mix.rows("llava")
    assert [(row.key, row.group, row.locator, row.thread) for row in rows[:5]] == [
        ("llava-000000391895", "coco:391895", "file:coco/train2017/000000391895.jpg", "1-0"),
        ("llava-vg-2354786", "vg:2354786", "file:gqa/images/2354786.jpg", "1-0"),
        ("llava-vg-2354786", "vg:2354786", "file:gqa/images/2354786.jpg", "1-1"),
        ("llava-ocr_vqa-images-761183272-jpg-f3207bde", "llava:ocr_vqa/images/761183272.jpg",
         "file:ocr_vqa/images/761183272.jpg", "1-0"),
        ("llava-textvqa-train_images-a0f-b-jpg-d1bb75ee", "llava:textvqa/train_images/a0f.b.jpg",
         "file:textvqa/train_images/a0f.b.jpg", "1-0"),
    ]  # fmt: skip
    assert {row.status for row in rows[:5]} == {None}


def test_pictures_of_the_mix_that_are_not_below_the_root_are_quarantined(mix):
    errors = [row.error for row in mix.rows("llava")[5:]]
    assert errors == [
        "image is missing: vg/VG_100K/7.jpg",
        "unsafe path: '../outside.jpg' leads out of the root",
        "unsafe path: '/etc/passwd' leads out of the root",
        f"image is missing: textvqa/{'x' * 300}.jpg: File name too long",
    ]


def test_a_picture_found_at_its_second_place_is_not_lost_for_the_first(shop):
    place = shop.raw / "vg/VG_100K/2354786.jpg"
    place.parent.mkdir(parents=True)
    (shop.raw / "gqa/images/2354786.jpg").rename(place)
    names = ["gqa/images/2354786.jpg", "vg/VG_100K/2354786.jpg"]
    items = [talk(name, "<image>\nQ?", "A.") for name in names]
    (shop.raw / "llava" / WHOLE).write_text(json.dumps(items))
    assert [(row.locator, row.error) for row in shop.rows("llava")] == [
        ("file:gqa/images/2354786.jpg", "image is missing: gqa/images/2354786.jpg"),
        ("file:vg/VG_100K/2354786.jpg", None),
    ]


def test_the_mix_is_read_instead_of_what_it_contains_and_a_note_says_so(mix):
    found = llava.survey(mix.folders("llava"))
    assert [path.name for path in found.files] == ["llava_v1_5_mix665k.json"]
    assert found.notes == (
        "reads llava_v1_5_mix665k.json; not llava_instruct_150k.json, a part of the same",
    )


def test_the_parts_are_read_together_when_the_whole_is_not_there(shop):
    (shop.raw / "llava" / WHOLE).unlink()
    for name, texts in {
        "conversation_58k.json": ("Q1", "A1", "Q2", "A2"),
        "complex_reasoning_77k.json": ("Why?", "So."),
        "llava_instruct_80k.json": ("Q1", "A1"),
    }.items():
        items = [talk("000000391895.jpg", *texts, identity="000000391895")]
        (shop.raw / "llava" / name).write_text(json.dumps(items))
    found = llava.survey(shop.folders("llava"))
    assert found.notes == (
        "reads conversation_58k.json and complex_reasoning_77k.json; "
        "not llava_instruct_80k.json, a part of the same",
    )
    assert [(row.id, row.thread, row.target) for row in found.rows()] == [
        ("000000391895-0-0", "000000391895-0", "A1"),
        ("000000391895-0-1", "000000391895-0", "A2"),
        ("000000391895-1-0", "000000391895-1", "So."),
    ]


def test_a_sample_that_is_larger_than_the_one_part_beside_it_is_read(shop):
    (shop.raw / "llava" / WHOLE).rename(shop.raw / "llava/llava_instruct_80k.json")
    (shop.raw / "llava/detail_23k.json").write_text("[]")
    (path,) = llava.survey(shop.folders("llava")).files
    assert path.name == "llava_instruct_80k.json"


def test_names_that_differ_in_their_marks_or_late_are_records_of_their_own(shop):
    names = ["textvqa/a/b.jpg", "textvqa/a-b.jpg", "textvqa/a/b.png"]
    names += [f"textvqa/{'x' * 90}{end}.jpg" for end in "yz"]
    (shop.raw / "textvqa/a").mkdir(parents=True)
    for name in names:
        (shop.raw / name).write_bytes(b"a picture")
    items = [talk(name, "<image>\nQ?", "A.") for name in names]
    (shop.raw / "llava" / WHOLE).write_text(json.dumps(items))
    keys = [row.key for row in shop.rows("llava")]
    assert len(set(keys)) == 5
    assert max(map(len, keys)) <= 90
