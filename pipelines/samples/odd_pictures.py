"""Files that are called .jpg: of other formats, in rare modes, damaged, or no picture at all.

Each function draws a scene and returns the bytes of such a file; some need no scene.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageCms

from pipelines.samples.files import encoded
from pipelines.samples.pictures import Scene, paint

Draw = Callable[[Scene, random.Random], bytes]

HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body></body></html>\n"
PLACEHOLDER = (  # the 43 bytes that web servers send in place of a picture: a GIF of one pixel
    b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\4\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
)
LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b\n"
    b"size 163841\n"
)
ORIENTATION = 0x0112


def as_gif(scene: Scene, rng: random.Random) -> bytes:
    return encoded(paint(scene, rng).quantize(128), "GIF")


def as_png(scene: Scene, rng: random.Random) -> bytes:
    return encoded(paint(scene, rng), "PNG")


def as_webp(scene: Scene, rng: random.Random) -> bytes:
    return encoded(paint(scene, rng), "WEBP", quality=85)


def as_bmp(scene: Scene, rng: random.Random) -> bytes:
    return encoded(paint(scene, rng), "BMP")


def animated(scene: Scene, rng: random.Random) -> bytes:
    """The scene, then a black frame."""
    first = paint(scene, rng).quantize(128)
    black = Image.new("P", first.size)
    return encoded(first, "GIF", save_all=True, append_images=[black], duration=100, loop=0)


def grey(scene: Scene, rng: random.Random) -> bytes:
    return encoded(paint(scene, rng).convert("L"))


def grey_alpha(scene: Scene, rng: random.Random) -> bytes:
    """Grey, fading out to the right."""
    picture = paint(scene, rng).convert("L")
    shades = [128 + v // 2 for v in range(256)]
    fade = Image.linear_gradient("L").rotate(90).resize(picture.size).point(shades)
    return encoded(Image.merge("LA", (picture, fade)), "PNG")


def palette_transparent(scene: Scene, rng: random.Random) -> bytes:
    """A palette, one colour of which (that of a corner) is transparent."""
    picture = paint(scene, rng).quantize(64)
    return encoded(picture, "PNG", transparency=picture.getpixel((0, 0)))


def sixteen_bit(scene: Scene, rng: random.Random) -> bytes:
    pixels = np.asarray(paint(scene, rng).convert("L")).astype(np.uint16) * 257
    return encoded(Image.fromarray(pixels), "PNG")


def cmyk(scene: Scene, rng: random.Random) -> bytes:
    return encoded(paint(scene, rng).convert("CMYK"))


def ycck(scene: Scene, rng: random.Random) -> bytes:
    """CMYK as Adobe's programs write it: inverted, its first three inks as YCbCr (transform 2).

    Pillow writes inks as they are (transform 0) and inverts them: it is handed the luminance and
    chroma of the inks, inverted, and the transform is corrected in the Adobe segment.
    """
    cyan, magenta, yellow, black = paint(scene, rng).convert("CMYK").split()
    light, blue, red = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    planes = (*(ImageChops.invert(plane) for plane in (light, blue, red)), black)
    data = encoded(Image.merge("CMYK", planes))
    at = data.index(b"Adobe") + 11
    return data[:at] + b"\2" + data[at + 1 :]


def turned(scene: Scene, rng: random.Random) -> bytes:
    """Stored lying on its left side; EXIF orientation 6 says how to put it upright."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return encoded(paint(scene, rng).transpose(Image.Transpose.ROTATE_90), exif=exif.tobytes())


def broken_exif(scene: Scene, rng: random.Random) -> bytes:
    """Pillow's getexif raises SyntaxError: the EXIF segment holds no TIFF header."""
    return encoded(paint(scene, rng), exif=b"Exif\0\0garbage!", dpi=(72, 72))


def broken_xmp(scene: Scene, rng: random.Random) -> bytes:
    """An XMP packet that is not UTF-8, and gives an orientation that does not exist."""
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">\xff\xfe tiff:Orientation="9"</x:xmpmeta>'
    return encoded(paint(scene, rng), xmp=packet)


def profiled(scene: Scene, rng: random.Random) -> bytes:
    """With an sRGB profile, whose date is left out: it would be today's."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return encoded(paint(scene, rng), icc_profile=profile[:24] + bytes(12) + profile[36:])


def truncated(scene: Scene, rng: random.Random) -> bytes:
    data = encoded(paint(scene, rng))
    return data[: len(data) * 6 // 10]


def thin(scene: Scene, rng: random.Random) -> bytes:
    """One pixel wide."""
    return encoded(paint(scene, rng).resize((1, scene.height)))


def long(scene: Scene, rng: random.Random) -> bytes:
    """A hundred times as wide as high."""
    return encoded(paint(scene, rng).resize((1600, 16)))


def bomb(scene: Scene, rng: random.Random) -> bytes:
    """A PNG of under 100 bytes that says it has 60,000 x 60,000 pixels."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)),
              (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b""))  # fmt: skip
    sink = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    sink.seek(0, io.SEEK_END)
    for name, content in chunks:
        crc = zlib.crc32(name + content)
        sink.write(struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc))
    return sink.getvalue()


def html(scene: Scene, rng: random.Random) -> bytes:
    return HTML


def placeholder(scene: Scene, rng: random.Random) -> bytes:
    return PLACEHOLDER


def empty(scene: Scene, rng: random.Random) -> bytes:
    return b""


def lfs_pointer(scene: Scene, rng: random.Random) -> bytes:
    return LFS_POINTER
