"""Flips bits in a format of another library and counts how its reader takes them.

    python tests/bench/peers/flips.py webdataset|litdata|streaming SOURCE OUT FLIPS SEED

Run by `tests/bench/flips.py` in an environment that has the library, and nothing of ours. SOURCE
holds key.jpg, key.json and, for webdataset, the tar itself. Prints the counts as JSON, last.
"""

import hashlib
import json
import random
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

Rows = list[tuple[str, bytes, bytes]]


def main() -> None:
    library, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    warnings.filterwarnings("ignore")
    pictures = sorted(source.glob("*.jpg"))
    rows = [(p.stem, p.read_bytes(), p.with_suffix(".json").read_bytes()) for p in pictures]
    opened = {"webdataset": _webdataset, "litdata": _litdata, "streaming": _streaming}
    files, read = opened[library](rows, source, out)
    assert _digest(read()) == _digest(rows), "the records are not those that were written"
    fates = flip(files, int(sys.argv[4]), int(sys.argv[5]), lambda: _digest(read()))
    print(json.dumps(fates))


def flip(files: list[Path], flips: int, seed: int, read: Callable[[], object]) -> dict[str, int]:
    """Flip bits drawn over all bytes of `files`, one at a time, and read everything each time."""
    right, fates, draw = read(), Counter[str](), random.Random(seed)
    sizes = [file.stat().st_size for file in files]
    for _ in range(flips):
        bit = draw.randrange(sum(sizes) * 8)
        at, number = bit // 8, 0
        while at >= sizes[number]:
            at, number = at - sizes[number], number + 1
        whole = files[number].read_bytes()
        files[number].write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit % 8]) + whole[at + 1 :])
        try:
            fates["harmless" if read() == right else "silent"] += 1
        except Exception:  # noqa: BLE001 - whatever it raises, it noticed
            fates["noticed"] += 1
        files[number].write_bytes(whole)
    return dict(fates)


def _digest(rows: Rows) -> list[str]:
    return sorted(hashlib.sha256(repr(row).encode()).hexdigest() for row in rows)


def _webdataset(rows: Rows, source: Path, out: Path) -> tuple[list[Path], Callable[[], Rows]]:
    from webdataset.compat import WebDataset

    path = Path(shutil.copy(next(source.glob("*.tar")), out))

    def read() -> Rows:
        data = WebDataset(str(path), shardshuffle=False)
        return [(one["__key__"], one.get("jpg", b""), one.get("json", b"")) for one in data]

    return [path], read


def _litdata(rows: Rows, source: Path, out: Path) -> tuple[list[Path], Callable[[], Rows]]:
    import litdata  # pyright: ignore[reportMissingImports]
    from litdata.streaming.writer import BinaryWriter  # pyright: ignore[reportMissingImports]

    writer = BinaryWriter(str(out), chunk_bytes="64MB")
    for number, (key, jpg, said) in enumerate(rows):
        writer[number] = {"key": key, "jpg": jpg, "json": said}
    writer.done()
    writer.merge()

    def read() -> Rows:
        data = litdata.StreamingDataset(str(out))
        return [(one["key"], bytes(one["jpg"]), bytes(one["json"])) for one in data]

    return sorted(out.glob("*.bin")), read


def _streaming(rows: Rows, source: Path, out: Path) -> tuple[list[Path], Callable[[], Rows]]:
    from streaming import LocalDataset, MDSWriter  # pyright: ignore[reportMissingImports]

    columns = {"key": "str", "jpg": "bytes", "json": "bytes"}
    with MDSWriter(out=str(out), columns=columns, hashes=["sha1"]) as writer:
        for key, jpg, said in rows:
            writer.write({"key": key, "jpg": jpg, "json": said})

    def read() -> Rows:
        data = LocalDataset(str(out))
        found = (data[number] for number in range(len(data)))
        return [(one["key"], one["jpg"], one["json"]) for one in found]

    return sorted(out.glob("*.mds")), read


if __name__ == "__main__":
    main()
