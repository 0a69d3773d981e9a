"""What can be downloaded: listing.yaml, checked, and the files of it that someone wants."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

from manifests import settings
from pipelines.download.addresses import AddressList
from pipelines.download.unpack import Kind

LISTING = Path(__file__).with_name("listing.yaml")
_NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")
_Bytes = Annotated[int, msgspec.Meta(gt=0)]


class ListingError(ValueError):
    """A listing that cannot be right, or a wish that it has nothing for."""


class Listed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file, or with {0000..0575} several, as listing.yaml lists it and explains there."""

    url: str
    to: str
    nbytes: _Bytes | None = None
    md5: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")] | None = None
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    about: _Bytes | None = None
    minimal: bool = False
    extract: Kind | None = None
    with_images: bool | None = None
    images: AddressList | None = None


class Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hosts that may be asked, and the files of each corpus."""

    hosts: tuple[str, ...]
    corpora: dict[str, tuple[Listed, ...]]


def load(path: Path = LISTING) -> Listing:
    """A checked listing. Raises SettingsError or ListingError, naming the file and the place."""
    listing = settings.load(path, Listing)
    for name, files in listing.corpora.items():
        for listed in files:
            to = PurePosixPath(listed.to)
            if to.is_absolute() or ".." in to.parts:
                raise ListingError(f"{path}: {name}: to {listed.to!r} leads out of the root")
            if len(_numbers(listed.url)) != len(_numbers(listed.to)):
                raise ListingError(
                    f"{path}: {name}: {listed.url} and {listed.to} are not equally many files"
                )
    return listing


def downloads(
    listing: Listing, corpora: Collection[str], minimal: bool, images: bool
) -> list[Listed]:
    """The files to have, one by one; of all corpora if none is named. Raises ListingError."""
    if unknown := set(corpora) - listing.corpora.keys():
        raise ListingError(
            f"nothing is listed to download for {', '.join(sorted(unknown))}; there are "
            f"{', '.join(listing.corpora)}"
        )
    chosen = [
        one
        for name, files in listing.corpora.items()
        if not corpora or name in corpora
        for listed in files
        if (listed.minimal or not minimal) and listed.with_images in (None, images)
        for one in _each_number(listed)
    ]
    if not chosen:
        raise ListingError(f"{', '.join(corpora)}: nothing is in the smallest set; drop --minimal")
    return chosen


def _each_number(listed: Listed) -> Iterator[Listed]:
    for url, to in zip(_numbers(listed.url), _numbers(listed.to), strict=True):
        yield msgspec.structs.replace(listed, url=url, to=to)


def _numbers(text: str) -> list[str]:
    """`text` for each of the numbers that it stands for; as it is if it has none."""
    if not (found := _NUMBERS.search(text)):
        return [text]
    first, last = found.groups()
    numbers = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return [text[: found.start()] + number + text[found.end() :] for number in numbers]
