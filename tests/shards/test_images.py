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

from shards import images
from shards.images import ImageError, ImagePolicy, decode_into, store_image

SMALL = ImagePolicy(size=32)
RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture(autouse=True)
def _no_warnings():
    """A million odd files must not print a million warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


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
def test_content_decides_and_no_name(kind):
    stored = store_image(_file(_two(), kind), SMALL)
    assert (stored.width, stored.height) == (40, 20)
    image = Image.open(io.BytesIO(stored.jpeg))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 32))
    assert _corners(stored.jpeg) == [RED, BLUE, RED, BLUE], "scaled, not cropped"


def test_what_is_stored_has_no_metadata():
    exif = _exif(1)
    exif[0x010F] = "Camera"
    stored = store_image(_file(_two(), exif=exif, comment=b"hello"), SMALL)
    assert dict(Image.open(io.BytesIO(stored.jpeg)).getexif()) == {}
    assert stored.jpeg == store_image(_file(_two()), SMALL).jpeg


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (b"<html><body>404 Not Found</body>", "not an image: it begins with b'<html><body>404 '"),
        (b"\0" * 100, "not an image"),
        (JPEG[:2], "not an image"),
        (JPEG[: len(JPEG) // 2], "unreadable image: Truncated File Read"),
        (JPEG[:-2], "truncated or damaged JPEG"),
        (_file(_two(), "PNG")[:-40], "truncated or damaged PNG"),
        (_file(_two(), "GIF")[:-40], "truncated or damaged GIF"),
        (_file(_two(), "WEBP")[:-10], "not an image|unreadable|truncated or damaged WEBP"),
    ],
)
@pytest.mark.parametrize("policy", ["squash", "keep"])
def test_what_is_not_whole_is_refused_with_a_reason(data, reason, policy):
    with pytest.raises(ImageError, match=reason):
        store_image(data, ImagePolicy(policy=policy))


def test_a_jpeg_cut_anywhere_is_refused():
    for cut in range(0, len(JPEG) - 1, 7):
        with pytest.raises(ImageError):
            store_image(JPEG[:cut], SMALL)


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
def test_every_mode_becomes_rgb(image, kind, options, colour):
    if "save_all" in options:
        options = options | {"append_images": [Image.new("RGB", (40, 20), RED)]}
    stored = store_image(_file(image, kind, **options), SMALL)
    assert Image.open(io.BytesIO(stored.jpeg)).mode == "RGB"
    assert _corners(stored.jpeg)[0] == colour


@pytest.mark.parametrize(
    ("orientation", "size", "corners"),
    [
        (1, (40, 20), [RED, BLUE, RED, BLUE]),
        (2, (40, 20), [BLUE, RED, BLUE, RED]),
        (3, (40, 20), [BLUE, RED, BLUE, RED]),
        (6, (20, 40), [RED, RED, BLUE, BLUE]),  # what was left is now above
        (8, (20, 40), [BLUE, BLUE, RED, RED]),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(kind, orientation, size, corners):
    stored = store_image(_file(_two(), kind, exif=_exif(orientation)), SMALL)
    assert (stored.width, stored.height) == size
    assert _corners(stored.jpeg) == corners


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0",  # cut inside its first tag
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0",  # turned by "abc"
    ],
)
def test_a_broken_exif_leaves_the_pixels_as_they_are(exif):
    stored = store_image(_file(_two(), exif=exif), SMALL)
    assert (stored.width, stored.height) == (40, 20)
    assert _corners(stored.jpeg) == [RED, BLUE, RED, BLUE]


def _huge(width: int, height: int) -> bytes:
    """A PNG that says it is this large."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    return start + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IDAT" + struct.pack(">I", 0)


@pytest.mark.parametrize("size", [(9000, 9000), (10_000, 10_000), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(size):
    with pytest.raises(ImageError, match=r"pixels|decompression bomb"):
        store_image(_huge(*size), SMALL)


def test_the_limit_of_pixels(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 800)
    assert store_image(JPEG, SMALL).width == 40
    with pytest.raises(ImageError, match="41x20 is over 800 pixels"):
        store_image(_file(_two(size=(41, 20))), SMALL)


def test_the_same_bytes_whenever_and_by_whatever_policy_says():
    assert store_image(JPEG, SMALL) == store_image(JPEG, SMALL)
    better = store_image(JPEG, ImagePolicy(size=32, quality=99))
    assert len(better.jpeg) > len(store_image(JPEG, SMALL).jpeg)
    assert Image.open(io.BytesIO(store_image(JPEG, ImagePolicy()).jpeg)).size == (224, 224)
    assert set(images.codecs()) == {"pillow", "jpeg"}


def test_keep_keeps_the_bytes_of_a_jpeg_and_of_nothing_else():
    keep = ImagePolicy(policy="keep")
    assert store_image(JPEG, keep) == (JPEG, 40, 20)
    with pytest.raises(ImageError, match="policy keep stores JPEG only; this is PNG"):
        store_image(_file(_two(), "PNG"), keep)


@pytest.mark.parametrize("library", ["simplejpeg", "pillow"])
@pytest.mark.parametrize("size", [(40, 20), (32, 32)])
def test_a_kept_jpeg_is_decoded_upright(monkeypatch, library, size):
    if library == "pillow":
        monkeypatch.setattr(images, "simplejpeg", None)
    kept = store_image(_file(_two(size=size), exif=_exif(6)), ImagePolicy(policy="keep"))
    assert (kept.width, kept.height) == size[::-1]
    pixels = np.zeros((32, 32, 3), np.uint8)
    decode_into(kept.jpeg, pixels)
    assert [pixels[y, 16].argmax() for y in (4, 27)] == [0, 2], "red above, blue below"


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
    other = np.zeros((16, 24, 3), np.uint8)
    decode_into(jpeg, other)
    scaled = Image.open(io.BytesIO(jpeg)).resize((24, 16), Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(scaled).astype(int) - other).max() <= 2


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
