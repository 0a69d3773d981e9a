"""Traps: each is on disk as its sentence says, and ends at the readers as its fate says."""

import hashlib
import json
import os
import random
import re
import stat
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps, ImageStat

from pipelines import corpora
from pipelines.corpora import Folders
from pipelines.locators import Images
from pipelines.samples import write_samples
from pipelines.samples.pictures import COLOURS, compose
from pipelines.samples.traps import OFFICIAL, ON_DISK, TRAPS
from pipelines.table import Row
from shards.images import ImageError, ImagePolicy, store_image

CORPORA = ("coco", "vqav2", "okvqa", "aokvqa", "gqa", "ocrvqa", "refcoco", "cc3m", "laion", "llava")
FORMATS = {  # of the files that Pillow opens
    "gif-called-jpg": ("GIF", "P"), "png-called-jpg": ("PNG", "RGB"),
    "webp-called-jpg": ("WEBP", "RGB"), "bmp-called-jpg": ("BMP", "RGB"),
    "animated-gif": ("GIF", "P"), "grey-jpeg": ("JPEG", "L"), "grey-alpha-png": ("PNG", "LA"),
    "palette-transparency": ("PNG", "P"), "sixteen-bit-png": ("PNG", "I;16"),
    "cmyk-jpeg": ("JPEG", "CMYK"), "ycck-jpeg": ("JPEG", "CMYK"), "icc-profile": ("JPEG", "RGB"),
    "exif-turned": ("JPEG", "RGB"), "exif-broken": ("JPEG", "RGB"), "xmp-broken": ("JPEG", "RGB"),
    "placeholder-gif": ("GIF", "P"), "one-pixel-wide": ("JPEG", "RGB"),
    "hundred-times-wide": ("JPEG", "RGB"), "box-turned": ("JPEG", "RGB"),
    "ocr-gif-called-jpg": ("GIF", "P"), "llava-dots": ("JPEG", "RGB"),
}  # fmt: skip
BYTES = {
    "html-called-jpg": b"<!DOCTYPE html>", "lfs-pointer": b"version https://git-lfs.github.com/spec",
    "empty-file": b"", "truncated-jpeg": b"\xff\xd8\xff", "decompression-bomb": b"\x89PNG\r\n",
}  # fmt: skip
NOT_THERE = {"no-file", "vqa-test-picture", "gqa-no-file", "llava-no-file", "llava-path-out"}
NOT_THERE |= {"ocr-no-cover", "ocr-no-covers"}


class Laid:
    """A tree with traps: what it says of them, and what the readers make of it."""

    def __init__(self, root: Path, as_on_disk: bool) -> None:
        self.root = root
        self.counts = write_samples(root, 40, 2, as_on_disk=as_on_disk, traps=True)
        self.listed = json.loads((root / "traps.json").read_text())
        self.rows = {name: self._read(name) for name in CORPORA}

    def _read(self, name: str) -> list[Row]:
        reader = corpora.load(name)
        place = Folders(name, self.root, self.root / reader.PATH, self.root / "coco", reader.SPLITS)
        try:
            return list(reader.survey(place).rows())
        except corpora.EmptyCorpusError:
            return []

    def concerned(self, trap: dict) -> list[Row]:
        """The rows that a trap's ids name."""
        ids = "|".join(map(re.escape, trap["ids"]))
        named = re.compile(rf"(.*[/-])?({ids})([/-].*)?")
        rows = [row for row in self.rows[trap["corpus"]] if row.status != "unannotated"]
        return [row for row in rows if named.fullmatch(row.id)]

    def open(self, name: str) -> Image.Image:
        (trap,) = (trap for trap in self.listed if trap["name"] == name)
        return Image.open(self.root / trap["image"])


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Laid]:
    new = tmp_path_factory.mktemp
    return {layout: Laid(new("trapped"), layout == ON_DISK) for layout in (OFFICIAL, ON_DISK)}


@pytest.fixture(params=[OFFICIAL, ON_DISK])
def laid(request: pytest.FixtureRequest, trees: dict[str, Laid]) -> Laid:
    return trees[request.param]


@pytest.fixture
def official(trees: dict[str, Laid]) -> Laid:
    return trees[OFFICIAL]


def _colour(picture: Image.Image, x: int, y: int) -> str:
    """The colour whose pure form is nearest to the pixels around a point."""
    mean = ImageStat.Stat(picture.crop((x - 2, y - 2, x + 3, y + 3))).mean
    far = {c: sum(abs(a - b) for a, b in zip(rgb, mean, strict=True)) for c, rgb in COLOURS.items()}
    return min(far, key=lambda c: far[c])


def test_every_trap_has_a_name_of_its_own_and_is_listed_in_its_layout(laid):
    names = [trap.name for trap in TRAPS]
    assert len(set(names)) == len(names) >= 75
    layout = OFFICIAL if (laid.root / "laion/00000.tar").exists() else ON_DISK
    here = [trap for trap in TRAPS if trap.layout in (None, layout)]
    assert [trap["name"] for trap in laid.listed] == [trap.name for trap in here]
    assert laid.counts["traps"] == len(here)
    for trap in laid.listed:
        assert set(trap) == {"name", "corpus", "what", "fate", "reason", "ids", "image"}
        assert bool(trap["ids"]) == (trap["fate"] != "ignored")
        assert bool(trap["reason"]) == (trap["fate"] in ("quarantined", "held back"))


def test_every_picture_of_a_trap_is_as_its_sentence_says(laid):
    seen = set()
    for trap in laid.listed:
        name, path = trap["name"], laid.root / trap["image"]
        if not trap["image"]:
            continue
        seen.add(name)
        if name in NOT_THERE:
            assert not path.exists()
        elif name == "link-out":
            assert path.is_symlink()
            assert laid.root not in path.resolve().parents
        elif name == "named-pipe":
            assert stat.S_ISFIFO(os.lstat(path).st_mode)
        elif name in BYTES:
            assert path.read_bytes().startswith(BYTES[name])
        elif name in FORMATS:
            with Image.open(path) as picture:
                assert (picture.format, picture.mode) == FORMATS[name], name
                picture.load()
        elif trap["fate"] != "ignored":
            with Image.open(path) as picture:
                assert picture.format == "JPEG"
        else:
            assert path.is_file()
    assert seen >= ({*FORMATS, *BYTES, "link-out", "named-pipe"} - {"ocr-gif-called-jpg"})


def test_odd_files_have_the_oddity_that_they_are_named_for(official):
    assert official.open("animated-gif").n_frames == 2  # type: ignore[attr-defined]
    assert "transparency" in official.open("palette-transparency").info
    assert "icc_profile" in official.open("icc-profile").info
    assert official.open("exif-turned").getexif()[0x0112] == 6
    with pytest.raises(SyntaxError):
        official.open("exif-broken").getexif()
    assert b"\xff\xfe" in official.open("xmp-broken").info["xmp"]
    assert official.open("one-pixel-wide").width == 1
    assert official.open("hundred-times-wide").size == (1600, 16)
    assert official.open("ycck-jpeg").info["adobe_transform"] == 2
    assert official.open("cmyk-jpeg").info["adobe_transform"] == 0
    with pytest.raises(OSError, match="truncated"):
        official.open("truncated-jpeg").load()
    names = {trap["name"]: official.root / trap["image"] for trap in official.listed}
    assert names["decompression-bomb"].stat().st_size < 100
    header = names["decompression-bomb"].read_bytes()[16:24]
    assert struct.unpack(">II", header) == (60_000, 60_000)
    assert names["placeholder-gif"].stat().st_size == 43


def test_ink_pictures_show_the_colours_that_were_drawn(official):
    """Inverted or read without their chroma, the scenes would be dark, or of other colours."""
    for name in ("cmyk-jpeg", "ycck-jpeg", "exif-turned", "icc-profile", "webp-called-jpg"):
        (trap,) = (trap for trap in official.listed if trap["name"] == name)
        scene = compose(random.Random(f"trap {int(trap['image'][-16:-4])}"))
        picture = ImageOps.exif_transpose(official.open(name)).convert("RGB")
        assert picture.size == (scene.width, scene.height)
        for thing in scene.things:
            assert _colour(picture, thing.x, thing.y) == thing.colour, name


def test_readers_and_the_image_check_give_every_trap_its_fate(laid):
    images, policy = Images(laid.root), ImagePolicy()

    def fate(row: Row) -> tuple[str, str]:
        if row.status:
            return row.status, row.error or ""
        try:
            store_image(images.read(row.locator), policy)
        except ImageError as error:
            return "quarantined", str(error)
        return "survives", ""

    wrong = {}
    for trap in laid.listed:
        if trap["fate"] not in ("survives", "quarantined") or trap["name"] == "box-outside":
            continue  # the gate's and the packing's
        ends = {fate(row) for row in laid.concerned(trap)}
        right = all(end == trap["fate"] and why.startswith(trap["reason"]) for end, why in ends)
        if not ends or not right:
            wrong[trap["name"]] = ends
    assert wrong == {}


def test_what_the_gate_and_the_packing_decide_is_laid_for_them(laid):
    traps = {trap["name"]: trap for trap in laid.listed}
    (again,) = laid.concerned(traps["caption-twice"])
    same = [row for row in laid.rows["coco"] if (row.key, row.target) == (again.key, again.target)]
    assert len(same) == 2
    (caption,) = laid.concerned(traps["evaluation-picture"])
    assert caption.split == "train"
    assert {r.split for r in laid.rows["refcoco"] if r.group == caption.group} == {"test"}
    outside = laid.concerned(traps["box-outside"])
    width = Image.open(laid.root / traps["box-outside"]["image"]).width
    assert outside
    assert all(row.box is not None and row.box[0] > width for row in outside)
    over = laid.concerned(traps["box-over-edge"])
    width = Image.open(laid.root / traps["box-over-edge"]["image"]).width
    assert over
    assert all(row.box is not None and row.box[0] < width < row.box[2] for row in over)


def test_no_row_speaks_of_an_ignored_file(laid):
    ignored = {trap["image"] for trap in laid.listed if trap["fate"] == "ignored"}
    assert len(ignored) == 5
    for rows in laid.rows.values():
        assert not [row for row in rows if row.locator.partition(":")[2] in ignored]


def test_box_of_a_turned_picture_counts_its_stored_pixels(official):
    (trap,) = (trap for trap in official.listed if trap["name"] == "box-turned")
    row = official.concerned(trap)[0]
    assert row.box is not None
    picture = official.open("box-turned")
    x, y = int((row.box[0] + row.box[2]) / 2), int((row.box[1] + row.box[3]) / 2)
    said = {row.prompt + row.target for row in official.concerned(trap)}
    assert all(_colour(picture, x, y) in text for text in said)


def test_traps_change_nothing_else_of_the_tree(tmp_path, official):
    write_samples(tmp_path, 40, 2)
    for path in tmp_path.rglob("*"):
        if path.suffix in (".jpg", ".tar", ".gif", ".txt"):
            assert (official.root / path.relative_to(tmp_path)).read_bytes() == path.read_bytes()
    name = "coco/annotations/captions_train2017.json"
    plain, trapped = (json.loads((root / name).read_text()) for root in (tmp_path, official.root))
    assert trapped["annotations"][: len(plain["annotations"])] == plain["annotations"]


def test_traps_too_are_the_same_bytes_each_time(tmp_path):
    def digests(root: Path) -> dict[str, str]:
        return {
            p.relative_to(root).as_posix(): str(p.readlink()) if p.is_symlink()
            else hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(root.rglob("*")) if p.is_symlink() or p.is_file()
        }  # fmt: skip

    for as_on_disk in (False, True):
        out = tmp_path / str(as_on_disk)
        write_samples(out, 20, 9, as_on_disk=as_on_disk, traps=True)
        before = digests(out)
        write_samples(out, 20, 9, as_on_disk=as_on_disk, traps=True)  # over itself
        assert digests(out) == before


def test_an_interrupted_shard_has_no_end_and_no_counts(official):
    folder = official.root / "cc3m/train"
    assert not (folder / "90001_stats.json").exists()
    assert (folder / "90001.tar").read_bytes()[-1024:] != bytes(1024)
    with pytest.raises(pa.ArrowInvalid):
        pq.ParquetFile(folder / "90001.parquet")
