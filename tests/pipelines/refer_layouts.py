"""Writers of RefCOCO in the three layouts it comes in, for tests and for their fixtures."""

import io
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HOTDOG = {"ann": 1719310, "image": 391895, "box": [10.5, 20.25, 30.1, 15.5]}
DOG = {"ann": 470010, "image": 522418, "box": [1.0, 2.0, 60.3, 50.7]}
PROMPT = "Please carefully observe the area circled in the image and come up with a caption"


def picture(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (80, 60), colour).save(data, "JPEG")
    return data.getvalue()


def name_2014(image: int) -> str:
    return f"COCO_train2014_{image:012d}"


def lmms(path: Path, rows: list[dict[str, Any]], colour: str | None = "red") -> Path:
    """A cache of the datasets library, of a split as lmms-lab publishes it."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    floats = pa.list_(pa.float32())
    features = {"image": {"_type": "Image"}, "question": {"dtype": "string", "_type": "Value"}}
    schema = pa.schema(
        [
            ("question_id", pa.string()),
            ("image", image),
            ("question", pa.string()),
            ("answer", pa.list_(pa.string())),
            ("segmentation", floats),
            ("bbox", floats),
            ("iscrowd", pa.int8()),
            ("file_name", pa.string()),
        ],
        {"huggingface": json.dumps({"info": {"features": features}})},
    )
    items = [
        {
            "question_id": str(row["ann"]),
            "image": {
                "bytes": picture(colour) if colour else None,
                "path": f"{name_2014(row['image'])}.jpg",
            },
            "question": PROMPT,
            "answer": row["said"],
            "segmentation": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "bbox": row["box"],
            "iscrowd": 0,
            "file_name": row.get("name", f"{name_2014(row['image'])}_4.jpg"),
        }
        for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.ipc.new_stream(path, schema) as writer:
        writer.write_table(pa.Table.from_pylist(items, schema), max_chunksize=2)
    return path


def ref(row: dict[str, Any], split: str) -> dict[str, Any]:
    """A ref as the authors have it."""
    sentences = [
        {"tokens": said.split(), "raw": said.upper(), "sent_id": 900 + k, "sent": said}
        for k, said in enumerate(row["said"])
    ]
    return {
        "sent_ids": [sentence["sent_id"] for sentence in sentences],
        "file_name": f"{name_2014(row['image'])}_{row['ann']}.jpg",
        "ann_id": row["ann"],
        "ref_id": 31,
        "image_id": row["image"],
        "split": split,
        "sentences": sentences,
        "category_id": 58,
    }


def authors(folder: Path, rows: list[tuple[dict[str, Any], str]], by: str = "unc") -> Path:
    """The authors' pickle and instances.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"refs({by}).p"
    path.write_bytes(pickle.dumps([ref(row, split) for row, split in rows], protocol=2))
    instances = {
        "info": {"year": 2014},
        "licenses": [{"id": 3, "name": "Attribution-NonCommercial-NoDerivs License", "url": ""}],
        "images": [{"id": row["image"], "license": 3, "height": 60} for row, _ in rows],
        "annotations": [
            {"id": row["ann"], "image_id": row["image"], "bbox": row["box"], "iscrowd": 0}
            for row, _ in rows
        ],
    }
    (folder / "instances.json").write_text(json.dumps(instances))
    return path


def jxu124(path: Path, rows: list[tuple[dict[str, Any], str]]) -> Path:
    """A Parquet file as jxu124 publishes it: a ref a row, the box as corners, no picture."""
    items = [
        {
            **ref(row, split),
            "raw_anns": json.dumps({"bbox": row["box"], "id": row["ann"]}),
            "raw_image_info": json.dumps({"license": 3, "height": 60, "width": 80}),
            "image_path": f"coco/train2014/{name_2014(row['image'])}.jpg",
            "bbox": [x, y, x + width, y + height],
        }
        for row, split in rows
        for x, y, width, height in [row["box"]]
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(items), path)
    return path
