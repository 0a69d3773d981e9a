"""Digests and a root that agree with wrong bytes do not help: what they say is checked too."""

import hashlib
import os
import pickle
import tarfile
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import store
from manifests.schema import MANIFEST
from manifests.seal import Seal, Shard, merkle_root, rows_digest
from shards import tar, writer
from shards.reader import parse
from shards.validate import validate


def _shard(folder: Path) -> Shard:
    return Seal.read(folder).select("coco", "train")[1]


def _reseal(
    folder: Path,
    extents: list[bytes],
    rows: list[dict],
    end: bytes = tar.END,
    columns: pa.Schema = MANIFEST,
    **forged: str,
) -> str:
    """Replace a shard by other bytes and rows, all digests and the root made to agree, but for
    what is forged. Returns the name of the tar."""
    seal, old = Seal.read(folder), _shard(folder)
    data = b"".join(extents) + end
    sha256 = hashlib.sha256(data).hexdigest()
    stem = f"coco-train-{old.id}"
    rows = [row | {"shard": f"{stem}-{sha256[:8]}.tar"} for row in rows]
    table = store.parquet_bytes(pa.Table.from_pylist(rows, schema=columns))
    table_sha256 = hashlib.sha256(table).hexdigest()
    new = msgspec.structs.replace(
        old,
        tar=f"coco/{stem}-{sha256[:8]}.tar",
        nbytes=len(data),
        sha256=sha256,
        manifest=f"manifests/coco/{stem}-{table_sha256[:8]}.parquet",
        manifest_nbytes=len(table),
        manifest_sha256=table_sha256,
        rows_digest=rows_digest(rows),
        records=len(rows),
        turns=sum(row["turns"] or 0 for row in rows),
    )
    new = msgspec.structs.replace(new, **forged)
    (folder / old.tar).unlink()
    (folder / old.manifest).unlink()
    store.write(folder / new.tar, data)
    store.write(folder / new.manifest, table)
    shards = tuple(new if shard == old else shard for shard in seal.shards)
    changed = {"shards": shards, "root": merkle_root(shards), "ledger": ()}
    store.commit(folder, msgspec.structs.replace(seal, **changed))
    return new.tar


def _turned(extent: bytes) -> bytes:
    """The same JSON, two fields the other way round."""
    return extent.replace(b'"answers":[],"box":null', b'"box":null,"answers":[]')


def _rows(extents: list[bytes], rows: list[dict]) -> list[dict]:
    """Rows that say truly where extents lie."""
    starts = [sum(map(len, extents[:i])) for i in range(len(extents))]
    return [
        row | {"offset": start, "nbytes": len(extent), "digest": writer.digest(extent)}
        for row, start, extent in zip(rows, starts, extents, strict=True)
    ]


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda e, r: (e, r), None),
        (lambda e, r: (e[::-1], r[::-1]), None),  # their order is the plan's
        (lambda e, r: ([e[0], *e], [r[0], *r]), "{first}: is there 2 times"),
        (lambda e, r: ([_turned(e[0]), *e[1:]], r), "{first}: its JSON is not canonical"),
        (lambda e, r: ([e[1], e[0], *e[2:]], r), "{first}: its manifest row has key"),
        (lambda e, r: (e, [r[0] | {"licence": "?"}, *r[1:]]), "{first}: its manifest row has lice"),
        (lambda e, r: (e, [r[0] | {"turns": 4}, *r[1:]]), "{first}: its manifest row has turns 4"),
        (lambda e, r: ([e[0][:1024], *e[1:]], r), "{first}: "),
    ],
    ids=["whole", "order", "doubled", "json", "swapped", "licence", "turns", "cut"],
)
def test_a_seal_that_agrees_with_wrong_bytes_does_not_help(copy, harm, problem):
    shard = _shard(copy)
    rows, data = pq.read_table(copy / shard.manifest).to_pylist(), (copy / shard.tar).read_bytes()
    extents = [data[row["offset"] : row["offset"] + row["nbytes"]] for row in rows]
    first = f"record {rows[0]['key']}"
    extents, rows = harm(extents, rows)
    name = _reseal(copy, extents, _rows(extents, rows))
    found = [line for line in map(str, validate(copy)) if "ledger of" not in line]
    if problem is None:
        assert found == []
    else:
        assert any(line.startswith(f"{name}: {problem.format(first=first)}") for line in found)


@pytest.mark.parametrize(
    ("forged", "problem"),
    [
        (
            {"tar": "coco/coco-train-00001-01234567.tar"},
            "coco/coco-train-00001-01234567.tar: its n",
        ),
        ({"rows_digest": "0" * 64}, "{manifest}: its rows are not the sealed ones"),
        ({"columns": MANIFEST.remove(0)}, "{manifest}: its columns are not those of a manifest"),
        ({"split": "val"}, "{tar}: record {first}: is of coco/train"),
    ],
)
def test_a_seal_that_says_something_else_is_refused(copy, forged, problem):
    shard = _shard(copy)
    rows, data = pq.read_table(copy / shard.manifest).to_pylist(), (copy / shard.tar).read_bytes()
    name = _reseal(copy, [data[: -len(tar.END)]], rows, **forged)
    (new,) = (shard for shard in Seal.read(copy).shards if shard.tar == name)
    expected = problem.format(tar=name, manifest=new.manifest, first=rows[0]["key"])
    found = [str(problem) for problem in validate(copy)]
    assert any(line.startswith(expected) for line in found), found


def test_gaps_statuses_and_ends_are_checked(copy):
    shard = _shard(copy)
    rows, data = pq.read_table(copy / shard.manifest).to_pylist(), (copy / shard.tar).read_bytes()
    extents = [data[row["offset"] : row["offset"] + row["nbytes"]] for row in rows]
    odd = writer.row(key="odd", corpus="coco", split="train", turns=1, status="lost")
    rows = _rows(extents, rows)[1:]
    name = _reseal(copy, extents, [*rows, odd], end=tar.END + b"secret")
    found = "\n".join(map(str, validate(copy)))
    assert f"{name}: record {rows[0]['key']}: begins at byte {len(extents[0])}, the one" in found
    assert "record odd: unknown status 'lost'" in found
    assert f"{name}: bytes after the last record (byte {sum(map(len, extents))}) are not" in found
    assert f"{name}: {len(rows)} records of {5 * len(rows)} turns, sealed with" in found


def _reheaded(extent: bytes, **fields: object) -> bytes:
    """A record whose first member has another header."""
    info = tarfile.TarInfo.frombuf(extent[: tar.BLOCK], "ascii", "strict")
    for name, value in fields.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.USTAR_FORMAT) + extent[tar.BLOCK :]


def _with_image(extent: bytes, image: bytes) -> bytes:
    picture, said = tar.members(extent)
    json = extent[said.content : said.content + said.size]
    return tar.member(picture.name, image) + tar.member(said.name, json)


NESTED = b'{"a":' + b"[" * 9999
LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
PLAIN = "byte 0: not a plain USTAR header of a regular file; member '{name}.jpg' "


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda e: _reheaded(e, **LINK), PLAIN + "is a symbolic link to '/etc/passwd'"),
        (lambda e: _reheaded(e, type=tarfile.CHRTYPE), PLAIN + "is a character device"),
        (lambda e: _reheaded(e, mode=0o755), PLAIN + "is marked as executable (mode 0755)"),
        (lambda e: _with_image(e, b"\x7fELF" + bytes(99)), "its image is an ELF program"),
        (lambda e: _with_image(e, pickle.dumps([1], 4)), "its image is a pickle by its content"),
        (lambda e: e.replace(b".jpg", b".pkl"), "byte 0: not a plain USTAR header"),
        (lambda e: b"x" * 1024, "byte 0: not a plain USTAR header of a regular file; no tar head"),
        (lambda e: tar.member("../a.jpg", b"") + tar.member("../a.json", b"{}"), ""),
        (lambda e: e + tar.member("more.jpg", b""), "is not key.jpg, then key.json; it has "),
        (
            lambda e: tar.member("a.jpg", b"") + tar.member("a.json", b'{"a":' + b"[" * 9999),
            "maximum",
        ),
    ],
)
def test_members_that_no_record_has_are_named(copy, harm, problem):
    shard = _shard(copy)
    rows, data = pq.read_table(copy / shard.manifest).to_pylist(), (copy / shard.tar).read_bytes()
    extents = [data[row["offset"] : row["offset"] + row["nbytes"]] for row in rows]
    extents[0] = harm(extents[0])
    name, key = _reseal(copy, extents, _rows(extents, rows)), rows[0]["key"]
    found = [one for one in validate(copy) if "ledger of" not in one.what]
    assert {(one.file, one.key, one.place) for one in found} == {(name, key, shard.place)}
    expected = problem.format(name=key)
    assert any(one.what.lower().startswith(expected.lower()) for one in found), found


def _replace(folder: Path, **fields: object) -> None:
    store.commit(folder, msgspec.structs.replace(Seal.read(folder), **fields))


def test_what_the_seal_says_of_images_and_groups_is_checked(copy):
    shard = _shard(copy)
    _replace(copy, bits={"coco/train": 2}, image_policy={"policy": "squash", "size": 32})
    assert list(validate(copy)) == []
    _replace(copy, bits={"coco/train": 3})
    assert any(
        "belongs in shard" in one.what and one.place == shard.place for one in validate(copy)
    )
    _replace(copy, bits={}, image_policy={"policy": "squash", "size": 64})
    (first, *_) = validate(copy)
    assert first.what == "its image is 32x32, sealed as 64x64"


def test_a_shard_that_comes_again_under_another_id_is_found(copy):
    sealed, shard = Seal.read(copy), _shard(copy)
    double = msgspec.structs.replace(shard, id="00009")
    shards = (*sealed.shards, double)
    _replace(copy, shards=shards, root=merkle_root(shards))
    found = list(validate(copy))
    assert any("its name is not coco/coco-train-00009-" in one.what for one in found)
    assert "ledger of coco/train: 40 records, its manifests have" in "\n".join(map(str, found))


def test_a_record_in_two_shards_of_a_place_is_named(copy):
    first, shard = Seal.read(copy).select("coco", "train")[:2]
    row, *_ = (r for r in pq.read_table(copy / first.manifest).to_pylist() if r["offset"] == 0)
    rows, data = pq.read_table(copy / shard.manifest).to_pylist(), (copy / shard.tar).read_bytes()
    extents = [data[r["offset"] : r["offset"] + r["nbytes"]] for r in rows]
    extents.append((copy / first.tar).read_bytes()[: row["nbytes"]])
    name = _reseal(copy, extents, _rows(extents, [*rows, row]))
    (found,) = (one for one in validate(copy) if "ledger of" not in one.what)
    assert str(found) == f"{name}: record {row['key']}: is in {first.tar} as well"


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"offset": None}, "its manifest row has offset None, nbytes "),
        ({"nbytes": -1}, "its manifest row has offset 0, nbytes -1"),
        ({"nbytes": 2**60}, "cut off: "),
        ({"digest": None}, "damaged (xxh3-128 differs)"),
        ({"turns": None}, "its manifest row has turns None"),
        ({"kinds": None}, "its manifest row has kinds None"),
    ],
)
def test_rows_that_say_nonsense_are_named(copy, fields, what):
    shard = _shard(copy)
    rows, data = pq.read_table(copy / shard.manifest).to_pylist(), (copy / shard.tar).read_bytes()
    rows[0] |= fields
    name = _reseal(copy, [data[: -len(tar.END)]], rows)
    found = [one for one in validate(copy) if one.key == rows[0]["key"]]
    assert any(one.file == name and one.what.startswith(what) for one in found), found


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"meta": '{"evidence":"x"}'}, "its meta has for evidence 'x', expected an object"),
        ({"meta": '{"evidence":{"facts":[]}}'}, "its meta has for its facts [], expected an"),
        ({"meta": '{"site":[1]}'}, "its meta has for site [1], expected an object"),
        ({"meta": '{"site":{"terrain":"lava"}}'}, "unknown terrain 'lava'"),
        ({"meta": '{ "a":1}'}, "its meta is not canonical JSON"),
        ({"thread": 65_536}, "is of thread 65536; expected 0 to 65535"),
        ({"behind": b"PK\3\4"}, "its image does not end where a JPEG does"),
    ],
)
def test_a_record_that_readers_could_make_nothing_of_is_named(copy, change, what):
    shard = _shard(copy)
    rows, data = pq.read_table(copy / shard.manifest).to_pylist(), (copy / shard.tar).read_bytes()
    extents = [data[row["offset"] : row["offset"] + row["nbytes"]] for row in rows]
    record = parse(extents[0])
    turn = msgspec.structs.replace(record.turns[0], thread=change.get("thread", 0))
    record = msgspec.structs.replace(
        record, meta=change.get("meta", "{}"), turns=(turn, *record.turns[1:])
    )
    image = record.image + change.get("behind", b"")
    key = record.key
    extents[0] = tar.member(f"{key}.jpg", image) + tar.member(f"{key}.json", record.encode())
    _reseal(copy, extents, _rows(extents, rows))
    found = [one.what for one in validate(copy) if one.key == key]
    assert len(found) == 1, found
    assert what in found[0]


def test_what_is_no_file_is_not_opened(copy):
    sealed = Seal.read(copy)
    one, two, *_ = sealed.select("coco", "train")
    (copy / one.tar).unlink()
    os.mkfifo(copy / one.tar)
    (copy / two.tar).unlink()
    (copy / two.tar).mkdir()
    found = [str(problem) for problem in validate(copy)]
    assert f"{one.tar}: is not a regular file" in found
    assert f"{two.tar}: is not a regular file" in found


def test_a_seal_written_otherwise_is_found(copy):
    path = copy / "dataset.json"
    for text in (path.read_text() + "\n", path.read_text().replace("  ", " ")):
        path.write_text(text)
        (problem,) = validate(copy)
        assert str(problem).startswith("dataset.json: its bytes are not as a seal is written")


def test_names_cannot_break_a_line_or_move_a_cursor(copy):
    (copy / "coco" / "a\n\x1b[2Jb.tar").touch()
    (problem,) = validate(copy)
    assert str(problem) == (
        "coco/a\\n\\x1b[2Jb.tar: not listed in dataset.json, "
        "has a name with characters that cannot be printed"
    )


def test_swapped_tars_are_named_with_whose_bytes_they_hold(copy):
    one, two, *_ = Seal.read(copy).select("coco", "train")
    (copy / one.tar).rename(copy / "aside")
    (copy / two.tar).rename(copy / one.tar)
    (copy / "aside").rename(copy / two.tar)
    found = [str(problem) for problem in validate(copy)]
    assert f"{one.tar}: holds the bytes of {two.tar}" in found
    assert f"{two.tar}: holds the bytes of {one.tar}" in found
