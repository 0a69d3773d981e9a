"""A JPEG decoded at a smaller size: quick, exact in place, and the same bytes on every processor.

libjpeg-turbo scales by 1/2, 1/4 or 1/8 while it decodes, which costs less than a full decode; a
blur and a cubic kernel of OpenCV do what is left. Needs simplejpeg and OpenCV.
"""

import functools
from typing import Any

import numpy as np
from PIL import Image

from shards.jpeg import Header

try:
    import simplejpeg
except ImportError:
    simplejpeg: Any = None


@functools.cache
def _opencv() -> Any:
    """OpenCV, or None if it is not installed.

    Imported when the first picture is stored, because training stores none. Packing runs threads of
    its own, so OpenCV's would only be in their way; that setting is the whole process's.
    """
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    return cv2


def available() -> bool:
    """Whether simplejpeg and OpenCV are installed."""
    return simplejpeg is not None and _opencv() is not None


def suits(data: bytes, header: Header) -> bool:
    """Whether a JPEG is one that `decode` can be asked for: grey or colour, and of a subsampling
    that libjpeg-turbo has a name for."""
    if not available() or header.components not in (1, 3):
        return False
    try:
        simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return False
    return True


def versions() -> dict[str, str]:
    """The libraries whose versions decide the bytes, as far as they are used; {} if they are not.

    simplejpeg's version stands for that of the libjpeg-turbo inside it.
    """
    if not available():
        return {}
    return {"simplejpeg": simplejpeg.__version__, "opencv": _opencv().__version__}


def decode(data: bytes, header: Header, size: int) -> np.ndarray:
    """A JPEG that `suits` as RGB [size, size, 3], uint8, as its file holds it (not turned).

    Raises ValueError for whatever libjpeg would warn of: bytes missing, left over or impossible.
    """
    factor = 1
    while factor < 8 and min(header.width, header.height) >= 2 * factor * size:
        factor *= 2
    whole = {"min_width": -(-header.width // factor), "min_height": -(-header.height // factor)}
    pixels = simplejpeg.decode_jpeg(data, "RGB", **whole)
    if header.width % factor == header.height % factor == 0:
        return _resampled(pixels, size)
    # The last row or column stands for less than a pixel, and only Pillow can take a part of one.
    box = (0, 0, header.width / factor, header.height / factor)
    return np.asarray(
        Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC, box=box)
    )


def scale_into(picture: np.ndarray, pixels: np.ndarray) -> None:
    """Scale RGB uint8 [h, w, 3] to the size of `pixels`, uint8 [H, W, 3], and put it there.

    For pictures that a scaled decode has brought near their size: quick, and not for storing.
    """
    height, width, _ = pixels.shape
    opencv = _opencv()
    if opencv is not None:
        opencv.resize(picture, (width, height), pixels, interpolation=opencv.INTER_LINEAR)
        return
    scaled = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    pixels[...] = np.asarray(scaled)


def encode(pixels: np.ndarray, quality: int) -> bytes:
    """RGB pixels as JPEG with colours at half resolution, as Pillow encodes."""
    return simplejpeg.encode_jpeg(pixels, quality, "RGB", "420")


def _resampled(pixels: np.ndarray, size: int) -> np.ndarray:
    """Scaled to size x size: blurred as far as it shrinks, so that stripes too fine for the result
    do not come out as coarse ones, then cubic."""
    opencv = _opencv()
    opencv.ipp.setUseIPP(False)  # Intel's code differs by processor; each thread has its own switch
    down, across = (_blur(side / size) for side in pixels.shape[:2])
    # What is further away weighs under 1/500, which 8 bits do not show; OpenCV would take it, too.
    kernel = (2 * int(3.5 * across) + 1, 2 * int(3.5 * down) + 1)
    blurred = opencv.GaussianBlur(pixels, kernel, sigmaX=across, sigmaY=down)
    return opencv.resize(blurred, (size, size), interpolation=opencv.INTER_CUBIC)


def _blur(ratio: float) -> float:
    """The deviation, in pixels, of the blur before one axis shrinks by `ratio`.

    Where it shrinks much, what a triangle over the result's pixels has more than one over the
    source's; little, somewhat more, because the cubic kernel alone then lets most pass.
    """
    return max((ratio - 1) * max(3, ratio + 1) / 6, 1e-6) ** 0.5
