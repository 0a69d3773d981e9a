"""A build that is killed, again and again: does the data set that stood before stay whole?

    make bench NAME=kill [KILLS=100]

Samples are drawn (KILLS=100: enough for helper processes), and copied with one caption changed: the
sources of data sets A and B. Whichever is sealed, a build of the other into the same folder starts,
in a group of processes that gets SIGKILL after a random part of an undisturbed build's time. At
once all records are read, their digests and every sealed file's sha256 compared; root and count
must be those of A or B. In the end one undisturbed build of each gives the roots of the beginning.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from manifests.seal import NAME, Seal, SealError
from shards.reader import Dataset
from shards.validate import validate

ROOT = Path(__file__).parents[2]
_LOCAL = ("build.json", "build-state.json")  # of this machine and time, not of the data set
_IMAGES = 800
_SEED = 1


class Killed(NamedTuple):
    """What was found after so many kills: how often each root stood, records of each, how often a
    kill came before, and after, the commit of the build it ended."""

    kills: int
    roots: Counter[str]
    records: set[int]
    before: int
    after: int
    finished: int


def files(folder: Path) -> dict[str, str]:
    """sha256 by name of all files but local ones, and what readers cached."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in _LOCAL)
    named = {path.relative_to(folder).as_posix(): path for path in found}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in named.items()
        if not name.startswith("index/")
    }


def standing(folder: Path) -> Seal | None:
    """Read the whole data set that is sealed in `folder`, as it lies there: its seal, or None.

    Raises AssertionError or DamageError if it is not whole.
    """
    try:
        data = Dataset(folder)
    except SealError:
        assert not (folder / NAME).exists()
        return None
    assert (folder / NAME).read_bytes() == data.seal.encode()
    listed = {shard.tar: shard.sha256 for shard in data.seal.shards}
    listed |= {shard.manifest: shard.manifest_sha256 for shard in data.seal.shards}
    listed[data.seal.reasons.path] = data.seal.reasons.sha256
    there = files(folder)
    for name, sha256 in listed.items():
        assert there.get(name) == sha256, f"{name} is sealed, and not there as it was"
    read = sum(1 for place in data.names for _ in data.records(*place))
    assert read == sum(shard.records for shard in data.seal.shards) > 0
    return data.seal


def draw(folder: Path, images: int) -> tuple[Path, Path]:
    """Sources of two data sets in `folder`, which differ by one caption; their configs."""
    samples = [sys.executable, "-m", "pipelines", "samples", "--images", str(images), "--out"]
    subprocess.run([*samples, str(folder / "a")], cwd=ROOT, check=True, capture_output=True)
    shutil.copytree(folder / "a", folder / "b", copy_function=os.link)
    captions = folder / "b/coco/annotations/captions_train2017.json"
    said = json.loads(captions.read_text())
    said["annotations"][0]["caption"] = "Nobody else says this of a picture."
    captions.unlink()  # A's is the same file
    captions.write_text(json.dumps(said))
    for name in ("a", "b"):
        settings = {
            "root": str(folder / name),
            "corpora": {corpus: {} for corpus in ("coco", "vqav2", "gqa")},
            "protect": {"image": ["coco/val"], "text": [], "near_duplicates": "off"},
            "max_quarantined": 1,
            "workers": 2,
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    return folder / "a.yaml", folder / "b.yaml"


def start(config: Path, out: Path) -> subprocess.Popen:
    """A build of all of it, in a group of processes of its own."""
    (out / "build-state.json").unlink(missing_ok=True)  # or what did not change would not be packed
    command = [sys.executable, "-m", "pipelines", "build", "--plain"]
    command += ["--config", str(config), "--out", str(out)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        command, cwd=ROOT, start_new_session=True, stdout=quiet, stderr=subprocess.STDOUT
    )


def undisturbed(config: Path, out: Path) -> Seal:
    """Build, and see that it is whole and nothing else is there."""
    assert start(config, out).wait() == 0, f"the build of {config} failed"
    assert [str(problem) for problem in validate(out)] == []
    sealed = standing(out)
    assert sealed
    return sealed


def kill(folder: Path, kills: int, images: int, console: Console) -> Killed:
    """Do so in `folder`; raises AssertionError when anything is not as it should be."""
    configs, out, draw_delay = draw(folder, images), folder / "out", random.Random(_SEED)
    a, b = (undisturbed(config, folder / config.stem / "made") for config in configs)
    made = dict(zip((a.root, b.root), (files(folder / n / "made") for n in "ab"), strict=True))
    undisturbed(configs[0], out)
    begun = time.monotonic()
    undisturbed(configs[1], out)
    whole_build = time.monotonic() - begun
    stands, roots, records = b.root, Counter[str](), set[int]()
    before = after = finished = 0
    for _ in track(range(kills), "kills", console=console, transient=True):
        process = start(configs[stands == a.root], out)
        time.sleep(draw_delay.uniform(0, whole_build))
        finished += process.poll() is not None
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        sealed = standing(out)
        assert sealed and sealed.root in made, "another data set stands"
        before, after = before + (sealed.root == stands), after + (sealed.root != stands)
        stands = sealed.root
        roots[stands] += 1
        records.add(sum(shard.records for shard in sealed.shards))
    for config, sealed in zip(configs, (a, b), strict=True):
        assert undisturbed(config, out).root == sealed.root
        differ = files(out).items() ^ made[sealed.root].items()
        assert not differ, f"not as at first: {sorted({name for name, _ in differ})}"
    return Killed(kills, roots, records, before, after, finished)


def main() -> None:
    """Print a table, then a line of JSON."""
    console, kills = Console(), int(os.environ.get("KILLS", "100"))
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as folder:
        found = kill(Path(folder), kills, _IMAGES, Console(stderr=True))
    table = Table("killed", "old one stood", "new one stood", "had ended", "records")
    told = ", ".join(map(str, sorted(found.records)))
    table.add_row(*map(str, (kills, found.before, found.after, found.finished)), told)
    console.print(table)
    line = found._asdict() | {"roots": dict(found.roots), "records": sorted(found.records)}
    console.print(json.dumps({"bench": "kill", **line}), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
