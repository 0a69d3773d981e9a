"""Folders besides its own that a corpus's reader looks in; and what the last build never left."""

import pytest

from manifests import store
from pipelines import config as configs
from pipelines import corpora, state
from pipelines.corpora import CorpusError
from shards.validate import validate

ELSEWHERE = ("coco/train2017", "coco/val2017")


@pytest.mark.parametrize("corpus", corpora.names())
def test_a_reader_that_asks_for_the_pictures_of_coco_has_them_watched(shop, corpus):
    folders = shop.folders(corpus)
    watched = corpora.elsewhere(corpora.load(corpus), folders)
    for name in ELSEWHERE:
        (shop.raw / name).rename(shop.raw / name.rpartition("/")[2])
    try:
        notes = corpora.load(corpus).survey(folders).notes
    except CorpusError:  # no fixture
        notes = ()
    theirs = [shop.raw / name for name in ELSEWHERE]
    asks = corpus != "coco" and any("download --corpus coco" in note for note in notes)
    assert not asks or set(theirs) <= set(watched)
    assert set(watched) <= {*theirs, shop.raw / "refcoco+"}


def test_pictures_of_coco_that_come_later_are_something_to_do(shop, monkeypatch):
    monkeypatch.setattr(state, "is_late", lambda found, since: False)
    shop.only("vqav2")
    (shop.raw / "coco/val2017").rename(shop.raw / "aside")
    before = shop.build()
    config, come = configs.load(shop.written()), shop.raw / "coco/val2017"
    assert state.compare(config, shop.out).same
    (shop.raw / "aside").rename(come)
    assert state.compare(config, shop.out) == (False, f"{come} has changed since the last build")
    assert shop.build().root != before.root


def test_a_folder_by_the_authors_name_is_watched(shop, monkeypatch):
    monkeypatch.setattr(state, "is_late", lambda found, since: False)
    theirs = (shop.raw / "refcoco_plus").rename(shop.raw / "refcoco+")
    shop.settings["corpora"]["refcoco_plus"] = {}
    shop.only("refcoco_plus")
    shop.build()
    config = configs.load(shop.written())
    assert state.compare(config, shop.out).same
    (theirs / "refs(unc).p").unlink()
    assert state.compare(config, shop.out) == (False, f"{theirs} has changed since the last build")


def test_a_shard_that_no_seal_lists_is_removed_when_there_is_nothing_to_do(shop, monkeypatch):
    monkeypatch.setattr(state, "is_late", lambda found, since: False)
    shop.only("coco")
    shop.build()
    stray = shop.out / "coco/coco-train-00000-deadbeef.tar"
    stray.write_bytes(b"not sealed")
    with store.sole_writer(shop.out):  # who writes now removes it, or is about to seal it
        assert shop.cli().stderr.startswith("nothing to do: ")
    assert stray.exists()
    assert shop.cli().stderr.startswith("nothing to do: ")
    assert not stray.exists()
    assert list(validate(shop.out)) == []
