"""The seal: what it says, that it cannot be edited, and its digests, which are pinned."""

import hashlib
import json
import os

import msgspec
import pytest

from manifests import store
from manifests.seal import NAME, Count, Seal, SealError, merkle_root, rows_digest


def test_a_seal_is_read_as_it_was_written(tmp_path, make_shard, make_seal):
    seal = make_seal([make_shard(1), make_shard(0)])
    store.commit(tmp_path, seal)
    assert Seal.read(tmp_path) == Seal.read(str(tmp_path)) == seal
    text = (tmp_path / NAME).read_text()
    assert text.endswith("}\n")
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_select_keeps_to_a_corpus_and_split(make_shard, make_seal):
    shards = [make_shard(0), make_shard(1, split="val"), make_shard(2), make_shard(3, corpus="gqa")]
    seal = make_seal(shards)
    assert seal.select("coco", "train") == [shards[0], shards[2]]
    assert seal.select("coco", "test") == []


def test_no_seal_says_what_to_type(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / NAME).write_bytes(b"")
    build = "python -m pipelines build --config pipelines/configs/demo.yaml --out"
    holder = "expected the folder that holds dataset.json"
    for path, why in {
        tmp_path: f"it has no dataset.json. Build one with: {build} {tmp_path}",
        tmp_path / "none": f"it does not exist; {holder}",
        tmp_path / "file": f"it is a file; {holder}",
        whole / NAME: f"it is a file of one. Name its folder: {whole}",
    }.items():
        with pytest.raises(SealError) as caught:
            Seal.read(path)
        assert str(caught.value) == f"{path} is not a sealed data set: {why}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("}\n", "", "cannot be read: "),
        ('"root"', '"rot"', "cannot be read: Object contains unknown field `rot`"),
        ('"records": 0', '"records": "0"', "cannot be read: Expected `int`, got `str`"),
        ('"embervlm-shards"', '"other"', "is other version 1; this code reads embervlm-shards ver"),
        ('"schema_version": 1', '"schema_version": 2', "is embervlm-shards version 2; this code"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_next_command(
    tmp_path, make_shard, make_seal, old, new, message
):
    store.commit(tmp_path, make_seal([make_shard()]))
    path = tmp_path / NAME
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SealError) as caught:
        Seal.read(tmp_path)
    assert f"{path} {message}" in str(caught.value)
    assert str(caught.value).endswith("build it again with: python -m pipelines build")


def test_bytes_that_are_no_text_are_a_seal_error(tmp_path, make_shard, make_seal):
    store.commit(tmp_path, make_seal([make_shard()]))
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes().replace(b"coco", b"c\xffco", 1))
    with pytest.raises(SealError, match="cannot be read: 'utf-8' codec"):
        Seal.read(tmp_path)


def test_an_edit_that_the_root_does_not_cover_is_found_by_the_checksum(
    tmp_path, make_shard, make_seal
):
    store.commit(tmp_path, make_seal([make_shard()]))
    path = tmp_path / NAME
    edited = path.read_text().replace('"quality": 90', '"quality": 91')
    assert edited != path.read_text()
    path.write_text(edited)
    with pytest.raises(SealError, match="is damaged or was edited: its checksum differs. Copy it"):
        Seal.read(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f'"sha256": "{1:064x}"', f'"sha256": "{9:064x}"'),
        (f'"rows_digest": "{101:064x}"', f'"rows_digest": "{109:064x}"'),
        ('"id": "00001"', '"id": "00003"'),
        ('"corpus": "coco"', '"corpus": "caco"'),
        ('"split": "train"', '"split": "val"'),
        ('"root": "', '"root": "0'),
    ],
)
def test_an_edited_seal_is_refused(tmp_path, make_shard, make_seal, old, new):
    store.commit(tmp_path, make_seal([make_shard(0), make_shard(1), make_shard(2)]))
    path = tmp_path / NAME
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(SealError, match="was edited: its root does not follow from the shards"):
        Seal.read(tmp_path)


@pytest.mark.parametrize(
    ("shards", "root"),  # computed by hand: hashlib alone
    [
        (0, "449b0cb24dbd41cff83830f98519d24c78ea0149e466f652d0b33fa04e696737"),
        (1, "08bcf43bae51e131682c2ec5c924750ffa99a4c41f86840bc39a0199bc8dd440"),
        (2, "5d6dcdef192c5e4ab424cb06543940694ba7c9796752caaddaeeb633424219d3"),
        (4, "5e4675dd1c80845646b9732bcbfefa5ae344f1e7c184e70146906939d35ce460"),
    ],
)
def test_golden_roots(make_shard, shards, root):
    assert merkle_root([make_shard(number) for number in range(shards)]) == root


def test_a_root_is_a_tree_of_hashes_in_the_order_of_places(make_shard):
    one, two = make_shard(0, sha256="f" * 64), make_shard(1, sha256="0" * 64)
    lists = [["schema", 1], *([*s.place, s.sha256, s.rows_digest] for s in (one, two))]
    texts = [json.dumps(leaf, separators=(",", ":")).encode() for leaf in lists]
    first, second, third = (hashlib.sha256(b"\0" + text).digest() for text in texts)
    both = hashlib.sha256(b"\1" + first + second).digest()
    assert merkle_root([one]) == both.hex()
    assert merkle_root([two, one]) == hashlib.sha256(b"\1" + both + third).hexdigest()


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 8])
def test_the_root_changes_with_any_leaf_and_not_with_their_order(make_shard, count):
    shards = [make_shard(number) for number in range(count)]
    root = merkle_root(shards)
    assert merkle_root(reversed(shards)) == root
    others = {merkle_root(shards[1:]), merkle_root([*shards, make_shard(count)])}
    changes = [{"sha256": "f" * 64}, {"rows_digest": "f" * 64}, {"id": "99999"}, {"corpus": "z"}]
    for place, shard in enumerate(shards):
        for change in changes:
            changed = msgspec.structs.replace(shard, **change)
            others.add(merkle_root([*shards[:place], changed, *shards[place + 1 :]]))
    assert len(others) == 2 + 4 * count
    assert root not in others
    moved = msgspec.structs.replace(shards[0], tar="elsewhere.tar")
    assert merkle_root([moved, *shards[1:]]) == root, "names of files are not content"


def test_rows_digest_is_sha256_of_canonical_lines():
    golden = "d919f7f38fa04523b50752b7cc0f07cc4c6961ff95f39b21769a9637c3e34bdc"
    assert rows_digest([{"a": 1, "b": None}, {"b": "\u00e9", "a": 2}]) == golden
    assert rows_digest([{"b": "\u00e9", "a": 2}, {"a": 1, "b": None}]) != golden
    assert rows_digest([]) == hashlib.sha256().hexdigest()


def test_a_ledger_balances_when_its_parts_add_up():
    line = {"corpus": "coco", "split": "train", "records": 2, "unannotated": 1}
    fates = {"written": 5, "quarantined": 1, "duplicate": 2, "held_back": 3}
    assert Count(read=11, **fates, **line).balances
    for name in ("read", *fates):
        assert not Count(**({"read": 11, **fates} | {name: 9}), **line).balances


@pytest.mark.parametrize(
    "wrong",
    [
        {"corpus": "/etc"},
        {"id": "00000\nD: proven"},
        {"tar": "../../outside/a.tar"},
        {"tar": "coco/a\npipe:touch x.tar"},
        {"manifest": "../precious.txt"},
        {"manifest": "coco/coco-train-00001.tar"},
        {"sha256": "g" * 64},
        {"records": 2**70},
        {"nbytes": -1},
    ],
)
def test_a_forged_seal_that_names_what_no_build_writes_is_not_believed(
    tmp_path, make_shard, make_seal, wrong
):
    forged = msgspec.structs.replace(make_shard(), **wrong)
    store.commit(tmp_path, make_seal([forged]))
    with pytest.raises(SealError, match="dataset.json cannot be read: Expected"):
        Seal.read(tmp_path)


def test_a_pipe_in_the_seal_s_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(SealError, match="dataset.json is no regular file, so no seal"):
        Seal.read(tmp_path)
