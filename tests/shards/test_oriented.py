"""Pictures and boxes turn together, whichever way EXIF says that the camera was held."""

import io

import numpy as np
import pytest
from PIL import Image

from shards import shrink
from shards.images import ImageError, ImagePolicy, oriented, store_image

TURNS = {  # EXIF orientation -> what Pillow does to the stored picture
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _four() -> Image.Image:
    """Four quarters: red, blue above green, white."""
    picture = Image.new("RGB", (80, 40), (255, 0, 0))
    picture.paste((0, 0, 255), (40, 0, 80, 20))
    picture.paste((0, 255, 0), (0, 20, 40, 40))
    picture.paste((255, 255, 255), (40, 20, 80, 40))
    return picture


def _file(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def _corners(data: bytes) -> list[tuple[int, ...]]:
    """Top left, top right, bottom left, bottom right, in steps of 85."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    places = [(x, y) for y in (4, image.height - 5) for x in (4, image.width - 5)]
    pixels = np.asarray(image)
    return [tuple(int(round(c / 85) * 85) for c in pixels[y, x]) for x, y in places]


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("path", ["fast", "pillow"])
def test_exif_orientation_is_applied(monkeypatch, path, kind, orientation):
    if path == "pillow":
        monkeypatch.setattr(shrink, "simplejpeg", None)
    picture = _four()
    turn = TURNS[orientation]
    upright = picture if turn is None else picture.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = store_image(_file(picture, kind, exif=exif), ImagePolicy(size=32))
    assert (stored.width, stored.height) == upright.size
    assert stored.raw == (80, 40, orientation)
    assert _corners(stored.jpeg) == _corners(_file(upright, "PNG"))


@pytest.mark.parametrize("orientation", TURNS)
def test_boxes_turn_with_their_picture(orientation):
    """A box is drawn, the picture turned, and the box found again in the turned picture."""
    picture, box = Image.new("L", (80, 40)), (10, 4, 30, 14)
    picture.paste(255, box)
    turn = TURNS[orientation]
    upright = picture if turn is None else picture.transpose(turn)
    found = upright.getbbox()
    assert found is not None
    expected = [side / whole for side, whole in zip(found, upright.size * 2, strict=True)]
    assert oriented(box, 80, 40, orientation) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((-5, -5, 90, 50), (0, 0, 1, 1)),
        ((40, 10, 200, 30), (0.5, 0.25, 1, 0.75)),
        ((79, 39, 80, 40), (79 / 80, 39 / 40, 1, 1)),
        ((80, 10, 100, 30), None),
        ((-20, 10, 0.5, 30), None),
        ((10, 39.5, 30, 60), None),
        ((30, 10, 10, 30), None),
        ((float("nan"), 10, 10, 30), None),
    ],
)
def test_boxes_are_clipped_and_refused_outside(box, expected):
    if expected:
        assert oriented(box, 80, 40, 1) == expected
    else:
        with pytest.raises(ImageError, match=r"^box is outside of the image: \[.*\] of 80x40$"):
            oriented(box, 80, 40, 1)
