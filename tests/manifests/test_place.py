"""Where records belong. These values are pinned: a change would move records already written."""

from collections import Counter

import pytest

from manifests.place import (
    MAX_BITS,
    image_group,
    order_in_shard,
    shard_of,
    split_of,
    task_group,
    url_group,
)

GROUPS = [f"coco:{number}" for number in range(500)]


@pytest.mark.parametrize(
    ("group", "split"),  # md5(group) % 100 is 0, 69, 70, 89, 90 and 99
    [
        ("coco:181", "train"),
        ("coco:85", "train"),
        ("coco:120", "val"),
        ("coco:190", "val"),
        ("coco:97", "test"),
        ("coco:61", "test"),
    ],
)
def test_split_cuts_at_70_and_at_90(group, split):
    assert split_of(group) == split


def test_split_of_ten_thousand_groups():
    counts = Counter(split_of(f"vg:{number}") for number in range(10_000))
    assert counts == {"train": 6984, "val": 1932, "test": 1084}


@pytest.mark.parametrize(
    ("group", "bits", "shard"),  # md5 begins with 2b0f4b9d, 15578996, e47d9c3f
    [
        ("coco:391895", 0, "00000"),
        ("coco:391895", 2, "00000"),
        ("coco:391895", 5, "00005"),
        ("coco:391895", 20, "176372"),
        ("vg:2354786", 10, "00085"),
        ("inspect the hull", 1, "00001"),
        ("inspect the hull", 5, "00028"),
    ],
)
def test_shard_is_the_top_bits_of_md5(group, bits, shard):
    assert shard_of(group, bits) == shard


@pytest.mark.parametrize("bits", [0, 1, 4, 7, MAX_BITS - 1])
def test_one_bit_more_splits_shard_i_into_2i_and_2i_plus_1(bits):
    children = Counter()
    for group in GROUPS:
        before, after = int(shard_of(group, bits)), int(shard_of(group, bits + 1))
        assert after // 2 == before
        children[after % 2] += 1
    assert min(children.values()) > 200, "both halves are used"


@pytest.mark.parametrize("bits", [-1, MAX_BITS + 1])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match=f"bits is {bits}; expected 0 to 20"):
        shard_of("coco:1", bits)


def test_order_in_shard_is_md5_of_the_key():
    assert order_in_shard("coco-000000391895") == "2c520e8353e1fd752570635e679017c5"


@pytest.mark.parametrize(
    ("source", "identity", "group"),
    [
        ("coco", 391895, "coco:391895"),
        ("coco", "391895", "coco:391895"),
        ("coco", "000000391895", "coco:391895"),
        ("vg", 2354786, "vg:2354786"),
        ("vg", "2354786", "vg:2354786"),
        ("vg", "n161313", "vg:n161313"),
        ("vg", "007", "vg:007"),
    ],
)
def test_an_image_has_one_spelling(source, identity, group):
    assert image_group(source, identity) == group


def test_url_group_is_a_digest_of_the_stripped_address():
    assert url_group("http://example.org/a.jpg") == "url:65501c02e84a31da13afc428cf1e0286"
    assert url_group(" http://example.org/a.jpg\n") == url_group("http://example.org/a.jpg")
    assert url_group("http://example.org/b.jpg") != url_group("http://example.org/a.jpg")


@pytest.mark.parametrize(
    "twin",
    [
        "re check the hull's weld",
        "Task: Re-check the hull\u2019s weld.",
        "  TASK :\tRE\u2014CHECK the hulls weld!  ",
        "task\uff1a \uff32\uff45\u2011check  the\nhull\u2018s weld",  # full width, hard hyphen
        "re_check the hulls weld".replace("_", "\u2010"),
    ],
)
def test_spellings_of_a_task_are_one_group(twin):
    assert task_group(twin) == "re check the hulls weld"


@pytest.mark.parametrize(
    ("task", "group"),
    [
        ("Multitask: go", "multitask go"),  # only a leading "Task:" is dropped
        ("Stra\u00dfe \ufb01nden", "strasse finden"),
        ("climb 3.5 m", "climb 35 m"),
        ("snake_case", "snakecase"),
        ("!?", ""),
    ],
)
def test_normal_form_of_a_task(task, group):
    assert task_group(task) == group
