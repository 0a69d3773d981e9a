"""What must not be trained on: evaluation splits, and lists of a user's own.

    protect:
      image: [coco/val, "refcoco*/test*", ./pope_images.txt]   # no corpus trains on these pictures
      text: [vqav2/val, ./my_questions.txt]                    # nor on these questions about them

A pattern is corpus/split. A list, told by its ./, ../ or /, is a text file of one image a line
(coco:391895, vg:2354786, an address, or a COCO file name), for `text` followed by a tab and a
question; a question alone is protected whatever the picture.
"""

import difflib
import fnmatch
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from manifests.place import image_group, url_group
from manifests.schema import SPLITS
from manifests.settings import SettingsError

# Evaluation pictures that no corpus trains on. The questions of VQA v2 and OK-VQA are kept out as
# text: their pictures, val2014's, are 30 % of COCO train2017.
_IMAGE = (
    "coco/val",
    "aokvqa/val",
    "aokvqa/test",
    "refcoco*/val",
    "refcoco*/test*",
    "gqa/val",
    "gqa/test*",
)
_IMAGE += ("cc3m/val", "ocrvqa/val", "ocrvqa/test", "robots/val", "robots/test")
_TEXT = ("vqav2/val", "okvqa/val")
_EXPECTED = "expected coco:391895, vg:2354786, an address or a COCO file name"
_COCO = re.compile(r"(?:COCO_(?:train|val|test)20\d\d_)?(\d{12})\.jpg")


class Protect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`strict` protects the pictures of `text` too. `near_duplicates` are pictures that look like a
    protected one ("protected"), or like any other besides ("all"); "off" compares none."""

    image: tuple[str, ...] = _IMAGE
    text: tuple[str, ...] = _TEXT
    near_duplicates: Literal["protected", "all", "off"] = "protected"
    strict: bool = False

    def check(self, corpora: Iterable[str]) -> None:
        """Raise SettingsError for a pattern that can name no split, or a list that is not one."""
        places = [f"{corpus}/{split}" for corpus in corpora for split in SPLITS]
        for pattern in (*self.image, *self.text):
            if _is_list(pattern):
                for entry in _read(pattern):
                    if entry.group is None and pattern in self.image:
                        raise SettingsError(
                            f"{pattern}: {entry.text!r} names no image; {_EXPECTED}"
                        )
            elif not fnmatch.filter(places, pattern):  # it would protect nothing in silence
                near = difflib.get_close_matches(pattern, places, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(places)}"
                raise SettingsError(f"protect {pattern!r} names no split; {hint}")

    def guards(self, corpus: str, split: str) -> tuple[bool, bool]:
        """Whether the images, and the questions, of a corpus and split are protected."""
        place = f"{corpus}/{split}"
        image, text = (any(fnmatch.fnmatchcase(place, p) for p in ps) for ps in self._patterns)
        return image, text and not image

    def listed(self) -> Iterator[tuple["Listed", str]]:
        """What the lists name, and the list that does."""
        for whole, patterns in zip((True, False), self._patterns, strict=True):
            for pattern in filter(_is_list, patterns):
                for group, text in _read(pattern):
                    yield Listed(group, None if whole and group else text), Path(pattern).name

    def without_effect(self, places: Iterable[str]) -> list[str]:
        """The patterns that none of these places, of which something was read, is named by."""
        patterns = (p for p in (*self.image, *self.text) if not _is_list(p))
        there = list(places)
        return [pattern for pattern in patterns if not fnmatch.filter(there, pattern)]

    @property
    def digest(self) -> str:
        """sha256 of what is protected, the lists' content included."""

        def said(patterns: tuple[str, ...]) -> list[str]:
            return sorted(
                hashlib.sha256(Path(p).read_bytes()).hexdigest() if _is_list(p) else p
                for p in patterns
            )

        decides = (said(self.image), said(self.text), self.near_duplicates, self.strict)
        return hashlib.sha256(msgspec.json.encode(decides)).hexdigest()

    @property
    def _patterns(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return ((*self.image, *self.text), ()) if self.strict else (self.image, self.text)


class Listed(NamedTuple):
    """An image, a question, or a question about an image; None stands for any."""

    group: str | None
    text: str | None


def _is_list(pattern: str) -> bool:
    return pattern.startswith(("./", "../", "/"))


def _read(path: str) -> Iterator[Listed]:
    try:
        lines = unicodedata.normalize("NFC", Path(path).read_text("utf-8-sig")).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"protect list {path} cannot be read: {error}") from error
    for line in filter(str.strip, lines):
        image, tab, text = line.partition("\t")
        group = _group(image.strip())
        if group is None and tab:
            raise SettingsError(f"{path}: {image!r} before a tab names no image; {_EXPECTED}")
        yield Listed(group, text.strip() or None) if group else Listed(None, line.strip())


def _group(name: str) -> str | None:
    if name.startswith(("http://", "https://")):
        return url_group(name)
    if match := _COCO.fullmatch(Path(name).name):
        return image_group("coco", match[1])
    source, colon, identity = name.partition(":")
    if colon and re.fullmatch(r"[a-z0-9_]+", source) and re.fullmatch(r"\S+", identity):
        return image_group(source, identity) if source != "coco" or identity.isdecimal() else None
    return None
