"""Drawn OK-VQA, A-OKVQA, OCR-VQA and LLaVA: official layouts, true answers."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from pipelines.samples import write_samples
from pipelines.samples.books import Book, cover
from pipelines.samples.pictures import COLOURS, PLURALS, Thing, compose

SEED = 5


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base_vlm")
    write_samples(out, 240, SEED)
    return out


def _load(path: Path):
    return json.loads(path.read_text())


def _scene(number: int):
    return compose(random.Random(f"coco {SEED} {number}"))


def _asked_of(question: str, scene):
    """The thing that a question names by its colour; None for the place."""
    colours = [word for word in question.split() if word in COLOURS]
    return next((t for t in scene.things if [t.colour] == colours), None)


USES = {"ball": "playing", "boat": "sailing", "car": "driving", "tent": "camping",
        "house": "living", "box": "packing", "tree": "climbing", "star": "wishing"}  # fmt: skip
STEMS = {"playing": "play", "sailing": "sail", "driving": "drive", "camping": "camp",
         "living": "live", "packing": "pack", "climbing": "climb", "wishing": "wish",
         "farming": "farm", "dancing": "dance", "sleeping": "sleep", "swimming": "swim",
         "skiing": "ski", "sitting": "sit"}  # fmt: skip
PLACES = {"field": "farming", "floor": "dancing", "sky": "sleeping", "beach": "swimming",
          "snow": "skiing", "carpet": "sitting"}  # fmt: skip


def _truth(question: str, scene) -> str | None:
    """What must be answered; None for the stuff of a thing, which is checked by its list."""
    if question == "What is this kind of place good for?":
        return PLACES[scene.place.noun]
    thing = _asked_of(question, scene)
    assert thing is not None, question
    return USES[thing.shape] if "used for" in question else None


@pytest.mark.parametrize("split", ["train", "val"])
def test_okvqa_is_keyed_by_2014_and_its_answers_are_stemmed(tree, split):
    asked = _load(tree / f"okvqa/OpenEnded_mscoco_{split}2014_questions.json")
    answered = _load(tree / f"okvqa/mscoco_{split}2014_annotations.json")
    assert asked["info"]["version"] == "1.0"
    assert asked["task_type"] == "Open-Ended"
    assert asked["data_subtype"] == answered["data_subtype"] == f"{split}2014"
    assert answered["question_types"]["one"] == "Vehicles and Transportation"
    assert len(answered["question_types"]) == 11
    questions = {q["question_id"]: q for q in asked["questions"]}
    assert len(questions) == len(asked["questions"]) == len(answered["annotations"])
    folders = Counter()
    for annotation in answered["annotations"]:
        assert "multiple_choice_answer" not in annotation
        question = questions[annotation["question_id"]]
        number = annotation["image_id"]
        assert question["image_id"] == number
        assert str(question["question_id"])[:-1] == str(number)
        folders.update(f for f in ("train2017", "val2017")
                       if (tree / f"coco/{f}/{number:012d}.jpg").exists())  # fmt: skip
        raw = Counter(a["raw_answer"] for a in annotation["answers"])
        assert sum(raw.values()) == 10
        assert all(count % 2 == 0 for count in raw.values()), "five annotators, each twice"
        truth, _ = raw.most_common(1)[0]
        assert raw[truth] >= 6
        assert _truth(question["question"], _scene(number)) in (None, truth)
        assert annotation["question_type"] in answered["question_types"]
    stems = {a["raw_answer"]: a["answer"] for n in answered["annotations"] for a in n["answers"]}
    assert stems == {raw: STEMS.get(raw, raw) for raw in stems}
    assert any(raw != stem for raw, stem in stems.items())
    assert set(folders) == ({"train2017"} if split == "train" else {"train2017", "val2017"})


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_aokvqa_has_four_choices_and_its_test_no_answers(tree, split):
    entries = _load(tree / f"aokvqa/aokvqa_v1p0_{split}.json")
    assert len(entries) >= 2
    hidden = {"correct_choice_idx", "direct_answers", "rationales"}
    keys = {*("split", "image_id", "question_id", "question", "choices"), *hidden}
    for entry in entries:
        assert set(entry) == (keys | {"difficult_direct_answer"}) - (
            hidden if split == "test" else set()
        )
        assert entry["split"] == split
        assert len(entry["question_id"]) == 22
        assert len(set(entry["choices"])) == 4
        picture = tree / f"coco/{split}2017/{entry['image_id']:012d}.jpg"
        assert picture.exists() == (split != "test")
        if split != "test":
            correct = entry["choices"][entry["correct_choice_idx"]]
            assert _truth(entry["question"], _scene(entry["image_id"])) in (None, correct)
            assert correct == Counter(entry["direct_answers"]).most_common(1)[0][0]
            assert len(entry["direct_answers"]) == 10
            assert len(entry["rationales"]) == 3
            assert all(correct in said.lower() for said in entry["rationales"])


def test_books_have_their_five_questions_and_a_cover_by_their_number(tree):
    books = _load(tree / "ocrvqa/dataset.json")
    assert {book["split"] for book in books.values()} == {1, 2, 3}
    suffixes = Counter()
    for key, book in books.items():
        assert set(book) == {
            *("imageURL", "questions", "answers", "title", "authorName", "genre", "split")
        }
        assert key.isdigit()
        assert len(book["questions"]) == len(book["answers"]) == 5
        assert book["answers"][:3] == [book["authorName"], book["title"], book["genre"]]
        assert sorted(book["answers"][3:]) == ["No", "Yes"]
        first_word = book["genre"].split()[0].lower().rstrip(",")
        yes = book["questions"][3 + book["answers"][3:].index("Yes")].lower()
        assert {"cookbooks": "cookery"}.get(first_word, first_word) in yes
        suffix = book["imageURL"].rpartition(".")[2]
        suffixes[suffix] += 1
        with Image.open(tree / f"ocrvqa/images/{key}.{suffix}") as picture:
            assert picture.format == {"jpg": "JPEG", "gif": "GIF"}[suffix]
    assert 0 < suffixes["gif"] < suffixes["jpg"]


def test_a_cover_shows_its_title_its_author_and_its_genre():
    def shown(**changed: str):
        said = {"title": "The Red Box", "author": "Ada Holm", "genre": "Travel"} | changed
        return cover(Book(**said, thing=Thing("red", "box", 0, 0, 0)), random.Random(1))

    plain = shown()
    for changed, rows in (({"title": "All about Cars"}, (0, 0.35)),
                          ({"author": "Hugo Brook"}, (0.7, 0.87)),
                          ({"genre": "History"}, (0.85, 1))):  # fmt: skip
        where = ImageChops.difference(plain, shown(**changed)).getbbox()
        assert where is not None
        assert rows[0] <= where[1] / plain.height < where[3] / plain.height <= rows[1]


def test_llava_talks_truly_of_coco_train_pictures_and_ids_come_again(tree):
    entries = _load(tree / "llava/llava_instruct_150k.json")
    places, turns = Counter(), Counter()
    for entry in entries:
        assert set(entry) == {"id", "image", "conversations"}
        assert entry["image"] == f"{entry['id']}.jpg"
        assert (tree / "coco/train2017" / entry["image"]).exists()
        said = entry["conversations"]
        assert [turn["from"] for turn in said] == ["human", "gpt"] * (len(said) // 2)
        assert [turn["value"].count("<image>") for turn in said] == [1] + [0] * (len(said) - 1)
        first = said[0]["value"]
        assert first.startswith("<image>\n") != first.endswith("\n<image>")
        places[first.startswith("<image>\n")] += 1
        turns[len(said)] += 1
        shown = {t.shape for t in _scene(int(entry["id"])).things}
        for answer in (turn["value"] for turn in said[1::2]):
            words = set(answer.lower().replace(".", " ").replace(",", " ").split())
            named = {s for s in PLURALS if {s, PLURALS[s]} & words}
            assert named <= shown or answer.startswith("No, there is no")
    assert places[True] > 5
    assert places[False] > 5
    assert max(turns) > 2
    assert max(Counter(entry["id"] for entry in entries).values()) == 2
    assert any("\n\n" in turn["value"] for e in entries for turn in e["conversations"])
