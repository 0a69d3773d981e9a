"""Every corpus, in both of its layouts and with every trap: built by the shipped config, each trap
ends as it must, and the data set is whole."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from manifests import store
from manifests.seal import Seal
from pipelines import config as configs
from pipelines import ledger
from pipelines.build import build
from pipelines.engine import Threads
from pipelines.samples import write_samples
from shards.reader import parse
from shards.validate import validate

FULL = Path(configs.__file__).parent / "configs/full.yaml"
# Drawn pictures look alike; the robots' set has tests of its own; a small tree has a large share of
# traps, which must not hide those corpora that the shipped limits let pass.
DRAWN = ("protect.near_duplicates=off", "corpora.robots=null", "max_quarantined=0.5")


def build_tree(folder: Path, *overrides: str, **tree: Any) -> Seal:
    write_samples(folder / "raw", images=60, **tree)
    config = configs.load(FULL, [f"root={folder / 'raw'}", *DRAWN, *overrides])
    return build(config, folder / "out", Threads(2), Console(quiet=True))


@pytest.fixture(scope="module", params=["official", "as on disk"])
def built(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    build_tree(folder, as_on_disk=request.param == "as on disk", traps=True)
    return folder


def written(out: Path) -> dict[str, set[str]]:
    """The ids of the turns that were written, by corpus."""
    found: dict[str, set[str]] = {}
    for shard in Seal.read(out).shards:
        rows = store.scan(out).filter(shard=Path(shard.tar).name).collect()
        data = (out / shard.tar).read_bytes()
        for offset, nbytes in rows.select("offset", "nbytes").iter_rows():
            record = parse(data[offset : offset + nbytes])
            found.setdefault(shard.corpus, set()).update(turn.id for turn in record.turns)
    return found


def test_every_trap_ends_as_it_must(built: Path):
    turns = written(built / "out")
    rows = [r for r in store.scan(built / "out").collect().to_dicts() if r["status"] != "written"]
    traps = json.loads((built / "raw/traps.json").read_text())
    assert len(traps) >= 70
    for trap in traps:
        if trap["fate"] == "ignored":
            continue
        ids = "|".join(map(re.escape, trap["ids"]))
        kept = {
            i
            for i in turns.get(trap["corpus"], ())
            if re.fullmatch(f"(.*[/-])?({ids})([/-].*)?", i)
        }
        names = {re.sub("-[0-9]$", "", i) for i in trap["ids"]}
        names |= {Path(trap["image"]).stem.replace(".", "-")} if trap["image"] else set()
        key = re.compile(f"(^|-)({'|'.join(map(re.escape, names))})(-|$)")
        lost = {
            (row["status"], row["error"].startswith(trap["reason"]))
            for row in rows
            if row["corpus"] == trap["corpus"]
            and row["status"] != "unannotated"
            and key.search(row["key"])
        }
        if trap["fate"] == "survives":
            assert kept and not lost, trap
        else:
            assert (trap["fate"], True) in lost and not kept, (trap, lost, kept)


def test_the_data_set_is_whole_and_its_ledger_tells_of_every_annotation(built: Path):
    out = built / "out"
    assert list(validate(out)) == []
    sealed = Seal.read(out)
    assert all(count.balances for count in sealed.ledger)
    lines = ledger.read(out, sealed)
    read = sum(line.annotations for line in lines if line.status != "unannotated")
    assert read == sum(count.read for count in sealed.ledger) > 500
    assert not any(re.search(r"\d{4}", line.reason) for line in lines), "reasons have no names"


def test_what_is_trained_on_is_protected_by_none(built: Path):
    """Brute force, from the manifests alone: no image of train stands in a protected split."""
    rows = store.scan(built / "out").collect()
    protected = ("coco", "aokvqa", "refcoco", "refcoco_plus", "refcocog", "gqa", "cc3m", "ocrvqa")
    judged = rows.filter(rows["corpus"].is_in(protected) & (rows["split"] != "train"))
    judged = set(judged.filter(judged["corpus"].ne("coco") | judged["split"].eq("val"))["group"])
    trained = rows.filter((rows["split"] == "train") & (rows["status"] == "written"))
    assert trained.height > 50
    assert len(judged) > 20
    assert not judged & set(trained["group"])


def test_the_disk_as_it_is_builds_and_says_what_it_lacks(tmp_path, capsys):
    write_samples(tmp_path / "raw", images=60, as_on_disk=True)
    overrides = [f"root={tmp_path / 'raw'}", "corpora.robots=null", "protect.near_duplicates=off"]
    console = Console(width=200, force_terminal=False)
    sealed = build(configs.load(FULL, overrides), tmp_path / "out", Threads(2), console)
    said = capsys.readouterr().out
    assert "warning: laion: 0 annotations read, none can be written" in said
    assert "warning: ocrvqa: " in said and "image is missing: ocrvqa/images/" in said
    corpora = {shard.corpus for shard in sealed.shards if shard.records}
    assert corpora == {
        *("coco", "vqav2", "okvqa", "aokvqa", "gqa", "llava", "cc3m"),
        *("refcoco", "refcoco_plus", "refcocog"),
    }
    splits = {s.split for s in sealed.shards if s.corpus.startswith("refcoco")}
    assert splits == {"val", "test"}, "evaluation alone, until the config says otherwise"
