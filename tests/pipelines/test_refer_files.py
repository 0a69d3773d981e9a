"""Files of referring expressions: pickles as Python 2 wrote them, and what else may lie there."""

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpora import CorpusError
from pipelines.layouts import refer_files
from pipelines.layouts.refer_files import named_split, read_pickle

REFS = [{"ann_id": 7, "split": "testA", "sent_ids": [0, -3], "sentences": [{"sent": "it's red"}]}]


def protocol_0(value: Any) -> bytes:
    """The opcodes of cPickle.dumps(value): text, strings quoted."""
    if isinstance(value, str):
        return b"S" + repr(value).encode("latin1") + b"\n"
    if isinstance(value, int):
        return b"I%d\n" % value
    if isinstance(value, list):
        return b"(l" + b"".join(protocol_0(item) + b"a" for item in value)
    pairs = (protocol_0(name) + protocol_0(item) + b"s" for name, item in value.items())
    return b"(d" + b"".join(pairs)


def protocol_2(value: Any) -> bytes:
    """The opcodes of cPickle.dumps(value, 2): strings are bytes with their length."""
    if isinstance(value, str):
        return b"U" + struct.pack("B", len(value)) + value.encode("latin1")
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(protocol_2, value)) + b"e"
    pairs = (protocol_2(name) + protocol_2(item) for name, item in value.items())
    return b"}(" + b"".join(pairs) + b"u"


@pytest.mark.parametrize(("head", "opcodes"), [(b"", protocol_0), (b"\x80\x02", protocol_2)])
def test_a_pickle_of_python_2_is_read(
    tmp_path: Path, head: bytes, opcodes: Callable[[Any], bytes]
) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(head + opcodes(REFS) + b".")
    assert read_pickle(path) == REFS


def test_bytes_beyond_ascii_are_kept_as_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(b"\x80\x02U\x04caf\xe9.")
    assert read_pickle(path) == "café"


class _Touches:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize(
    "attack",
    [
        lambda done: b"cos\nsystem\n(S'touch %s'\ntR." % bytes(done),  # GLOBAL, REDUCE
        lambda done: b"(S'touch %s'\nios\nsystem\n." % bytes(done),  # INST
        lambda done: b"(cos\nsystem\nS'touch %s'\no." % bytes(done),  # OBJ
        lambda done: pickle.dumps([_Touches(done)], protocol=0),
        lambda done: pickle.dumps([_Touches(done)], protocol=2),
        lambda done: pickle.dumps([_Touches(done)], protocol=4),  # STACK_GLOBAL
    ],
)
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(
    tmp_path: Path, attack: Callable[[Path], bytes]
) -> None:
    path, done = tmp_path / "refs(unc).p", tmp_path / "done"
    path.write_bytes(attack(done))
    with pytest.raises(CorpusError, match=r"would build (os|posix).system. A refs file holds only"):
        read_pickle(path)
    assert not done.exists()
    with path.open("rb") as file:
        pickle.load(file)
    assert done.exists()  # so it would have


@pytest.mark.parametrize("data", [b"Psomething\n.", b"\x80\x02U\x01aQ."])
def test_a_pickle_that_refers_outside_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match="it refers to an object outside of it"):
        read_pickle(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!DOCTYPE html>",
        b"\x80\x02" + protocol_2(REFS)[:-9],
        b"\x80\x02r\xff\xff\xff\xff.",
        b"\x80\x04\x8e" + b"\xff" * 8,  # BINBYTES8 of more bytes than there are
        b"(" * 5000 + b".",
    ],
)
def test_a_pickle_that_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=r"refs\(unc\).p \([\d,]+ bytes\) cannot be read: "):
        read_pickle(path)


def test_a_pickle_is_neither_a_pointer_nor_endless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(CorpusError, match="is a git-lfs pointer, .*; run: git lfs pull"):
        read_pickle(path)
    monkeypatch.setattr(refer_files, "_MOST", 50)
    with pytest.raises(CorpusError, match="has 56 bytes; expected a refs file, under 50"):
        read_pickle(path)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("lmms-lab___ref_coco/default/0.0.0/9f/ref_coco-testA.arrow", "testA"),
        ("ref_coc_og-val-00000-of-00002.arrow", "val"),
        ("data/validation-00000-of-00001-a1b2.parquet", "val"),
        ("train-00001-of-00002.parquet", "train"),
        ("test.parquet", "test"),
        ("testB/data-00000-of-00001.arrow", "testB"),
        ("val/cache-0123456789abcdef.arrow", ""),
        ("ref_coco-trainer.arrow", ""),
        ("contest.arrow", ""),
    ],
)
def test_a_file_is_of_the_split_it_is_named_after(name: str, split: str) -> None:
    assert named_split(Path(name)) == split
