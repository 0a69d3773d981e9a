"""Whatever lies in a corpus: one JPEG of the right pixels, or a reason in words."""

import io
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from PIL import Image

from shards import images, shrink
from shards.images import ImageError, ImagePolicy, decode_into, decode_stored, store_image

SMALL, KEEP = ImagePolicy(size=32), ImagePolicy(policy="keep")
RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture(autouse=True)
def _no_warnings():
    """A million odd files must not print a million warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(params=["fast", "pillow"])
def path(request, monkeypatch):
    """Each test with it runs twice: with simplejpeg and OpenCV, and as if neither was there."""
    if request.param == "pillow":
        monkeypatch.setattr(shrink, "simplejpeg", None)
        monkeypatch.setattr(images, "simplejpeg", None)
    return request.param


def _two(left=RED, right=BLUE, size=(40, 20)) -> Image.Image:
    """Two halves side by side."""
    image = Image.new("RGB", size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def _file(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _corners(jpeg: bytes) -> list[tuple[int, ...]]:
    """Top left, top right, bottom left, bottom right, in steps of 85."""
    image = Image.open(io.BytesIO(jpeg))
    places = [(x, y) for y in (4, image.height - 5) for x in (4, image.width - 5)]
    pixels = np.asarray(image.convert("RGB"))
    return [tuple(int(round(c / 85) * 85) for c in pixels[y, x]) for x, y in places]


JPEG = _file(_two(), quality=95)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.usefixtures("path")
def test_content_decides_and_no_name(kind):
    stored = store_image(_file(_two(), kind), SMALL)
    assert (stored.width, stored.height) == (40, 20)
    image = Image.open(io.BytesIO(stored.jpeg))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 32))
    assert _corners(stored.jpeg) == [RED, BLUE, RED, BLUE], "scaled, not cropped"


@pytest.mark.usefixtures("path")
def test_what_is_stored_has_no_metadata():
    exif = _exif(1)
    exif[0x010F] = "Camera"
    stored = store_image(_file(_two(), exif=exif, comment=b"hello"), SMALL)
    assert dict(Image.open(io.BytesIO(stored.jpeg)).getexif()) == {}
    assert stored.jpeg == store_image(_file(_two()), SMALL).jpeg


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<html><body>404 Not Found</body>", "not an image: a page of text.*<html><body>404"),
        (b"\0" * 100, "not an image"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "not an image: .*git lfs pull"),
        (b"\n <!DOCTYPE html><html>404", "not an image: a page of text"),
        (b"<?xml version='1.0'?><svg>", "not an image: a page of text"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "not an image: it begins with b'RIFF"),
        (JPEG[:2], "not an image: it begins with"),
        (JPEG[:50], "truncated or damaged: JPEG: ends after 50 bytes, before its first scan"),
        (JPEG[: len(JPEG) - 20], "truncated or damaged: JPEG: "),
        (JPEG[:-2], "truncated or damaged: JPEG: "),
        (_file(_two(), "PNG")[:-40], "truncated or damaged: PNG: |not a JPEG"),
        (_file(_two(), "GIF")[:-40], "truncated or damaged: GIF: |not a JPEG"),
        (_file(_two(), "WEBP")[:-10], "not an image|unreadable|truncated or damaged: WEBP"),
        (_file(Image.new("RGB", (1, 1)), "GIF"), "too small: 1x1"),
        (_file(Image.new("RGB", (7, 99))), "too small: 7x99"),
        (_file(Image.new("RGB", (401, 8))), "too long: 401x8"),
        (_file(Image.new("RGB", (9, 460)), "PNG"), "too long: 9x460"),
    ],
)
@pytest.mark.parametrize("policy", ["squash", "keep"])
@pytest.mark.usefixtures("path")
def test_what_cannot_be_stored_is_refused_with_a_reason(data, reason, policy):
    with pytest.raises(ImageError, match=f"^(?:{reason})"):
        store_image(data, ImagePolicy(policy=policy))


@pytest.mark.parametrize("policy", [SMALL, KEEP])
@pytest.mark.usefixtures("path")
def test_a_jpeg_cut_anywhere_is_refused(policy):
    for cut in range(0, len(JPEG) - 1, 7):
        with pytest.raises(ImageError):
            store_image(JPEG[:cut], policy)


def test_the_longest_and_the_smallest_that_are_stored():
    for size in ((400, 8), (8, 400), (8, 8)):
        assert store_image(_file(Image.new("RGB", size)), SMALL).raw == (*size, 1)


@pytest.mark.parametrize(
    ("image", "kind", "options", "colour"),
    [
        (_two().convert("CMYK"), "JPEG", {"quality": 95}, RED),
        (_two((170, 170, 170)).convert("L"), "JPEG", {}, (170, 170, 170)),
        (_two((255, 255, 255)).convert("1"), "PNG", {}, (255, 255, 255)),
        (_two().convert("P"), "PNG", {}, RED),
        (Image.new("P", (40, 20), 0), "PNG", {"transparency": 0}, (255, 255, 255)),
        (Image.new("RGBA", (40, 20), (255, 0, 0, 0)), "PNG", {}, (255, 255, 255)),
        (Image.new("RGBA", (40, 20), (0, 0, 0, 170)), "WEBP", {"lossless": True}, (85, 85, 85)),
        (Image.new("LA", (40, 20), (0, 0)), "PNG", {}, (255, 255, 255)),
        (Image.new("I;16", (40, 20), 170 * 256 + 255), "PNG", {}, (170, 170, 170)),
        (Image.new("I;16", (40, 20), 85 * 256), "TIFF", {}, (85, 85, 85)),
        (Image.new("RGB", (40, 20), BLUE), "GIF", {"save_all": True}, BLUE),
    ],
    ids=["CMYK", "L", "1", "P", "P clear", "RGBA", "veil", "LA", "16 bit", "16 bit TIFF", "frames"],
)
@pytest.mark.usefixtures("path")
def test_every_mode_becomes_rgb(image, kind, options, colour):
    if "save_all" in options:
        options = options | {"append_images": [Image.new("RGB", (40, 20), RED)]}
    stored = store_image(_file(image, kind, **options), SMALL)
    assert Image.open(io.BytesIO(stored.jpeg)).mode == "RGB"
    assert _corners(stored.jpeg)[0] == colour


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0",  # cut inside its first tag
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0",  # turned by "abc"
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.usefixtures("path")
def test_a_broken_exif_leaves_the_pixels_as_they_are(kind, exif):
    stored = store_image(_file(_two(), kind, exif=exif), SMALL)
    assert (stored.width, stored.height) == (40, 20)
    assert _corners(stored.jpeg) == [RED, BLUE, RED, BLUE]


def _huge(width: int, height: int) -> bytes:
    """A PNG that says it is this large."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    return start + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IDAT" + struct.pack(">I", 0)


def _huge_jpeg(width: int, height: int) -> bytes:
    """A JPEG that says it is this large."""
    return JPEG.replace(struct.pack(">HH", 20, 40), struct.pack(">HH", height, width))


@pytest.mark.parametrize("size", [(9000, 9000), (10_000, 10_000), (60_000, 60_000)])
@pytest.mark.parametrize("file", [_huge, _huge_jpeg])
@pytest.mark.parametrize("policy", [SMALL, KEEP])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(size, file, policy):
    with pytest.raises(ImageError, match=f"^too many pixels: {size[0]}x{size[1]}$"):
        store_image(file(*size), policy)


def test_the_limits_of_pixels_and_bytes(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 800)
    assert store_image(JPEG, SMALL).width == 40
    with pytest.raises(ImageError, match="^too many pixels: 41x20$"):
        store_image(_file(_two(size=(41, 20))), SMALL)
    monkeypatch.setattr(images, "MAX_BYTES", len(JPEG))
    assert store_image(JPEG, SMALL).width == 40
    with pytest.raises(ImageError, match=f"^too many bytes: {len(JPEG) + 1}, over {len(JPEG)}$"):
        store_image(JPEG + b"0", SMALL)


def test_the_same_bytes_whenever_and_by_whatever_policy_says(path):
    assert store_image(JPEG, SMALL) == store_image(JPEG, SMALL)
    better = store_image(JPEG, ImagePolicy(size=32, quality=99))
    assert len(better.jpeg) > len(store_image(JPEG, SMALL).jpeg)
    assert Image.open(io.BytesIO(store_image(JPEG, ImagePolicy()).jpeg)).size == (224, 224)
    fast = {"simplejpeg", "opencv"} if path == "fast" else set()
    assert set(images.codecs()) == {"pillow", "jpeg"} | fast


def test_keep_keeps_the_bytes_of_a_jpeg_and_of_nothing_else():
    assert store_image(JPEG, KEEP) == (JPEG, 40, 20, (40, 20, 1))
    trailed = _file(_two(), exif=_exif(6)) + b"\xff\xd8 what a phone puts behind it"
    assert store_image(trailed, KEEP) == (trailed, 20, 40, (40, 20, 6))
    with pytest.raises(ImageError, match="^not a JPEG: policy keep stores JPEG only, this is PNG$"):
        store_image(_file(_two(), "PNG"), KEEP)


def test_keep_does_not_take_a_thumbnails_end_for_its_own():
    data = _file(_two(), exif=b"Exif\0\0" + bytes(20) + JPEG)
    assert store_image(data, KEEP).jpeg == data
    with pytest.raises(ImageError, match="^truncated or damaged: JPEG: its scan has no end$"):
        store_image(data[:-2], KEEP)


@pytest.mark.parametrize("library", ["simplejpeg", "pillow"])
@pytest.mark.parametrize("size", [(40, 20), (32, 32)])
def test_a_kept_jpeg_is_decoded_upright(monkeypatch, library, size):
    if library == "pillow":
        monkeypatch.setattr(images, "simplejpeg", None)
    kept = store_image(_file(_two(size=size), exif=_exif(6)), KEEP)
    assert (kept.width, kept.height) == size[::-1]
    pixels = np.zeros((32, 32, 3), np.uint8)
    decode_into(kept.jpeg, pixels)
    assert [pixels[y, 16].argmax() for y in (4, 27)] == [0, 2], "red above, blue below"


def test_a_kept_jpeg_in_inks_is_decoded_in_colours():
    kept = store_image(_file(_two(size=(32, 32)).convert("CMYK")), KEEP)
    pixels = np.zeros((32, 32, 3), np.uint8)
    decode_into(kept.jpeg, pixels)
    assert [pixels[16, x].argmax() for x in (4, 27)] == [0, 2], "red left, blue right"


@pytest.mark.parametrize("library", ["simplejpeg", "pillow"])
def test_a_stored_jpeg_decodes_to_pillows_pixels(monkeypatch, library):
    if library == "pillow":
        monkeypatch.setattr(images, "simplejpeg", None)
    noise = np.random.default_rng(1).integers(0, 256, (50, 60, 3), np.uint8)
    jpeg = store_image(_file(Image.fromarray(noise), "PNG"), SMALL).jpeg
    pixels = np.zeros((32, 32, 3), np.uint8)
    decode_into(memoryview(jpeg), pixels)
    expected = np.asarray(Image.open(io.BytesIO(jpeg))).astype(int)
    assert np.abs(expected - pixels).max() <= 2
    again = np.zeros((32, 32, 3), np.uint8)
    decode_stored(memoryview(jpeg), again)
    assert np.array_equal(again, pixels)
    with pytest.raises(ValueError, match=r"it is 32x32, not 40 wide|too small|32x32"):
        decode_stored(memoryview(jpeg), np.zeros((50, 40, 3), np.uint8))


@pytest.mark.parametrize("library", ["simplejpeg and opencv", "simplejpeg", "pillow"])
@pytest.mark.parametrize("size", [(640, 480), (50, 60), (224, 100), (20, 20)])
def test_a_kept_jpeg_of_any_size_is_scaled_as_pillow_scales(monkeypatch, library, size):
    if library == "simplejpeg":
        monkeypatch.setattr(shrink, "_opencv", lambda: None)
    if library == "pillow":
        monkeypatch.setattr(images, "simplejpeg", None)
    across, down = np.meshgrid(np.linspace(0, 3, size[0]), np.linspace(0, 5, size[1]))
    smooth = np.stack([np.sin(across), np.cos(down), np.sin(across + down)], -1) * 120 + 128
    picture = Image.fromarray(smooth.astype(np.uint8))
    kept = store_image(_file(picture, quality=95), KEEP)
    pixels = np.zeros((48, 56, 3), np.uint8)
    decode_into(kept.jpeg, pixels)
    scaled = np.asarray(picture.resize((56, 48), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(scaled - pixels).mean() < 3


def _spoilt(kind: str) -> Iterator[bytes]:
    """A small file of a kind with one to four bytes changed, 300 times over."""
    right = _file(_two(), kind, **({"exif": _exif(6)} if kind != "GIF" else {}))
    random = np.random.default_rng(7)
    for _ in range(300):
        data = np.frombuffer(right, np.uint8).copy()
        at = random.integers(0, len(data), random.integers(1, 5))
        data[at] = random.integers(0, 256, len(at))
        yield data.tobytes()


def _ends(files: Iterable[bytes]) -> Counter[str]:
    ends = Counter[str]()
    for data in files:
        try:
            stored = Image.open(io.BytesIO(store_image(data, SMALL).jpeg))
            ends[f"{stored.mode} {stored.size}"] += 1
        except ImageError:
            ends["refused"] += 1
    return ends


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "GIF", "WEBP", "JPEG"])
def test_whatever_the_bytes_they_are_an_image_or_an_image_error(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ends = _ends(_spoilt(kind))
    assert ends.keys() == {"RGB (32, 32)", "refused"}
    assert ends.total() == 300


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "GIF", "WEBP", "JPEG"])
def test_damage_is_judged_and_not_warned_of(kind):
    assert _ends(_spoilt(kind)).total() == 300
