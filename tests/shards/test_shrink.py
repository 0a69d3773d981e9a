"""The fast path: nothing shifted, nothing coarse from what is fine, no damage let through."""

import hashlib
import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from shards import shrink
from shards.jpeg import header

SIZE = 64
_DIGEST = """
import hashlib, sys
from shards import shrink
from shards.jpeg import header
data = sys.stdin.buffer.read()
print(hashlib.sha256(shrink.encode(shrink.decode(data, header(data), 64), 90)).hexdigest())
"""


def _photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Noise as photographs have it (amplitude falls with frequency), with an edge across it."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    spectrum = np.exp(2j * np.pi * random.random((3, *frequency.shape))) / frequency**1.3
    noise = np.fft.irfft2(spectrum, (height, width))
    pixels = 120 + 40 * noise / noise.std(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[:height, :width]
    pixels[:, 3 * x + y < width] += 60
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _jpeg(image: Image.Image, **options) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=92, **options)
    return sink.getvalue()


def _decode(data: bytes, size: int = SIZE) -> np.ndarray:
    return shrink.decode(data, header(data), size)


def _reference(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.LANCZOS))


# Of 64 pixels: 2, 4 and 8 times and more, odd sides, near the least, smaller, long and grey.
SIZES = [(160, 130), (300, 260), (600, 520), (301, 263), (100, 66), (50, 40), (300, 70), (64, 64)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_pixels_are_those_of_a_full_decode_well_scaled(size, mode):
    data = _jpeg(_photo(*size).convert(mode))
    found, expected = _decode(data), _reference(data)
    assert (found.shape, found.dtype) == ((SIZE, SIZE, 3), np.uint8)
    error = np.mean((found.astype(float) - expected) ** 2)
    assert error < 255**2 / 10**3.5  # over 35 dB


@pytest.mark.parametrize("size", [(160, 130), (600, 520), (301, 263), (1201, 1100), (1031, 527)])
@pytest.mark.parametrize("place", [(0.1, 0.15), (0.9, 0.85)])
def test_nothing_is_shifted(size, place):
    y, x = np.mgrid[: size[1], : size[0]]
    where = [p * side for p, side in zip(place, size, strict=True)]
    spot = (
        250
        * np.exp(-(((x + 0.5 - where[0]) / size[0]) ** 2 * 400))
        * np.exp(-(((y + 0.5 - where[1]) / size[1]) ** 2 * 400))
    )
    found = _decode(_jpeg(Image.fromarray(spot.astype(np.uint8)))).astype(float)[..., 0]
    found[found < 8] = 0  # what the encoder leaves around it
    centre = np.arange(SIZE) + 0.5
    across = (found.sum(axis=0) * centre).sum() / found.sum()
    down = (found.sum(axis=1) * centre).sum() / found.sum()
    assert (across, down) == pytest.approx([p * SIZE for p in place], abs=0.1)


@pytest.mark.parametrize(("side", "left"), [(110, 30), (126, 12), (128, 1), (200, 1), (512, 1)])
def test_stripes_too_fine_to_be_kept_become_grey(side, left):
    stripes = np.zeros((side, side, 3), np.uint8)
    stripes[:, ::2] = 200
    found = _decode(_jpeg(Image.fromarray(stripes), subsampling=0)).astype(float)
    assert found.std() < left  # of 100
    assert found.mean() == pytest.approx(100, abs=2)


@pytest.mark.parametrize("size", [(200, 160), (301, 263)])
def test_the_same_bytes_from_any_thread(size):
    data = _jpeg(_photo(*size))
    expected = shrink.encode(_decode(data), 90)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: shrink.encode(_decode(data), 90), range(40)))
    assert found == {expected}


def test_the_same_bytes_on_a_lesser_processor():
    data = _jpeg(_photo(300, 200))
    expected = hashlib.sha256(shrink.encode(_decode(data), 90)).hexdigest()
    lesser = {"OPENCV_CPU_DISABLE": "AVX512_SKX,AVX2,AVX,FP16,FMA3", "OPENCV_IPP": "sse42"}
    found = subprocess.run(
        [sys.executable, "-c", _DIGEST],
        input=data,
        env={**os.environ, **lesser},
        capture_output=True,
        check=True,
    )
    assert found.stdout.decode().strip() == expected


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_cut_anywhere_is_refused(options):
    data = _jpeg(_photo(200, 160), **options)
    for cut in range(header(data).scan + 30, len(data), 97):
        with pytest.raises(ValueError):
            _decode(data[:cut])
    with pytest.raises(ValueError, match="Premature end"):
        _decode(data[:-2])
    assert _decode(data + b"what cameras put there").any()


def test_more_damage_is_refused_than_pillow_sees():
    data = _jpeg(_photo(200, 160))
    random = np.random.default_rng(5)
    refused = {"shrink": 0, "pillow": 0}
    for at in random.integers(header(data).scan + 14, len(data) - 2, 200):
        damaged = bytearray(data)
        damaged[at] ^= 1 << int(random.integers(8))
        ours = pillow = False
        try:
            _decode(bytes(damaged))
        except ValueError:
            ours = True
        try:
            Image.open(io.BytesIO(damaged)).load()
        except OSError:
            pillow = True
        assert ours or not pillow
        refused = {"shrink": refused["shrink"] + ours, "pillow": refused["pillow"] + pillow}
    assert refused["shrink"] > max(20, refused["pillow"])


def test_what_has_no_named_subsampling_or_four_components_is_not_for_it():
    data = _jpeg(_photo(200, 160), subsampling=2)
    assert shrink.suits(data, header(data))
    at = data.index(b"\xff\xc0") + 11
    assert data[at] == 0x22  # luminance at 2 x 2
    odd = data[:at] + b"\x33" + data[at + 1 :]
    assert not shrink.suits(odd, header(odd))
    inks = _jpeg(_photo(200, 160).convert("CMYK"))
    assert not shrink.suits(inks, header(inks))


def test_codecs_are_named_when_they_are_used(monkeypatch):
    assert shrink.versions().keys() == {"simplejpeg", "opencv"}
    monkeypatch.setattr(shrink, "simplejpeg", None)
    assert not shrink.available()
    assert shrink.versions() == {}
