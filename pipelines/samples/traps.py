"""What goes wrong in real files, each thing once and by name, and what is to become of it.

`python -m pipelines samples --traps` lays all of them into the tree and lists them in `traps.json`:
name, corpus, what, fate, reason, ids, image. A fate is "survives" (its annotations are in shards),
"quarantined" (`reason` begins their error), "duplicate", "held back", or "ignored" (a file that is
not read). `ids` are the corpus's own; a reader's have more before or behind, set off by "/" or "-".
`image` is a path below the tree: locators are `file:` and that, and keys have its name. What has no
id is named by its place in its file.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from pipelines.samples import odd_entries as entries
from pipelines.samples import odd_pictures as pictures
from pipelines.samples.files import put_json
from pipelines.samples.leftovers import APPLE_DOUBLE
from pipelines.samples.odd_entries import Laid
from pipelines.samples.tree import Tree

Fate = Literal["survives", "quarantined", "duplicate", "held back", "ignored"]
OFFICIAL, ON_DISK = "official", "as on disk"


class Trap(NamedTuple):
    """A trap and its expected fate; `layout` says where it can occur if not in both."""

    name: str
    corpus: str
    what: str
    fate: Fate
    reason: str
    lay: Callable[[Tree], Laid]
    layout: str | None = None


def _file(name: str, what: str, reason: str, draw: pictures.Draw) -> Trap:
    """A picture's file in COCO; it survives if there is no reason why not."""
    fate = "quarantined" if reason else "survives"
    return Trap(name, "coco", what, fate, reason, partial(entries.drawn, draw=draw))


def _said(name: str, what: str, *forms: str, fate: Fate = "survives", reason: str = "") -> Trap:
    """Captions of one picture in COCO."""
    return Trap(name, "coco", what, fate, reason, lambda tree: entries.captions(tree, *forms))


_DAMAGED, _NO_IMAGE, _SMALL = "truncated or damaged", "not an image", "too small"
_MALFORMED, _MISSING, _UNSAFE = "malformed annotation", "image is missing", "unsafe path"
_FINE: Fate = "survives"
_OUT: Fate = "quarantined"
_E, _P = entries, pictures

# fmt: off
FILES = (
    _file("gif-called-jpg", "a GIF under a JPEG's name", "", _P.as_gif),
    _file("png-called-jpg", "a PNG under a JPEG's name", "", _P.as_png),
    _file("webp-called-jpg", "a WebP under a JPEG's name", "", _P.as_webp),
    _file("bmp-called-jpg", "a BMP under a JPEG's name", "", _P.as_bmp),
    _file("animated-gif", "a GIF of two frames, the second black; the first counts", "",
          _P.animated),
    _file("grey-jpeg", "a JPEG of one component", "", _P.grey),
    _file("grey-alpha-png", "a PNG of grey and alpha", "", _P.grey_alpha),
    _file("palette-transparency", "a PNG with a palette, one colour transparent", "",
          _P.palette_transparent),
    _file("sixteen-bit-png", "a PNG of 16-bit grey", "", _P.sixteen_bit),
    _file("cmyk-jpeg", "a JPEG of four inks", "", _P.cmyk),
    _file("ycck-jpeg", "a JPEG of four inks, inverted and with chroma, as Adobe writes it", "",
          _P.ycck),
    _file("icc-profile", "a JPEG with a colour profile", "", _P.profiled),
    _file("exif-turned", "a JPEG that EXIF orientation 6 turns upright", "", _P.turned),
    _file("exif-broken", "an EXIF segment that makes getexif raise", "", _P.broken_exif),
    _file("xmp-broken", "an XMP packet that is not UTF-8, with an orientation of 9", "",
          _P.broken_xmp),
    _file("html-called-jpg", "a web server's error page", _NO_IMAGE, _P.html),
    _file("lfs-pointer", "a git-LFS pointer in place of the file", _NO_IMAGE, _P.lfs_pointer),
    _file("empty-file", "a file of no bytes", "empty file", _P.empty),
    _file("placeholder-gif", "the 43-byte GIF of one pixel", _SMALL, _P.placeholder),
    _file("one-pixel-wide", "a JPEG of one column", _SMALL, _P.thin),
    _file("hundred-times-wide", "a JPEG a hundred times as wide as high", "too long", _P.long),
    _file("truncated-jpeg", "the first 60 % of a JPEG", _DAMAGED, _P.truncated),
    _file("decompression-bomb", "a tiny PNG that says it is 60,000 x 60,000", "too many pixels",
          _P.bomb),
    Trap("no-file", "coco", "a caption of a picture that is not there", _OUT, _MISSING, _E.no_file),
    Trap("link-out", "coco", "a symbolic link to a file outside of the root", _OUT, _UNSAFE,
         _E.link_out),
    Trap("named-pipe", "coco", "a FIFO, which blocks who opens it", _OUT, _UNSAFE, _E.pipe),
)
CAPTIONS = (
    _said("caption-nul", "a NUL in a caption", "A picture\0of {}."),
    _said("caption-newline", "a newline inside and blanks around a caption",
          "  A picture of\n{}. \n"),
    _said("caption-tab", "a tab in a caption", "A picture\tof {}."),
    _said("caption-curly", "curly quotes in a caption",
          "The artist\u2019s \u201cpicture\u201d of {}."),
    _said("caption-decomposed", "letters and their accents apart (NFD)", "A cafe\u0301 with {}."),
    _said("caption-empty", "a caption of blanks", "A picture of {}.", " \n ", fate=_OUT,
          reason="empty caption"),
    _said("caption-twice", "the same caption again, but for blanks", "It shows {}.",
          " It  shows {}. ", fate="duplicate"),
    Trap("caption-number", "coco", "a number where the caption should be", _OUT, _MALFORMED,
         _E.caption_is_a_number),
    Trap("evaluation-picture", "coco", "a train caption of a picture that RefCOCO's testA has",
         "held back", "image is protected by", _E.evaluated),
)
QUESTIONS = (
    Trap("vqa-no-answers", "vqav2", "a question that nobody answered", _OUT, "no answer",
         lambda tree: _E.vqa(tree, answered=False)),
    Trap("vqa-no-question", "vqav2", "answers to a question that is not there", _OUT, "no question",
         lambda tree: _E.vqa(tree, question=None)),
    Trap("vqa-empty-question", "vqav2", "a question of blanks", _OUT, "empty question",
         lambda tree: _E.vqa(tree, question=" ")),
    Trap("vqa-test-picture", "vqav2", "a question about a picture of test2014", _OUT, _MISSING,
         _E.test_question),
    Trap("vqa-shared-id", "vqav2", "a question whose number OK-VQA has too", _FINE, "",
         _E.vqa_shared_id),
    Trap("okvqa-shared-id", "okvqa", "a question whose number VQA v2 has too", _FINE, "",
         _E.okvqa_shared_id),
    Trap("aokvqa-same-choices", "aokvqa", "two wrong choices that are the same", _FINE, "",
         lambda tree: _E.choices(tree, wrong="=")),
    Trap("aokvqa-empty-choice", "aokvqa", "a wrong choice that is empty", _FINE, "",
         lambda tree: _E.choices(tree, wrong="")),
    Trap("aokvqa-no-such-choice", "aokvqa", "the correct choice is the seventh of four", _OUT,
         _MALFORMED, lambda tree: _E.choices(tree, correct=6)),
    Trap("gqa-leading-zeros", "gqa", "a question's id that begins with zeros", _FINE, "",
         lambda tree: _E.gqa(tree, "00000017", "2600001")),
    Trap("gqa-long-id", "gqa", "an id of eleven digits, a picture of n and digits", _FINE, "",
         lambda tree: _E.gqa(tree, "20170000001", "n600001")),
    Trap("gqa-empty-answer", "gqa", "a question answered by nothing", _OUT, "empty answer",
         lambda tree: _E.gqa(tree, "00000018", "2600002", answer="")),
    Trap("gqa-no-file", "gqa", "a question about a picture that is not there", _OUT, _MISSING,
         lambda tree: _E.gqa(tree, "00000019", "2600003", file=False)),
    Trap("ocr-gif-called-jpg", "ocrvqa", "a GIF cover under a JPEG's name", _FINE, "",
         lambda tree: _E.ocr(tree, "60000001", draw_gif=True), OFFICIAL),
    Trap("ocr-no-cover", "ocrvqa", "a book whose cover is not there", _OUT, _MISSING,
         lambda tree: _E.ocr(tree, "60000002", file=False), OFFICIAL),
    Trap("ocr-no-covers", "ocrvqa", "no cover at all is there", _OUT, _MISSING, _E.no_covers,
         ON_DISK),
    Trap("ocr-unequal-lists", "ocrvqa", "five questions and one answer", _OUT, _MALFORMED,
         lambda tree: _E.ocr(tree, "60000003", answers=["Yes"])),
    Trap("ocr-no-such-split", "ocrvqa", "a book of split 4", _OUT, _MALFORMED,
         lambda tree: _E.ocr(tree, "60000004", split=4)),
)
BOXES = (
    Trap("box-turned", "refcoco", "a box in a picture that EXIF turns", _FINE, "", _E.turned),
    Trap("box-over-edge", "refcoco", "a box that ends beyond the picture's edge", _FINE, "",
         lambda tree: _E.referred(tree, "over the edge")),
    Trap("box-outside", "refcoco", "a box beside the picture", _OUT, "box is outside of the image",
         lambda tree: _E.referred(tree, "outside")),
    Trap("box-no-area", "refcoco", "a box of no width", _OUT, "unusable box",
         lambda tree: _E.referred(tree, "no area")),
)
PAIRS = (
    Trap("pair-tab", "cc3m", "a tab in a caption", _FINE, "",
         lambda tree: _E.pair(tree, "cc3m", "tab", "a picture\tof {} .")),
    Trap("pair-not-ascii", "cc3m", "a caption with letters beyond ASCII", _FINE, "",
         lambda tree: _E.pair(tree, "cc3m", "letters", "the \u00a35 caf\u00e9 : {} .")),
    Trap("pair-empty", "cc3m", "a caption of null, which img2dataset writes as nothing", _OUT,
         "empty caption", lambda tree: _E.pair(tree, "cc3m", "empty", None)),
    Trap("pair-truncated", "cc3m", "the first 60 % of a JPEG inside a container", _OUT, _DAMAGED,
         lambda tree: _E.pair(tree, "cc3m", "truncated", "a picture of {} .", _P.truncated)),
    Trap("pair-html", "cc3m", "a web server's error page inside a container", _OUT, _NO_IMAGE,
         lambda tree: _E.pair(tree, "cc3m", "html", "a picture of {} .", _P.html)),
    Trap("pair-failed", "cc3m", "an address that did not answer", _OUT, "download failed",
         lambda tree: _E.without_bytes(tree, "failed", "failed_to_download",
         "HTTP Error 410: Gone"), OFFICIAL),
    Trap("pair-null", "cc3m", "a row whose picture is null", _OUT, _MISSING,
         lambda tree: _E.without_bytes(tree, "null"), ON_DISK),
    Trap("shard-interrupted", "cc3m", "a tar without an end, beside a Parquet file cut off",
         _FINE, "", _E.interrupted, OFFICIAL),
    Trap("laion-unsafe", "laion", "a picture marked as unsafe", _OUT, "marked unsafe",
         lambda tree: _E.pair(tree, "laion", "unsafe", "a picture of {}", punsafe=0.97), OFFICIAL),
    Trap("laion-no-size", "laion", "WIDTH and HEIGHT are null", _FINE, "",
         lambda tree: _E.pair(tree, "laion", "size", "a picture of {}", WIDTH=None, HEIGHT=None),
         OFFICIAL),
)
TALKS = (
    Trap("llava-same-id", "llava", "two conversations of one id", _FINE, "", _E.talks),
    Trap("llava-image-after", "llava", "<image> after the question", _FINE, "",
         lambda tree: _E.talk(tree, ("human", "What is there?\n<image>"), ("gpt", "There is {}."))),
    Trap("llava-text-only", "llava", "a conversation without a picture", _OUT, "no image",
         _E.text_only),
    Trap("llava-two-humans", "llava", "the human speaks twice in a row", _OUT, _MALFORMED,
         lambda tree: _E.talk(tree, ("human", "<image>\nWhat is there?"), ("human", "Well?"),
         ("gpt", "It is {}."))),
    Trap("llava-dots", "llava", "a picture's name with two dots", _FINE, "",
         lambda tree: _E.elsewhere(tree, "llava/images/img.v2.jpg", file=True)),
    Trap("llava-no-file", "llava", "a picture that is not there", _OUT, _MISSING,
         lambda tree: _E.elsewhere(tree, "llava/images/gone.jpg", file=False)),
    Trap("llava-path-out", "llava", "a picture's path that leads out of the root", _OUT, _UNSAFE,
         lambda tree: _E.elsewhere(tree, "../outside.jpg", file=False)),
)
BESIDE = tuple(
    Trap(name, corpus, what, "ignored", "", partial(_E.beside, name=path, content=content))
    for name, corpus, what, path, content in (
        ("apple-double-json", "okvqa", "a Mac's second half of a JSON file; not UTF-8",
         "okvqa/__MACOSX/._OpenEnded_mscoco_train2014_questions.json", APPLE_DOUBLE),
        ("apple-double-jpg", "coco", "a Mac's second half of a picture",
         "coco/train2017/._000000600001.jpg", APPLE_DOUBLE),
        ("apple-double-gqa", "gqa", "a Mac's second half of a picture",
         "gqa/images/._2600001.jpg", APPLE_DOUBLE),
        ("foreign-json", "coco", "another project's JSON file among the annotations",
         "coco/annotations/download_summary.json", b'{"downloaded": 3, "failed": []}'),
        ("unfinished-json", "coco", "an annotation file of which half was written",
         "coco/annotations/captions_train2017.json.tmp", b'{"info": {"descr'),
    )
)
# fmt: on
TRAPS: tuple[Trap, ...] = (*FILES, *CAPTIONS, *QUESTIONS, *BOXES, *PAIRS, *TALKS, *BESIDE)


def write_traps(out: Path, as_on_disk: bool) -> int:
    """Lay every trap of this layout into the tree at `out` and list them in traps.json.

    Returns how many. Raises OSError where links or pipes cannot be made.
    """
    tree, listed = Tree(out, as_on_disk), []
    layout = ON_DISK if as_on_disk else OFFICIAL
    for trap in TRAPS:
        if trap.layout in (None, layout):
            laid = trap.lay(tree)
            listed.append({
                "name": trap.name, "corpus": trap.corpus, "what": trap.what, "fate": trap.fate,
                "reason": trap.reason, "ids": laid.ids, "image": laid.image,
            })  # fmt: skip
    tree.save()
    put_json(out / "traps.json", listed)
    return len(listed)
