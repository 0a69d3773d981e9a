"""Any image file -> the JPEG that a shard stores, and back into a batch.

The policy `squash` decodes wholly, scales to size x size without cropping (boxes are fractions of
the whole image), applies EXIF orientation and encodes RGB as JPEG. `keep` copies the bytes of a
JPEG whose header is sound and whose scan ends; its pixels are not decoded before training does.

- What a file is, its content says, never its name: JPEG, PNG, GIF, WebP, BMP or TIFF.
- What is too large (MAX_BYTES, MAX_PIXELS), too small (a side under MIN_SIDE: a placeholder) or too
  long (sides over MAX_ASPECT : 1) is refused by its header. Of an animation, however many frames it
  has, only the first is read.
- CMYK, YCCK and palettes become RGB, of 16 bits the upper 8 stay, transparency lies on white.
- What is broken in EXIF, XMP or ICC is passed over; colour profiles are not applied.
- What a decoder cannot read whole is refused, never patched: "<reason>: <detail>", the reason
  without numbers, so that it can be counted.

JPEGs, grey or colour, take the fast path of `shrink.py`; on a machine without simplejpeg and OpenCV
Pillow does all, from full decodes. Their bytes differ, so `codecs` names what is used.
"""

import contextlib
import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from threading import Lock, local
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
from PIL import Image, UnidentifiedImageError, features

from shards import jpeg, shrink

try:
    import simplejpeg
except ImportError:  # twice Pillow's speed where it is installed; the pixels are the same library's
    simplejpeg = None

MAX_BYTES = 100_000_000
MAX_PIXELS = 80_000_000
MIN_SIDE = 8
MAX_ASPECT = 50

Image.MAX_IMAGE_PIXELS = None  # judged here, by MAX_PIXELS, with the size in the message
_FILTERS = Lock()
_scratch = local()  # of each thread that decodes
# What Pillow raises on files that are not what they say they are, in pixels or in metadata.
_BROKEN = (OSError, ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, EOFError)
_BROKEN += (AttributeError, MemoryError, struct.error)
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
_EXIF_ORIENTATION, _TIFF_WIDTH, _TIFF_HEIGHT = 0x0112, 256, 257
# EXIF orientation -> what turns the stored picture upright: mirror x, mirror y, then swap x and y.
_TURNS = {
    1: (False, False, False),
    2: (True, False, False),
    3: (True, True, False),
    4: (False, True, False),
    5: (False, False, True),
    6: (False, True, True),
    7: (True, True, True),
    8: (True, False, True),
}


class ImageError(ValueError):
    """Bytes that are no image, or not a whole one. The message is "<reason>: <detail>"."""


class ImagePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How images are stored: `squash` to `size` x `size` at JPEG `quality`, or `keep` the bytes."""

    policy: Literal["squash", "keep"] = "squash"
    size: Annotated[int, msgspec.Meta(ge=8, le=4096)] = 224
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 90


class Stored(NamedTuple):
    """A JPEG to be stored, and what it was made from: the size of the upright image, and how the
    file holds it: width, height, EXIF orientation (1-8)."""

    jpeg: bytes
    width: int
    height: int
    raw: tuple[int, int, int]


def codecs() -> dict[str, str]:
    """The libraries whose versions decide the bytes that `store_image` returns."""
    import PIL

    return {
        "pillow": PIL.__version__,
        "jpeg": str(features.version("jpg")),
        **shrink.versions(),
    }


def store_image(data: bytes, policy: ImagePolicy) -> Stored:
    """Store the image in a file's bytes by `policy`. Raises ImageError with a reason to file."""
    if not data:
        raise ImageError("empty file")
    if len(data) > MAX_BYTES:
        raise ImageError(f"too many bytes: {len(data):,}, over {MAX_BYTES:,}")
    if not data.startswith(jpeg.START):
        return _store_other(data, policy)
    try:
        head = jpeg.header(data)
    except jpeg.JpegError as error:
        raise ImageError(f"truncated or damaged: JPEG: {error}") from error
    raw = (head.width, head.height, head.orientation)
    _check_sides(head.width, head.height)
    if policy.policy == "keep":
        # Cameras put more behind the end; a thumbnail's end lies before the scan.
        if data.rfind(jpeg.END, head.scan) < 0:
            raise ImageError("truncated or damaged: JPEG: its scan has no end")
        return Stored(data, *_upright(*raw), raw)
    if shrink.suits(data, head):
        try:
            small = shrink.decode(data, head, policy.size)
        except ValueError as error:
            raise ImageError(f"truncated or damaged: JPEG: {error}") from error
        stored = shrink.encode(_turned(small, head.orientation), policy.quality)
    else:
        small = np.asarray(_small(_open(data), policy.size))
        small = Image.fromarray(_turned(small, head.orientation))
        stored = encode(small, policy.quality)
    return Stored(stored, *_upright(*raw), raw)


def oriented(
    box: Sequence[float], width: int, height: int, orientation: int
) -> tuple[float, float, float, float]:
    """A box in pixels of the file's own grid -> 0..1 of the upright image, clipped to it.

    Raises ImageError if less than a pixel of it is inside.
    """
    x0, y0, x1, y1 = box
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)
    if not (x1 - x0 >= 1 and y1 - y0 >= 1):  # nor is NaN
        raise ImageError(f"box is outside of the image: {list(box)} of {width}x{height}")
    x0, x1, y0, y1 = x0 / width, x1 / width, y0 / height, y1 / height
    mirror_x, mirror_y, swap = _TURNS[orientation]
    if mirror_x:
        x0, x1 = 1 - x1, 1 - x0
    if mirror_y:
        y0, y1 = 1 - y1, 1 - y0
    return (y0, x0, y1, x1) if swap else (x0, y0, x1, y1)


def encode(image: Image.Image, quality: int) -> bytes:
    """An RGB image as JPEG without metadata."""
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality, comment=b"")  # Pillow would copy the source's
    return sink.getvalue()


def decode_stored(data: memoryview, pixels: np.ndarray) -> None:
    """Decode a JPEG that policy `squash` stored into `pixels`, uint8 [H, W, 3] of its size.

    Raises ValueError if it is of another size, ValueError or OSError if it cannot be decoded.
    """
    if simplejpeg is None:
        found = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    else:
        found = simplejpeg.decode_jpeg(data, "RGB", buffer=pixels)
    if found.shape != pixels.shape:
        raise ValueError(f"it is {found.shape[1]}x{found.shape[0]}, not {pixels.shape[1]} wide")
    if simplejpeg is None:
        pixels[...] = found


def decode_into(data: bytes | memoryview, pixels: np.ndarray) -> None:
    """Decode a stored JPEG upright into `pixels`, uint8 [H, W, 3], scaled if it is of another size.

    Raises ValueError or OSError for one that was kept and is damaged.
    """
    height, width, _ = pixels.shape
    head = jpeg.header(data)
    if simplejpeg is None or head.components not in (1, 3):
        upright = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    elif head.orientation == 1 and (head.width, head.height) == (width, height):
        simplejpeg.decode_jpeg(data, "RGB", buffer=pixels)
        return
    else:
        upright = _decode_scaled(data, head, width, height)
    upright = _turned(upright, head.orientation)
    if upright.shape == pixels.shape:
        pixels[...] = upright
    else:
        shrink.scale_into(upright, pixels)


def _decode_scaled(
    data: bytes | memoryview, head: jpeg.Header, width: int, height: int
) -> np.ndarray:
    """RGB [h, w, 3], no smaller than asked unless the JPEG is; valid until this thread's next call.

    libjpeg-turbo scales by eighths while it decodes, which saves most of the work. Into memory that
    is used again, which saves a fifth of the rest.
    """
    assert simplejpeg is not None
    eighths = max(-(-8 * width // head.width), -(-8 * height // head.height))
    across, down = (-(-side * min(eighths, 8) // 8) for side in (head.width, head.height))
    memory = getattr(_scratch, "memory", None)
    if memory is None or len(memory) < 3 * across * down:
        memory = _scratch.memory = np.empty(3 * across * down, np.uint8)
    return simplejpeg.decode_jpeg(data, "RGB", min_width=width, min_height=height, buffer=memory)


def _store_other(data: bytes, policy: ImagePolicy) -> Stored:
    """`store_image` for all that is no JPEG."""
    image = _open(data)
    _check_sides(*image.size)
    kind = image.format
    if policy.policy == "keep":
        raise ImageError(f"not a JPEG: policy keep stores JPEG only, this is {kind}")
    if kind == "TIFF":  # which Pillow turns upright while it decodes
        tags = image.tag_v2  # type: ignore[attr-defined]
        raw = (tags[_TIFF_WIDTH], tags[_TIFF_HEIGHT], _valid(tags.get(_EXIF_ORIENTATION)))
        small = np.asarray(_small(image, policy.size))
    else:
        small = np.asarray(_small(image, policy.size))
        raw = (*image.size, _orientation(image))
        small = _turned(small, raw[2])
    return Stored(encode(Image.fromarray(small), policy.quality), *_upright(*raw), raw)


def _open(data: bytes) -> Image.Image:
    try:
        with _quiet():
            return Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise ImageError(f"not an image: {_what(data)}") from None
    except _BROKEN as error:
        raise ImageError(f"unreadable image: {error}") from error


def _what(data: bytes) -> str:
    """What a file is that is no image, for those files that corpora have in their place."""
    if data.startswith(b"version https://git-lfs"):
        return "a git-lfs pointer; run: git lfs pull"
    if data[:256].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return f"a page of text, as a server sends when the picture is gone: {data[:24]!r}"
    return f"it begins with {data[:16]!r}"


def _check_sides(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"too many pixels: {width}x{height}")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"too small: {width}x{height}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"too long: {width}x{height}")


def _small(image: Image.Image, size: int) -> Image.Image:
    """RGB, size x size, from a full decode of an image's first frame."""
    kind = image.format
    try:
        # Only TIFF reads its metadata, and warns of it, while it decodes; others run side by side.
        with _quiet() if kind == "TIFF" else contextlib.nullcontext():
            image.load()
        return _rgb(image).resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3)
    except _BROKEN as error:
        raise ImageError(f"truncated or damaged: {kind}: {error}") from error


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation of a decoded image, 1 where that block is broken."""
    with _quiet(), contextlib.suppress(*_BROKEN):
        return _valid(image.getexif().get(_EXIF_ORIENTATION))
    return 1


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and orientation in _TURNS else 1


def _upright(width: int, height: int, orientation: int) -> tuple[int, int]:
    """The size of an image once it is turned."""
    return (height, width) if _TURNS[orientation][2] else (width, height)


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The upright image of stored pixels [H, W, 3]."""
    if orientation == 1:
        return pixels
    mirror_x, mirror_y, swap = _TURNS[orientation]
    pixels = pixels[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
    return np.ascontiguousarray(pixels.swapaxes(0, 1) if swap else pixels)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings of odd metadata: here it is judged, not told.

    One thread at a time, because warning filters are the whole process's.
    """
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _rgb(image: Image.Image) -> Image.Image:
    """RGB; transparency lies on white, 16-bit greys keep their upper 8 bits."""
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")
