"""The notebook runs on a tiny data set, says what is in it, and is kept without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import manifests

NOTEBOOK = Path(manifests.__file__).with_name("inspect.ipynb")

CAPTIONED = {"corpus": "coco", "split": "train", "status": "written", "kinds": ["caption"]}
MIXED = {"corpus": "llava", "split": "val", "status": "written", "kinds": ["caption", "qa"]}
BAD = {"corpus": "coco", "split": "train", "status": "quarantined", "error": "0 bytes"}
ROWS = [
    CAPTIONED | {"key": "a", "group": "coco:1", "turns": 5, "width": 640, "height": 480},
    CAPTIONED | {"key": "b", "group": "coco:2", "turns": 5, "width": 320, "height": 200},
    BAD | {"key": "c", "group": "coco:3", "turns": 4, "locator": "train/c.jpg"},
    BAD | {"key": "d", "group": "coco:3", "turns": 1, "locator": "train/d.jpg"},
    MIXED | {"key": "e", "group": "coco:4", "turns": 2, "width": 100, "height": 200},
]


@pytest.fixture
def outputs(tmp_path, monkeypatch, write_set) -> list[list[list[str]]]:
    """What each cell shows, as the words of each line."""
    write_set(tmp_path / "data", [row | {"nbytes": 2048} for row in ROWS])
    monkeypatch.setenv("EMBERVLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(tmp_path))
    texts = []
    for cell in notebook.cells:
        shown = cell.get("outputs", [])
        if cell.cell_type == "code":
            texts.append("".join(o.get("text") or o["data"]["text/plain"] for o in shown))
    return [
        [line.replace("│", " ").replace("┆", " ").split() for line in text.split("\n")]
        for text in texts
    ]


def test_cells_show_what_the_manifests_say(outputs):
    head, ledger, fates, sizes, balance, failures = outputs
    assert head[0][:4] == ["2", "shards,", "2,048", "bytes,"]
    assert ["coco", "train", "15", "10", "5", "0", "0", "2", "0"] in ledger
    assert ["coco", "train", "quarantined", "5", "2", "1"] in fates
    assert ["coco", "train", "written", "10", "2", "2"] in fates
    assert ["llava", "val", "written", "2", "1", "1"] in fates
    assert {(line[0], line[1], line[3]) for line in sizes if line[:1] == ["coco"]} == {
        ("coco", "320.0", "640.0")
    }
    assert ["coco", "train", "caption", "2", "1.0"] in balance
    assert ["llava", "val", "qa", "1", "1.0"] in balance
    assert ["quarantined", "0", "bytes", "coco", "5", "2", "train/c.jpg"] in failures


def test_outputs_are_stripped():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell for cell in code if cell.outputs or cell.execution_count] == []
