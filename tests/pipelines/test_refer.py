"""Referring expressions: three layouts, the same rows; what cannot be used is said.

The fixtures of refcoco are in the layout of lmms-lab, those of refcoco_plus the authors', those of
refcocog jxu124's, written by `refer_layouts.py`.
"""

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import corpora
from pipelines.corpora import CorpusError, EmptyCorpusError, Folders
from pipelines.locators import Images
from pipelines.table import Row
from tests.pipelines.refer_layouts import DOG, HOTDOG, authors, jxu124, lmms, picture, ref

if TYPE_CHECKING:
    from tests.pipelines.conftest import Shop


def folders(root: Path, corpus: str = "refcoco", **changed: Any) -> Folders:
    said: dict[str, Any] = {"corpus": corpus, "root": root, "path": root / corpus}
    said |= {"coco": root / "coco", "splits": corpora.load(corpus).SPLITS}
    return Folders(**said | changed)


def read(root: Path, corpus: str = "refcoco", **changed: Any) -> list[Row]:
    return list(corpora.load(corpus).survey(folders(root, corpus, **changed)).rows())


def said(rows: list[Row]) -> list[tuple[Any, ...]]:
    return [(row.id, row.split, row.status, row.prompt, row.target) for row in rows]


def test_every_sentence_of_an_object_is_asked_both_ways(shop: "Shop") -> None:
    survey = corpora.load("refcoco").survey(shop.folders("refcoco"))
    assert (survey.layout, survey.images) == ("Hugging Face Arrow", 4)
    assert [path.name for path in survey.files] == [
        "ref_coco-testA.arrow",
        "ref_coco-test.arrow",
        "ref_coco-val.arrow",
    ]
    rows = list(survey.rows())
    assert said(rows[:6]) == [
        ("1719310-0-box", "test", None, "Where is this: bottom hotdog?", "<box>"),
        ("1719310-0-text", "test", None, "What is at <box>?", "bottom hotdog"),
        ("1719310-1-box", "test", None, "Where is this: bottom hotdog?", "<box>"),
        ("1719310-1-text", "test", None, "What is at <box>?", "bottom hotdog"),
        ("1719310-2-box", "test", None, "Where is this: Hot dog, below?", "<box>"),
        ("1719310-2-text", "test", None, "What is at <box>?", "Hot dog, below."),
    ]
    first = rows[0]
    assert (first.key, first.group, first.kind) == (
        "refcoco-000000391895",
        "coco:391895",
        "grounding",
    )
    assert first.box == (10.5, 20.25, 40.6, 35.75)  # 30.1 is 30.100000381 as float32
    assert [row.thread for row in rows[:2]] == ["1719310-0-box", "1719310-0-text"]


def test_an_expression_said_in_two_splits_is_the_protected_one_s(shop: "Shop") -> None:
    rows = shop.rows("refcoco")[6:]
    repeated = "expression is repeated in another split: 1719310-0 of testA"
    assert [(row.id, row.split, row.status, row.error, row.key) for row in rows] == [
        ("1719310-0-box", "test", "duplicate", repeated, "refcoco-000000391895"),
        ("1719310-0-text", "test", "duplicate", repeated, "refcoco-000000391895"),
        ("1719310-0-box", "val", "duplicate", repeated, "refcoco-000000391895-val"),
        ("1719310-0-text", "val", "duplicate", repeated, "refcoco-000000391895-val"),
        ("470010-0-box", "val", None, None, "refcoco-000000522418"),
        ("470010-0-text", "val", None, None, "refcoco-000000522418"),
    ]
    assert len({row.locator for row in rows[:4]}) == 1


def test_the_picture_of_a_row_is_the_first_of_its_number(shop: "Shop") -> None:
    rows = shop.rows("refcoco")
    with Images(shop.raw) as images:
        assert images.read(rows[0].locator) == picture("red")
        assert {row.locator for row in rows[:10]} == {rows[0].locator}
        assert images.read(rows[-1].locator) == picture("blue")


def test_evaluation_splits_alone_are_said_to_be_so(shop: "Shop") -> None:
    reader = corpora.load("refcoco")
    note, absent = reader.survey(shop.folders("refcoco")).notes
    assert note.startswith("only evaluation splits are here (testA, test, val): nothing of refcoco")
    assert note.endswith("corpora: {refcoco: {splits: {val: train}}}")
    trained = shop.folders("refcoco", splits={**reader.SPLITS, "val": "train"})
    survey = reader.survey(trained)
    assert survey.notes == (absent,)
    assert [row.split for row in survey.rows() if row.id.startswith("47")] == ["train", "train"]


def test_a_split_that_the_config_leaves_out_is_not_read(shop: "Shop") -> None:
    reader = corpora.load("refcoco")
    left = shop.folders("refcoco", splits={**reader.SPLITS, "testA": None, "test": None})
    rows = list(reader.survey(left).rows())
    assert [(row.id, row.status) for row in rows] == [
        ("1719310-0-box", None),
        ("1719310-0-text", None),
        ("470010-0-box", None),
        ("470010-0-text", None),
    ]


def test_the_authors_refs_take_their_boxes_from_instances(shop: "Shop") -> None:
    survey = corpora.load("refcoco_plus").survey(shop.folders("refcoco_plus"))
    assert survey.layout == "authors' pickle and JSON"
    assert [path.name for path in survey.files] == ["refs(unc).p", "instances.json"]
    assert (survey.images, survey.notes) == (6, ())
    rows = list(survey.rows())
    assert said(rows) == [
        ("470010-900-box", "val", None, "Where is this: brown dog?", "<box>"),
        ("470010-900-text", "val", None, "What is at <box>?", "brown dog"),
        ("1719310-900-box", "train", None, "Where is this: hotdog?", "<box>"),
        ("1719310-900-text", "train", None, "What is at <box>?", "hotdog"),
        ("1719310-901-box", "train", None, "Where is this: food with mustard?", "<box>"),
        ("1719310-901-text", "train", None, "What is at <box>?", "food with mustard"),
    ]
    assert [row.locator for row in rows[1:3]] == [
        "file:coco/train2017/000000522418.jpg",
        "file:coco/train2017/000000391895.jpg",
    ]
    assert rows[0].box == (1.0, 2.0, 61.3, 52.7)
    assert rows[0].licence == "Attribution-NonCommercial-NoDerivs License"


def test_a_parquet_of_refs_has_boxes_as_corners_and_coco_s_pictures(shop: "Shop") -> None:
    survey = corpora.load("refcocog").survey(shop.folders("refcocog"))
    assert (survey.layout, survey.notes) == (
        "Hugging Face Parquet",
        (
            "a test file like validation-00000-of-00001.parquet is not there: nothing of test is "
            "read, and its pictures are not protected",
        ),
    )
    rows = list(survey.rows())
    assert said(rows) == [
        ("470010-900-box", "val", None, "Where is this: a dog that looks up?", "<box>"),
        ("470010-900-text", "val", None, "What is at <box>?", "a dog that looks up"),
        ("1719310-900-box", "train", None, "Where is this: the lower of two hotdogs?", "<box>"),
        ("1719310-900-text", "train", None, "What is at <box>?", "the lower of two hotdogs"),
    ]
    assert rows[0].locator == "file:coco/train2017/000000522418.jpg"
    assert [rows[0].box, rows[2].box] == [(1.0, 2.0, 61.3, 52.7), (10.5, 20.25, 40.6, 35.75)]


def test_all_layouts_give_the_same_boxes_and_texts(tmp_path: Path) -> None:
    row = {**DOG, "said": ["brown dog", "the dog"]}
    authors(tmp_path / "a/refcoco", [(row, "testB")])
    jxu124(tmp_path / "b/refcoco/testB-00000-of-00001.parquet", [(row, "testB")])
    lmms(tmp_path / "c/refcoco/ref_coco-testB.arrow", [row])
    lmms(tmp_path / "d/refcoco/testB/data-00000-of-00001.arrow", [row])
    first, *others = (
        [(row.key, row.group, row.split, row.box, row.prompt, row.target) for row in read(root)]
        for root in (tmp_path / name for name in "abcd")
    )
    assert len(first) == 4
    assert all(other == first for other in others)


def test_an_image_in_two_of_our_splits_is_a_record_of_each(tmp_path: Path) -> None:
    dog = {**DOG, "said": ["dog"]}
    cat = {**DOG, "ann": 5, "said": ["cat"]}
    lmms(tmp_path / "refcoco/x-testB.arrow", [dog])
    lmms(tmp_path / "refcoco/x-val.arrow", [cat], "blue")
    rows = read(tmp_path)
    assert [(row.key, row.status) for row in rows] == [
        ("refcoco-000000522418-test", None),
        ("refcoco-000000522418-test", None),
        ("refcoco-000000522418-val", None),
        ("refcoco-000000522418-val", None),
    ]
    assert len({(row.group, row.locator) for row in rows}) == 1


@pytest.mark.parametrize(
    "box",
    [[1, 2, 3], [1, 2, 0, 5], [1, 2, 5, -1], [1, 2, float("nan"), 4], [1, 2, 3, float("inf")], []],
)
def test_a_box_without_area_is_quarantined(tmp_path: Path, box: list[float]) -> None:
    lmms(tmp_path / "refcoco/x-val.arrow", [{**DOG, "box": box, "said": ["dog"]}])
    for row in read(tmp_path):
        assert (row.status, row.box) == ("quarantined", None)
        assert (row.error or "").startswith("unusable box: [")
        assert (row.error or "").endswith("] of object 470010")


def test_what_is_not_said_or_not_there_is_quarantined(tmp_path: Path) -> None:
    rows = [
        {**DOG, "said": [" \n"]},
        {**DOG, "ann": 2, "said": []},
        {**DOG, "ann": 3, "said": ["a dog"], "name": "dog.jpg"},
    ]
    lmms(tmp_path / "refcoco/x-val.arrow", rows)
    wrong = "file_name is 'dog.jpg'; expected COCO_train2014_<12 digits>_<n>.jpg"
    assert [(row.id, row.status, row.error) for row in read(tmp_path)] == [
        ("2", "quarantined", f"malformed annotation: 2 in x-val.arrow: {wrong}"),
        ("470010-0-box", "quarantined", "empty caption"),
        ("470010-0-text", "quarantined", "empty caption"),
        ("2-0-box", "quarantined", "empty caption"),
        ("2-0-text", "quarantined", "empty caption"),
    ]


def test_a_picture_given_by_name_alone_is_looked_for_among_coco_s(tmp_path: Path) -> None:
    lmms(tmp_path / "refcoco/x-val.arrow", [{**DOG, "said": ["dog"]}], None)
    assert {row.error for row in read(tmp_path)} == {
        "image is missing: coco/train2017/000000522418.jpg"
    }
    there = tmp_path / "coco/train2017/000000522418.jpg"
    there.parent.mkdir(parents=True)
    there.write_bytes(picture("red"))
    rows = read(tmp_path)
    assert {(row.locator, row.status) for row in rows} == {
        ("file:coco/train2017/000000522418.jpg", None)
    }


def test_a_ref_that_is_none_is_quarantined_and_the_others_are_read(tmp_path: Path) -> None:
    dog, lost = {**DOG, "said": ["dog"]}, {**HOTDOG, "said": ["hotdog"]}
    path = authors(tmp_path / "refcoco", [(dog, "val")])
    refs = [ref(lost, "val"), ref(dog, "later"), {"ann_id": 1}, "text", ref(dog, "val")]
    path.write_bytes(pickle.dumps(refs))
    rows = read(tmp_path)
    assert [row.error for row in rows[:4]] == [
        "malformed annotation: 0 in refs(unc).p: instances.json has no annotation 1719310 of "
        "image 391895",
        "malformed annotation: 1 in refs(unc).p: Invalid enum value 'later' - at `$.split`",
        "malformed annotation: 2 in refs(unc).p: Object missing required field `image_id`",
        "malformed annotation: 3 in refs(unc).p: Expected `object`, got `str`",
    ]
    assert [row.id for row in rows[4:]] == ["470010-900-box", "470010-900-text"]


def test_a_pickle_that_is_no_list_or_has_no_boxes_stops_the_build(tmp_path: Path) -> None:
    path = authors(tmp_path / "refcoco", [])
    path.write_bytes(pickle.dumps({"refs": []}))
    with pytest.raises(CorpusError, match=r"refs\(unc\).p holds a dict; expected a list of refs"):
        read(tmp_path)
    (tmp_path / "refcoco/instances.json").unlink()
    with pytest.raises(CorpusError, match="instances.json is missing; it has the boxes of refs"):
        read(tmp_path)


def test_splits_that_share_images_are_never_read(tmp_path: Path) -> None:
    folder = tmp_path / "refcocog"
    authors(folder, [({**DOG, "said": ["dog"]}, "val")], "google")
    survey = corpora.load("refcocog").survey
    with pytest.raises(CorpusError, match=r"refs\(google\).p, whose splits .* refs\(umd\).p"):
        survey(folders(tmp_path, "refcocog"))
    authors(folder, [({**DOG, "said": ["dog"]}, "val")], "umd")
    lmms(folder / "x-val.arrow", [])
    assert survey(folders(tmp_path, "refcocog")).notes == (
        "not read, because refs(umd).p is: refs(google).p, x-val.arrow",
        "coco/train2017 and coco/val2017 are not there: no text about their pictures can be used; "
        "fetch them: python -m pipelines download --corpus coco",
    )


def test_the_authors_name_of_the_folder_of_refcoco_plus_is_known(tmp_path: Path) -> None:
    authors(tmp_path / "refcoco+", [({**DOG, "said": ["dog"]}, "val")])
    assert [row.key for row in read(tmp_path, "refcoco_plus")] == [
        "refcoco_plus-000000522418",
        "refcoco_plus-000000522418",
    ]


def test_a_folder_without_a_known_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="refcoco does not exist; expected a folder with"):
        read(tmp_path)
    (tmp_path / "refcoco").mkdir()
    with pytest.raises(EmptyCorpusError, match=r"is empty; expected refs\(unc\).p with instances"):
        read(tmp_path)
    pq.write_table(pa.table({"url": ["x"]}), tmp_path / "refcoco/val.parquet")
    with pytest.raises(CorpusError, match="val.parquet has the columns url; expected question_id"):
        read(tmp_path)


def test_evaluation_splits_that_are_not_there_are_said_to_be_unprotected(shop: "Shop") -> None:
    folder = shop.raw / "refcoco_plus"
    for name in ("refs(unc).p", "instances.json"):
        (folder / name).unlink()
    jxu124(folder / "train-00000-of-00002.parquet", [({**DOG, "said": ["dog"]}, "train")])
    survey = corpora.load("refcoco_plus").survey
    like = "file like train-00000-of-00002.parquet"
    assert survey(shop.folders("refcoco_plus")).notes == (
        f"a val {like}, a testA {like} and a testB {like} are not there: nothing of val, testA and "
        "testB is read, and their pictures are not protected",
        "train has 1 of 2 parts",
    )
    left = {**corpora.load("refcoco_plus").SPLITS, "val": None, "testB": None}
    (absent, _) = survey(shop.folders("refcoco_plus", splits=left)).notes
    assert absent.startswith(f"a testA {like} is not there: nothing of testA is read")
    jxu124(folder / "test-00000-of-00001.parquet", [({**DOG, "said": ["dog"]}, "testA")])
    assert survey(shop.folders("refcoco_plus", splits=left)).notes == ("train has 1 of 2 parts",)


def test_under_another_name_the_official_one_is_what_to_download(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    splits = corpora.load("refcoco").SPLITS
    mine = Folders("mine", tmp_path, tmp_path / "mine", tmp_path / "coco", splits)
    with pytest.raises(EmptyCorpusError, match="download --corpus refcoco, or remove it"):
        corpora.load("refcoco").survey(mine)
