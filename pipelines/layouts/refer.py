"""Referring expressions: RefCOCO, RefCOCO+ and RefCOCOg, in any of the layouts they are found in.

The files (`refer_files.py`) lie in the corpus's folder or anywhere below it. The first kind that is
there is read, in the order authors', jxu124's, lmms-lab's, for they say the same. Pictures are
COCO's, found by number; lmms-lab's files hold their own. Every sentence said of an object makes two
rows: where is this, and what is at this box.

lmms-lab's val and test mix the authors' two ways of splitting, so an expression may stand in
several of its splits: it belongs to the one that is protected most, and is a duplicate elsewhere.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from manifests.place import image_group
from manifests.schema import Split
from pipelines.corpora import (
    CorpusError,
    Folders,
    Survey,
    find_files,
    not_there,
    parts,
    unknown_layout,
    unreadable,
)
from pipelines.corpora.coco import CocoImages
from pipelines.layouts import columns
from pipelines.layouts.refer_files import (
    JXU124_COLUMNS,
    LMMS_LAB_COLUMNS,
    OFFICIAL,
    Object,
    Unreadable,
    authors,
    jxu124,
    lmms_lab,
    named_split,
)
from pipelines.table import BOX, Row, clean

SPLITS: dict[str, Split | None] = {
    "train": "train",
    "val": "val",
    "testA": "test",
    "testB": "test",
    "test": "test",
}
UNC = ("val", "testA", "testB")  # evaluation splits, by whose split it is
UMD = ("val", "test")
_WHAT = f"What is at {BOX}?"
_EXPECTED = "{} with instances.json, or .arrow or .parquet files named after their split"


def survey(folders: Folders, official: str, refs: str, evaluated: Sequence[str]) -> Survey:
    """What is there of a corpus: `official` is its own name, whatever the config calls it, `refs`
    its pickle whose splits share no image, and `evaluated` are its evaluation splits.

    Raises CorpusError if nothing is, or nothing but pickles whose splits share images.
    """
    pickles = find_files(folders.path, "refs(*).p")
    found = [*find_files(folders.path, "*.arrow"), *find_files(folders.path, "*.parquet")]
    published = [path for path in found if named_split(path)]
    coco = CocoImages(folders)
    if chosen := next((path for path in pickles if path.name == refs), None):
        boxes = chosen.with_name("instances.json")
        if not boxes.is_file():
            raise CorpusError(f"{boxes} is missing; it has the boxes of {refs}. Fetch it again")
        return Survey(
            "authors' pickle and JSON",
            (chosen, boxes),
            len(coco.found),
            lambda: _rows(folders, coco, authors(chosen)),
            _not_read([*pickles, *published], [chosen]) + coco.notes,
        )
    if not published and pickles:
        raise CorpusError(
            f"{folders.path} has {pickles[0].name}, whose splits share images, so that training "
            f"would see test's; expected {refs}. It is in the same archive: fetch it again"
        )
    if not published:
        raise unknown_layout(official, folders.path, _EXPECTED.format(refs))
    kinds: dict[tuple[bool, bool], list[Path]] = defaultdict(list)
    for path in published:
        kinds[_has_pictures(path), path.suffix == ".parquet"].append(path)
    (pictures, parquet), files = min(kinds.items())
    files.sort(key=lambda path: OFFICIAL.index(named_split(path)))
    read = lmms_lab if pictures else jxu124
    of_split: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        of_split[named_split(path)].append(path)
    there = {*of_split, "testA"} if "test" in of_split and not pictures else {*of_split}
    absent = {
        f"a {name} file like {files[0].name}": name
        for name in evaluated
        if folders.splits[name] and name not in there
    }
    return Survey(
        "Hugging Face Parquet" if parquet else "Hugging Face Arrow",
        tuple(files),
        sum(map(columns.count, files)) if pictures else len(coco.found),
        lambda: _rows(folders, coco, chain.from_iterable(read(path, folders) for path in files)),
        _not_read([*pickles, *published], files)
        + _not_trained(folders, files)
        + not_there(absent, folders.splits)
        + parts(of_split)
        + (() if pictures else coco.notes),
    )


def _has_pictures(path: Path) -> bool:
    """Whether a file is of lmms-lab's kind; of jxu124's otherwise."""
    names = columns.schema(path).names
    if set(JXU124_COLUMNS) <= set(names):
        return False
    if {*LMMS_LAB_COLUMNS, "image"} <= set(names):
        return True
    raise CorpusError(
        f"{path} has the columns {', '.join(names)}; expected {', '.join(LMMS_LAB_COLUMNS)}, image "
        f"or {', '.join(JXU124_COLUMNS)}. Move it elsewhere if it is of another corpus"
    )


def _not_read(found: list[Path], read: list[Path]) -> tuple[str, ...]:
    """The note on files that have the same expressions once more."""
    names = [path.name for path in found if path not in read]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    note = f"not read, because {read[0].name} is: {', '.join(names[:3])}{more}"
    return (note,) if names else ()


def _not_trained(folders: Folders, files: list[Path]) -> tuple[str, ...]:
    """The note on files that give nothing to train on."""
    there = list(dict.fromkeys(map(named_split, files)))
    if any(folders.splits.get(split) == "train" for split in there):
        return ()
    return (
        f"only evaluation splits are here ({', '.join(there)}): nothing of {folders.corpus} is "
        f"trained on. To train on val all the same, and never judge on it, write in the config "
        f"corpora: {{{folders.corpus}: {{splits: {{val: train}}}}}}",
    )


def _rows(
    folders: Folders, coco: CocoImages, found: Iterable[Object | Unreadable]
) -> Iterator[Row]:
    objects: list[Object] = []  # 50,000 in the largest: they fit
    for item in found:
        split = folders.splits[item.split] if item.split else None
        if item.split and split is None:  # the config says that it is not read
            continue
        if isinstance(item, Unreadable):
            yield unreadable(folders.corpus, item.path, item.place, split, item.error)
        else:
            objects.append(item)
    objects.sort(key=lambda item: OFFICIAL.index(item.split))
    index = _Index(folders.splits, objects)
    for item in objects:
        if locator := index.pictures.get(item.image):
            yield from _of_object(item, folders, index, locator, None)
        else:
            yield from _of_object(item, folders, index, *coco.locate(item.image))


class _Index:
    """What must be known of all objects before a row is made of one.

    `pictures`: the first locator of each image; `first`: split and name of each object's sentence
    where it stands first; `splits`: those of ours that each image has sentences in.
    """

    def __init__(self, splits: Mapping[str, Split | None], objects: Iterable[Object]) -> None:
        self.pictures: dict[int, str] = {}
        self.first: dict[tuple[str, str], tuple[str, str]] = {}
        self.splits: dict[int, set[Split | None]] = defaultdict(set)
        for item in objects:
            if item.picture:
                self.pictures.setdefault(item.image, item.picture)
            for number, sentence in item.sentences:
                name = (item.split, f"{item.id}-{number}")
                if self.first.setdefault((item.id, sentence), name)[0] == item.split:
                    self.splits[item.image].add(splits[item.split])


def _of_object(
    item: Object, folders: Folders, index: _Index, locator: str, error: str | None
) -> Iterator[Row]:
    """Two rows for each sentence; an object without any counts as having an empty one."""
    split = folders.splits[item.split]
    box = _box(item.box)
    if box is None:
        error = error or f"unusable box: {list(item.box)} of object {item.id}"
    key = f"{folders.corpus}-{item.image:012d}"
    if index.splits[item.image] != {split}:  # a key is of one split
        key = f"{key}-{split}"
    for number, sentence in item.sentences or ((0, ""),):
        text = clean(sentence)
        name = f"{item.id}-{number}"
        status, wrong = "quarantined", error or (None if text else "empty caption")
        if wrong is None:
            first, there = index.first[item.id, sentence]
            status = None if first == item.split else "duplicate"
            wrong = status and f"expression is repeated in another split: {there} of {first}"
        where = f"Where is this: {text.rstrip(' .?!')}?"
        for way, prompt, target in (("box", where, BOX), ("text", _WHAT, text)):
            yield Row(
                key=key,
                group=image_group("coco", item.image),
                locator=locator,
                split=split,
                id=f"{name}-{way}",
                thread=f"{name}-{way}",
                kind="grounding",
                prompt=prompt,
                target=target,
                box=box,
                licence=item.licence,
                status=status,
                error=wrong,
            )


def _box(box: tuple[float, ...]) -> tuple[float, float, float, float] | None:
    """The corners, if they are four finite numbers and span an area."""
    if len(box) != 4 or not all(map(math.isfinite, box)):
        return None
    x0, y0, x1, y1 = box
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
