"""A sealed data set of every layout, with its sources, and ways to damage it."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from rich.console import Console

from manifests import store
from manifests.seal import Seal
from pipelines import config as configs
from pipelines.build import build
from pipelines.engine import Threads
from pipelines.repair import Repaired, repair
from pipelines.sealed_config import config_of
from tests.pipelines.containers import write_tar

FIXTURES = Path(__file__).parents[1] / "fixtures"
QUIET = Console(quiet=True)


class Made(NamedTuple):
    """A data set, and the sources below the root of its config."""

    out: Path
    raw: Path

    @property
    def seal(self) -> Seal:
        return Seal.read(self.out)

    def tar(self, corpus: str, split: str = "train") -> Path:
        return self.out / self.seal.select(corpus, split)[0].tar

    def manifest(self, corpus: str, split: str = "train") -> Path:
        return self.out / self.seal.select(corpus, split)[0].manifest

    def copy(self, folder: Path) -> "Made":
        return Made(*(shutil.copytree(part, folder / part.name) for part in self))

    def repair(self, *overrides: str) -> Repaired:
        config = config_of(self.out, [f"root={self.raw}", *overrides])
        return repair(self.out, config, Threads(2), QUIET)


def make(folder: Path, *left_out: str) -> Made:
    """Loose files, drawn scenes and a container of two pictures, built into `folder`/out by the
    config `folder`/build.yaml; without the corpora `left_out`."""
    raw, robots, out = folder / "raw", folder / "robots", folder / "out"
    for name in ("coco", "gqa"):
        shutil.copytree(FIXTURES / "base_vlm" / name, raw / name)
    shutil.copytree(FIXTURES / "robots", robots)
    pictures = sorted((raw / "coco/train2017").glob("*.jpg"))[:2]
    files: dict[str, bytes] = {}
    for number, path in enumerate(pictures):
        files |= {f"{number}.jpg": path.read_bytes(), f"{number}.txt": b"picture %d" % number}
    write_tar(raw / "cc3m/train/00000.tar", files)
    corpora = {"coco": {}, "gqa": {}, "cc3m": {}, "robots": {"path": str(robots)}}
    settings = {
        "root": str(raw),
        "corpora": {name: said for name, said in corpora.items() if name not in left_out},
        "protect": {"image": ["coco/val", "gqa/val"], "text": []},
        "max_quarantined": 1,
        "paraphrases": 0,
    }
    (folder / "build.yaml").write_text(yaml.safe_dump(settings))
    build(configs.load(folder / "build.yaml"), out, Threads(2), QUIET)
    (out / "build-state.json").unlink(missing_ok=True)  # no part of a data set
    return Made(out, raw)


def flip(path: Path, byte: int = 700) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "a flipped bit": flip,
    "cut off": lambda path: os.truncate(path, 1000),
    "empty": lambda path: os.truncate(path, 0),
    "deleted": Path.unlink,
    "a link elsewhere": lambda path: (path.unlink(), path.symlink_to("/dev/null")),
}


def rewrite_manifest(made: Made, corpus: str) -> None:
    """As if a build with another version of Parquet's library had made the manifest: its rows and
    the root are the same, its bytes and so its name are not."""
    sealed, sink = made.seal, pa.BufferOutputStream()
    old = sealed.select(corpus, "train")[0]
    pq.write_table(pq.read_table(made.out / old.manifest), sink, compression="gzip")
    stem = old.manifest.rpartition("-")[0]
    file = store.write_named(made.out, stem, ".parquet", sink.getvalue().to_pybytes())
    new = msgspec.structs.replace(
        old, manifest=file.path, manifest_nbytes=file.nbytes, manifest_sha256=file.sha256
    )
    shards = tuple(new if shard == old else shard for shard in sealed.shards)
    store.commit(made.out, msgspec.structs.replace(sealed, shards=shards))
    (made.out / old.manifest).unlink()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
