"""Corpora as the Hugging Face `datasets` library leaves them on disk: Arrow streams in a cache.

`<corpus>/<owner>___<name>/default/0.0.0/<hash>/<name>-<split>-00000-of-00002.arrow`, beside them
dataset_info.json, around them lock files. The schema's metadata has the features as JSON under
`huggingface`. lmms-lab's RefCOCO caches hold evaluation splits alone, its test and val share rows.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.samples.files import CocoPicture, put, put_json
from pipelines.samples.pairs import Pair, cc3m
from pipelines.samples.refer import SPLITS, Ref, name_2014, refs

PROMPT = (
    "Please carefully observe the area circled in the image and come up with a caption for the "
    "area."
)
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_REFER = pa.schema(
    [("question_id", pa.string()), ("image", _IMAGE), ("question", pa.string()),
     ("answer", pa.list_(pa.string())), ("segmentation", pa.list_(pa.float32())),
     ("bbox", pa.list_(pa.float32())), ("iscrowd", pa.int8()), ("file_name", pa.string())]
)  # fmt: skip
_JSON = pa.struct(
    [("caption", pa.string()), ("url", pa.string()), ("key", pa.string()),
     ("status", pa.string()), ("error_message", pa.null()), ("width", pa.int64()),
     ("height", pa.int64()), ("original_width", pa.int64()), ("original_height", pa.int64()),
     ("exif", pa.string()), ("sha256", pa.string())]
)  # fmt: skip
_PAIRS = [("jpg", _IMAGE), ("json", _JSON), ("txt", pa.string()), ("__key__", pa.string()),
          ("__url__", pa.string())]  # fmt: skip
_NAMES = {"refcoco": ("lmms-lab", "ref_coco"), "refcoco_plus": ("lmms-lab", "ref_coc_oplus"),
          "refcocog": ("lmms-lab", "ref_coc_og"), "cc3m": ("pixparse", "cc3m-wds")}  # fmt: skip
_BATCH = 7  # rows of a record batch, as 100 of the library's own


def write_refer_caches(
    out: Path, drawn: list[CocoPicture], seed: int, counts: dict[str, int]
) -> None:
    """The evaluation splits; every row of test is one of val or of testA and testB as well."""
    for corpus, evaluated in SPLITS.items():
        found = refs(corpus, drawn, seed)
        rows = {
            split: [refer_row((out / ref.picture.path).read_bytes(), ref, seed)
                    for ref in found if ref.split == split]
            for split in evaluated
        }  # fmt: skip
        if corpus == "refcoco":
            rows["test"] = rows["testA"] + rows["testB"]
            rows["val"] = rows["val"] + rows["test"]
        counts[f"{corpus}_expressions"] += sum(len(r["answer"]) for rs in rows.values() for r in rs)
        for split, held in rows.items():
            files = 2 if split in ("val", "test") else 1
            write_cache(out, corpus, split, [held[i::files] for i in range(files)], _REFER)
        _info(out, corpus, {split: len(held) for split, held in rows.items()}, _REFER)


def refer_row(image: bytes, ref: Ref, seed: int) -> dict[str, Any]:
    """An object as lmms-lab's re-export has it: its expressions are answers, some said again."""
    rng = random.Random(f"refer answers {seed} {ref.id}")
    answers = [*ref.said, *rng.choices(ref.said, k=rng.choice((0, 0, 1, 2)))]
    return {
        "question_id": str(ref.id),
        "image": {"bytes": image, "path": name_2014(ref.picture.number)},
        "question": PROMPT,
        "answer": answers,
        "segmentation": [float(v) for v in ref.corners],
        "bbox": [float(v) for v in ref.box],
        "iscrowd": 0,
        "file_name": name_2014(ref.picture.number, str(ref.id)),
    }


def write_pair_caches(out: Path, seed: int, images: int, counts: dict[str, int]) -> None:
    """CC3M as pixparse/cc3m-wds: what was fetched, in tars whose keys begin anew in each split."""
    sizes = {}
    for split, count, files in (("train", images // 6, 3), ("validation", images // 30 + 4, 1)):
        fetched = [pair for pair in cc3m(count, split, seed) if pair.image is not None]
        tars = f"hf://datasets/pixparse/cc3m-wds@{_hash('cc3m')}/cc3m-{split}"
        rows = [
            pair_row(pair, f"{i:09d}", f"{tars}-{i * 4 // len(fetched):04d}.tar")
            for i, pair in enumerate(fetched)
        ]
        share = -(-len(rows) // files)
        parts = [rows[at * share : (at + 1) * share] for at in range(files)]
        write_cache(out, "cc3m", split, parts, pair_schema(split))
        sizes[split] = len(rows)
        counts["cc3m_pairs"] += len(rows)
    _info(out, "cc3m", sizes, pair_schema("train"))


def pair_row(pair: Pair, key: str, tar: str) -> dict[str, Any]:
    """A pair as cc3m-wds has it; `tar` is the address of the tar that it came from."""
    return {
        "jpg": {"bytes": pair.image, "path": f"{key}.jpg"}, "json": pair.row(key),
        "txt": pair.caption, "__key__": key, "__url__": tar,
    }  # fmt: skip


def pair_schema(split: str) -> pa.Schema:
    """The columns of cc3m-wds; its validation tars have no json."""
    return pa.schema([field for field in _PAIRS if split == "train" or field[0] != "json"])


def cache_folder(out: Path, corpus: str) -> Path:
    owner, name = _NAMES[corpus]
    return out / corpus / f"{owner}___{name}" / "default/0.0.0" / _hash(corpus)


def write_cache(
    out: Path, corpus: str, split: str, parts: Sequence[list[dict[str, Any]]], schema: pa.Schema
) -> None:
    """The Arrow files of a split, one for each of `parts`, several record batches each."""
    _, name = _NAMES[corpus]
    for i, rows in enumerate(parts):
        number = f"-{i:05d}-of-{len(parts):05d}" if len(parts) > 1 else ""
        put(cache_folder(out, corpus) / f"{name}-{split}{number}.arrow", stream(rows, schema))


def stream(rows: list[dict[str, Any]], schema: pa.Schema) -> bytes:
    """An Arrow stream whose schema carries the library's features."""
    metadata = {"huggingface": json.dumps({"info": {"features": _features(schema)}})}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema.with_metadata(metadata)) as writer:
        for at in range(0, len(rows), _BATCH):
            writer.write_batch(pa.RecordBatch.from_pylist(rows[at : at + _BATCH], schema=schema))
    return sink.getvalue().to_pybytes()


def _features(schema: pa.Schema) -> dict[str, Any]:
    return {field.name: _feature(field.type) for field in schema}


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if kind == _IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"dtype": {"float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}


def _info(out: Path, corpus: str, sizes: dict[str, int], schema: pa.Schema) -> None:
    """dataset_info.json and the three lock files."""
    folder, (_, name) = cache_folder(out, corpus), _NAMES[corpus]
    splits = {split: {"name": split, "num_examples": count, "dataset_name": name}
              for split, count in sizes.items()}  # fmt: skip
    version = {"version_str": "0.0.0", "major": 0, "minor": 0, "patch": 0}
    put_json(folder / "dataset_info.json", {
        "description": "", "citation": "", "homepage": "", "license": "",
        "features": _features(schema), "builder_name": "parquet", "dataset_name": name,
        "config_name": "default", "version": version, "splits": splits,
    })  # fmt: skip
    put(folder.with_name(f"{folder.name}_builder.lock"), b"")
    put(folder.with_name(f"{folder.name}.incomplete_info.lock"), b"")
    long = "_".join(folder.relative_to(out).parts)
    put(out / corpus / f"_{long}.lock", b"")


def _hash(corpus: str) -> str:
    """Where a commit's hash stands."""
    return hashlib.sha1(_NAMES[corpus][1].encode(), usedforsecurity=False).hexdigest()
