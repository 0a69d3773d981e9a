"""Pictures that are the same are found by their pixels, others are not; what is known is kept."""

import io
import os
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageOps

from pipelines import fingerprint as printing
from pipelines.engine import Threads
from pipelines.fingerprint import (
    ALIKE,
    NEAR,
    SCHEMA,
    fingerprint,
    fingerprints,
    near,
    near_each_other,
    unknown,
)
from pipelines.samples.pictures import compose, paint
from shards.images import ImageError

ZERO = bytes(18)


def photo(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """Something with detail at every scale, as photographs have: noise, coarse louder than fine."""
    rng, total = np.random.default_rng(seed), np.zeros((height, width, 3))
    for cells in (4, 8, 16, 32, 64):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        total += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) / cells
    span = total.max() - total.min()
    return Image.fromarray(((total - total.min()) * 255 / span).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def printed(data: bytes) -> bytes:
    found = fingerprint(data)
    assert found is not None and len(found) == 18
    return found


def apart(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def flipped(bits: Sequence[int], of: bytes = ZERO) -> bytes:
    """A hash with some of its 144 bits turned over."""
    mask = sum(1 << bit for bit in set(bits))
    return (int.from_bytes(of, "big") ^ mask).to_bytes(18, "big")


def table(*rows: tuple[str, bytes | None]) -> pa.Table:
    return pa.table([[group for group, _ in rows], [h for _, h in rows]], schema=SCHEMA)


def listed(found: pa.Table) -> list[tuple]:
    assert found.schema == NEAR
    return [tuple(row.values()) for row in found.to_pylist()]


def test_a_picture_is_itself_however_it_is_stored():
    image = photo(1)
    first = printed(encoded(image, quality=95))
    turned = Image.Exif()
    turned[0x112] = 6  # shown turned by 90 degrees clockwise
    lying = image.transpose(Image.Transpose.ROTATE_90)
    forms = {
        "quality 50": encoded(image, quality=50),
        "larger": encoded(image.resize((640, 480)), quality=85),
        "smaller": encoded(image.resize((128, 96)), quality=85),
        "another aspect": encoded(image.resize((800, 533))),
        "grey": encoded(image.convert("L")),
        "png": encoded(image, "PNG"),
        "cmyk": encoded(image.convert("CMYK"), quality=95),
        "exif": encoded(lying, quality=90, exif=turned),
    }
    for name, data in forms.items():
        assert apart(first, printed(data)) <= 8, name
    edges = image.crop((3, 2, 317, 238))  # 1 % of each side
    assert apart(first, printed(encoded(edges))) <= ALIKE


def test_other_pictures_and_mirrored_ones_are_far_apart():
    prints = [printed(encoded(photo(seed))) for seed in range(8)]
    prints.append(printed(encoded(ImageOps.mirror(photo(0)))))
    pairs = [(a, b) for i, a in enumerate(prints) for b in prints[:i]]
    assert len(pairs) == 36
    assert min(apart(a, b) for a, b in pairs) >= 40


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (64, 64), "white"),
        Image.linear_gradient("L"),
        paint(compose(random.Random(1)), random.Random(1)),
    ],
    ids=["white", "gradient", "drawn"],
)
def test_a_picture_with_little_in_it_has_no_fingerprint(image):
    assert fingerprint(encoded(image)) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html>", "not an image"),
        (encoded(photo(1))[:-900], "truncated"),
    ],
)
def test_what_is_no_whole_image_is_an_error(data, reason):
    with pytest.raises(ImageError, match=reason):
        fingerprint(data)


def test_near_finds_up_to_the_threshold_and_no_further():
    protected = table(("coco:1", ZERO))
    others = table(
        ("vg:at", flipped(range(26))),
        ("vg:past", flipped(range(27))),
        ("vg:spread", flipped(range(0, 130, 5))),
        ("vg:plain", None),
    )
    assert listed(near(protected, others)) == [("vg:at", "coco:1", 26), ("vg:spread", "coco:1", 26)]
    assert listed(near(protected, others, threshold=27))[1] == ("vg:past", "coco:1", 27)
    assert listed(near(protected, others, threshold=25)) == []


def test_near_names_the_nearest_and_of_equals_the_first_by_name():
    protected = table(
        ("coco:9", flipped([0])),
        ("coco:2", flipped([1])),
        ("coco:5", flipped([0, 1, 2, 3])),
        ("coco:1", flipped(range(3, 9))),
    )
    others = table(("vg:b", ZERO), ("vg:a", flipped([0, 1, 2])), ("vg:b", flipped([3, 4, 5])))
    assert listed(near(protected, others)) == [("vg:a", "coco:5", 1), ("vg:b", "coco:2", 1)]


def test_a_group_is_not_near_itself():
    both = table(("coco:1", ZERO))
    assert listed(near(both, both)) == []
    assert listed(near(table(("a", ZERO), ("b", ZERO)), table(("b", ZERO)))) == [("b", "a", 0)]


@pytest.mark.parametrize("protected", [table(), table(("coco:1", None)), table(("coco:1", ZERO))])
def test_nothing_is_near_nothing(protected):
    assert listed(near(protected, table())) == []
    assert listed(near(table(), protected)) == []
    assert listed(near_each_other(protected)) == []


def clusters(count: int, name: str, seed: int) -> list[tuple[str, bytes]]:
    """Hashes around 6 centres shared by all seeds, with up to 32 bits turned over."""
    centres = [random.Random(c).randbytes(18) for c in range(6)]
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        bits = rng.sample(range(144), rng.randrange(33))
        rows.append((f"{name}:{number:03d}", flipped(bits, rng.choice(centres))))
    return rows


@pytest.mark.parametrize("small", [False, True], ids=["at once", "in small blocks"])
@pytest.mark.parametrize("threshold", [0, 8, 9, 26, 30])
def test_no_pair_is_missed(monkeypatch, threshold, small):
    if small:
        for limit, size in {"_PAIRS": 50, "_ENTRIES": 2000, "_ROWS": 37}.items():
            monkeypatch.setattr(printing, limit, size)
    protected, others = clusters(60, "coco", 1), clusters(150, "vg", 2)
    protected += [("coco:same", others[7][1])]
    expected, earlier = [], []
    for group, mine in sorted(others):
        close = [(apart(mine, theirs), name) for name, theirs in protected]
        if (best := min(close))[0] <= threshold:
            expected.append((group, best[1], best[0]))
        before = [(apart(mine, theirs), name) for name, theirs in others if name < group]
        if before and (best := min(before))[0] <= threshold:
            earlier.append((group, best[1], best[0]))
    assert 1 <= len(expected) < len(others)
    assert listed(near(table(*protected), table(*others), threshold)) == expected
    assert listed(near_each_other(table(*others), threshold)) == earlier


def test_of_groups_alike_the_first_by_name_stays():
    prints = table(
        ("c", ZERO),
        ("a", flipped([0])),
        ("b", ZERO),
        ("d", flipped(range(60, 72))),
        ("a", flipped([1])),
        ("e", None),
    )
    assert listed(near_each_other(prints)) == [("b", "a", 1), ("c", "b", 0)]


class Raw:
    """Pictures in a folder, their groups, and a cache of their fingerprints."""

    def __init__(self, folder: Path) -> None:
        self.root, self.cache = folder / "raw", folder / "cache"
        self.root.mkdir()
        self.asked: list[str] = []
        self.locators: dict[str, str] = {}
        for seed in range(4):
            self.put(f"{seed}", encoded(photo(seed)))

    def put(self, name: str, data: bytes) -> None:
        (self.root / f"{name}.jpg").write_bytes(data)
        self.locators[f"vg:{name}"] = f"file:{name}.jpg"

    def images(self) -> pa.Table:
        return pa.table({"group": list(self.locators), "locator": list(self.locators.values())})

    def prints(self, workers: int = 1) -> dict[str, bytes | None]:
        """All fingerprints by group, hashed two images at a time; `asked` tells which were read."""
        self.asked.clear()

        def each(function, specs, labels):
            assert len(set(labels)) == len(specs)
            for spec in specs:
                self.asked += spec["locator"].to_pylist()
            return Threads(workers).each("fingerprint", function, specs, labels, lambda: None)

        found = fingerprints(self.images(), self.cache, self.root, workers, each)
        assert found.schema == SCHEMA
        return {row["group"]: row["hash"] for row in found.to_pylist()}


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.setattr(printing, "_CHUNK", 2)
    return Raw(tmp_path)


def test_every_image_gets_its_fingerprint_or_none(raw):
    raw.put("plain", encoded(Image.new("RGB", (64, 64), "white")))
    raw.put("broken", b"<html>")
    raw.locators["vg:gone"] = "file:gone.jpg"
    raw.locators["url:1"] = "range:0.jpg@0+" + str((raw.root / "0.jpg").stat().st_size)
    expected: dict = {f"vg:{seed}": fingerprint(encoded(photo(seed))) for seed in range(4)}
    expected |= {"vg:plain": None, "vg:broken": None, "vg:gone": None, "url:1": expected["vg:0"]}
    assert raw.prints() == expected


def test_only_new_and_changed_images_are_read_again(raw):
    before = raw.prints()
    assert raw.asked == [f"file:{seed}.jpg" for seed in range(4)]
    assert raw.prints() == before
    assert raw.asked == []
    raw.put("1", encoded(photo(11)))
    raw.put("new", encoded(photo(12)))
    raw.locators["vg:again"] = "file:new.jpg"
    raw.locators["vg:gone"] = "file:gone.jpg"
    assert unknown(raw.images(), raw.cache, raw.root) == ["file:1.jpg", "file:new.jpg"]
    after = raw.prints()
    assert unknown(raw.images(), raw.cache, raw.root) == []
    assert raw.asked == ["file:1.jpg", "file:new.jpg"]
    assert after["vg:0"] == before["vg:0"]
    assert after["vg:1"] == fingerprint(encoded(photo(11))) != before["vg:1"]
    assert after["vg:again"] == after["vg:new"] == fingerprint(encoded(photo(12)))
    raw.put("gone", encoded(photo(13)))  # what was not there is looked for each time
    assert raw.prints()["vg:gone"] == fingerprint(encoded(photo(13)))


def test_a_file_of_the_same_size_that_is_newer_is_read_again(raw):
    for seed, when in ((21, 1000), (22, 2000)):
        raw.put("0", encoded(photo(seed)).ljust(1 << 16, b"\0"))
        os.utime(raw.root / "0.jpg", (when, when))
        assert raw.prints()["vg:0"] == fingerprint(encoded(photo(seed)))


def test_what_was_hashed_before_a_failure_is_kept(raw, monkeypatch):
    def fail(locators, root):
        if "file:2.jpg" in locators:
            raise OSError(28, "No space left on device")
        return hashed(locators, root)

    hashed = printing._hash
    monkeypatch.setattr(printing, "_hash", fail)
    with pytest.raises(OSError, match="No space left"):
        raw.prints()
    monkeypatch.undo()
    assert raw.prints() == {f"vg:{s}": fingerprint(encoded(photo(s))) for s in range(4)}
    assert raw.asked == ["file:2.jpg", "file:3.jpg"]


def test_helper_processes_find_what_this_one_would(raw, monkeypatch):
    monkeypatch.setattr(printing, "_FEW", 0)
    found = raw.prints(workers=2)
    assert found == {f"vg:{seed}": fingerprint(encoded(photo(seed))) for seed in range(4)}


def test_other_versions_of_the_libraries_begin_anew(raw, monkeypatch):
    raw.prints()
    monkeypatch.setattr(printing, "_RULE", ("phash12", "other"))
    raw.prints()
    assert len(raw.asked) == 4


def test_a_damaged_cache_says_what_to_remove(raw):
    raw.prints()
    (folder,) = raw.cache.iterdir()
    next(folder.iterdir()).write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="cannot be read") as caught:
        raw.prints()
    assert f"Remove {folder}" in str(caught.value)
