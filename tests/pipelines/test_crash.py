"""Builds that fail: what was sealed stays whole, what was not is never seen, nothing is lost."""

import msgspec
import pytest

from manifests import store
from manifests.seal import Seal, SealError, merkle_root
from pipelines import build as building
from pipelines import pack, prepare
from pipelines.build import BuildError
from pipelines.ledger import LedgerError
from shards.validate import validate


@pytest.mark.parametrize("where", ["pack", "manifest", "seal"])
def test_a_build_that_fails_leaves_the_earlier_data_set(
    shop, digests, unfinished, monkeypatch, where
):
    shop.build()
    before = digests(shop.out)
    captions = shop.raw / "coco/annotations/captions_train2017.json"
    captions.write_text(captions.read_text().replace("Something red", "A thing, red"))
    # coco's new shard is published before the failure
    reached = []

    def full(what, kept, doomed):
        def run(*args, **more):
            if doomed(*args):
                reached.append(sorted(path.name for path in (shop.out / "coco").iterdir()))
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
    for name in ("coco/.tmp-abc", "coco/coco-train-00000-00000000.tar", ".tmp-build/coco.rows",
                 "manifests/gqa/gqa-val-00001-ffffffff.parquet"):  # fmt: skip
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
