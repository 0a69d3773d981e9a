"""Not one bit of a shard can change without being found, and being named by its record."""

import os
import random
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from PIL import Image

from manifests.place import order_in_shard
from manifests.seal import Seal, Shard
from shards import damage, tar
from shards.damage import check_shard
from shards.validate import validate


def _grey(number: int) -> bytes:
    sink = BytesIO()
    Image.new("L", (8, 8), number).save(sink, "JPEG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def small(tmp_path_factory, make_record, write_shard) -> tuple[Path, Shard]:
    """A shard of two records whose tar and manifest have at most 16 KB."""
    folder = tmp_path_factory.mktemp("small")
    records = [make_record("robots", number, image=_grey(number)) for number in (1, 2)]
    records.sort(key=lambda record: order_in_shard(record.key))
    shard = write_shard(folder, records)
    assert max(shard.nbytes, shard.manifest_nbytes) <= 16_384
    assert check_shard(folder, shard).problems == ()
    return folder, shard


@pytest.fixture
def parsed_once(small, monkeypatch) -> None:
    """The manifest is read and hashed each time, but taken apart only once."""
    table = pq.read_table(small[0] / small[1].manifest)
    parsed = SimpleNamespace(read=lambda: table)
    monkeypatch.setattr(damage.pq, "ParquetFile", lambda source: parsed)


def _flip(path: Path, bit: int) -> None:
    with path.open("r+b", buffering=0) as file:
        (byte,) = os.pread(file.fileno(), 1, bit // 8)
        os.pwrite(file.fileno(), bytes([byte ^ 1 << bit % 8]), bit // 8)


def _extents(folder: Path, shard: Shard) -> list[tuple[str, int, int]]:
    """The key, the first byte and the end of each record."""
    rows = pq.read_table(folder / shard.manifest).to_pylist()
    written = [row for row in rows if row["status"] == "written"]
    return [(row["key"], row["offset"], row["offset"] + row["nbytes"]) for row in written]


@pytest.mark.parametrize("part", range(4))
def test_every_flipped_bit_of_a_tar_is_named_by_its_record(small, parsed_once, part):
    folder, shard = small
    path, extents = folder / shard.tar, _extents(folder, shard)
    right = path.read_bytes()
    bits = range(part, shard.nbytes * 8, 4)
    with path.open("r+b", buffering=0) as file:
        for bit in bits:
            at = bit // 8
            os.pwrite(file.fileno(), bytes([right[at] ^ 1 << bit % 8]), at)
            found = check_shard(folder, shard).problems
            os.pwrite(file.fileno(), right[at : at + 1], at)
            assert all(problem.file == shard.tar for problem in found)
            assert all(problem.place == shard.place for problem in found)
            whose = [key for key, begin, end in extents if begin <= at < end]
            assert [p.key for p in found if p.key] == whose
            assert "sha256 is not the sealed one" in [p.what for p in found]
    assert len(bits) == shard.nbytes * 2
    assert path.read_bytes() == right


def test_every_flipped_bit_of_a_manifest_is_found(small, parsed_once):
    folder, shard = small
    path = folder / shard.manifest
    right = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for bit in range(len(right) * 8):
            at = bit // 8
            os.pwrite(file.fileno(), bytes([right[at] ^ 1 << bit % 8]), at)
            (problem,) = check_shard(folder, shard).problems
            os.pwrite(file.fileno(), right[at : at + 1], at)
            assert (problem.file, problem.place) == (shard.manifest, shard.place)
    assert path.read_bytes() == right


def test_every_length_that_a_tar_can_be_cut_to_is_found(small, parsed_once):
    folder, shard = small
    path, extents = folder / shard.tar, _extents(folder, shard)
    right = path.read_bytes()
    for length in reversed(range(len(right))):
        os.truncate(path, length)
        found = check_shard(folder, shard).problems
        assert f"{length} bytes, sealed with {shard.nbytes}" in [p.what for p in found]
        first_cut = [key for key, _, end in extents if end > length][:1]
        assert [p.key for p in found if p.key] == first_cut
    path.write_bytes(right)


def test_every_length_that_a_manifest_can_be_cut_to_is_found(small):
    folder, shard = small
    path = folder / shard.manifest
    right = path.read_bytes()
    for length in reversed(range(len(right))):
        os.truncate(path, length)
        (problem,) = check_shard(folder, shard).problems
        assert problem.what == f"{length} bytes, sealed with {shard.manifest_nbytes}"
    path.write_bytes(right)


def test_flipped_bits_of_a_large_data_set_are_named_by_shard_and_record(copy):
    draw = random.Random(5)
    shards = [shard for shard in Seal.read(copy).shards if shard.records]
    for _ in range(60):
        shard = draw.choice(shards)
        path = copy / draw.choice([shard.tar, shard.tar, shard.manifest])
        bit = draw.randrange(path.stat().st_size * 8)
        _flip(path, bit)
        found = list(validate(copy))
        _flip(path, bit)
        name = path.relative_to(copy).as_posix()
        assert {problem.file for problem in found} == {name}
        assert {problem.place for problem in found} == {shard.place}
        whose = {k for k, begin, end in _extents(copy, shard) if begin <= bit // 8 < end}
        expected = whose if name == shard.tar else set()
        assert {problem.key for problem in found} - {None} == expected
    assert list(validate(copy)) == []


def test_flipped_bits_of_the_seal_are_found(copy):
    draw, path = random.Random(5), copy / "dataset.json"
    for bit in draw.sample(range(path.stat().st_size * 8), 400):
        _flip(path, bit)
        assert next(validate(copy), None) is not None, bit
        _flip(path, bit)
    assert list(validate(copy)) == []


def test_bytes_after_the_end_are_found(small):
    folder, shard = small
    path = folder / shard.tar
    right = path.read_bytes()
    for more in (b"\0", tar.END, right):
        path.write_bytes(right + more)
        said = [problem.what for problem in check_shard(folder, shard).problems]
        assert said[0] == f"{len(right + more)} bytes, sealed with {len(right)}"
        assert said[1].startswith("bytes after the last record (byte ")
    path.write_bytes(right)
