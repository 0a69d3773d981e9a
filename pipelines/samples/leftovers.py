"""What a downloader leaves beside the corpora: archives, markers, files of no use to a reader."""

import csv
import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

from pipelines.samples.coco import INFO, LICENSES, listing
from pipelines.samples.files import CocoPicture, put, put_json
from pipelines.samples.knowledge import USES
from pipelines.samples.pictures import PLURALS, box
from pipelines.samples.refer import CATEGORIES

APPLE_DOUBLE = (
    b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(2) + b"\0\2\0\0\0\x09\0\0\0\x32\xb0\xff"
)
_EMPTY_ZIP = b"PK\5\6" + bytes(18)
_ARCHIVES = {
    "coco": ("train2017.zip", "val2017.zip", "annotations_trainval2017.zip"),
    "vqa": ("v2_Questions_Train_mscoco.zip", "v2_Questions_Val_mscoco.zip",
            "v2_Annotations_Train_mscoco.zip", "v2_Annotations_Val_mscoco.zip"),
    "okvqa": ("OpenEnded_mscoco_train2014_questions.json.zip",
              "OpenEnded_mscoco_val2014_questions.json.zip",
              "mscoco_train2014_annotations.json.zip", "mscoco_val2014_annotations.json.zip"),
    "gqa": ("images.zip", "questions1.2.zip"),
    "aokvqa": ("aokvqa_v1p0.tar.gz",),
}  # fmt: skip


def write_leftovers(out: Path, drawn: list[CocoPicture]) -> None:
    """Archives (empty ones) with their markers, other annotations of COCO, notes and scripts."""
    for corpus, names in _ARCHIVES.items():
        for name in names:
            put(out / corpus / name, _empty_tar_gz() if name.endswith("gz") else _EMPTY_ZIP)
            put(out / corpus / f".extracted_{name}.marker", b"")
    for split in ("train2017", "val2017"):
        instances = _instances([picture for picture in drawn if picture.folder == split])
        put_json(out / f"coco/annotations/instances_{split}.json", instances)
        people = {**instances, "annotations": [], "categories": []}  # nobody is in these pictures
        put_json(out / f"coco/annotations/person_keypoints_{split}.json", people)
    for split in ("train", "val"):
        put(out / f"okvqa/__MACOSX/._mscoco_{split}2014_annotations.json", APPLE_DOUBLE)
    vocabulary = sorted({answer for answer, _ in USES.values()})
    for name in ("large_vocab_train.csv", "specialized_vocab_train.csv"):
        sink = io.StringIO(newline="")
        csv.writer(sink).writerows([word] for word in vocabulary)
        put(out / "aokvqa" / name, sink.getvalue().encode())
    put(out / "gqa/readme.txt", b"GQA 1.2. Questions by split; all and balanced.\n")
    put(
        out / "ocrvqa/loadDataset.py",
        b'import json\n\nprint(len(json.load(open("dataset.json"))))\n',
    )
    put(out / "cc3m/README.txt", b"Downloaded by the datasets library.\n")
    for corpus in ("cc3m", "laion"):
        put(out / corpus / ".download_attempted", b"")


def _instances(drawn: list[CocoPicture]) -> dict[str, Any]:
    annotations = []
    for picture in drawn:
        for k, thing in enumerate(picture.scene.things):
            x0, y0, x1, y1 = box(picture.scene, thing)
            annotations.append({
                "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]], "iscrowd": 0,
                "area": (x1 - x0) * (y1 - y0), "image_id": picture.number,
                "bbox": [x0, y0, x1 - x0, y1 - y0], "category_id": CATEGORIES[thing.shape],
                "id": picture.number * 10 + k,
            })  # fmt: skip
    return {
        "info": INFO, "licenses": LICENSES, "annotations": annotations,
        "images": [listing(picture, 1) for picture in drawn],
        "categories": [{"supercategory": "thing", "id": CATEGORIES[shape], "name": shape}
                       for shape in sorted(PLURALS)],
    }  # fmt: skip


def _empty_tar_gz() -> bytes:
    """An archive without members, and without the time that gzip would write."""
    sink = io.BytesIO()
    tarfile.open(fileobj=sink, mode="w").close()
    return gzip.compress(sink.getvalue(), mtime=0)
