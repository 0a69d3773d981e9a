"""Any image file -> the JPEG that a shard stores, and back into a batch.

The policy `squash` decodes fully, applies EXIF orientation, converts to RGB, scales to size x size
without cropping (boxes are fractions of the whole image) and encodes JPEG. `keep` copies the bytes
of a JPEG that decodes. What a decoder cannot read whole is refused with the reason, never patched.
"""

import contextlib
import io
import struct
import warnings
from collections.abc import Iterator
from threading import Lock
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

try:
    import simplejpeg
except ImportError:  # twice Pillow's speed where it is installed; the pixels are the same library's
    simplejpeg = None

MAX_PIXELS = 80_000_000
_FILTERS = Lock()
# What Pillow raises on files that are not what they say they are, in pixels or in metadata.
_BROKEN = (OSError, ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, EOFError)
_BROKEN += (AttributeError, MemoryError, struct.error, Image.DecompressionBombError)
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")


class ImageError(ValueError):
    """Bytes that are no image, or not a whole one."""


class ImagePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How images are stored: `squash` to `size` x `size` at JPEG `quality`, or `keep` the bytes."""

    policy: Literal["squash", "keep"] = "squash"
    size: Annotated[int, msgspec.Meta(ge=8, le=4096)] = 224
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 90


class Stored(NamedTuple):
    """A JPEG to be stored, and the width and height of the oriented source image."""

    jpeg: bytes
    width: int
    height: int


def codecs() -> dict[str, str]:
    """The libraries whose versions decide the bytes that `store_image` returns."""
    import PIL

    return {"pillow": PIL.__version__, "jpeg": str(features.version("jpg"))}


def store_image(data: bytes, policy: ImagePolicy) -> Stored:
    """Decode `data` whole and encode it by `policy`. Raises ImageError with a reason to file."""
    image = _open(data)
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{image.width}x{image.height} is over {MAX_PIXELS:,} pixels")
    kind = image.format
    try:
        # Only TIFF reads its metadata, and warns of it, while it decodes; others run side by side.
        with _quiet() if kind == "TIFF" else contextlib.nullcontext():
            image.load()
        image = _upright(image)
        width, height = image.size
        if policy.policy == "keep":
            if kind not in ("JPEG", "MPO"):  # MPO: a phone's JPEG with a preview behind it
                raise ImageError(f"policy keep stores JPEG only; this is {kind}")
            return Stored(data, width, height)
        size = (policy.size, policy.size)
        small = _rgb(image).resize(size, Image.Resampling.BICUBIC, reducing_gap=3)
    except ImageError:
        raise
    except _BROKEN as error:
        raise ImageError(f"truncated or damaged {kind}: {error}") from error
    return Stored(encode(small, policy.quality), width, height)


def encode(image: Image.Image, quality: int) -> bytes:
    """An RGB image as JPEG without metadata."""
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality, comment=b"")  # Pillow would copy the source's
    return sink.getvalue()


def decode_into(jpeg: bytes | memoryview, pixels: np.ndarray) -> None:
    """Decode a stored JPEG upright into `pixels`, uint8 [H, W, 3], scaled if it is of another size.

    Only a kept file can need turning: its EXIF block is where a JPEG begins.
    """
    height, width, _ = pixels.shape
    plain, size = b"Exif" not in bytes(jpeg[:64]), (height, width)
    if simplejpeg is not None and plain and simplejpeg.decode_jpeg_header(jpeg)[:2] == size:
        simplejpeg.decode_jpeg(jpeg, "RGB", buffer=pixels)
        return
    image = _upright(Image.open(io.BytesIO(jpeg))).convert("RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels[...] = np.asarray(image)


def _open(data: bytes) -> Image.Image:
    if not data:
        raise ImageError("0 bytes")
    try:
        with _quiet():
            return Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise ImageError(f"not an image: it begins with {data[:16]!r}") from None
    except _BROKEN as error:
        raise ImageError(f"unreadable image: {error}") from error


def _upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation says, or as it is where that block is broken."""
    with _quiet(), contextlib.suppress(*_BROKEN):
        ImageOps.exif_transpose(image, in_place=True)
    return image


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings of many pixels or odd metadata: here both are judged, not told.

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
