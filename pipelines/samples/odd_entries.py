"""Annotations as real files have them once in a thousand: how each is laid into a tree.

A function adds one trap and returns what it concerns. An entry that a reader cannot name by an id
has its place in the file as one.
"""

import os
import random
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.samples import odd_pictures
from pipelines.samples.books import Book, book, cover, entry
from pipelines.samples.coco import given
from pipelines.samples.files import URL, CocoPicture, encoded, painted, put
from pipelines.samples.knowledge import aokvqa_entry, known
from pipelines.samples.llava import llava_entry
from pipelines.samples.odd_pictures import Draw
from pipelines.samples.pairs import Pair, archive
from pipelines.samples.pictures import compose
from pipelines.samples.tree import CAPTIONS, Tree, last_box, shapes


class Laid(NamedTuple):
    """The annotations that a trap concerns, by their ids in the corpus, and its image or file."""

    ids: list[str]
    image: str = ""


# COCO


def drawn(tree: Tree, draw: Draw) -> Laid:
    """A picture's file as `draw` makes it, with one caption."""
    picture = tree.picture(draw)
    return Laid(tree.caption(picture, f"A picture of {shapes(picture.scene)}."), picture.path)


def captions(tree: Tree, *forms: str) -> Laid:
    """A picture's captions; `{}` stands for what it shows. The last is what the trap is about."""
    picture = tree.picture()
    said = [form.format(shapes(picture.scene)) for form in forms]
    return Laid(tree.caption(picture, *said)[-1:], picture.path)


def caption_is_a_number(tree: Tree) -> Laid:
    picture = tree.picture()
    tree.caption(picture, 17)
    return Laid([str(len(tree.json(CAPTIONS)["annotations"]) - 1)], picture.path)


def no_file(tree: Tree) -> Laid:
    picture = tree.picture(draw=None)
    return Laid(tree.caption(picture, f"A picture of {shapes(picture.scene)}."), picture.path)


def link_out(tree: Tree) -> Laid:
    laid = no_file(tree)
    path = tree.root / laid.image
    path.unlink(missing_ok=True)
    path.symlink_to("/etc/hosts")
    return laid


def pipe(tree: Tree) -> Laid:
    laid = no_file(tree)
    path = tree.root / laid.image
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return laid


def beside(tree: Tree, name: str, content: bytes) -> Laid:
    """A file that no reader has to do with."""
    put(tree.root / name, content)
    return Laid([], name)


# VQA v2, OK-VQA, A-OKVQA

_VQA = ("vqa/v2_OpenEnded_mscoco_train2014_questions.json",
        "vqa/v2_mscoco_train2014_annotations.json")  # fmt: skip
_OKVQA = ("okvqa/OpenEnded_mscoco_train2014_questions.json",
          "okvqa/mscoco_train2014_annotations.json")  # fmt: skip
# 600301 * 1000 + 0 of VQA v2 is 60030100 with a 0 behind it of OK-VQA.
_SHARED, _VQA_IMAGE, _OKVQA_IMAGE = 600_301_000, 600_301, 60_030_100


def vqa(tree: Tree, question: str | None = "What is there?", answered: bool = True) -> Laid:
    """A question and its answers; the one or the other may be left out."""
    picture = tree.picture()
    ids = {"image_id": picture.number, "question_id": picture.number * 1000}
    if question is not None:
        tree.json(_VQA[0])["questions"].append({**ids, "question": question})
    if answered:
        _answer(tree, ids, picture.scene.things[0].shape)
    return Laid([str(ids["question_id"])], picture.path)


def _answer(tree: Tree, ids: dict[str, int], answer: str) -> None:
    tree.json(_VQA[1])["annotations"].append({
        "question_type": "what is there", "multiple_choice_answer": answer,
        "answers": given([answer] * 10, random.Random(answer)), "answer_type": "other", **ids,
    })  # fmt: skip


def test_question(tree: Tree) -> Laid:
    """Asked of a picture of test2014, which is not on disk."""
    laid = vqa(tree)
    tree.json(_VQA[0])["questions"][-1]["image_id"] = 990_001
    tree.json(_VQA[1])["annotations"][-1]["image_id"] = 990_001
    return Laid(laid.ids, "coco/train2017/000000990001.jpg")


def vqa_shared_id(tree: Tree) -> Laid:
    picture = tree.picture(number=_VQA_IMAGE)
    ids = {"image_id": picture.number, "question_id": _SHARED}
    tree.json(_VQA[0])["questions"].append({**ids, "question": "What shape is there?"})
    _answer(tree, ids, picture.scene.things[0].shape)
    return Laid([str(_SHARED)], picture.path)


def okvqa_shared_id(tree: Tree) -> Laid:
    picture = tree.picture(number=_OKVQA_IMAGE)
    q = known(picture.scene)[0]
    ids = {"image_id": picture.number, "question_id": _SHARED}
    tree.json(_OKVQA[0])["questions"].append({**ids, "question": q.text})
    answers = [{"answer_id": i, "raw_answer": q.answer, "answer_confidence": "yes",
                "answer": q.stem} for i in range(1, 11)]  # fmt: skip
    tree.json(_OKVQA[1])["annotations"].append(
        {**ids, "answer_type": "other", "question_type": q.category, "answers": answers}
    )
    return Laid([str(_SHARED)], picture.path)


def choices(tree: Tree, wrong: str | None = None, correct: int | None = None) -> Laid:
    """An A-OKVQA question: a wrong choice said as `wrong` ("=": as another), or a wrong index."""
    picture = tree.picture()
    rng = random.Random(f"choices {wrong} {correct}")
    made = aokvqa_entry(picture.number, "train", known(picture.scene)[0], rng)
    if wrong is not None:
        first, second = [i for i in range(4) if i != made["correct_choice_idx"]][:2]
        made["choices"][first] = made["choices"][second] if wrong == "=" else wrong
    if correct is not None:
        made["correct_choice_idx"] = correct
    tree.json("aokvqa/aokvqa_v1p0_train.json").append(made)
    return Laid([made["question_id"]], picture.path)


# GQA and OCR-VQA


def gqa(tree: Tree, key: str, image: str, answer: str | None = None, file: bool = True) -> Laid:
    rng = random.Random(f"trap gqa {image}")
    scene, name = compose(rng), f"gqa/images/{image}.jpg"
    if file:
        put(tree.root / name, painted(scene, rng))
    asked = {"semantic": [], "entailed": [], "equivalent": [key], "isBalanced": True,
             "groups": {"global": None, "local": "10-scene"}, "semanticStr": "",
             "annotations": {"answer": {}, "question": {}, "fullAnswer": {}},
             "types": {"detailed": "place", "semantic": "global", "structural": "query"},
             "question": "What is in the background?", "imageId": image,
             "answer": scene.place.noun if answer is None else answer,
             "fullAnswer": f"The background is a {scene.place.noun}."}  # fmt: skip
    tree.json("gqa/train_balanced_questions.json")[key] = asked
    return Laid([key], name)


def ocr(tree: Tree, key: str, draw_gif: bool = False, file: bool = True, **changed: Any) -> Laid:
    """A book; `changed` are fields of its record."""
    rng = random.Random(f"trap ocr {key}")
    shown: Book = book(rng)
    picture, name = cover(shown, rng), f"ocrvqa/images/{key}.jpg"
    if file and not tree.as_on_disk:
        put(
            tree.root / name, encoded(picture.quantize(64), "GIF") if draw_gif else encoded(picture)
        )
    made = entry(shown, key, 1, rng) | changed
    tree.json("ocrvqa/dataset.json")[key] = made
    return Laid(_asked({key: made}) or [key], "" if tree.as_on_disk else name)


def no_covers(tree: Tree) -> Laid:
    """Every question of the corpus."""
    return Laid(_asked(tree.json("ocrvqa/dataset.json")))


def _asked(books: dict[str, Any]) -> list[str]:
    """The ids of the questions of those books whose records can be read."""
    return [
        f"{key}-{i}"
        for key, made in books.items()
        if len(made["questions"]) == len(made["answers"]) and made["split"] in (1, 2, 3)
        for i in range(len(made["questions"]))
    ]


# RefCOCO


def referred(tree: Tree, place: str) -> Laid:
    """An object whose box is at an odd `place`."""
    picture = tree.picture()
    scene = picture.scene
    x, y, w, h = last_box(scene)
    boxes = {"outside": (scene.width + 20, y, w, h), "no area": (x, y, 0, h),
             "over the edge": (x, y, scene.width - x + 30, h)}  # fmt: skip
    return Laid(tree.refer(picture, boxes[place], "train"), picture.path)


def turned(tree: Tree) -> Laid:
    """A box in a picture that EXIF turns: it counts pixels as they are stored."""
    picture = tree.picture(odd_pictures.turned)
    x, y, w, h = last_box(picture.scene)
    width, height = picture.scene.width, picture.scene.height
    stored = picture._replace(scene=picture.scene._replace(width=height, height=width))
    return Laid(tree.refer(stored, (y, width - x - w, h, w), "train"), picture.path)


def evaluated(tree: Tree) -> Laid:
    """A caption of a picture that RefCOCO evaluates on."""
    picture = tree.picture()
    tree.refer(picture, last_box(picture.scene), "testA")
    return Laid(tree.caption(picture, f"A picture of {shapes(picture.scene)}."), picture.path)


# CC3M and LAION


def pair(tree: Tree, corpus: str, name: str, caption: str | None, draw: Draw = painted,
         **more: Any) -> Laid:  # fmt: skip
    """A pair; `{}` in its caption stands for what its picture shows."""
    rng = random.Random(f"trap {corpus} {name}")
    scene = compose(rng)
    text = caption.format(shapes(scene)) if caption else caption
    columns = {"TEXT": text, "top_caption": text, "all_captions": [text], "punsafe": 0.01}
    made = Pair(f"{URL}/{corpus}/traps/{name}.jpg", text, draw(scene, rng), scene.width,
                scene.height, more=columns | more if corpus == "laion" else None)  # fmt: skip
    return Laid(tree.pair(corpus, made))


def without_bytes(tree: Tree, name: str, *failure: str) -> Laid:
    """A picture that could not be downloaded, or is null in the cache."""
    status, error = failure or ("success", None)
    url = f"{URL}/cc3m/traps/{name}.jpg"
    return Laid(tree.pair("cc3m", Pair(url, "a ball .", None, 0, 0, (status, error))))


def interrupted(tree: Tree) -> Laid:
    """A shard that was being written when img2dataset was stopped."""
    shard, rng = 90_001, random.Random("trap interrupted")
    scene = compose(rng)
    whole = Pair(f"{URL}/cc3m/traps/interrupted.jpg", f"a picture of {shapes(scene)} .",
                 painted(scene, rng), scene.width, scene.height)  # fmt: skip
    folder = tree.root / "cc3m/train"
    put(folder / f"{shard}.tar", archive([whole], shard, end=b""))
    put(folder / f"{shard}.parquet", b"PAR1")
    return Laid([f"{shard:05d}0000"])


# LLaVA


def talk(tree: Tree, *values: tuple[str, str]) -> Laid:
    """A conversation of (who, what); `{}` stands for what the picture shows."""
    picture = tree.picture()
    said = [{"from": who, "value": what.format(shapes(picture.scene))} for who, what in values]
    made = {"id": f"{picture.number:012d}", "image": picture.name, "conversations": said}
    tree.json(_LLAVA).append(made)
    return Laid([made["id"]], picture.path)


_LLAVA = "llava/llava_instruct_150k.json"


def talks(tree: Tree) -> Laid:
    """Two conversations of one id."""
    picture = tree.picture()
    for turn in (
        ("What can be seen?", f"There is {shapes(picture.scene)}."),
        ("What is behind it?", f"A {picture.scene.place.noun}."),
    ):
        tree.json(_LLAVA).append(llava_entry(picture, [turn], image_first=True))
    return Laid([f"{picture.number:012d}"], picture.path)


def text_only(tree: Tree) -> Laid:
    turns = [{"from": "human", "value": "What is two and two?"}, {"from": "gpt", "value": "Four."}]
    entries = tree.json(_LLAVA)
    entries.append({"id": "wgByO4Y_0", "model": "", "conversations": turns})
    return Laid(["wgByO4Y_0", f"{Path(_LLAVA).stem}-{len(entries) - 1}"])


def elsewhere(tree: Tree, name: str, file: bool) -> Laid:
    """A conversation about a picture named by a path."""
    rng = random.Random(f"trap {name}")
    picture = CocoPicture(0, "", compose(rng))
    if file:
        put(tree.root / name, painted(picture.scene, rng))
    turns = [("What can be seen?", f"There is {shapes(picture.scene)}.")]
    identity = Path(name).name.partition(".")[0]
    tree.json(_LLAVA).append({**llava_entry(picture, turns, True), "id": identity, "image": name})
    return Laid([identity], name)
