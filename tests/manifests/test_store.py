"""A name on disk means a whole file: what a crash leaves behind, and what is read."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from manifests import disk, store
from manifests.disk import TEMPORARY
from manifests.seal import SealError


class CrashError(Exception):
    """Stands for anything that can go wrong while a file is written."""


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_crash_in_new_file_leaves_nothing(tmp_path):
    with pytest.raises(CrashError), store.new_file(tmp_path / "a") as file:
        file.write(b"half")
        assert file.path.name.startswith(TEMPORARY)
        assert file.path.read_bytes() == b"half"
        raise CrashError
    assert _names(tmp_path) == ["a"]


def test_a_file_that_is_not_published_leaves_nothing(tmp_path):
    with store.new_file(tmp_path) as file:
        file.write(b"never named")
    assert _names(tmp_path) == []


def test_a_crash_in_new_folder_leaves_nothing(tmp_path):
    with pytest.raises(CrashError), store.new_folder(tmp_path / "a" / "b") as folder:
        (folder / "half.npy").write_bytes(b"half")
        assert folder.name.startswith(TEMPORARY)
        assert folder.parent == tmp_path / "a"
        assert not (tmp_path / "a" / "b").exists()
        raise CrashError
    assert _names(tmp_path) == ["a"]


def test_a_finished_folder_appears_whole_and_is_never_written_over(tmp_path):
    with store.new_folder(tmp_path / "a") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "x").write_bytes(b"1")
    assert _names(tmp_path) == ["a", "a/deep", "a/deep/x"]
    with pytest.raises(FileExistsError, match="a exists already"), store.new_folder(tmp_path / "a"):
        pass
    assert (tmp_path / "a" / "deep" / "x").read_bytes() == b"1"


def test_two_that_finish_the_same_folder_leave_the_first(tmp_path):
    with pytest.raises(OSError), store.new_folder(tmp_path / "a") as slow:
        with store.new_folder(tmp_path / "a") as fast:
            (fast / "x").write_bytes(b"fast")
        (slow / "x").write_bytes(b"slow")
    assert _names(tmp_path) == ["a", "a/x"]
    assert (tmp_path / "a" / "x").read_bytes() == b"fast"


def test_write_replaces_at_once(tmp_path, monkeypatch):
    path = tmp_path / "dataset.json"
    store.write(path, b"old")
    seen = []
    rename = disk.rename

    def watch(old: Path, new: Path) -> None:
        seen.append((path.read_bytes(), old.read_bytes()))
        rename(old, new)

    monkeypatch.setattr(disk, "rename", watch)
    store.write(path, b"new")
    assert seen == [(b"old", b"new")], "the old file stood until the whole new one took its name"
    assert path.read_bytes() == b"new"
    assert _names(tmp_path) == ["dataset.json"]


@pytest.mark.parametrize("step", ["create", "write", "set_mode", "sync", "rename"])
def test_a_crash_while_publishing_keeps_the_old_file(tmp_path, monkeypatch, step):
    store.write(tmp_path / "x", b"old")

    def crash(*arguments: object) -> None:
        raise CrashError

    monkeypatch.setattr(disk, step, crash)
    with pytest.raises(CrashError):
        store.write(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert _names(tmp_path) == ["x"]


def test_a_file_is_synced_before_it_is_named_and_its_folder_after(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(disk, "sync", lambda path: calls.append(("sync", path.name)))
    rename = disk.rename
    monkeypatch.setattr(
        disk, "rename", lambda old, new: calls.append(("rename", new.name)) or rename(old, new)
    )
    store.write(tmp_path / "x", b"1")
    (first, temporary), *rest = calls
    assert first == "sync"
    assert temporary.startswith(TEMPORARY)
    assert rest == [("rename", "x"), ("sync", tmp_path.name)]


@pytest.mark.parametrize(
    ("umask", "file", "folder"),
    [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750), (0o077, 0o600, 0o700)],
)
def test_modes_follow_the_umask(tmp_path, umask, file, folder):
    script = (
        f"import os, pathlib; os.umask({umask}); from manifests import store\n"
        f"out = pathlib.Path({str(tmp_path)!r})\n"
        "store.write(out / 'x', b'1')\n"
        "with store.new_folder(out / 'f') as f: (f / 'y').write_bytes(b'2')\n"
        "(out / 'after').write_bytes(b'3')\n"  # importing store put the umask back
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(store.__file__).parents[1])
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("x", "f", "f/y", "after")}
    assert modes == {"x": file, "f": folder, "f/y": file, "after": file}


def test_a_lock_is_held_by_one_and_errors_of_what_it_guards_are_its_own(tmp_path):
    refused = pytest.raises(BlockingIOError, match="another build is writing to .*/out; wait for")
    with store.sole_writer(tmp_path / "out"), refused, store.sole_writer(tmp_path / "out"):
        pass
    with (
        pytest.raises(BlockingIOError, match="a pipe is full"),
        store.sole_writer(tmp_path / "out"),
    ):
        raise BlockingIOError("a pipe is full")
    with store.sole_writer(tmp_path / "out"):
        assert (tmp_path / "out").is_dir()


@pytest.fixture
def shard(tmp_path, make_shard):
    """A shard whose files are in tmp_path, with the names that its digests give."""
    place = {"corpus": "coco", "split": "val", "id": "00003"}
    tar, manifest = "coco/coco-val-00003-aaaaaaaa.tar", "coco/coco-val-00003-bbbbbbbb.parquet"
    digests = {"sha256": "a" * 64, "manifest_sha256": "b" * 64}
    shard = make_shard(
        **place, **digests, tar=tar, manifest=f"manifests/{manifest}", nbytes=10, manifest_nbytes=3
    )
    store.write(tmp_path / shard.tar, b"0123456789")
    store.write(tmp_path / shard.manifest, b"012")
    store.check_files(tmp_path, shard)
    return shard


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        ({"corpus": "gqa"}, "tar is not sealed: .* make it gqa/gqa-val-00003-aaaaaaaa.tar"),
        ({"split": "train"}, "tar is not sealed: .* make it coco/coco-train-00003-aaaaaaaa.tar"),
        ({"id": "00004"}, "tar is not sealed: .* make it coco/coco-val-00004-aaaaaaaa.tar"),
        ({"sha256": "c" * 64}, "aaaaaaaa.tar is not sealed: .* make it .*-cccccccc.tar"),
        ({"manifest_sha256": "c" * 64}, "bbbbbbbb.parquet is not sealed: .* it .*-cccccccc.parq"),
        (
            {"tar": "../coco-val-00003-aaaaaaaa.tar"},
            "^../coco-val-00003-aaaaaaaa.tar is not sealed",
        ),
        ({"nbytes": 11}, "coco-val-00003-aaaaaaaa.tar is not sealed: 10 bytes, 11 were written"),
        ({"manifest_nbytes": 2}, "bbbbbbbb.parquet is not sealed: 3 bytes, 2 were written"),
    ],
)
def test_a_lie_about_a_file_is_named_before_it_is_sealed(tmp_path, shard, lie, told):
    with pytest.raises(SealError, match=told):
        store.check_files(tmp_path, msgspec.structs.replace(shard, **lie))


def test_a_file_that_is_gone_is_named_before_it_is_sealed(tmp_path, shard):
    (tmp_path / shard.manifest).unlink()
    with pytest.raises(SealError, match="bbbbbbbb.parquet is not sealed: it was written, and is"):
        store.check_files(tmp_path, shard)


SHARDS = {"coco/coco-val-00009-00000000.tar", "manifests/ledger-00000000.parquet"}
LEFT = SHARDS | {
    f"{folder}/.tmp-0123456789abcdef"
    for folder in (".", "coco", "manifests", "manifests/coco", "fingerprints", ".nv-meta")
}
NOT_OURS = {
    "index/.tmp-0123456789abcdef",  # a reader may be making one now
    "tokens/.tmp-0123456789abcdef",
    "notes/.tmp-draft",
    "coco/notes.tar",
    "gqa/coco-val-00009-00000000.tar",
}


def leave(folder: Path) -> None:
    for name in LEFT | NOT_OURS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"left")


def names_of_files(folder: Path) -> set[str]:
    return {path for path in _names(folder) if (folder / path).is_file()}


def test_what_is_left_of_others_is_collected_and_what_is_not_ours_is_not(
    tmp_path, shard, make_seal
):
    reasons = store.write_named(tmp_path, "manifests/ledger", ".parquet", b"reasons")
    store.commit(tmp_path, make_seal([shard], reasons=reasons))
    before = names_of_files(tmp_path)
    leave(tmp_path)
    store.collect(tmp_path)
    assert names_of_files(tmp_path) == before | NOT_OURS


def test_without_a_seal_every_shard_is_of_a_build_that_was_never_finished(tmp_path, shard):
    leave(tmp_path)
    store.collect(tmp_path)
    assert names_of_files(tmp_path) == NOT_OURS


@pytest.mark.parametrize("flip", [b'"root"', b"coco/coco-val-00003-aaaaaaaa.tar"])
def test_under_a_seal_that_is_damaged_no_shard_is_removed(tmp_path, shard, make_seal, flip):
    """The first is one that cannot be read; by the second the shard's own tar is listed nowhere."""
    reasons = store.write_named(tmp_path, "manifests/ledger", ".parquet", b"reasons")
    store.commit(tmp_path, make_seal([shard], reasons=reasons))
    seal = (tmp_path / "dataset.json").read_bytes()
    assert flip in seal
    (tmp_path / "dataset.json").write_bytes(seal.replace(flip, flip[:-2] + b"s" + flip[-1:]))
    before = names_of_files(tmp_path)
    leave(tmp_path)
    store.collect(tmp_path)
    assert names_of_files(tmp_path) == before | NOT_OURS | SHARDS


ROWS = [
    {"key": "a", "corpus": "coco", "split": "train", "status": "written", "turns": 5},
    {"key": "b", "corpus": "coco", "split": "train", "status": "quarantined", "turns": 2},
    {"key": "c", "corpus": "gqa", "split": "val", "status": "written", "turns": 3},
]


def test_scan_gives_every_row_of_the_listed_manifests_only(tmp_path, write_set):
    folder = tmp_path / "data[1]*"  # no pattern: a name
    other = [row | {"key": "stray"} for row in ROWS[:1]]
    write_set(folder, other)
    write_set(folder, ROWS)  # the first manifest stays on disk, and no seal lists it
    assert len(list(folder.glob("manifests/coco/*.parquet"))) == 2
    frame = store.scan(folder)
    assert type(frame).__name__ == "LazyFrame"
    rows = frame.select("key", "corpus", "split", "status", "turns", "digest").collect()
    assert rows.rows() == [(*row.values(), None) for row in ROWS]


def test_scan_of_a_seal_without_shards_says_so(tmp_path, make_seal):
    store.commit(tmp_path, make_seal([]))
    with pytest.raises(ValueError, match="is sealed but holds no shard"):
        store.scan(tmp_path)
