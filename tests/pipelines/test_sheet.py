"""Contact sheets: so many scenes of a set, the same for a seed, without what is not seen."""

import json

import numpy as np
import pytest

from pipelines.robots.choose import groups
from pipelines.robots.dataset import FILES, write
from pipelines.robots.scene import draw
from pipelines.sheet import contact_sheet

YARD = {"indoor": 0, "terrain": "pavement"}
SIDE, ROW, COLUMN, GAP = 224, 354, 236, 12  # of a cell, in pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small set of ours."""
    path = tmp_path_factory.mktemp("set")
    write(path, groups(3, 60, 60))
    return path


def record(number, site=YARD, told=(), pair=None):
    return {
        "id": f"single-{number:04d}",
        "input": f"Task: Look at lamp {number}.",
        "output": "Drone",
        "site": site,
        "evidence": {"decided": "text", "facts": dict.fromkeys(told, "text")},
        "pair": pair,
    }


def written(folder, *single):
    folder.mkdir(exist_ok=True)
    (folder / FILES["single"]).write_text(json.dumps(single))
    (folder / FILES["multi"]).write_text("[]")
    return folder


def cell(sheet, place):
    """The scene of a cell."""
    row, column = divmod(place, 6)
    x, y = GAP + column * COLUMN, GAP + row * ROW
    return sheet.crop((x, y, x + SIDE, y + SIDE))


def _colours(picture):
    return len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0))


@pytest.mark.parametrize("show", ["single", "multi"])
@pytest.mark.parametrize(("count", "rows"), [(1, 1), (6, 1), (7, 2)])
def test_a_sheet_has_six_columns_and_as_many_rows_as_it_takes(folder, show, count, rows):
    sheet = contact_sheet(folder, show, count, 1)
    assert (sheet.mode, sheet.size) == ("RGB", (6 * COLUMN + GAP, rows * ROW + GAP))


def test_a_sheet_has_no_more_cells_than_there_are_records(tmp_path):
    sheet = contact_sheet(written(tmp_path, *(record(i) for i in range(3))), "single", 50, 1)
    assert sheet.size == (6 * COLUMN + GAP, ROW + GAP)
    assert [_colours(cell(sheet, place)) > 1 for place in range(6)] == [True] * 3 + [False] * 3


def test_the_same_seed_gives_the_same_sheet_and_another_gives_another(folder):
    sheets = [contact_sheet(folder, "single", 3, seed).tobytes() for seed in (1, 1, 2)]
    assert sheets[0] == sheets[1] != sheets[2]


def test_a_cell_is_the_scene_of_its_record_with_words_below(tmp_path):
    site = {**YARD, "stairs": 1, "slope_deg": 8.0}
    sheet = contact_sheet(written(tmp_path, record(7, site)), "single", 1, 1)
    assert cell(sheet, 0).tobytes() == draw(site, "robots-single-0007", SIDE).tobytes()
    below = np.asarray(sheet.crop((GAP, GAP + SIDE, GAP + SIDE, ROW)))
    assert (below.min(axis=2) < 100).sum() > 100, "nothing is written there"


def test_facts_that_only_the_words_tell_are_not_drawn(tmp_path):
    rain = {**YARD, "rain": 0.9, "stairs": 1}
    sheets = {
        name: contact_sheet(written(tmp_path / name, record(1, *said)), "single", 1, 1)
        for name, said in {
            "plain": (YARD,),
            "told": (rain, ["rain", "stairs"]),
            "seen": (rain,),
        }.items()
    }
    assert sheets["told"].tobytes() == sheets["plain"].tobytes()
    assert sheets["seen"].tobytes() != sheets["plain"].tobytes()


def test_only_pairs_are_shown_where_pairs_are_wanted(tmp_path):
    """The two of the pair, side by side, and none of the others."""
    pair = [record(8, YARD, pair="pair-0001"), record(9, {**YARD, "stairs": 1}, pair="pair-0001")]
    alone = [record(i) for i in range(5)]
    sheet = contact_sheet(written(tmp_path, *alone, *pair), "pairs", 9, 1)
    for place, of in enumerate(pair):
        scene = draw(of["site"], f"robots-{of['id']}", SIDE)
        assert cell(sheet, place).tobytes() == scene.tobytes()
    assert _colours(cell(sheet, 2)) == 1


@pytest.mark.parametrize("show", ["multi", "pairs"])
def test_a_set_without_what_is_to_be_shown_is_refused(tmp_path, show):
    with pytest.raises(ValueError, match=f"has no {show} to show"):
        contact_sheet(written(tmp_path, record(1)), show, 4, 1)


def test_an_empty_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no single to show"):
        contact_sheet(written(tmp_path), "single", 4, 1)
