"""The audit: an oracle that is always right, controls that are not, and leaks that they find."""

import io
import json
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from rich.console import Console

from manifests.schema import ROBOTS, seen_site
from pipelines import audit as audits
from pipelines.audit import CONSTANT, FAILED, ORACLE, Form, Looks, answered, audit, thresholds
from pipelines.robots.choose import groups
from pipelines.robots.dataset import FILES, write
from pipelines.robots.lexicon import lexicon
from pipelines.robots.profile import kinds_table, profile
from pipelines.robots.scene import scene_jpeg
from pipelines.robots.twins import jaccard, words_of

Records = dict[str, list[dict]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set, as files."""
    path = tmp_path_factory.mktemp("set")
    write(path, groups(seed=5, single=150, multi=150))
    return path


@pytest.fixture(scope="module")
def records(folder: Path) -> Records:
    return {form: json.loads((folder / name).read_text()) for form, name in FILES.items()}


@pytest.fixture(scope="module")
def scenes(records: Records) -> dict[str, list[Image.Image]]:
    return {
        form: [Image.open(io.BytesIO(scene_jpeg(seen_site(r), r["id"]))) for r in found]
        for form, found in records.items()
    }


def _looks(pictures: list[Image.Image]) -> Looks:
    def jpeg(picture: Image.Image) -> bytes:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90)
        return buffer.getvalue()

    return audits.stacked(audits.look_of(jpeg(picture)) for picture in pictures)


@pytest.fixture(scope="module")
def forms(records: Records, scenes: dict[str, list[Image.Image]]) -> dict[str, Form]:
    return {form: answered(form, found, _looks(scenes[form])) for form, found in records.items()}


def test_the_audit_is_a_table_of_every_control(folder: Path):
    console = Console(file=io.StringIO(), width=200, record=True)
    said = audit(folder, console)
    lines = said.splitlines()
    names = ["records", "chance", CONSTANT, *audits.WORDS, *audits.PICTURES, ORACLE]
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    assert [row[0] for row in rows if row[0] in names] == 2 * names
    for row in rows:
        if row[0] in names[2:]:
            assert all(0 <= float(cell) <= 100 for cell in row[1:]), row
        if row[0] == ORACLE:
            assert set(row[1:]) == {"100.0"}
    counts = [[int(cell) for cell in row[1:]] for row in rows if row[0] == "records"]
    assert [(sum(c[:3]), sum(c[3:])) for c in counts] == [(15, 15), (45, 45)]
    checks = [line for line in lines if line.startswith(("- ok:", f"- {FAILED}:"))]
    assert len(checks) == 6
    assert [check[2:].split(":")[0] for check in checks if "oracle" in check] == ["ok", "ok"]
    shown = console.export_text()
    assert all(name in shown for name in names)


def test_the_audit_names_the_record_that_lacks_a_field(tmp_path: Path):
    for name in FILES.values():
        (tmp_path / name).write_text('[{"id": "single-0001", "input": "Task: x", "output": "y"}]')
    with pytest.raises(ValueError, match="single-0001 has no 'site'"):
        audit(tmp_path, Console(quiet=True))


def test_the_same_set_gives_the_same_answers(records: Records, forms: dict[str, Form]):
    again = answered("single", records["single"], audits.looks_of(records["single"]))
    near = "nearest neighbour, words"
    assert again.answers[ORACLE] == forms["single"].answers[ORACLE]
    assert again.answers[near] == forms["single"].answers[near]


def test_chance_is_one_of_each_pair(records: Records, forms: dict[str, Form]):
    for form, found in records.items():
        at = [i for i, r in enumerate(found) if r["pair"]]
        assert forms[form].chance(at) == pytest.approx(
            100 * len({found[i]["pair"] for i in at}) / len(at)
        )


def test_words_alone_never_beat_chance_where_the_picture_decides(forms: dict[str, Form]):
    for form in forms.values():
        assert thresholds(form)[0].startswith("ok"), thresholds(form)[0]


def test_the_oracle_is_right_of_every_record(forms: dict[str, Form]):
    for form in forms.values():
        assert form.answers[ORACLE] == [record["output"] for record in form.records]


def test_a_wrong_label_fails_the_oracle(forms: dict[str, Form]):
    form = forms["single"]
    other = next(robot for robot in ROBOTS if robot != form.records[7]["output"])
    wrong = [dict(r, output=other) if i == 7 else r for i, r in enumerate(form.records)]
    check = thresholds(replace(form, records=wrong))[2]
    assert check.startswith(FAILED)
    assert check.endswith("149 of 150 of all splits, not single-0008")


def test_words_that_cannot_be_read_fail_the_oracle(records: Records):
    assert audits.oracle({**records["single"][0], "input": "Task: Do the thing over there."}) == ""


def test_a_threshold_without_records_is_not_kept(forms: dict[str, Form]):
    empty = [dict(r, evidence={**r["evidence"], "decided": "both"}) for r in forms["multi"].records]
    checks = thresholds(replace(forms["multi"], records=empty))
    assert [check.startswith(FAILED) for check in checks] == [True, True, False]


@pytest.mark.parametrize("form", FILES)
def test_a_word_that_gives_the_label_away_fails(form, records, scenes):
    labels = sorted({record["output"] for record in records[form]})
    words = {label: 3 * f" zq{number}" for number, label in enumerate(labels)}
    leaky = [{**r, "input": r["input"] + words[r["output"]]} for r in records[form]]
    found = answered(form, leaky, _looks(scenes[form]))
    check = thresholds(found)[0]
    assert check.startswith(FAILED), check
    held_out = found.places(("val", "test"), "picture")
    best = max(found.accuracy(name, held_out) for name in audits.WORDS)
    assert best > found.chance(held_out) + audits.WORDS_SLACK


@pytest.mark.parametrize("form", FILES)
def test_a_mark_that_gives_the_label_away_fails(form, records, scenes):
    """A mark of 20 pixels in 224; as if the text decided all records, of which there are few."""
    labels = sorted({record["output"] for record in records[form]})
    shades = list(product((250, 130, 10), repeat=3))
    told = [{**r, "evidence": {**r["evidence"], "decided": "text"}} for r in records[form]]
    marked = []
    for record, scene in zip(told, scenes[form], strict=True):
        picture = scene.copy()
        shade = shades[labels.index(record["output"]) % len(shades)]
        ImageDraw.Draw(picture).rectangle((200, 200, 219, 219), fill=shade)
        marked.append(picture)
    check = thresholds(answered(form, told, _looks(marked)))[1]
    assert check.startswith(FAILED), check


def test_neighbours_are_the_nearest():
    texts = ["a red pump leaks", "see the red pump", "who counts seals", "count the seals, please"]
    labels = ["1", "2", "3", "4"]
    new = ["the red pump, see", "who counts the seals", "pump"]
    nearest = [
        max(range(4), key=lambda i: jaccard(words_of(text), words_of(texts[i]))) for text in new
    ]
    control = audits.WORDS["nearest neighbour, words"]
    assert control(np.array(texts), labels, np.array(new)) == [labels[i] for i in nearest]
    rng = np.random.default_rng(0)
    old, fresh = rng.integers(0, 256, (2, 9, 300)).astype(np.uint8)
    far = np.square(fresh[:, None].astype(float) - old[None].astype(float)).sum(axis=2)
    control, _ = audits.PICTURES["nearest neighbour, thumbnails"]
    assert control(old, list("abcdefghi"), fresh) == ["abcdefghi"[i] for i in far.argmin(axis=1)]


def test_a_look_counts_every_pixel_once():
    picture = Image.new("RGB", (224, 224), (255, 0, 0))
    picture.paste((0, 0, 255), (0, 0, 74, 74))
    looks = _looks([picture])
    assert looks.colours.sum() == looks.ninths.sum() == 224 * 224
    assert looks.thumbs.shape == (1, 32 * 32 * 3)
    assert looks.ninths[0, : 8**3].argmax() != looks.ninths[0, 8**3 : 2 * 8**3].argmax()


def test_a_profile_counts_words_frames_and_twins():
    jobs = [next(j for j in domain.jobs if not j.needs) for domain in lexicon().domains[:40]]
    texts = [f"Task: Who can {job.say[0]} {job.spot.where[0]}?" for job in jobs]
    found = profile([*texts, texts[0].upper()])
    assert (found["texts"], found["jobs"], found["unread"]) == (40, 40, 0)
    assert (found["frame"], found["frame_share"]) == ("who can [job] [where]", 1.0)
    assert found["verbs"] == len({job.say[0].split()[0] for job in jobs})
    assert found["domains"] == len({job.spot.domain for job in jobs})
    assert sum(found["domain_shares"].values()) == pytest.approx(1)
    assert found["lengths"][0] <= found["lengths"][1] <= found["lengths"][2]
    assert (found["robots_named"], found["near_twins"]) == (0, 0)
    more = profile([*texts, texts[0].replace("?", " today?"), "Task: Send the old drone over it."])
    assert (more["unread"], more["robots_named"]) == (1, 1)
    assert more["near_twins"] == pytest.approx(2 / 42)


def test_a_profile_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no texts"):
        profile([])


def test_a_set_names_no_robot_and_reads_back(records: Records):
    found = profile([record["input"] for form in records.values() for record in form])
    assert (found["robots_named"], found["unread"], found["near_twins"]) == (0, 0, 0)
    assert found["frame_share"] < 0.05
    assert found["fourgrams_a_text"] > 10


def test_kinds_of_site_are_counted(records: Records):
    both = [record for form in records.values() for record in form]
    found = kinds_table(both)
    assert sum(found["labels"].values()) + found["ties"] == pytest.approx(1)
    assert found["in_pairs"] == sum(record["pair"] is not None for record in both)
    assert 0 < found["most_used_list"] <= 20 < found["subtask_lists"] <= 150
    grounds = ("indoor ", "outdoor ")
    single = found["kinds"]["single"]
    assert sum(n for kind, (n, _, _) in single.items() if kind.startswith(grounds)) == 150
    flooded = Counter(
        r["output"] for r in records["single"] if seen_site(r).get("terrain") == "floor"
    )
    label, count = flooded.most_common(1)[0]
    assert single["indoor floor"] == (flooded.total(), label, count / flooded.total())
