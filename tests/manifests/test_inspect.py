"""The notebook runs on a tiny data set, says what is in it, and is kept without outputs."""

import io
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

import manifests
from manifests import store
from manifests.schema import Record, Turn, canonical_json
from manifests.seal import Count
from shards.writer import ShardWriter, Source, row

NOTEBOOK = Path(manifests.__file__).with_name("inspect.ipynb")

BOX = (0.25, 0.5, 0.75, 1.0)
SAYING = {  # turns by what a record is about
    "captions": [("", f"a hat, seen {i} times", "caption", None) for i in range(5)],
    "mixed": [("", "two <b>cats</b>", "caption", None), ("where?", "there", "qa", BOX)],
    "task": [("mow it", "Drone", "robot", None), ("mow it", "It flies.", "reasoning", None)],
}
RECORDS: list[dict[str, Any]] = [  # in the order of the shards
    {"key": "a", "corpus": "coco", "split": "train", "about": "captions", "size": (640, 480)},
    {"key": "b", "corpus": "coco", "split": "train", "about": "captions", "size": (320, 200)},
    {"key": "c", "corpus": "llava", "split": "train", "about": "mixed", "size": (100, 200)},
    {"key": "d", "corpus": "robots", "split": "train", "about": "task", "robots": ("Drone",)},
    {"key": "e", "corpus": "robots", "split": "val", "about": "task"},
]
TEAM = ("Drone", "Humanoid")
BAD = {"corpus": "coco", "split": "train", "status": "quarantined", "group": "z"}
FAILURES = [
    row(**BAD, key="x", turns=4, error="truncated: 12 of 90 bytes", locator="train/x.jpg"),
    row(**BAD, key="y", turns=1, error="truncated: 0 of 80 bytes", locator="train/y.jpg"),
]


def record(said: dict[str, Any]) -> tuple[Record, Source]:
    image = io.BytesIO()
    Image.new("RGB", (32, 32), "teal").save(image, "JPEG")
    width, height = said.get("size", (224, 224))
    turns = [
        Turn(thread=i, id=str(i), prompt=prompt, target=target, kind=kind, box=box)
        for i, (prompt, target, kind, box) in enumerate(SAYING[said["about"]])
    ]
    task = said["about"] == "task"
    meta = {"pair": "p1", "evidence": {"decided": "picture"}} if task else {}
    of_record = Record(
        key=said["key"],
        corpus=said["corpus"],
        split=said["split"],
        group=said["key"],
        image=image.getvalue(),
        turns=tuple(turns),
        robots=said.get("robots", TEAM) if task else (),
        meta=canonical_json(meta),
    )
    locator = f"file:{said['key']}.jpg"
    return of_record, Source(locator=locator, digest="0" * 32, width=width, height=height)


@pytest.fixture
def write_records(make_seal):
    """Write records and seal them, with FAILURES if any are of coco."""

    def write_records(folder: Path, records: list[dict[str, Any]]) -> None:
        shards, ledger = [], []
        for (corpus, split), said in groupby(records, lambda one: (one["corpus"], one["split"])):
            failures = FAILURES if corpus == "coco" else []
            lost = sum(one["turns"] for one in failures)
            with ShardWriter(folder, corpus, split, "00000") as writer:
                for one in said:
                    writer.add(*record(one))
                shard = writer.close(failures)
            shards.append(shard)
            ledger.append(
                Count(
                    corpus=corpus,
                    split=split,
                    read=shard.turns + lost,
                    written=shard.turns,
                    quarantined=lost,
                    duplicate=0,
                    held_back=0,
                    records=shard.records,
                    unannotated=0,
                )
            )
        store.commit(folder, make_seal(shards, ledger=tuple(ledger)))

    return write_records


def execute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is shown under each heading, tables as words with one space between."""
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(folder))
    shown, heading = {}, ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = next(iter(re.findall("^#+ (.*)", cell.source)), heading)
        for output in cell.get("outputs", []):
            data = output.get("data", {"text/plain": output.get("text", "")})
            frame = data["text/plain"].startswith("shape")
            html = "" if frame else data.get("text/html", "")
            picture = "\n[picture]" if "image/png" in data else ""
            text = data["text/plain"] + html + picture
            lines = (re.sub("[\\s│┆]+", " ", line).strip() for line in text.split("\n"))
            shown[heading] = "\n".join([shown.get(heading, ""), *lines, ""])
    return shown


def test_cells_show_what_the_data_set_holds(tmp_path, monkeypatch, write_records):
    write_records(tmp_path / "data", RECORDS)
    monkeypatch.setenv("EMBERVLM_DATA", str(tmp_path / "data"))
    shown = execute(tmp_path, monkeypatch)

    assert "\n4 shards, " in shown["What a data set holds"]
    assert "\ncoco train 15 10 5 0 0 2 0\n" in shown["The ledger"]
    fates = shown["Rows by corpus, split and fate"]
    assert "\ncoco train quarantined 5 2 1\n" in fates
    assert "\ncoco train written 10 2 2\n" in fates

    mixture = shown["Planning a mixture"]
    assert '\ncoco ["caption"] 2 10\n' in mixture
    assert '\nllava ["caption", "qa"] 1 2\n' in mixture
    # 2,560,000 samples of 2, 1 and 1 records: by size a half; by its root sqrt 2 / (2 + sqrt 2).
    assert "\ncoco 2 T = 1 0.5 1280000 640000.0\n" in mixture
    assert "\nllava 1 T = 1 0.25 640000 640000.0\n" in mixture
    assert "\ncoco 2 T = 2 0.4142 1060387 530193.5\n" in mixture
    assert "[picture]" in mixture

    sizes = shown["Sizes"]
    assert "\ncoco 320 320 640 200 200 480 " in sizes
    assert "[picture]" in sizes

    labels = shown["Balance of labels"]
    assert "\nllava train caption 1 1.0\n" in labels
    assert "\nllava train qa 1 1.0\n" in labels
    assert "\nrobots val picture 1 1\n" in labels
    assert "\nDrone alone 1\nDrone in a team 1\nHumanoid in a team 1\n" in labels
    assert "[picture]" in labels

    lost = shown["What was not written, and why"]
    assert "\nquarantined coco truncated 5 2 train/x.jpg\n" in lost
    assert "\ncoco train y 1 truncated: 0 of 80 bytes train/y.jpg\n" in lost

    looked = shown["Looking at records"]
    assert re.findall("<b>(.)</b> (.+?) ", looked) == [
        ("a", "coco/train"),
        ("c", "llava/train"),
        ("d", "robots/train"),
    ]
    assert "two &lt;b&gt;cats&lt;/b&gt;" in looked
    assert "left:25.00%;top:50.00%;width:50.00%;height:50.00%" in looked
    assert looked.count("data:image/jpeg;base64,") == 3

    assert "\nnothing changed\n" in shown["Two seals compared"]


def test_a_set_without_robots_is_compared_with_an_older_one(tmp_path, monkeypatch, write_records):
    write_records(tmp_path / "older", RECORDS[:2])
    write_records(tmp_path / "data", [RECORDS[0] | {"about": "mixed"}, RECORDS[2]])
    monkeypatch.setenv("EMBERVLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("EMBERVLM_OTHER", str(tmp_path / "older"))
    compared = execute(tmp_path, monkeypatch)["Two seals compared"]
    assert " became " in compared
    assert re.search('\ncoco train changed \\[.*"kinds".*\\] 1 a\n', compared)
    assert "\ncoco train went [] 1 b\n" in compared
    assert "\nllava train came [] 1 c\n" in compared


def test_outputs_are_stripped():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell for cell in code if cell.outputs or cell.execution_count] == []


def test_every_cell_is_short_and_told_in_words_before():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    kinds = ["markdown", "code"] * (len(cells) // 2)
    assert [cell.cell_type for cell in cells] == kinds
    assert [cell.source for cell in cells if len(cell.source.splitlines()) > 12] == []
