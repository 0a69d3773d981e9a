"""From a listing to files below the root: what is chosen, checked, unpacked, noted and resumed."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from pipelines import download as downloading
from pipelines.cli import app
from pipelines.download import DownloadError, download
from pipelines.download.listing import Listed, ListingError
from pipelines.download.web import Policy
from pipelines.engine import Threads
from tests.pipelines.server import Server, file, status

ROOT = Path(__file__).parents[2]
LOCAL = Policy(
    hosts=("127.0.0.1",), schemes=("http",), attempts=2, timeout=5.0, backoff=0.001, longest=0.01
)


def zipped(**files: str) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return sink.getvalue()


class Depot:
    """A server with the files of two small corpora, their listing, and a root to fetch them to."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.root = server, folder / "base_vlm"
        self.listing, self.said = folder / "listing.yaml", io.StringIO()
        self.zip, self.json = zipped(val2017__1="one", val2017__2="two"), b'{"a": 1}'
        coco = server.serve("/val2017.zip", file(self.zip))
        llava = server.serve("/llava.json", file(self.json))
        sha256 = hashlib.sha256(self.zip).hexdigest()
        nbytes = len(self.zip)
        self.corpora: dict[str, list[dict[str, Any]]] = {
            "coco": [
                {"url": coco, "to": "coco/val2017.zip", "nbytes": nbytes, "sha256": sha256}
                | {"minimal": True, "extract": "zip"}
            ],
            "llava": [{"url": llava, "to": "llava/llava.json", "about": 8}],
        }

    def run(self, *corpora: str, minimal: bool = False, images: bool = False) -> list[Listed]:
        content = {"hosts": ["127.0.0.1"], "corpora": self.corpora}
        self.listing.write_text(yaml.safe_dump(content, sort_keys=False))
        console = Console(file=self.said)
        local: dict[str, Any] = {"listing_file": self.listing, "policy": LOCAL, "public": LOCAL}
        chosen = (self.root, corpora, minimal, images)
        return download(*chosen, Threads(2), console, **local)

    def tree(self) -> list[str]:
        files = (path for path in self.root.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.root).as_posix() for path in files)


@pytest.fixture
def depot(tmp_path: Path) -> Iterator[Depot]:
    with Server() as server:
        yield Depot(server, tmp_path)


def test_files_come_are_unpacked_and_noted_and_a_second_run_does_nothing(depot):
    wanted = depot.run()
    assert [one.to for one in wanted] == ["coco/val2017.zip", "llava/llava.json"]
    tree = [".downloads.json", "coco/val2017/1", "coco/val2017/2", "llava/llava.json"]
    assert depot.tree() == tree
    assert (depot.root / "coco/val2017/2").read_text() == "two"
    receipts = json.loads((depot.root / ".downloads.json").read_text())
    assert receipts["coco/val2017.zip"] == {
        "url": depot.server.url("/val2017.zip"),
        "nbytes": len(depot.zip),
        "sha256": hashlib.sha256(depot.zip).hexdigest(),
        "checked": "sha256",
        "made": ["val2017"],
    }
    assert receipts["llava/llava.json"]["checked"] == "size"
    first, *lines = depot.said.getvalue().splitlines()
    assert first == f"2 of 2 files to come, about {len(depot.zip) + 8} bytes"
    assert sorted(lines) == [
        f"coco/val2017.zip: {len(depot.zip)} bytes, sha256 checked",
        "coco/val2017.zip: unpacked to val2017",
        "llava/llava.json: 8 bytes, size checked",
    ]
    depot.said.truncate(0)
    depot.run()
    assert len(depot.server.asked) == 2
    assert depot.tree() == tree
    assert depot.said.getvalue().lstrip("\0") == "0 of 2 files to come, about 0 bytes\n"


def test_what_someone_removed_comes_again(depot):
    depot.run()
    (depot.root / "llava/llava.json").unlink()
    for path in (depot.root / "coco/val2017").iterdir():
        path.unlink()
    (depot.root / "coco/val2017").rmdir()
    depot.run()
    asked = ["/llava.json", "/llava.json", "/val2017.zip", "/val2017.zip"]
    assert sorted(depot.server.paths()) == asked
    assert "coco/val2017/1" in depot.tree()


def test_corpora_and_the_minimal_set_are_chosen(depot):
    assert [one.to for one in depot.run("llava")] == ["llava/llava.json"]
    assert [one.to for one in depot.run(minimal=True)] == ["coco/val2017.zip"]
    with pytest.raises(ListingError, match="llava: nothing is in the smallest set; drop --minimal"):
        depot.run("llava", minimal=True)
    with pytest.raises(ListingError, match="nothing is listed .* for cocoa; there are coco, llava"):
        depot.run("cocoa")


def test_a_file_that_fails_does_not_keep_the_others_and_all_failures_are_told(depot):
    depot.server.serve("/val2017.zip", status(404))
    depot.corpora["coco"].append({"url": "http://localhost:1/x", "to": "coco/x"})
    with pytest.raises(DownloadError) as caught:
        depot.run()
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 failed:"
    assert sorted(lines[1:3]) == [
        f"  {depot.server.url('/val2017.zip')} answered 404 Not Found",
        "  http://localhost:1/x is not asked: the host localhost is not among those allowed",
    ]
    assert lines[3] == "Run the same command again for those; what came is kept"
    assert depot.tree() == [".downloads.json", "llava/llava.json"]


def test_an_archive_that_cannot_be_unpacked_is_told_and_kept(depot):
    data = zipped(**{"..__evil": "x"})
    depot.server.serve("/val2017.zip", file(data))
    depot.corpora["coco"][0] |= {"nbytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    with pytest.raises(DownloadError, match="'../evil' leads out of the folder"):
        depot.run("coco")
    assert depot.tree() == [".downloads.json", "coco/val2017.zip"]
    assert not (depot.root / "evil").exists()


def test_an_archive_that_was_fetched_but_not_unpacked_is_only_unpacked(depot, monkeypatch):
    def broken(*args: object) -> None:
        raise OSError("the disk went away")

    with monkeypatch.context() as patched:
        patched.setattr(downloading, "unpack", broken)
        with pytest.raises(OSError, match="the disk went away"):
            depot.run("coco")
    depot.run("coco")
    assert depot.server.paths() == ["/val2017.zip"]
    assert depot.tree() == [".downloads.json", "coco/val2017/1", "coco/val2017/2"]


def test_a_listed_file_that_someone_put_there_is_taken_over(depot):
    (depot.root / "coco").mkdir(parents=True)
    (depot.root / "coco/val2017.zip").write_bytes(depot.zip)
    depot.run("coco")
    assert depot.server.asked == []
    assert "coco/val2017/1" in depot.tree()


def test_another_file_under_that_name_is_not_written_over(depot):
    (depot.root / "coco").mkdir(parents=True)
    (depot.root / "coco/val2017.zip").write_bytes(b"mine")
    with pytest.raises(
        DownloadError, match="is there, but is not the file listed: .*; move it away"
    ):
        depot.run("coco")
    assert (depot.root / "coco/val2017.zip").read_bytes() == b"mine"


def test_a_disk_that_cannot_hold_it_is_told_with_numbers_before_anything_comes(depot, monkeypatch):
    usage = namedtuple("usage", "total used free")
    nbytes = len(depot.zip)
    free = 2 * nbytes + 7
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda path: usage(free, 0, free))
    with pytest.raises(DownloadError, match=f"{2 * nbytes + 8:,} bytes more .* {free:,} are free"):
        depot.run()
    assert depot.server.asked == []
    part = depot.root / "coco/val2017.zip.part"
    part.parent.mkdir()
    part.write_bytes(depot.zip[:1])  # one byte is there: now it fits
    depot.run()


def test_several_numbered_files_are_one_line(depot):
    for number in range(3):
        depot.server.serve(f"/{number:04d}.tar", file(b"tar %d" % number))
    url, to = depot.server.url("/{0000..0002}.tar"), "cc3m/a-{00..02}-of-03.tar"
    depot.corpora = {"cc3m": [{"url": url, "to": to}]}
    depot.run()
    assert depot.tree()[1:] == ["cc3m/a-00-of-03.tar", "cc3m/a-01-of-03.tar", "cc3m/a-02-of-03.tar"]
    assert (depot.root / "cc3m/a-02-of-03.tar").read_bytes() == b"tar 2"


def images_of(depot: Depot) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (30, 20), "teal").save(picture, "JPEG")
    shown = depot.server.serve("/1.jpg", file(picture.getvalue()))
    lists = [f"a boat\t{shown}\ngone\t{depot.server.url('/2.jpg')}\n", f"a ship\t{shown}\n"]
    depot.corpora = {
        "cc3m": [{"url": depot.server.url("/tar"), "to": "a.tar", "with_images": False}]
    }
    for number, text in enumerate(lists):
        url = depot.server.serve(f"/{number}.tsv", file(text.encode()))
        images = {"with_images": True, "images": {"to": "cc3m/train"}}
        depot.corpora["cc3m"].append({"url": url, "to": f"cc3m/{number}.tsv", **images})


def test_images_by_address_are_fetched_when_wanted_and_their_lists_numbered_through(depot):
    images_of(depot)
    depot.run(images=True)
    shards = [f"cc3m/train/{n}{end}" for n in ("00000", "00001") for end in (".parquet", ".tar")]
    shards += [f"cc3m/train/{n}_stats.json" for n in ("00000", "00001")]
    assert depot.tree() == sorted([".downloads.json", "cc3m/0.tsv", "cc3m/1.tsv", *shards])
    with tarfile.open(depot.root / "cc3m/train/00001.tar") as archive:
        assert archive.getnames() == ["000010000.jpg", "000010000.txt", "000010000.json"]
    lines = depot.said.getvalue().splitlines()
    assert "cc3m/train/00000: 1 of 2 images" in lines
    asked = len(depot.server.asked)
    depot.run(images=True)
    assert len(depot.server.asked) == asked


def test_images_wait_until_all_lists_of_their_folder_are_there(depot):
    images_of(depot)
    depot.server.serve("/0.tsv", status(404))
    with pytest.raises(
        DownloadError, match="its images are not fetched before cc3m/0.tsv is there"
    ):
        depot.run(images=True)
    assert depot.tree() == [".downloads.json", "cc3m/1.tsv"]


def test_a_receipt_that_cannot_be_read_is_an_error(depot):
    depot.root.mkdir()
    (depot.root / ".downloads.json").write_text("{")
    with pytest.raises(DownloadError, match="cannot be read: .*; remove it to start over"):
        depot.run()


def test_ctrl_c_ends_it_at_once_and_the_next_run_goes_on(depot):
    depot.corpora = {"coco": depot.corpora["coco"]}
    depot.corpora["coco"][0]["nbytes"] = None
    body = depot.zip
    depot.server.serve("/val2017.zip", depot.server.stalled(body, 60, '"1"'))  # at every attempt
    content = {"hosts": ["127.0.0.1"], "corpora": depot.corpora}
    depot.listing.write_text(yaml.safe_dump(content))
    program = (
        "import sys; from pathlib import Path; from rich.console import Console\n"
        "from pipelines.download import download; from pipelines.engine import Threads\n"
        "from pipelines.download.web import Policy\n"
        "policy = Policy(('127.0.0.1',), ('http',), timeout=0.5, backoff=0.001)\n"
        "download(Path(sys.argv[1]), (), False, False, Threads(2), Console(),\n"
        "         listing_file=Path(sys.argv[2]), policy=policy)\n"
    )
    command = [sys.executable, "-c", program, str(depot.root), str(depot.listing)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    part = depot.root / "coco/val2017.zip.part"
    until = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size == 0) and time.monotonic() < until:
        time.sleep(0.01)  # the bytes are still in the writer's buffer
    os.kill(process.pid, signal.SIGINT)
    assert process.stderr is not None
    error = process.stderr.read()
    assert process.wait(20) != 0
    assert error.rstrip().endswith(b"KeyboardInterrupt")
    assert part.stat().st_size == 60
    depot.server.serve("/val2017.zip", file(body))
    depot.run()
    assert depot.server.headers("Range")[-1] == "bytes=60-"
    assert "coco/val2017/2" in depot.tree()


def test_the_command_says_what_it_cannot_do(tmp_path):
    args = ["download", "--root", str(tmp_path), "--corpus", "cocoa"]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("download failed: nothing is listed to download for cocoa")


def test_the_command_takes_root_and_corpora_from_a_config(tmp_path, monkeypatch):
    called: list[tuple] = []

    def noted(root: Path, corpora: tuple[str, ...], minimal: bool, images: bool, *rest: object):
        called.append((root, tuple(corpora), minimal, images))
        return []

    monkeypatch.setattr(downloading, "download", noted)
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"root": "data/x", "corpora": {"coco": {}, "robots": {}}}))
    for options in (["--config", str(config), "--minimal"], ["--images"], ["--corpus", "gqa"]):
        assert CliRunner().invoke(app, ["download", *options]).exit_code == 0
    config.write_text(yaml.safe_dump({"root": "data/x", "corpora": {"robots": {}}}))
    assert CliRunner().invoke(app, ["download", "--config", str(config)]).exit_code == 0
    assert called == [
        (Path("data/x").resolve(), ("coco",), True, False),
        (Path("data/base_vlm"), (), False, True),
        (Path("data/base_vlm"), ("gqa",), False, False),
        (Path("data/x").resolve(), ("robots",), False, False),  # which is refused, and not "all"
    ]
