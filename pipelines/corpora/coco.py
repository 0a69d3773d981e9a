"""COCO 2017 captions: `annotations/captions_{train,val}2017.json` and `{train,val}2017/*.jpg`.

Also the home of COCO's pictures for every corpus that names them by number: train2017 and val2017
together hold what train2014 and val2014 held, under `<12 digits>.jpg`.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import msgspec

from manifests.place import image_group
from manifests.schema import Split
from pipelines.corpora import (
    Folders,
    Layout,
    Survey,
    are_not_there,
    not_there,
    present,
    read_items,
    read_json,
    unreadable,
)
from pipelines.table import Row, clean

PATH = "coco"
SPLITS: dict[str, Split | None] = {"train2017": "train", "val2017": "val"}
LAYOUT: Layout = "hash"
_NAME = re.compile(r"(?:COCO_(?:train|val)2014_)?(\d{12})(?:_\d+)?\.jpg")


def image_number(name: str) -> int | None:
    """The number in a picture's official name, of 2014 or 2017; None for any other name."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def picture_folders(folders: Folders) -> tuple[Path, ...]:
    """Where `CocoImages` looks, whether it is there or not."""
    return tuple(folders.coco / name for name in SPLITS)


@dataclass(frozen=True)
class CocoImages:
    """The pictures in `folders.coco`, found by number in train2017, then in val2017."""

    folders: Folders

    @cached_property
    def found(self) -> dict[int, str]:
        """Locator by image number."""
        images: dict[int, str] = {}
        for name in reversed(SPLITS):  # train2017 last: it wins
            folder = self.folders.coco / name
            locator = self.folders.locator(folder)
            names = [entry.name for entry in os.scandir(folder)] if folder.is_dir() else []
            for name_of_file in sorted(names, reverse=True):  # of an image's, the plain one wins
                if (number := image_number(name_of_file)) is not None:
                    images[number] = f"{locator}/{name_of_file}"
        return images

    @property
    def notes(self) -> tuple[str, ...]:
        """What to say of the folders that are not there."""
        absent = [name for name in SPLITS if not (self.folders.coco / name).is_dir()]
        if not absent:
            return ()
        names = [self.folders.relative(self.folders.coco / name) for name in absent]
        lost = "no text about their pictures can be used"
        if len(absent) == 1:
            other = next(name for name in SPLITS if name not in absent)
            lost = f"no text about its pictures can be used, unless they are in {other}"
        fetch = f"fetch {'it' if len(absent) == 1 else 'them'}"
        return (
            f"{are_not_there(names)}: {lost}; {fetch}: python -m pipelines download --corpus coco",
        )

    def locate(self, number: int, folder: str = "train2017") -> tuple[str, str | None]:
        """The locator of an image, and why it cannot be used (None: it is there).

        The locator of one that is not there names its place in `folder`.
        """
        if locator := self.found.get(number):
            return locator, None
        expected = self.folders.relative(self.folders.coco / folder / f"{number:012d}.jpg")
        return f"file:{expected}", f"image is missing: {expected}"


class _Licence(msgspec.Struct):
    id: int
    name: str


class _Image(msgspec.Struct):
    id: int
    license: int = 0


class ImageList(msgspec.Struct, kw_only=True):
    """What all of COCO's annotation files have: images, and the licences that these are under."""

    images: list[_Image]
    licenses: list[_Licence] = []

    def licence_of(self) -> dict[int, str]:
        """The name of each image's licence, by the image's number; "" where none is explained."""
        names = {licence.id: licence.name for licence in self.licenses}
        return {image.id: names.get(image.license, "") for image in self.images}


class _File(ImageList, kw_only=True):
    annotations: list[msgspec.Raw]


class _Caption(msgspec.Struct):
    id: int
    image_id: int
    caption: str


def survey(folders: Folders) -> Survey:
    names = {f"captions_{name}.json": name for name, split in folders.splits.items() if split}
    files = present(folders.path / "annotations", names)
    images = CocoImages(replace(folders, coco=folders.path))
    absent = {file: name for file, name in names.items() if name not in files}
    # Pictures that no caption names are rows too, and protected where their folder is.
    lost = "" if all((folders.path / name).is_dir() for name in absent.values()) else "pictures"
    return Survey(
        "authors' JSON",
        tuple(files.values()),
        len(images.found),
        lambda: _rows(files, images),
        not_there(absent, folders.splits, lost) + images.notes,
    )


def _rows(files: dict[str, Path], images: CocoImages) -> Iterator[Row]:
    corpus, splits = images.folders.corpus, images.folders.splits
    captioned: set[str] = set()
    for name, path in files.items():
        for row in _captions(corpus, path, name, splits[name], images):
            captioned.add(row.locator)
            yield row
    for number, locator in sorted(images.found.items()):
        split = splits[Path(locator.partition(":")[2]).parent.name]
        if split and locator not in captioned:
            yield Row(
                key=f"{corpus}-{number:012d}",
                group=image_group("coco", number),
                locator=locator,
                split=split,
                status="unannotated",
                error="no caption names this image",
            )


def _captions(
    corpus: str, path: Path, folder: str, split: Split | None, images: CocoImages
) -> Iterator[Row]:
    file = read_json(path, _File)
    licence_of = file.licence_of()
    for place, item in read_items(file.annotations, _Caption):
        if isinstance(item, str):
            yield unreadable(corpus, path, place, split, item)
            continue
        locator, error = images.locate(item.image_id, folder)
        caption = clean(item.caption)
        if error is None and not caption:
            error = "empty caption"
        yield Row(
            key=f"{corpus}-{item.image_id:012d}",
            group=image_group("coco", item.image_id),
            locator=locator,
            split=split,
            id=str(item.id),
            thread=str(item.id),
            kind="caption",
            target=caption,
            licence=licence_of.get(item.image_id, ""),
            status="quarantined" if error else None,
            error=error,
        )
