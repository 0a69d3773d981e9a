"""A small `base_vlm` tree of drawn pictures: every corpus in its official layout, or as a
downloader's disk has it.

Every caption, question, answer, box and expression is derived from the scene that the picture was
drawn from, so it is true of the picture. One file a family of corpora; `files.py` is what they
share; `traps.py` adds what goes wrong in real files.
"""

import random
from pathlib import Path

from manifests import store
from pipelines import corpora
from pipelines.samples.books import write_ocrvqa
from pipelines.samples.caches import write_pair_caches, write_refer_caches
from pipelines.samples.coco import write_coco
from pipelines.samples.gqa import write_gqa
from pipelines.samples.knowledge import write_aokvqa, write_okvqa
from pipelines.samples.leftovers import write_leftovers
from pipelines.samples.llava import write_llava
from pipelines.samples.pairs import write_pairs
from pipelines.samples.refer import write_refer
from pipelines.samples.traps import write_traps

_MARK = "drawn.txt"
_COUNTED = (
    *("coco_images", "coco_captions", "coco_unannotated", "vqa_questions", "gqa_images"),
    *("gqa_questions", "okvqa_questions", "aokvqa_questions", "ocrvqa_books", "ocrvqa_questions"),
    *("refcoco_expressions", "refcoco_plus_expressions", "refcocog_expressions", "cc3m_pairs"),
    *("laion_pairs", "llava_conversations"),
)


def write_samples(
    out: Path, images: int = 600, seed: int = 1, *, as_on_disk: bool = False, traps: bool = False
) -> dict[str, int]:
    """Write the tree under `out` and return how many files and annotations of each sort it holds.

    Three quarters of `images` are COCO's (half of them have VQA v2's questions), one quarter is
    GQA's train and val; the other corpora stand on COCO's pictures or bring fewer of their own.
    `as_on_disk`: as a downloader left it, with RefCOCO and CC3M in Arrow caches, OCR-VQA without
    pictures and no LAION. `traps`: with every trap of `traps.TRAPS`, listed in `out`/traps.json.

    Byte for byte the same for equal arguments, Pillow and pyarrow. Raises ValueError below 20
    images, where a split would be empty; FileExistsError if `out` holds corpora that are not drawn;
    OSError if it cannot be written.
    """
    if images < 20:
        raise ValueError(f"images={images}; at least 20 are needed for all splits of all corpora")
    _mark(out)
    rng, gqa = random.Random(f"samples {seed}"), images // 4
    counts = dict.fromkeys(_COUNTED, 0) | {"coco_images": images - gqa, "gqa_images": gqa}
    ids = rng.sample(range(1, 581_930), images - gqa)
    cut = round(len(ids) * 0.8)
    drawn = write_coco(out, "train", ids[:cut], seed, counts)
    drawn += write_coco(out, "val", ids[cut:], seed, counts)
    ids = rng.sample(range(2_315_000, 2_418_000), gqa)
    numbers = rng.sample(range(100_000, 20_000_000), gqa * 3)
    write_gqa(out, ids, numbers, seed, 10 if as_on_disk else 2, counts)
    write_okvqa(out, drawn, seed, counts)
    write_aokvqa(out, drawn, seed, counts)
    write_llava(out, drawn, seed, counts)
    write_ocrvqa(out, images // 10 + 8, seed, not as_on_disk, counts)
    if as_on_disk:
        write_refer_caches(out, drawn, seed, counts)
        write_pair_caches(out, seed, images, counts)
        write_leftovers(out, drawn)
    else:
        write_refer(out, drawn, seed, counts)
        write_pairs(out, seed, images, counts)
    if traps:
        counts["traps"] = write_traps(out, as_on_disk)
    return counts


def _mark(out: Path) -> None:
    """Name the tree as drawn, before anything is, so that it may be drawn over, and no other."""
    mark = out / _MARK
    there = [name for name in map(_folder, corpora.names()) if (out / name).exists()]
    if there and not mark.exists():
        raise FileExistsError(
            f"{out} holds {', '.join(there)}, which {_MARK} does not name as drawn; nothing was "
            f"written over. Name another folder with --out"
        )
    store.write(mark, b"Drawn by python -m pipelines samples, which may draw over it.\n")


def _folder(corpus: str) -> str:
    return corpora.load(corpus).PATH
