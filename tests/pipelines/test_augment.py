"""From robot-selection rows to what is trained on: checked, split, put in other words, reasoned."""

import json
from functools import cache

import msgspec
import pytest

from manifests.place import split_of, task_group
from manifests.schema import canonical_json
from pipelines import augment
from pipelines.corpora import Folders, robots
from pipelines.robots import choose, dataset
from pipelines.robots.reading import read, same
from pipelines.robots.reasoning.check import check
from pipelines.table import Row, read_rows, write_rows


@cache
def written() -> tuple[Row, ...]:
    """The rows of a small set of ours."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset.write(folder, choose.groups(5, 60, 40))
        return tuple(robots.survey(Folders("robots", folder, folder, folder, robots.SPLITS)).rows())


def ours() -> list[Row]:
    return list(written())


def wild(task: str, **changed) -> Row:
    meta = canonical_json({"site": {"terrain": "floor", "indoor": 1}})
    row = Row(key="robots-wild", group=task_group(task), locator="scene:robots-wild", split=None,
              id="wild", thread="wild", kind="robot", prompt=task, target="Drone",
              robots=("Drone",), meta=meta)  # fmt: skip
    return msgspec.structs.replace(row, **changed)


def test_what_the_capability_model_gives_passes_and_other_labels_do_not():
    rows = list(augment.scenarios(ours()))
    assert rows == ours()
    single = next(row for row in rows if not row.plan)
    (spoilt,) = augment.scenarios([msgspec.structs.replace(single, target="Nobody")])
    assert spoilt.status == "quarantined"
    assert spoilt.error == (
        f"contradicted label: ['Nobody']; the capability model gives ['{single.target}']"
    )
    team = next(row for row in rows if row.plan)
    swapped = msgspec.structs.replace(team, plan=team.plan[::-1])
    assert [row.status for row in augment.scenarios([swapped])] == ["quarantined"]


def test_words_that_cannot_be_read_are_quarantined_if_they_come_with_requirements():
    row = msgspec.structs.replace(ours()[0], prompt="Mow the vicar's lawn before tea.")
    (found,) = augment.scenarios([row])
    assert found.status == "quarantined" and "no job that the lexicon knows" in str(found.error)


def test_rows_from_elsewhere_pass_and_get_neither_paraphrase_nor_reasoning():
    row = wild("Film the church tower")
    rows = list(augment.split(list(augment.scenarios([row]))))
    assert rows == [msgspec.structs.replace(row, split=split_of(row.group))]
    assert list(augment.paraphrase(rows, 2)) == rows
    assert list(augment.reasoning(rows)) == rows


def test_a_split_is_that_of_the_words_and_one_that_is_given_stays():
    rows = list(augment.split(ours()))
    assert [row.split for row in rows] == [split_of(row.group) for row in rows]
    assert {row.split for row in rows} == {"train", "val", "test"}
    assert all(row.status is None for row in rows)
    (given,) = augment.split([wild("Film the church tower", split="val")])
    assert given.split == "val"


def test_a_train_task_that_is_nearly_one_of_val_is_held_back():
    val = wild("Film the old church tower from the north side today", split="val")
    near = wild("Film the old church tower from the south side today", split="train")
    far = wild("Carry nine crates of lemons to the kitchen", split="train")
    found = list(augment.split([val, near, far]))
    assert [row.status for row in found] == [None, "held back", None]
    assert val.prompt in str(found[1].error)


@pytest.mark.parametrize("count", [0, 2])
def test_each_train_task_gets_paraphrases_that_mean_the_same_and_no_other_does(count):
    rows = list(augment.split(ours()))
    made = list(augment.paraphrase(rows, count))
    train = [row for row in rows if row.split == "train"]
    assert len(made) == len(rows) + count * len(train)
    assert len({row.key for row in made}) == len(made)
    by_key = {row.key: row for row in made}
    for row in train:
        texts = {task_group(row.prompt)}
        for number in range(1, count + 1):
            other = by_key[f"{row.key}-p{number}"]
            assert same(read(other.prompt), read(row.prompt))
            assert (other.group, other.split, other.meta) == (row.group, "train", row.meta)
            assert (other.target, other.plan) == (row.target, row.plan)
            assert other.locator == f"scene:{other.key}", "a drawing of its own"
            texts.add(task_group(other.prompt))
        assert len(texts) == count + 1


def test_records_of_the_same_words_keep_the_same_words():
    rows = list(augment.split(ours()))
    made = {row.key: row.prompt for row in augment.paraphrase(rows, 1)}
    by_words: dict[str, list[str]] = {}
    for row in rows:
        if row.split == "train":
            by_words.setdefault(row.prompt, []).append(made[f"{row.key}-p1"])
    pairs = [others for others in by_words.values() if len(others) > 1]
    assert pairs and all(len(set(others)) == 1 for others in pairs)


def test_every_row_gets_a_reasoning_that_holds():
    rows = ours()[::4]
    made = list(augment.reasoning(rows))
    assert [row.kind for row in made] == ["robot", "reasoning"] * len(rows)
    for said, why in zip(made[::2], made[1::2], strict=True):
        assert (why.key, why.prompt, why.meta) == (said.key, said.prompt, said.meta)
        assert check(why.target, augment.record(said)) == []
        assert 40 <= len(why.target.split()) <= 160


def test_a_node_takes_a_table_and_gives_another(tmp_path):
    write_rows(tmp_path / "a", "robots", ours())
    count = augment.apply(augment.split, tmp_path / "a", tmp_path / "b")
    assert count == len(ours())
    assert list(read_rows(tmp_path / "b")) == list(augment.split(ours()))


def test_a_row_is_a_record_of_the_files_again(tmp_path):
    rows = ours()
    dataset.write(tmp_path, choose.groups(5, 60, 40))
    files = [json.loads((tmp_path / name).read_text()) for name in dataset.FILES.values()]
    for row, record in zip(rows, [r for records in files for r in records], strict=True):
        again = augment.record(row)
        wanted = {k: v for k, v in record.items() if k != "instruction" and v is not None}
        assert again == wanted
