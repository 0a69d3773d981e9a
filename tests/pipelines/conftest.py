"""A copy of the committed raw corpora that a test may spoil, and the ways to build from it."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from manifests.schema import SPLITS
from manifests.seal import Seal
from pipelines import config as configs
from pipelines import corpora
from pipelines.buckets import guard, place
from pipelines.build import build
from pipelines.cli import app
from pipelines.corpora import Folders
from pipelines.engine import Threads
from pipelines.gate import gate
from pipelines.protect import Protect
from pipelines.specs import ShardPlan
from pipelines.table import Row

FIXTURES = Path(__file__).parents[1] / "fixtures"
PROTECT = {"image": ["coco/val", "vqav2/val", "gqa/val"], "text": [], "near_duplicates": "off"}


class Shop:
    """Raw corpora in `raw` and `robots`, the data set in `out`, the settings in `config`."""

    def __init__(self, folder: Path) -> None:
        self.raw, self.robots = folder / "base_vlm", folder / "robots"
        self.out, self.config = folder / "out", folder / "build.yaml"
        for name in ("base_vlm", "robots"):
            shutil.copytree(FIXTURES / name, folder / name)
        self.settings: dict[str, Any] = {
            "root": str(self.raw),
            "corpora": {"coco": {}, "vqav2": {}, "gqa": {}, "robots": {"path": str(self.robots)}},
            "protect": PROTECT,
            "max_quarantined": 1,
        }

    def only(self, *names: str) -> None:
        """Leave the other corpora out of the config."""
        kept = {name: self.settings["corpora"][name] for name in names}
        self.settings |= {
            "corpora": kept,
            "protect": {"image": [], "text": [], "near_duplicates": "off"},
        }

    def edit(self, path: Path, change: Callable[[Any], Any]) -> None:
        """Change a JSON file in place; `change` may also return what replaces its content."""
        data = json.loads(path.read_text())
        path.write_text(json.dumps(change(data) or data))

    def folders(self, corpus: str, **changed: Any) -> Folders:
        """Where a corpus of this shop lies."""
        path = self.robots if corpus == "robots" else self.raw / corpora.load(corpus).PATH
        said: dict[str, Any] = {"corpus": corpus, "root": self.raw, "path": path}
        said |= {"coco": self.raw / "coco", "splits": corpora.load(corpus).SPLITS}
        return Folders(**said | changed)

    def rows(self, corpus: str) -> list[Row]:
        """What a corpus's reader makes of the files."""
        return list(corpora.load(corpus).survey(self.folders(corpus)).rows())

    def written(self) -> Path:
        self.config.write_text(yaml.safe_dump(self.settings, sort_keys=False))
        return self.config

    def build(self, out: Path | None = None, workers: int = 1, deep: bool = False) -> Seal:
        """As `--plain` does, without its table."""
        config, quiet = configs.load(self.written()), Console(quiet=True)
        return build(config, out or self.out, Threads(workers), quiet, deep)

    def cli(self, *options: str) -> Result:
        """`python -m pipelines build --plain`, in this process."""
        args = ["build", "--plain", "--config", str(self.written()), "--out", str(self.out)]
        return CliRunner().invoke(app, [*args, *options])


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def gate_all(tmp_path: Path) -> Callable[..., list[ShardPlan]]:
    """Tables, named for their corpora -> the plans of all their shards, by place."""

    def gate_all(
        tables: Sequence[Path], bits: int = 0, protect: Sequence[str] = ()
    ) -> list[ShardPlan]:
        guarding = Protect(image=tuple(protect), text=())
        exponents = {f"{t.stem}/{split}": bits for t in tables for split in SPLITS}
        placed = [place(t, t.stem, exponents, guarding, tmp_path) for t in tables]
        guards = guard(placed, guarding, tmp_path)
        buckets = [(Path(b), Path(one.disputed)) for one in placed for b in one.buckets]
        plans = [p for bucket in buckets for p in gate(*bucket, guards, None, tmp_path).plans]
        return sorted(plans, key=lambda plan: plan.name)

    return gate_all


@pytest.fixture
def digests() -> Callable[[Path], dict[str, str]]:
    """sha256 of every file below a folder, by name; apart from those that tell the time."""

    def read(folder: Path) -> dict[str, str]:
        timed = ("build.json", "build-state.json")
        files = [path for path in folder.rglob("*") if path.is_file() and path.name not in timed]
        names = {path.relative_to(folder).as_posix(): path for path in files}
        return {n: hashlib.sha256(names[n].read_bytes()).hexdigest() for n in sorted(names)}

    return read


@pytest.fixture
def unfinished() -> Callable[[Path], Iterator[str]]:
    """Files that no reader should ever see: temporary ones, and shards that are not their name's.

    A shard's or a manifest's name ends in 8 hex of its content's sha256.
    """

    def find(out: Path) -> Iterator[str]:
        for path in out.rglob("*") if out.is_dir() else ():
            if path.name.startswith(".tmp-"):
                yield f"{path} was left behind"
            elif path.suffix in (".tar", ".parquet"):
                sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
                if path.stem.rpartition("-")[2] != sha256[:8]:
                    yield f"{path} is half-built"

    return find
