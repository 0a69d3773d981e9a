"""RefCOCO, RefCOCO+ and RefCOCOg: expressions that name one thing of a COCO train picture.

Two layouts: the authors' (instances.json and a pickle of refs, all splits), and the Arrow caches of
lmms-lab's re-export (evaluation splits alone, pictures inside; see `caches.py`).
"""

import pickle
import random
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.samples.coco import INFO, LICENSES, listing
from pipelines.samples.files import CocoPicture, put, put_json, some
from pipelines.samples.pictures import NUMBERS, PLURALS, Scene, Thing, box

CATEGORIES = {shape: i for i, shape in enumerate(sorted(PLURALS), 1)}
_UNC, _UMD = ("val", "testA", "testB"), ("val", "test")  # evaluation splits by who split the set
SPLITS = {"refcoco": _UNC, "refcoco_plus": _UNC, "refcocog": _UMD}
_ORDINALS = {True: ("left", "middle", "right"), False: ("top", "middle", "bottom")}


class Ref(NamedTuple):
    """An object of a picture and the expressions that name it; `box` is x, y, width, height."""

    picture: CocoPicture
    split: str
    id: int  # of its annotation
    shape: str
    box: tuple[int, int, int, int]
    said: tuple[str, ...]

    @property
    def corners(self) -> list[int]:
        """Its outline as one flat polygon."""
        x, y, w, h = self.box
        return [x, y, x + w, y, x + w, y + h, x, y + h]


def expressions(scene: Scene, thing: Thing, corpus: str) -> list[str]:
    """What names `thing` and no other of its scene, in the manner of the corpus; may be nothing.

    RefCOCO+ forbids words of location, so of things that look alike it has nothing to say.
    """
    kind, count = f"{thing.colour} {thing.shape}", len(scene.things)
    names = _ORDINALS[scene.across]
    at = "" if count == 1 else names[0 if thing is scene.things[0] else
                                     2 if thing is scene.things[-1] else 1]  # fmt: skip
    where = {"middle": "in the middle", "top": "at the top", "bottom": "at the bottom"}.get(
        at, f"on the {at}"
    )
    plain = [] if scene.alike else [kind, thing.shape, f"the {kind}", f"the {thing.colour} one"]
    located = [f"{at} {kind}", f"{thing.shape} {where}", f"the one {where}"] if at else []
    if corpus == "refcoco_plus":
        return plain
    if corpus == "refcoco":
        return plain + located
    if scene.alike:
        many = f"{NUMBERS[count]} {thing.colour} {PLURALS[thing.shape]}"
        return [f"the {thing.shape} {where} of the picture, one of {many} {scene.place.phrase}",
                f"of {many}, the one {where}"]  # fmt: skip
    said = [f"a {kind} {scene.place.phrase}", f"the {kind} that stands {scene.place.phrase}"]
    near = scene.things.index(thing)
    for other, relation in ((near + 1, 0), (near - 1, 1)):
        if 0 <= other < count:
            words = ("to the left of", "to the right of") if scene.across else ("above", "below")
            said.append(f"the {kind} that is {words[relation]} {scene.things[other]}")
    return [text.replace("a orange", "an orange") for text in said]


def refs(corpus: str, drawn: list[CocoPicture], seed: int) -> list[Ref]:
    """Every thing of a quarter of the train pictures; a picture is in one split alone."""
    train = [picture for picture in drawn if picture.folder == "train2017"]
    pictures = some(train, 0.25, 4, f"{corpus} {seed}")
    evaluated, found = SPLITS[corpus], []
    for i, picture in enumerate(pictures):
        rng = random.Random(f"{corpus} {seed} {picture.number}")
        split = dict(enumerate(evaluated)).get(i % 10, "train")
        for k, thing in enumerate(picture.scene.things):
            said = expressions(picture.scene, thing, corpus)
            if said:
                x0, y0, x1, y1 = box(picture.scene, thing)
                chosen = tuple(rng.sample(said, min(len(said), rng.choice((2, 3, 3)))))
                found.append(Ref(picture, split, picture.number * 10 + k, thing.shape,
                                 (x0, y0, x1 - x0, y1 - y0), chosen))  # fmt: skip
    return found


def write_refer(out: Path, drawn: list[CocoPicture], seed: int, counts: dict[str, int]) -> None:
    """All three corpora in the authors' layout."""
    for corpus in SPLITS:
        found = refs(corpus, drawn, seed)
        instances, listed = authors(found, random.Random(f"{corpus} {seed}").randrange(1000, 9000))
        by = "umd" if corpus == "refcocog" else "unc"
        put_json(out / corpus / "instances.json", instances)
        put(out / corpus / f"refs({by}).p", pickle.dumps(listed, protocol=2))
        counts[f"{corpus}_expressions"] += sum(len(ref.said) for ref in found)


def authors(found: list[Ref], first: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The content of instances.json and of a refs file; refs and sentences count from `first`."""
    pictures = {ref.picture.number: ref.picture for ref in found}
    images = [{**listing(picture, picture.number % 8 + 1), "file_name": name_2014(picture.number)}
              for picture in pictures.values()]  # fmt: skip
    annotations = [
        {"segmentation": [ref.corners], "area": ref.box[2] * ref.box[3], "iscrowd": 0,
         "image_id": ref.picture.number, "bbox": [float(v) for v in ref.box],
         "category_id": CATEGORIES[ref.shape], "id": ref.id}
        for ref in found
    ]  # fmt: skip
    listed: list[dict[str, Any]] = []
    said = first
    for number, ref in enumerate(found, first):
        sentences = []
        for k, text in enumerate(ref.said, said):
            sent = text.replace(",", "")
            entry = {"tokens": sent.split(), "raw": text, "sent_id": k, "sent": sent}
            sentences.append(entry)
        said += len(sentences)
        listed.append({
            "sent_ids": [s["sent_id"] for s in sentences],
            "file_name": name_2014(ref.picture.number, str(ref.id)), "ann_id": ref.id,
            "ref_id": number, "image_id": ref.picture.number, "split": ref.split,
            "sentences": sentences, "category_id": CATEGORIES[ref.shape],
        })  # fmt: skip
    categories = [{"supercategory": "thing", "id": i, "name": n} for n, i in CATEGORIES.items()]
    head = {"info": {**INFO, "year": 2014}, "licenses": LICENSES}
    return {**head, "images": images, "annotations": annotations, "categories": categories}, listed


def name_2014(number: int, suffix: str = "") -> str:
    """How COCO called a train picture in 2014; the suffix of a ref is no part of that name."""
    return f"COCO_train2014_{number:012d}{f'_{suffix}' if suffix else ''}.jpg"
