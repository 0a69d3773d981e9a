"""The ledger: sums that balance, and builds that must not be sealed."""

from typing import Any

import msgspec
import pytest

from manifests.seal import Count
from pipelines import config as configs
from pipelines import ledger
from pipelines.specs import Line


def line(status, annotations, reason="", corpus="coco", split: Any = "train", example="such"):
    return Line(
        corpus=corpus,
        split=split,
        status=status,
        reason=reason,
        annotations=annotations,
        example=example,
    )


@pytest.fixture
def config(tmp_path):
    def load(*overrides):
        path = tmp_path / "build.yaml"
        path.write_text("root: raw\ncorpora: {coco: {}}\n")
        return configs.load(path, overrides)

    return load


def test_lines_of_the_same_end_are_one():
    same = [
        line("quarantined", 2, "0 bytes", example="b"),
        line("quarantined", 3, "0 bytes", example="a"),
    ]
    other = line("quarantined", 1, "0 bytes", split="val")
    assert ledger.merged([other, *same]) == [line("quarantined", 5, "0 bytes", example="a"), other]


def test_sums_by_place():
    lines = [
        line("written", 7),
        line("quarantined", 2, "x"),
        line("quarantined", 1, "y"),
        line("duplicate", 3, "z"),
        line("held back", 4, "w"),
        line("unannotated", 9, "v"),
        line("written", 1, split="val"),
    ]
    train = Count(
        corpus="coco",
        split="train",
        read=17,
        written=7,
        quarantined=3,
        duplicate=3,
        held_back=4,
        records=5,
        unannotated=9,
    )
    assert ledger.counts(lines, {("coco", "train"): 5, ("coco", "val"): 1}) == [
        train,
        msgspec.structs.replace(
            train,
            split="val",
            read=1,
            written=1,
            quarantined=0,
            duplicate=0,
            held_back=0,
            records=1,
            unannotated=0,
        ),
    ]


def test_too_much_in_quarantine_fails_with_the_ten_commonest_reasons(config):
    reasons = [f"reason {chr(97 + n)}" for n in range(12)]
    lines = [line("written", 900)]
    lines += [line("quarantined", n + 1, r, example=f"{r}: it") for n, r in enumerate(reasons)]
    (error,) = ledger.errors(lines, config())
    said = error.splitlines()
    assert said[0] == "coco: 78 of 978 annotations are quarantined"
    assert [row.split()[0] for row in said[1:-1]] == [str(n) for n in range(12, 2, -1)]
    assert said[1] == "         12  train quarantined: reason l: it"
    assert said[-1] == "If that is as it should be, raise max_quarantined (0.05) of coco"
    assert not list(ledger.errors(lines, config("max_quarantined=0.08")))
    assert not list(ledger.errors(lines, config("corpora.coco.max_quarantined=0.08")))
    own = config("max_quarantined=0.5", "corpora.coco.max_quarantined=0")
    assert "raise max_quarantined (0) of coco" in next(ledger.errors(lines, own))


def test_a_share_of_exactly_what_is_allowed_passes(config):
    at_most = [line("written", 95), line("quarantined", 5, "x")]
    assert not list(ledger.errors(at_most, config()))
    assert len(list(ledger.errors([line("written", 94), *at_most[1:]], config()))) == 1


def test_a_corpus_without_a_sample_fails_or_is_reported(config):
    lines = [line("quarantined", 3, "image is missing", example="image is missing: a.jpg")]
    lines += [line("unannotated", 2, "no caption")]
    (error,) = ledger.errors(lines, config())
    assert error.splitlines() == [
        "coco: 3 annotations read, none can be written",
        "          3  train quarantined: image is missing: a.jpg",
        "Mend the files, or say coco: {on_empty: report} in the config",
    ]
    assert not list(ledger.warnings(lines, config()))
    report = config("corpora.coco.on_empty=report")
    assert not list(ledger.errors(lines, report))
    (warning,) = ledger.warnings(lines, report)
    assert warning.splitlines() == error.splitlines()[:-1]
    assert "its files hold no annotation" in next(ledger.errors([], config()))


def test_the_file_is_named_for_its_content_and_comes_back(shop):
    sealed = shop.build()
    lines = ledger.read(shop.out, sealed)
    assert lines == ledger.merged(lines), "one line a corpus, split, status and reason, in order"
    assert sum(ln.annotations for ln in lines if ln.status != "unannotated") == sum(
        count.read for count in sealed.ledger
    )
    records = {(c.corpus, c.split): c.records for c in sealed.ledger}
    assert ledger.counts(lines, records) == list(sealed.ledger)
    (path,) = (shop.out / "manifests").glob("*.parquet")
    assert path.name == f"ledger-{sealed.reasons.sha256[:8]}.parquet"
