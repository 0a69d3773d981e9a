"""The records of our tars, the same bytes, in another library's format.

    python tests/bench/peers/convert.py loose|litdata|mosaicml|energon SOURCE OUT

SOURCE holds tars of key.jpg and key.json; OUT becomes files and a list of them (loose), or what
the library's own writer makes. For energon they are the same tars, by links, with what its own tool
puts beside them. Run in an environment that has the library, and nothing of ours.
"""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 16 << 20  # bytes: enough chunks for two workers


def main() -> None:
    kind, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if kind == "energon":
        _energon(source, out)
    else:
        {"loose": _loose, "litdata": _litdata, "mosaicml": _mosaicml}[kind](_records(source), out)


def _records(source: Path) -> Iterator[tuple[str, bytes, bytes]]:
    for path in sorted(source.glob("**/*.tar")):
        with tarfile.open(path) as tar:
            members = iter(tar)
            for picture, said in zip(members, members, strict=True):
                contents = [file.read() for file in map(tar.extractfile, (picture, said)) if file]
                yield picture.name.removesuffix(".jpg"), contents[0], contents[1]


def _loose(records: Iterator[tuple[str, bytes, bytes]], out: Path) -> None:
    listed = []
    for key, jpeg, said in records:
        (out / f"{key}.jpg").write_bytes(jpeg)
        listed.append({"file": f"{key}.jpg", **json.loads(said)})
    (out / "list.json").write_text(json.dumps(listed))


def _litdata(records: Iterator[tuple[str, bytes, bytes]], out: Path) -> None:
    from litdata.streaming.writer import BinaryWriter  # pyright: ignore[reportMissingImports]

    writer = BinaryWriter(str(out), chunk_bytes=_CHUNK)
    for number, (_, jpeg, said) in enumerate(records):
        writer[number] = {"jpg": jpeg, "json": said}
    writer.done()
    writer.merge()


def _mosaicml(records: Iterator[tuple[str, bytes, bytes]], out: Path) -> None:
    from streaming import MDSWriter  # pyright: ignore[reportMissingImports]

    columns = {"jpg": "bytes", "json": "bytes"}
    with MDSWriter(out=str(out), columns=columns, size_limit=_CHUNK) as writer:
        for _, jpeg, said in records:
            writer.write({"jpg": jpeg, "json": said})


def _energon(source: Path, out: Path) -> None:
    for path in source.glob("*.tar"):
        os.link(path, out / path.name)
    said = ["--non-interactive", "--split-ratio", "1,0,0", "--sample-type", "CrudeWebdataset"]
    energon = Path(sys.executable).with_name("energon")
    command = [str(energon), "prepare", *said, str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
