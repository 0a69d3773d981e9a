"""A plan is what the build then does."""

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from manifests.seal import Seal
from pipelines import config as configs
from pipelines import ledger, plan_tables
from pipelines.cli import app
from pipelines.engine import Threads
from pipelines.plan import Exposure, Protection, plan


@pytest.fixture
def planned(shop):
    def run(*overrides):
        config = configs.load(shop.written(), overrides)
        return plan(config, shop.out, Threads(2), Console(quiet=True))

    return run


def test_what_is_planned_is_what_is_built(shop, planned):
    told = planned()
    assert not shop.out.exists(), "a plan writes nothing there"
    sealed = shop.build()
    assert told.shards == len(sealed.shards)
    failed = [ln for ln in ledger.read(shop.out, sealed) if ln.status != "written"]
    assert list(told.lines) == failed
    assert {
        corpus.corpus: (corpus.records, corpus.usable, corpus.shards) for corpus in told.corpora
    } == {
        name: (
            sum(s.records for s in sealed.shards if s.corpus == name),
            sum(s.turns for s in sealed.shards if s.corpus == name),
            sum(1 for s in sealed.shards if s.corpus == name),
        )
        for name in ("coco", "vqav2", "gqa", "robots")
    }
    written = sum(s.nbytes + s.manifest_nbytes for s in sealed.shards)
    assert 0.5 * written < told.nbytes < 2 * written, "every record here is in the sample"
    assert told.seconds > 0
    assert told.fits
    coco, *_ = told.corpora
    assert (coco.layout, coco.source_files, coco.images) == ("authors' JSON", 2, 6)
    assert (coco.annotations, coco.missing, coco.unreadable) == (14, 1, 0)
    assert (coco.width, coco.height) == (80, 60)


def test_a_picture_that_cannot_be_read_is_found_by_the_probe(shop, planned):
    (shop.raw / "coco/train2017/000000522418.jpg").write_bytes(b"")
    coco, *_ = planned().corpora
    assert coco.unreadable == 0.25
    assert coco.records == 4, "the gate has not seen it"


def test_protection_is_told_with_its_price_and_what_it_leaves(planned):
    told = planned()
    assert told.protections == (Protection(by="vqav2/val", annotations=2, alone=2),)
    vqav2 = {e.place: e for e in told.exposures}["vqav2/val"]
    assert vqav2 == Exposure(place="vqav2/val", images=2, protected="image", seen=0, seen_by=())
    told = planned("protect.image=[coco/val]", "protect.text=[vqav2/val]")
    assert told.protections == ()
    vqav2 = {e.place: e for e in told.exposures}["vqav2/val"]
    assert (vqav2.protected, vqav2.seen, vqav2.seen_by) == ("text", 1, ("coco",))


def test_it_proposes_bits_only_where_others_would_be_better(planned):
    assert planned().proposals == {}
    assert planned("corpora.coco.bits=3").proposals == {"coco/train": 0, "coco/val": 0}


def test_it_is_printed_as_tables_as_json_and_for_a_page(shop, planned):
    args = ["plan", "--config", str(shop.written()), "--out", str(shop.out)]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    for said in (
        "Found",
        "To be written",
        "What protection holds back",
        "Contamination",
        "vqav2/val",
        "In all 9 shards",
        "coco/val                   1  quarantined: empty",
    ):
        assert said in result.stdout
    result = CliRunner().invoke(app, [*args, "--json"])
    told = json.loads(result.stdout)
    assert (told["shards"], told["fits"]) == (9, True)
    page = plan_tables.markdown(planned())
    assert "| coco/val | 2 | image | 0 | - |" in page


def test_a_disk_that_is_too_small_is_said_before_anything_is_built(shop, planned, monkeypatch):
    monkeypatch.setattr("pipelines.plan.shutil.disk_usage", lambda path: type("", (), {"free": 9}))
    assert not planned().fits
    args = ["plan", "--config", str(shop.written()), "--out", str(shop.out)]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 1
    assert "The disk is too small by " in result.stdout


def test_what_cannot_be_planned_is_one_sentence(shop):
    args = ["plan", "--config", str(shop.written()), "--set", "root=/nowhere"]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 1
    assert result.stderr.startswith("plan failed: root /nowhere does not exist")


def test_a_seal_of_before_is_not_touched(shop, planned):
    sealed = shop.build()
    planned()
    assert Seal.read(shop.out) == sealed


def test_what_cannot_be_protected_is_said(planned):
    (warning,) = planned("protect.image=[coco/val, cc3m/val]").warnings
    assert warning.startswith("nothing was read of cc3m/val: their pictures and questions are not")
    assert planned().warnings == ()
