"""A card for data sets that are not as most are; test_interop.py has the usual one."""

from shards import interop


def test_a_licence_that_the_hub_does_not_know_is_left_to_the_records(
    tmp_path, make_record, write_shard, seal_shards
):
    records = [make_record("coco", 1, licence="CC BY 4.0"), make_record("coco", 2, licence="a|b")]
    seal_shards(tmp_path, [write_shard(tmp_path, records)])
    interop.write(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "license: other\nlicense_name: by-record\ntask" in text
    assert "| coco | a\\|b | 1 |\n| coco | CC BY 4.0 | 1 |\n" in text


def test_a_data_set_without_records_has_a_card_too(tmp_path, seal_shards):
    seal_shards(tmp_path, [])
    interop.write(tmp_path)
    assert "0 records of 0 corpora" in (tmp_path / "README.md").read_text()
    assert list(interop.stale(tmp_path)) == []
