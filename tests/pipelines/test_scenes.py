"""Scenes drawn by helper processes are those that this one would draw, and show what is seen."""

from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests.schema import canonical_json
from pipelines.engine import helpers
from pipelines.robots.scene import scene_jpeg
from pipelines.scenes import draw_scenes
from pipelines.specs import ShardPlan
from pipelines.table import Row, write_rows

YARD = {"indoor": 0, "terrain": "pavement"}


class Nobody(Executor):
    """Draws for no one."""

    def submit(self, fn, /, *args, **kwargs):
        raise AssertionError("nothing was to be drawn")

    def map(self, fn, *iterables, timeout=None, chunksize=1):
        raise AssertionError("nothing was to be drawn")


@pytest.fixture
def threads():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def row(key, site=None, told=(), locator=None, status=None):
    facts = dict.fromkeys(told, "text")
    meta = {"site": site, "evidence": {"decided": "text", "facts": facts}} if site else {}
    return Row(
        key=key, group="g", locator=locator or f"scene:{key}", split="train",
        meta=canonical_json(meta), status=status,
    )  # fmt: skip


def planned(folder, *rows):
    path = folder / "robots-train-00000.parquet"
    write_rows(path, "robots", rows)
    return ShardPlan(
        corpus="robots", split="train", id="00000", rows=str(path), annotations=len(rows), records=0
    )


def drawn(plan):
    table = pq.read_table(plan.scenes).to_pydict()
    assert len(set(table["key"])) == len(table["key"])
    return dict(zip(table["key"], table["jpeg"], strict=True))


def test_helper_processes_draw_what_this_one_would_draw(tmp_path):
    sites = {f"s{i}": {**YARD, "stairs": i % 2, "slope_deg": float(i)} for i in range(70)}
    plan = planned(tmp_path, *(row(key, site) for key, site in sites.items()))
    with helpers(2) as pool:
        found = drawn(draw_scenes(plan, tmp_path, pool))
    assert list(found) == list(sites), "more than one helper's share, in the order of the rows"
    for key in ("s0", "s1", "s33", "s63", "s64", "s69"):
        assert found[key] == scene_jpeg(sites[key], key)
    assert len(set(found.values())) == len(sites)


def test_the_file_of_the_scenes_is_in_the_folder_and_all_else_stays(tmp_path, threads):
    plan = planned(tmp_path, row("a", YARD))
    folder = tmp_path / "scenes"
    folder.mkdir()
    new = draw_scenes(plan, folder, threads)
    assert new.scenes is not None
    assert [path.name for path in folder.iterdir()] == [Path(new.scenes).name]
    assert Path(new.scenes).parent == folder
    assert new == ShardPlan(
        corpus="robots", split="train", id="00000", rows=plan.rows, annotations=1, records=0,
        scenes=new.scenes,
    )  # fmt: skip
    assert plan.scenes is None


def test_a_fact_that_only_the_words_tell_does_not_change_the_bytes(tmp_path, threads):
    rain = {**YARD, "rain": 0.9}
    plan = planned(
        tmp_path,
        row("plain", YARD, locator="scene:x"),
        row("told", rain, told=["rain"], locator="scene:x"),
        row("seen", rain, locator="scene:x"),
    )
    found = drawn(draw_scenes(plan, tmp_path, threads))
    assert found["plain"] == found["told"] == scene_jpeg(YARD, "x")
    assert found["seen"] == scene_jpeg(rain, "x") != found["plain"]


def test_the_locator_is_the_seed_of_a_look_and_the_key_its_name(tmp_path, threads):
    plan = planned(tmp_path, row("a", YARD, locator="scene:x"), row("b", YARD, locator="scene:y:z"))
    found = drawn(draw_scenes(plan, tmp_path, threads))
    assert found == {"a": scene_jpeg(YARD, "x"), "b": scene_jpeg(YARD, "y:z")}


def test_a_scene_is_drawn_once_a_record_and_only_for_what_is_to_be_packed(tmp_path, threads):
    plan = planned(
        tmp_path,
        row("a", YARD),
        row("a", YARD),
        row("bad", YARD, status="quarantined"),
        row("held", YARD, status="held back"),
        row("photo", locator="file:coco/1.jpg"),
    )
    assert list(drawn(draw_scenes(plan, tmp_path, threads))) == ["a"]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row("photo", locator="file:coco/1.jpg")],
        [row("bad", YARD, status="quarantined"), row("twice", YARD, status="duplicate")],
    ],
)
def test_a_plan_without_scenes_is_returned_as_it_is(tmp_path, rows):
    plan = planned(tmp_path, *rows)
    assert draw_scenes(plan, tmp_path, Nobody()) is plan
    assert [path.name for path in tmp_path.iterdir()] == [Path(plan.rows).name]


def test_what_goes_wrong_while_helpers_draw_is_raised(tmp_path):
    plan = planned(tmp_path, row("a", {**YARD, "terrain": "lava"}))
    with pytest.raises(ValueError, match="unknown terrain 'lava'"), helpers(1) as pool:
        draw_scenes(plan, tmp_path, pool)
    with pytest.raises(RuntimeError):  # and the helpers are gone
        pool.submit(print)
