"""What `make bench NAME=stream` measures on, in data/bench/stream: made once, by our own pipeline.

    keep, squash     the drawn corpus, its pictures as they are or at 224x224
    mixed            the same as squash, divided among three corpora
    <peer>-<name>    the same records in the format of another library

A data set is built anew when what a build gives has changed; a peer's format is made anew when the
data set it is of has changed, whose root is noted beside it.
"""

import os
import shutil
from pathlib import Path

from harness.children import run
from rich.console import Console

from embervlm.tokens import Tokenizer
from manifests import store
from manifests.schema import canonical_json
from pipelines.build import build
from pipelines.config import BuildConfig, CorpusConfig
from pipelines.engine import Threads
from pipelines.protect import Protect
from shards.images import ImagePolicy
from shards.mixing import SourceSpec
from shards.reader import Dataset
from shards.stream import Batching, Stream
from tests.bench.photos import CAPTIONS, COUNT, captions

HOME = Path("data/bench/stream")
# Corpora of `mixed`: which pictures they have. That their weights are others is on purpose.
PARTS = {
    "first": range(0, COUNT // 2),
    "second": range(COUNT // 2, COUNT * 4 // 5),
    "third": range(COUNT * 4 // 5, COUNT),
}
_WORKERS = 2
_BITS, _BITS_OF_A_PART = 4, 3
_ROOT = "root"  # the file in a peer's folder that says of which data set it was made


def sealed(name: str, photos: Path, console: Console) -> Path:
    """The data set `keep`, `squash` or `mixed` of the drawn photos, built unless it is there."""
    out = HOME / name
    console.print(f"building {out}, or seeing that it is there ...", highlight=False)
    if name == "mixed":
        corpora = {}
        for corpus, numbers in PARTS.items():
            folder = _part(photos, corpus, numbers)
            corpora[corpus] = CorpusConfig(reader="coco", path=str(folder), bits=_BITS_OF_A_PART)
    else:
        corpora = {"coco": CorpusConfig(path=str(photos.resolve()), bits=_BITS)}
    config = BuildConfig(
        root=str(photos.parent.resolve()),
        corpora=dict(corpora),
        image=ImagePolicy(policy="keep" if name == "keep" else "squash"),
        protect=Protect(near_duplicates="off"),
        workers=_WORKERS,
    )
    build(config, out, Threads(_WORKERS), Console(quiet=True))
    make_caches(out, list(corpora))
    return out


def make_caches(folder: Path, corpora: list[str]) -> None:
    """The index and the tokens, which a first run of training makes."""
    sources = {corpus: SourceSpec(turns="rotate") for corpus in corpora}
    batching = Batching(global_=32, pool=32)
    tokenizer = Tokenizer.load("builtin")
    Stream(Dataset(folder), sources, tokenizer, seed=1, batching=batching, max_tokens=64)


def converted(kind: str, source: Path, python: Path) -> Path:
    """`source`, a data set or a corpus in one, in another library's format, which peers/convert.py
    makes by `python`. Raises ChildError."""
    dataset = source if source.parent == HOME else source.parent
    out = HOME / "-".join([kind, *source.relative_to(HOME).parts])
    root = Dataset(dataset).seal.root
    if out.is_dir() and (out / _ROOT).read_text() != root:
        shutil.rmtree(out)
    if not out.is_dir():
        with store.new_folder(out) as folder:
            run(python, "convert.py", kind, source, folder)
            (folder / _ROOT).write_text(root)
    return out


def _part(photos: Path, corpus: str, numbers: range) -> Path:
    """A COCO folder of some of the photos, by hard links."""
    folder = HOME / f"parts-{photos.name}" / corpus
    if not folder.is_dir():
        with store.new_folder(folder) as new:
            (new / "train2017").mkdir()
            (new / "annotations").mkdir()
            (new / CAPTIONS).write_text(canonical_json(captions(numbers)))
            for number in numbers:
                name = f"train2017/{number:012d}.jpg"
                os.link(photos / name, new / name)
    return folder.resolve()
