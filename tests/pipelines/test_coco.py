"""COCO captions: files in the official layout become exactly these rows."""

import shutil
from dataclasses import replace

import pytest

from pipelines.corpora import CorpusError, coco
from pipelines.corpora.coco import CocoImages
from pipelines.table import Row

LICENCES = {
    9: "Attribution-ShareAlike License",
    139: "Attribution-NonCommercial License",
    285: "Attribution License",
    184613: "Attribution-NonCommercial-ShareAlike License",
    391895: "Attribution-NonCommercial-NoDerivs License",
    522418: "Attribution License",
}
TRAIN = "annotations/captions_train2017.json"


def caption(split, image, identity, text, error=None):
    return Row(
        key=f"coco-{image:012d}",
        group=f"coco:{image}",
        locator=f"file:coco/{split}2017/{image:012d}.jpg",
        split=split,
        id=str(identity),
        thread=str(identity),
        kind="caption",
        target=text,
        licence=LICENCES[image],
        status="quarantined" if error else None,
        error=error,
    )


EXPECTED = [
    caption("train", 522418, 681330, "A white square in front of a grey wall."),
    caption("train", 391895, 770337, "A red disc on a green field."),
    caption("train", 184613, 474921, "A gold triangle lies on its side."),
    caption("train", 391895, 9999, "One red circle, all alone."),
    caption("train", 391895, 772707, "A round red shape on green."),
    caption("train", 9, 661611, "A picture that nobody can find.",
            "image is missing: coco/train2017/000000000009.jpg"),
    caption("train", 391895, 776154, "A red disc on a green field."),
    caption("train", 391895, 781998, "Something red and round."),
    caption("train", 184613, 479322, "Yellow triangle, blue ground."),
    caption("train", 522418, 686718, "A grey picture of a square."),
    caption("val", 285, 733, "A white disc on a black ground."),
    caption("val", 139, 829717, "A brown square under a blue sky."),
    caption("val", 285, 734, "", "empty caption"),
    caption("val", 139, 829655, "A box stands against the sky."),
    Row(key="coco-000000262148", group="coco:262148", split="train", status="unannotated",
        locator="file:coco/train2017/000000262148.jpg", error="no caption names this image"),
]  # fmt: skip


def test_every_caption_is_a_row_in_the_order_of_the_files(shop):
    assert shop.rows("coco") == EXPECTED


def test_a_survey_counts_files_and_pictures_and_ignores_the_other_annotations(shop):
    (shop.raw / "coco/annotations/person_keypoints_val2017.json").write_text("not read")
    survey = coco.survey(shop.folders("coco"))
    names = [path.name for path in survey.files]
    assert names == ["captions_train2017.json", "captions_val2017.json"]
    assert (survey.layout, survey.images, survey.notes) == ("authors' JSON", 6, ())


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        ({"image_id": 522418, "id": 681330}, "Object missing required field `caption`"),
        ({"image_id": "522418", "id": 681330, "caption": "x"}, "Expected `int`, got `str`"),
        ({"image_id": 522418, "id": 681330, "caption": None}, "Expected `str`, got `null`"),
        ([522418, 681330, "x"], "Expected `object`, got `array`"),
    ],
)
def test_a_malformed_caption_is_a_row_of_its_own_and_the_rest_stays(shop, spoilt, why):
    shop.edit(shop.raw / "coco" / TRAIN, lambda file: file["annotations"].__setitem__(0, spoilt))
    first, *rest = shop.rows("coco")
    assert rest == EXPECTED[1:]
    assert (first.status, first.split, first.id) == ("quarantined", "train", "0")
    assert first.key == "coco-captions_train2017-0"
    assert first.error.startswith(f"malformed annotation: 0 in captions_train2017.json: {why}")


def test_bytes_that_are_not_utf_8_spoil_one_caption_only(shop):
    path = shop.raw / "coco" / TRAIN
    path.write_bytes(path.read_bytes().replace(b"Something red", b"Something \xff", 1))
    rows = shop.rows("coco")
    assert rows[:7] + rows[8:] == EXPECTED[:7] + EXPECTED[8:]
    assert rows[7].status == "quarantined"
    assert rows[7].error.startswith("malformed annotation: 7 in captions_train2017.json: 'utf-8'")


def test_one_split_is_enough_and_its_pictures_may_lie_in_the_other_folder(shop):
    (shop.raw / "coco" / TRAIN).unlink()
    source = shop.raw / "coco/val2017/000000000139.jpg"
    source.rename(shop.raw / "coco/train2017" / source.name)
    rows = shop.rows("coco")
    assert [row.id for row in rows if row.status is None] == ["733", "829717", "829655"]
    moved = {row.locator for row in rows if row.group == "coco:139"}
    assert moved == {"file:coco/train2017/000000000139.jpg"}
    assert [(row.key, row.split) for row in rows if row.status == "unannotated"] == [
        ("coco-000000184613", "train"),
        ("coco-000000262148", "train"),
        ("coco-000000391895", "train"),
        ("coco-000000522418", "train"),
    ]


def test_pictures_are_found_under_every_official_name_and_train2017_wins(shop):
    train, val = shop.raw / "coco/train2017", shop.raw / "coco/val2017"
    shutil.copy(val / "000000000139.jpg", train / "COCO_val2014_000000000139.jpg")
    shutil.copy(val / "000000000285.jpg", val / "COCO_train2014_000000000025.jpg")
    for junk in ("._000000000030.jpg", "000000000030.png", "30.jpg", "000000000030.jpg.part"):
        (train / junk).write_bytes(b"")
    images = CocoImages(shop.folders("coco"))
    assert len(images.found) == 7
    assert images.locate(139) == ("file:coco/train2017/COCO_val2014_000000000139.jpg", None)
    assert images.locate(25) == ("file:coco/val2017/COCO_train2014_000000000025.jpg", None)
    assert images.locate(30) == (
        "file:coco/train2017/000000000030.jpg",
        "image is missing: coco/train2017/000000000030.jpg",
    )
    assert images.locate(31, "test2017") == (
        "file:coco/test2017/000000000031.jpg",
        "image is missing: coco/test2017/000000000031.jpg",
    )


def test_a_licence_that_the_file_does_not_explain_is_empty(shop):
    shop.edit(shop.raw / "coco" / TRAIN, lambda file: file.pop("licenses") and None)
    assert {row.licence for row in shop.rows("coco") if row.split == "train"} == {""}


def test_a_folder_without_captions_says_what_was_looked_for_and_what_is_there(shop):
    for path in (shop.raw / "coco/annotations").glob("captions_*"):
        path.unlink()
    with pytest.raises(CorpusError) as caught:
        shop.rows("coco")
    assert str(caught.value) == (
        f"{shop.raw}/coco/annotations has none of captions_train2017.json, captions_val2017.json; "
        "it has instances_val2017.json"
    )


def test_pictures_outside_of_the_root_are_refused(shop):
    with pytest.raises(CorpusError, match="is outside of the root .* move root up or it down"):
        coco.survey(shop.folders("coco", root=shop.raw / "gqa"))


def test_a_split_that_the_config_leaves_out_gives_no_row_not_even_of_its_pictures(shop):
    val = shop.raw / "coco/val2017"
    shutil.copy(val / "000000000139.jpg", val / "000000000140.jpg")
    folders = shop.folders("coco", splits={"train2017": "train", "val2017": None})
    rows = list(coco.survey(folders).rows())
    assert rows == EXPECTED[:10] + EXPECTED[14:]


def test_a_split_becomes_what_the_config_says(shop):
    folders = shop.folders("coco", splits={"train2017": "train", "val2017": "train"})
    rows = list(coco.survey(folders).rows())
    assert [row.id for row in rows[10:14]] == ["733", "829717", "734", "829655"]
    assert {row.split for row in rows} == {"train"}


def test_under_another_name_the_pictures_are_those_of_its_own_folder(shop):
    (shop.raw / "coco").rename(shop.raw / "mine")
    mine = replace(shop.folders("coco"), corpus="mine", path=shop.raw / "mine")
    first = next(coco.survey(mine).rows())
    assert (first.key, first.group) == ("mine-000000522418", "coco:522418")
    assert first.locator == "file:mine/train2017/000000522418.jpg"
    assert first.status is None


def test_captions_that_are_not_there_are_said_and_so_is_what_they_leave_unprotected(shop):
    (shop.raw / "coco/annotations/captions_val2017.json").unlink()
    survey = coco.survey(shop.folders("coco"))
    assert survey.notes == ("captions_val2017.json is not there: nothing of val2017 is read",)
    assert {row.group for row in survey.rows() if row.split == "val"} == {"coco:139", "coco:285"}
    shutil.rmtree(shop.raw / "coco/val2017")
    unguarded, pictures = coco.survey(shop.folders("coco")).notes
    assert unguarded == (
        "captions_val2017.json is not there: nothing of val2017 is read, and its pictures are not "
        "protected"
    )
    assert pictures == (
        "coco/val2017 is not there: no text about its pictures can be used, unless they are in "
        "train2017; fetch it: python -m pipelines download --corpus coco"
    )
    left = shop.folders("coco", splits={"train2017": "train", "val2017": None})
    assert coco.survey(left).notes == (pictures,)


def test_captions_to_train_on_that_are_not_there_leave_nothing_unprotected(shop):
    (shop.raw / "coco" / TRAIN).unlink()
    assert coco.survey(shop.folders("coco")).notes == (
        "captions_train2017.json is not there: nothing of train2017 is read",
    )


def test_without_any_folder_of_pictures_one_note_says_what_to_type(shop):
    for name in ("train2017", "val2017"):
        shutil.rmtree(shop.raw / "coco" / name)
    assert coco.survey(shop.folders("coco")).notes == (
        "coco/train2017 and coco/val2017 are not there: no text about their pictures can be used; "
        "fetch them: python -m pipelines download --corpus coco",
    )
