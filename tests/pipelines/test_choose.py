"""Which scenarios make a set, in exact numbers and without near-twins; and the set as files."""

import json
from collections import Counter
from functools import cache
from itertools import combinations, islice

import pytest

from manifests.place import split_of, task_group
from manifests.schema import MAX_STEPS, ROBOTS, seen_site
from pipelines.robots import choose, scenarios
from pipelines.robots.capability import suited
from pipelines.robots.choose import groups, share, split_counts, typed_list
from pipelines.robots.dataset import FILES, records, write
from pipelines.robots.lexicon import Job, Spot
from pipelines.robots.paraphrase import paraphrases
from pipelines.robots.reading import read, same
from pipelines.robots.said import Item, Said
from pipelines.robots.twins import Twins

# Of 60 and 60, by hand: 70/20/10 % of all, of the single ones, and so of the others.
SPLITS = {
    "single": {"train": 42, "val": 12, "test": 6},
    "multi": {"train": 42, "val": 12, "test": 6},
}
DECIDED = {
    ("single", "train"): {"picture": 19, "text": 13, "both": 10},
    ("single", "val"): {"picture": 5, "text": 4, "both": 3},
    ("single", "test"): {"picture": 3, "text": 2, "both": 1},
    ("multi", "train"): {"picture": 15, "text": 14, "both": 13},
    ("multi", "val"): {"picture": 4, "text": 4, "both": 4},
    ("multi", "test"): {"picture": 2, "text": 2, "both": 2},
}


@cache
def grown(seed=3):
    return list(groups(seed, 60, 60))


@cache
def told(seed=3):
    return list(records(grown(seed)))


def test_the_same_seed_gives_the_same_set():
    assert list(records(groups(3, 60, 60))) == told()


def test_another_seed_shares_no_text():
    texts, others = ({g.scenarios[0].text for g in grown(seed)} for seed in (3, 4))
    assert len(texts) == len(grown()) > 60
    assert not texts & others


@pytest.mark.parametrize("count", [1, 10, 50])
def test_the_beginning_of_a_set_needs_only_its_own_time(count):
    """A prefix is taken from an unfinished run, and is that of the finished one."""
    assert list(islice(groups(3, 60, 60), count)) == grown()[:count]


@pytest.mark.parametrize("seed", [3, 4])
def test_the_numbers_by_form_and_split_are_exact(seed):
    found = Counter()
    for group in grown(seed):
        found[group.form, group.split] += len(group.scenarios)
    assert found == {(f, split): n for f, by in SPLITS.items() for split, n in by.items()}


@pytest.mark.parametrize("seed", [3, 4])
def test_the_numbers_by_what_decides_are_exact_in_every_split(seed):
    found = Counter(
        (group.form, group.split, scenario.decided)
        for group in grown(seed)
        for scenario in group.scenarios
    )
    assert found == {(*place, way): n for place, by in DECIDED.items() for way, n in by.items()}


@pytest.mark.parametrize(("single", "multi"), [(0, 0), (40, 0), (0, 40), (41, 61)])
def test_other_numbers_are_met_too(single, multi):
    found = Counter()
    for group in groups(3, single, multi):
        found[group.form] += len(group.scenarios)
    assert (found["single"], found["multi"]) == (single, multi)


@pytest.mark.parametrize(("single", "multi"), [(1, 0), (0, 1), (10, 0)])
def test_numbers_too_small_for_a_pair_come_to_an_end(single, multi, monkeypatch):
    drafts = 0

    def draft(*args):
        nonlocal drafts
        drafts += 1
        assert drafts < 4000, "it does not end"
        return scenarios.draft(*args)

    monkeypatch.setattr(choose, "draft", draft)
    assert sum(len(group.scenarios) for group in groups(3, single, multi)) == single + multi


def test_the_split_is_that_of_the_words():
    for group in grown():
        assert group.split == split_of(task_group(group.scenarios[0].text))


def test_no_text_is_a_near_twin_of_another():
    words = [set(task_group(group.scenarios[0].text).split()) for group in grown()]
    shared = [len(a & b) / len(a | b) for a, b in combinations(words, 2)]
    assert len(shared) > 2000
    assert max(shared) < 0.6


def test_a_text_is_compared_with_all_that_were_taken_before(monkeypatch):
    """With near-twins of another kind: texts of the same first letter, but for the first 9."""
    taken = []

    class Recorder(Twins):
        def add(self, text):
            taken.append(text)

        def has(self, text):
            return len(taken) >= 9 and text[0] in {other[0] for other in taken[-2:]}

    monkeypatch.setattr(choose, "Twins", Recorder)
    texts = [group.scenarios[0].text for group in islice(groups(3, 60, 60), 40)]
    assert taken == texts
    for place in range(9, 40):
        assert texts[place][0] not in {texts[place - 1][0], texts[place - 2][0]}


def test_every_train_task_can_be_put_in_two_other_ways():
    texts = [g.scenarios[0].text for g in grown() if g.split == "train"]
    assert {len(paraphrases(text, 2, Twins())) for text in texts} == {2}


def test_every_text_leaves_room_for_longer_paraphrases():
    for group in grown():
        if len(group.scenarios[0].said.items) < 4:
            assert len(group.scenarios[0].text.split()) <= 36


def test_every_text_reads_back_to_the_meaning_it_was_made_of():
    for group in grown():
        for scenario in group.scenarios:
            assert same(read(scenario.text), scenario.said)


def test_teams_are_of_two_to_five_subtasks_and_two_robots_at_least():
    sizes = Counter()
    for group in grown():
        for scenario in group.scenarios:
            sizes[len(scenario.said.items)] += 1
            assert (len(scenario.said.items) > 1) == (group.form == "multi")
            if group.form == "multi":
                assert len(scenario.robots) >= 2
                assert all(len(robots) == 1 for robots in scenario.answer)
    assert {1, 2, 3} <= set(sizes) <= {1, 2, 3, 4, 5}


def test_no_job_is_asked_for_too_often():
    single = Counter(g.scenarios[0].said.items[0].job for g in grown() if g.form == "single")
    assert max(single.values()) <= 3


@pytest.mark.parametrize("seed", [3, 4])
def test_no_robot_and_no_tie_is_out_of_proportion(seed):
    labels = Counter(r["output"] for form, r in told(seed) if form == "single")
    ties = sum(n for label, n in labels.items() if "," in label)
    assert ties <= 12
    assert all(4 <= labels[robot] <= 24 for robot in ROBOTS), labels
    team = Counter(robot for form, r in told(seed) if form == "multi"
                   for robot in r["output"].split(", "))  # fmt: skip
    assert set(team) == set(ROBOTS)
    assert max(team.values()) <= 0.3 * team.total(), team


@pytest.mark.parametrize(
    ("total", "parts", "shares"),
    [
        (100, (70, 20, 10), [70, 20, 10]),
        (10, (1, 1, 1), [4, 3, 3]),
        (8138, (70, 20, 10), [5696, 1628, 814]),
        (42, (0.46, 0.30, 0.24), [19, 13, 10]),
        (1, (70, 20, 10), [1, 0, 0]),
        (0, (70, 20, 10), [0, 0, 0]),
        (7, (3,), [7]),
    ],
)
def test_a_total_is_shared_out_without_a_rest(total, parts, shares):
    assert share(total, parts) == shares


def test_the_whole_set_has_5696_train_1628_val_and_814_test_scenarios():
    counts = split_counts(1252, 6886)
    assert counts["single"] == {"train": 877, "val": 250, "test": 125}
    assert counts["multi"] == {"train": 4819, "val": 1378, "test": 689}
    both = {split: counts["single"][split] + counts["multi"][split] for split in counts["single"]}
    assert both == {"train": 5696, "val": 1628, "test": 814}


def test_a_list_of_subtasks_is_told_by_its_verbs_types_and_order():
    here = Spot("toy", "room", ("there",), (), {"indoor": 1})
    fold = Item(Job(here, ("fold the sheets",) * 3, "sheets", "cloth", {"hands": True}))
    look = Item(Job(here, ("look at the cat",) * 3, "cat", "animal", {}))
    assert typed_list(Said((fold, look), here, True)) == ("1 look animal", "2 fold cloth")
    assert typed_list(Said((fold, look), here, True, orders=(1, 1))) == (
        "1 fold cloth",
        "1 look animal",
    )


def test_records_are_numbered_by_form_and_pairs_through_both():
    by_form = {form: [r for f, r in told() if f == form] for form in ("single", "multi")}
    for form, found in by_form.items():
        assert [r["id"] for r in found] == [f"{form}-{i:04d}" for i in range(1, 61)]
    pairs = list(dict.fromkeys(r["pair"] for _, r in told() if r["pair"]))
    assert pairs == [f"pair-{i:04d}" for i in range(1, len(pairs) + 1)]
    assert len(pairs) > 15


def test_a_pair_is_the_records_of_the_same_words():
    by_pair, alone = {}, []
    for _, record in told():
        if record["pair"]:
            by_pair.setdefault(record["pair"], []).append(record)
        else:
            alone.append(record["input"])
    assert len(set(alone)) == len(alone)
    for found in by_pair.values():
        assert len(found) > 1
        assert len({r["input"] for r in found}) == 1
        assert len({r["output"] for r in found}) == len(found)
        assert len({json.dumps(r["site"]) for r in found}) == len(found)
        assert {r["evidence"]["decided"] for r in found} == {"picture"}
        assert found[0]["input"] not in alone


def test_a_record_has_the_published_fields_and_five_of_our_own():
    ours = {"site", "requirements", "evidence", "pair"}
    for form, record in told():
        published = {"id", "instruction", "input", "output"}
        assert set(record) == published | ours | ({"subtasks"} if form == "multi" else set())
        assert record["input"].startswith("Task: ")
        assert (
            record["instruction"]
            == {
                "single": "Select the most appropriate robot for the given task.",
                "multi": "Select robots and assign subtasks for complex scenario.",
            }[form]
        )
        assert list(record["site"]) == sorted(record["site"])


def test_every_label_of_a_record_follows_from_its_requirements():
    for form, record in told():
        if form == "single":
            assert record["output"] == ", ".join(suited(record["requirements"]))
            continue
        assigned = [step["assigned_robot"] for step in record["subtasks"]]
        assert [suited(need) for need in record["requirements"]] == [(r,) for r in assigned]
        assert record["output"] == ", ".join(r for r in ROBOTS if r in assigned)


def test_subtasks_stand_in_the_order_in_which_they_are_done():
    orders = Counter()
    for form, record in told():
        if form == "multi":
            steps = record["subtasks"]
            assert 2 <= len(steps) <= MAX_STEPS
            found = [step["execution_order"] for step in steps]
            assert found == sorted(found)
            assert set(found) == set(range(1, max(found) + 1))
            assert all(step["subtask"][0].isupper() for step in steps)
            assert len({step["subtask"] for step in steps}) == len(steps)
            orders[max(found)] += 1
    assert {1, 2, 3} <= set(orders)


def test_what_a_record_says_is_seen_is_what_its_scenario_shows():
    whole = [scenario for group in grown() for scenario in group.scenarios]
    for scenario, (_, record) in zip(whole, told(), strict=True):
        assert seen_site(record) == scenario.seen
        assert record["site"] == scenario.site
        assert record["evidence"]["decided"] == scenario.decided


def test_the_files_are_lists_of_one_record_a_line(tmp_path):
    folder = tmp_path / "new" / "set"
    assert write(folder, grown()) == {"single": 60, "multi": 60}
    assert {path.name for path in folder.iterdir()} == set(FILES.values())
    for form, name in FILES.items():
        text = (folder / name).read_text(encoding="utf-8")
        expected = [record for f, record in told() if f == form]
        assert json.loads(text) == expected
        lines = text.splitlines()
        assert (lines[0], lines[-1], len(lines)) == ("[", "]", 62)
        assert [json.loads(line.removesuffix(",")) for line in lines[1:-1]] == expected


def test_an_empty_set_is_two_empty_lists(tmp_path):
    assert write(tmp_path, []) == {"single": 0, "multi": 0}
    assert [json.loads((tmp_path / name).read_text()) for name in FILES.values()] == [[], []]
