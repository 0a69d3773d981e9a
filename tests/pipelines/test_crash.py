"""Builds that fail: what was sealed stays whole, what was not is never seen, nothing is lost."""

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import msgspec
import pytest

from manifests import store
from manifests.seal import Seal, SealError, merkle_root
from pipelines import build as building
from pipelines import pack, prepare
from pipelines.build import BuildError
from pipelines.ledger import LedgerError
from shards.reader import DamageError, Dataset
from shards.validate import validate

ROOT = Path(__file__).parents[2]


def recaption(shop) -> None:
    """Change the sources: coco/train becomes another shard."""
    captions = shop.raw / "coco/annotations/captions_train2017.json"
    captions.write_text(captions.read_text().replace("Something red", "A thing, red"))


@pytest.mark.parametrize("where", ["pack", "manifest", "seal"])
def test_a_build_that_fails_leaves_the_earlier_data_set(
    shop, digests, unfinished, monkeypatch, where
):
    shop.build()
    before = digests(shop.out)
    (shop.out / "build-state.json").unlink()  # so that all shards are packed again
    recaption(shop)
    # coco's new shard is published before the failure
    reached = []

    def full(what, kept, doomed):
        def run(*args, **more):
            if doomed(*args):
                reached.append(sorted(path.name for path in (shop.out / "coco").glob("*.tar")))
                raise OSError(28, "No space left on device")
            return kept(*args, **more)

        monkeypatch.setattr(*what, run)

    if where == "pack":
        full((building.pack, "pack"), pack.pack, lambda plan, *_: plan.name == "vqav2-val-00000")
    elif where == "manifest":  # a tar stands there whole, its manifest does not
        full((store, "write"), store.write, lambda path, _: "vqav2-val" in path.name)
    else:
        full((building, "merkle_root"), merkle_root, lambda _: True)
    with pytest.raises(OSError, match="the disk of .* is full; what was sealed there stays whole"):
        shop.build()
    assert len(reached[0]) == 3, "the new shard of coco/train was there, beside the old two"
    assert digests(shop.out) == before
    assert list(validate(shop.out)) == []
    assert list(unfinished(shop.out)) == []


def test_a_first_build_that_fails_seals_nothing(shop, tmp_path, digests, unfinished, monkeypatch):
    def run(plan, *rest):
        if plan.name == "vqav2-val-00000":
            raise RuntimeError("killed")
        return packed(plan, *rest)

    packed = pack.pack
    monkeypatch.setattr(building.pack, "pack", run)
    with pytest.raises(RuntimeError, match="killed"):
        shop.build(workers=2)
    with pytest.raises(SealError, match="is not a sealed data set"):
        Seal.read(shop.out)
    assert list(unfinished(shop.out)) == []
    monkeypatch.undo()
    shop.build()
    shop.build(tmp_path / "undisturbed")
    assert digests(shop.out) == digests(tmp_path / "undisturbed")


def test_what_a_killed_build_left_is_collected_and_what_is_not_ours_is_not(shop, digests):
    shop.build()
    before = digests(shop.out)
    left = {"coco/.tmp-0123456789abcdef", "coco/coco-train-00000-00000000.tar"}
    left |= {".tmp-build/coco.rows", "manifests/gqa/gqa-val-00001-ffffffff.parquet"}
    for name in left:
        (shop.out / name).parent.mkdir(exist_ok=True)
        (shop.out / name).write_bytes(b"left behind")
    own = {"cc3m/00000.tar", "cc3m/00000.parquet", "coco/images.tar", "notes/.tmp-d/a.tar"}
    for name in own:
        (shop.out / name).parent.mkdir(exist_ok=True, parents=True)
        (shop.out / name).write_bytes(b"a user's own")
    shop.build()
    after = digests(shop.out)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == own


def test_a_ledger_that_does_not_balance_is_never_sealed(shop, monkeypatch):
    """As if packing had lost a row: the sums are checked before the seal is written."""

    def losing(plan, *rest):
        packed = kept(plan, *rest)
        written, *others = packed.lines
        fewer = msgspec.structs.replace(written, annotations=written.annotations - 1)
        return pack.Packed(shard=packed.shard, lines=(fewer, *others))

    kept = pack.pack
    monkeypatch.setattr(building.pack, "pack", losing)
    with pytest.raises(BuildError, match="the ledger of coco/train does not balance"):
        shop.build()
    assert not (shop.out / "dataset.json").exists()


def test_rows_that_the_gate_loses_are_noticed(shop, monkeypatch):
    gate = prepare.gate

    def losing(*args):
        gated = gate(*args)
        return msgspec.structs.replace(gated, plans=gated.plans[1:])

    monkeypatch.setattr(prepare, "gate", losing)
    with pytest.raises(LedgerError, match="coco: 14 annotations read, 4 placed"):
        shop.build()
    assert not (shop.out / "dataset.json").exists()


LIES = [
    ({"id": "00007"}, "coco-train-00000 was to be packed, coco-train-00007 came of it"),
    ({"split": "val"}, "coco-train-00000 was to be packed, coco-val-00000 came of it"),
    (
        {"sha256": "0" * 64},
        r"coco-train-00000-[0-9a-f]{8}.tar is not sealed: its place and its sha",
    ),
    ({"manifest_sha256": "0" * 64}, r"coco-train-00000-[0-9a-f]{8}.parquet is not sealed: its pl"),
    ({"tar": "coco/other.tar"}, "coco/other.tar is not sealed"),
    ({"manifest": "/etc/passwd"}, "/etc/passwd is not sealed"),
    ({"nbytes": 1}, r"coco-train-00000-[0-9a-f]{8}.tar is not sealed: \d+ bytes, 1 were written"),
    ({"manifest_nbytes": 1}, r"coco-train-00000-.{8}.parquet is not sealed: \d+ bytes, 1 were"),
]


@pytest.mark.parametrize(("lie", "told"), LIES)
def test_a_worker_that_lies_about_a_shard_is_found_out_before_the_commit(
    shop, digests, monkeypatch, lie, told
):
    shop.only("coco")
    shop.build()
    before = digests(shop.out)
    recaption(shop)
    honest = pack.pack

    def lying(plan, *rest):
        packed = honest(plan, *rest)
        if plan.name == "coco-train-00000":
            shard = msgspec.structs.replace(packed.shard, **lie)
            return msgspec.structs.replace(packed, shard=shard)
        return packed

    monkeypatch.setattr(building.pack, "pack", lying)
    with pytest.raises(ValueError, match=told):
        shop.build()
    assert digests(shop.out) == before
    assert list(validate(shop.out)) == []


def test_a_helper_that_is_killed_while_others_pack_leaves_nothing_half_written(
    shop, tmp_path, digests, monkeypatch, unfinished
):
    shop.build()
    before = digests(shop.out)
    recaption(shop)
    (shop.out / "build-state.json").unlink()  # so that all shards are packed again
    monkeypatch.setattr(building, "_FEW", 0)  # by helpers
    pack_one = building.pack_one

    def killing(plan, config, out, pool):
        if plan.name == "coco-train-00000":
            with pytest.raises(BrokenProcessPool):
                pool.submit(signal.raise_signal, signal.SIGKILL).result()
        return pack_one(plan, config, out, pool)

    monkeypatch.setattr(building, "pack_one", killing)
    with pytest.raises(ChildProcessError, match="a helper process was killed, perhaps for want of"):
        shop.build(workers=2)
    assert digests(shop.out) == before
    assert list(unfinished(shop.out)) == []
    monkeypatch.undo()
    shop.build()
    shop.build(tmp_path / "undisturbed")
    assert digests(shop.out) == digests(tmp_path / "undisturbed")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 48 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # polars may still map a file


def test_a_disk_that_is_full_is_named_and_freed(shop, small_disk):
    out = small_disk / "out"
    with pytest.raises(OSError, match=r"the disk of .*/disk/out is full; what was sealed there"):
        shop.build(out)
    assert [path for path in out.rglob("*") if path.is_file()] == []


def test_a_file_that_may_not_grow_is_told_and_leaves_what_stood(shop, digests, monkeypatch):
    shop.only("coco")
    shop.build()
    before = digests(shop.out)
    recaption(shop)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    honest = pack.pack

    def limited(*told):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            return honest(*told)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    monkeypatch.setattr(building.pack, "pack", limited)
    with pytest.raises(OSError, match=r"\[Errno 27\] File too large: '.*/out/coco'"):
        shop.build()
    assert digests(shop.out) == before
    assert list(validate(shop.out)) == []


def test_another_builder_is_refused_until_the_first_is_killed(shop):
    held = "import sys, pathlib; from manifests import store\n"
    held += "with store.sole_writer(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
    first = subprocess.Popen(
        [sys.executable, "-c", held, str(shop.out)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with first:
        assert first.stdout
        assert first.stdout.readline() == b"held\n"
        refused = shop.cli()
        first.kill()
    assert refused.exit_code == 1
    assert f"build failed: another build is writing to {shop.out}; wait for it" in refused.output
    shop.build()
    assert list(validate(shop.out)) == []


def test_of_two_builders_that_start_together_one_builds(shop):
    """The other is refused, or comes later and finds it done."""
    script = "import sys, pipelines.build; from pipelines.cli import app\n"
    script += "print('ready', flush=True); sys.stdin.readline(); app(sys.argv[1:])"
    command = [sys.executable, "-c", script, "build", "--plain"]
    command += ["--config", str(shop.written()), "--out", str(shop.out)]
    pipe = subprocess.PIPE
    two = [
        subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe)
        for _ in range(2)
    ]
    assert [one.stdout.readline() for one in two if one.stdout] == ["ready\n", "ready\n"]
    for one in two:
        assert one.stdin
        one.stdin.write("\n")
        one.stdin.flush()
    ends = sorted((one.communicate()[1], one.returncode) for one in two)
    assert 0 in {code for _, code in ends}
    assert all(code == 0 or "another build is writing to" in said for said, code in ends)
    assert list(validate(shop.out)) == []


def test_who_reads_while_a_build_replaces_what_is_read_is_told_or_reads_on(shop):
    shop.build()
    data = Dataset(shop.out)
    opened, later = data.source("coco", "train"), data.source("coco", "train")
    before = [opened.record(n) for n in range(len(opened))]
    assert len(later.index) == len(before), "its index is there, its tar was never opened"
    recaption(shop)
    shop.build()
    assert not (shop.out / opened.shards[0].tar).exists()
    assert [opened.record(n) for n in range(len(opened))] == before
    with pytest.raises(
        DamageError, match="is gone: .* was replaced by a newer data set after this"
    ):
        later.record(0)
    same = data.source("vqav2", "train")
    assert same.record(0).corpus == "vqav2", "what did not change is read as ever"
    new = Dataset(shop.out).source("coco", "train")
    assert [new.record(n) for n in range(len(new))] != before
