"""Any folder of records: nothing is guessed in silence, nothing that cannot be used is lost."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from manifests.place import url_group
from pipelines.corpora import CorpusError, EmptyCorpusError, Folders, Survey, generic
from pipelines.locators import Images
from pipelines.table import Row

CAPTIONS = {"image": "image", "target": "caption"}
QUESTIONS = {"image": "image", "prompt": "question", "target": "answers"}


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "mine/images").mkdir(parents=True)
    for name in ("0.jpg", "1.jpg"):
        (tmp_path / "mine/images" / name).write_bytes(name.encode())
    return tmp_path / "mine"


def survey(folder: Path, fields: dict[str, str] | None = None, **splits) -> Survey:
    said = {**generic.SPLITS, **splits}
    root = folder.parents[1] if folder.is_file() else folder.parent
    return generic.survey(Folders("mine", root, folder, root / "coco", said, fields or {}))


def rows(folder: Path, fields: dict[str, str], *given: Any, **splits) -> list[Row]:
    (folder / "a.json").write_text(json.dumps(given))
    return list(survey(folder, fields, **splits).rows())


def errors(folder: Path, fields: dict[str, str], *given: Any) -> list[str | None]:
    return [row.error for row in rows(folder, fields, *given)]


def test_a_survey_shows_two_records_and_the_config_line_that_reads_them(folder):
    records = [{"image": f"{i}.jpg", "question": "What?", "answers": ["a dog"]} for i in (0, 1)]
    (folder / "a.json").write_text(json.dumps(records))
    found = survey(folder)
    assert (found.layout, found.images) == ("records in JSON", 2)
    assert found.files == (folder / "a.json",)
    assert found.notes == (
        'record 1: image: "0.jpg"; question: "What?"; answers: ["a dog"]',
        'record 2: image: "1.jpg"; question: "What?"; answers: ["a dog"]',
        "to read mine, put this in the config, corrected if need be: "
        "corpora: {mine: {fields: {image: image, prompt: question, target: answers}}}",
    )
    with pytest.raises(CorpusError) as caught:
        found.rows()
    assert str(caught.value) == f"mine: {found.notes[-1]}"
    line = found.notes[-1].partition(": ")[2]
    fields = yaml.safe_load(line)["corpora"]["mine"]["fields"]
    assert len(list(survey(folder, fields).rows())) == 2
    assert survey(folder, fields).notes == found.notes[:2]


def test_fields_that_the_config_names_already_stay_in_the_advice(folder):
    (folder / "a.json").write_text('[{"image": "0.jpg", "words": "a", "text": "b"}]')
    with pytest.raises(CorpusError) as caught:
        survey(folder, {"target": "words"}).rows()
    assert str(caught.value).endswith("{mine: {fields: {image: image, target: words}}}")


def test_captions_are_rows_of_their_own_threads(folder):
    first, second, third = rows(
        folder,
        {"image": "image.file", "target": "captions", "id": "id"},
        {"image": {"file": "images/0.jpg"}, "captions": [" a\ndog", "a cat", ""], "id": 7},
        {"image": {"file": "1.jpg"}, "captions": "a bird", "id": 8},
    )
    assert first == Row(
        key="mine-images-0-jpg-93527680",  # of md5("images/0.jpg")
        group="mine:images/0.jpg",
        locator="file:mine/images/0.jpg",
        split=None,
        id="7",
        thread="a.json/0/0",
        kind="caption",
        target="a dog",
    )
    assert (second.key, second.target, second.thread) == (first.key, "a cat", "a.json/0/1")
    assert (third.locator, third.id) == ("file:mine/images/1.jpg", "8")


def test_a_question_has_all_its_answers_and_the_commonest_is_the_target(folder):
    given = {"image": "0.jpg", "question": "How many?", "answers": [2, "3", "3 ", 3]}
    (row,) = rows(folder, QUESTIONS, given)
    assert (row.kind, row.prompt, row.target) == ("qa", "How many?", "3")
    assert row.answers == ("2", "3", "3", "3")


def test_an_instruction_keeps_its_lines(folder):
    fields = {"image": "image", "prompt": "instruction", "target": "output"}
    given = {"image": "0.jpg", "instruction": "List:\n- all", "output": "a\n\n\nb "}
    (row,) = rows(folder, fields, given)
    assert (row.kind, row.prompt, row.target) == ("instruction", "List:\n- all", "a\n\nb")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"image": "0.jpg"}, "malformed annotation: 1 in a.json: no field caption"),
        ({"image": "0.jpg", "caption": {"en": "a"}},
         "malformed annotation: 1 in a.json: caption is a dict, no text"),
        ({"image": "0.jpg", "caption": [True]},
         "malformed annotation: 1 in a.json: caption is a bool, no text"),
        ({"image": "0.jpg", "caption": None}, "empty caption"),
        ({"image": "0.jpg", "caption": ["", " \n"]}, "empty caption"),
        ({"image": "2.jpg", "caption": "a"}, "image is missing: mine/2.jpg"),
        ({"image": None, "caption": "a"},
         "image is missing: a.json/1 has neither its path nor its bytes in image"),
        ({"image": "http://x/0.jpg", "caption": "a"},
         "image is missing: it is known by its address alone: http://x/0.jpg"),
        ({"image": "../coco/0.jpg", "caption": "a"},
         "unsafe path: '../coco/0.jpg' leads out of the folder"),
        ({"image": "/etc/passwd", "caption": "a"},
         "unsafe path: '/etc/passwd' leads out of the folder"),
        ({"image": "a\0.jpg", "caption": "a"},
         "unsafe path: 'a\\x00.jpg' leads out of the folder"),
        (7, "malformed annotation: 1 in a.json: Expected `object`, got `int`"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_used_is_a_row_that_says_why(folder, given, error):
    good, bad = rows(folder, CAPTIONS, {"image": "0.jpg", "caption": "a"}, given)
    assert (good.status, good.error) == (None, None)
    assert (bad.status, bad.error) == ("quarantined", error)


@pytest.mark.parametrize(
    ("question", "answers", "error"), [("", ["a"], "empty question"), ("Q?", [], "empty answer")]
)
def test_a_question_needs_words_and_an_answer(folder, question, answers, error):
    given = {"image": "0.jpg", "question": question, "answers": answers}
    assert errors(folder, QUESTIONS, given) == [error]


def test_splits_are_the_records_own_and_are_part_of_the_key(folder):
    fields = {**CAPTIONS, "split": "split"}
    given = [
        {"image": "0.jpg", "caption": "a", "split": name}
        for name in ("train", "Validation", "restval", "challenge", None)
    ]
    train, val, restval, challenge, none = rows(folder, fields, *given, restval="train")
    assert [row.split for row in (train, val, restval)] == ["train", "val", "train"]
    assert train.key.startswith("mine-train-images-0-jpg-")
    assert val.key.startswith("mine-val-images-0-jpg-")
    assert challenge.error == (
        "unknown split: 'challenge'; say in the config what it is, as in "
        "corpora: {mine: {splits: {challenge: train}}}"
    )
    assert none.error and none.error.startswith("unknown split: None")
    left = rows(folder, fields, *given[:2], train=None)
    assert [row.split for row in left] == ["val"]


def test_files_named_like_splits_are_noted_where_records_say_none(folder):
    for name in ("train.jsonl", "val.jsonl"):
        (folder / name).write_text('{"image": "0.jpg", "caption": "a"}')
    assert survey(folder, CAPTIONS).notes[-1] == (
        "files are called train, val, but without a field `split` in the records every picture's "
        "group decides its split"
    )


def test_pictures_of_coco_are_known_as_such(folder):
    (folder / "val2017").mkdir()
    (folder / "val2017/000000391895.jpg").touch()
    given = [
        {"image": "val2017/000000391895.jpg", "caption": "a", "url": "http://x"},
        {"image": "COCO_val2014_000000391895_4.jpg", "caption": "a"},
        {"image": "000000391895.jpg", "caption": "a"},
        {"image": "VG_100K_2/2354786.jpg", "caption": "a"},
        {"image": "my/1000000391895.jpg", "caption": "a"},
    ]
    groups = [row.group for row in rows(folder, CAPTIONS, *given)]
    assert groups[:4] == ["coco:391895", "coco:391895", "coco:391895", "vg:2354786"]
    assert groups[4] == "mine:my/1000000391895.jpg", "thirteen digits are no number of COCO's"


def test_an_address_beside_the_picture_is_its_identity(folder):
    (row,) = rows(folder, CAPTIONS, {"image": "0.jpg", "caption": "a", "url": "http://x"})
    assert row.group == url_group("http://x")


def test_bytes_in_parquet_are_read_where_they_are(folder):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    given = [{"bytes": b"abc", "path": None}, {"bytes": None, "path": "0.jpg"}]
    columns = {"n": [5, 6], "image": pa.array(given, kind), "caption": ["a", "b"]}
    pq.write_table(pa.table(columns), folder / "a.parquet", row_group_size=1)
    found = survey(folder, {**CAPTIONS, "id": "n"})
    assert (found.layout, found.images) == ("records in Parquet", 4)
    assert found.notes[0] == 'record 1: n: 5; caption: "a"; image: (a picture)'
    first, second = found.rows()
    assert (first.locator, first.group) == ("parquet:mine/a.parquet@0/0/image.bytes", "mine:5")
    assert (second.locator, second.group) == ("file:mine/images/0.jpg", "mine:images/0.jpg")
    with Images(folder.parent) as images:
        assert [images.read(row.locator) for row in (first, second)] == [b"abc", b"0.jpg"]


def test_one_file_may_be_named_instead_of_a_folder(folder):
    (folder / "a.csv").write_text("image,caption\nimages/0.jpg,a dog\n")
    (folder / "b.csv").write_text("not,read\n1,2\n")
    (row,) = survey(folder / "a.csv", CAPTIONS).rows()
    assert (row.locator, row.target, row.error) == ("file:mine/images/0.jpg", "a dog", None)


def test_a_field_that_no_record_has_is_refused_with_those_there_are(folder):
    with pytest.raises(CorpusError) as caught:
        rows(folder, {**CAPTIONS, "id": "idx"}, {"image": "0.jpg", "caption": "a"})
    assert str(caught.value) == (
        "fields.id of mine is 'idx', which no record has; they have image, caption"
    )


def test_a_survey_works_beside_what_cannot_be_read_and_reading_does_not(folder):
    (folder / "b.json").write_text("[{]")
    (folder / "c.jsonl").write_text("7\n")
    (folder / "a.json").write_text('[{"image": "0.jpg", "words": "a"}]')
    found = survey(folder)
    assert "b.json (3 bytes) cannot be read" in found.notes[0]
    assert found.notes[1].startswith("c.jsonl has no record in its first 50: malformed annotation")
    assert found.notes[-1] == (
        "no field was recognised as target among image, words; to read mine, name the right ones "
        'in the config: corpora: {mine: {fields: {image: image, target: "..."}}}'
    )
    with pytest.raises(CorpusError, match="b.json"):
        list(survey(folder, {"image": "image", "target": "words"}).rows())


def test_a_folder_without_records_is_refused(folder):
    with pytest.raises(CorpusError, match="mine has images; expected records in .json, .jsonl"):
        survey(folder)
    for path in (folder / "images").iterdir():
        path.unlink()
    (folder / "images").rmdir()
    with pytest.raises(EmptyCorpusError, match="mine has nothing; expected records in"):
        survey(folder)
    with pytest.raises(CorpusError, match="none does not exist"):
        survey(folder / "none")
