"""COCO 2017 captions: `annotations/captions_{train,val}2017.json` and `{train,val}2017/*.jpg`.

Also the home of COCO's pictures for every corpus that names them by number: train2017 and val2017
together hold what train2014 and val2014 held, under `<12 digits>.jpg`.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from manifests.place import image_group
from manifests.schema import Split
from pipelines.corpora import Folders, Survey, present, read_items, read_json, unreadable
from pipelines.table import Row, clean

PATH = "coco"
_SPLITS: dict[str, Split] = {"train2017": "train", "val2017": "val"}
_NAME = re.compile(r"(?:COCO_(?:train|val)2014_)?(\d{12})(?:_\d+)?\.jpg")


@dataclass(frozen=True)
class CocoImages:
    """The pictures of `coco/`, found by number in train2017, then in val2017."""

    folders: Folders

    @cached_property
    def found(self) -> dict[int, str]:
        """Locator by image number."""
        images: dict[int, str] = {}
        for name in reversed(_SPLITS):  # train2017 last: it wins
            folder = self.folders.path / name
            for entry in os.scandir(folder) if folder.is_dir() else ():
                if match := _NAME.fullmatch(entry.name):
                    images[int(match[1])] = self.folders.locator(folder / entry.name)
        return images

    def locate(self, number: int) -> tuple[str, str | None]:
        """The locator of an image, and why it cannot be used (None: it is there)."""
        if locator := self.found.get(number):
            return locator, None
        expected = self.folders.path / "train2017" / f"{number:012d}.jpg"
        folders = " or ".join(f"{self.folders.path.name}/{name}" for name in _SPLITS)
        return self.folders.locator(expected), f"image is not in {folders}"


class _Licence(msgspec.Struct):
    id: int
    name: str


class _Image(msgspec.Struct):
    id: int
    license: int = 0


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[msgspec.Raw]
    licenses: list[_Licence] = []


class _Caption(msgspec.Struct):
    id: int
    image_id: int
    caption: str


def survey(folders: Folders) -> Survey:
    names = {f"captions_{name}.json": name for name in _SPLITS}
    files = present(folders.path / "annotations", names)
    images = CocoImages(folders)
    return Survey(tuple(files.values()), len(images.found), lambda: _rows(files, images))


def _rows(files: dict[str, Path], images: CocoImages) -> Iterator[Row]:
    used: set[int] = set()
    for name, path in files.items():
        for row in _captions(path, _SPLITS[name], images):
            used.add(int(row.group.partition(":")[2]) if row.locator else -1)
            yield row
    for number, locator in sorted(images.found.items()):
        if number not in used:
            yield Row(
                key=f"coco-{number:012d}",
                group=image_group("coco", number),
                locator=locator,
                split=_SPLITS[Path(locator.removeprefix("file:")).parent.name],
                status="unannotated",
                error="no caption names this image",
            )


def _captions(path: Path, split: Split, images: CocoImages) -> Iterator[Row]:
    file = read_json(path, _File)
    licences = {licence.id: licence.name for licence in file.licenses}
    licence_of = {image.id: licences.get(image.license, "") for image in file.images}
    for place, item in read_items(file.annotations, _Caption):
        if isinstance(item, str):
            yield unreadable("coco", path, place, split, item)
            continue
        locator, error = images.locate(item.image_id)
        caption = clean(item.caption)
        if error is None and not caption:
            error = "empty caption"
        yield Row(
            key=f"coco-{item.image_id:012d}",
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
