"""Damage of every sort, and what repair makes of it: the files that were sealed, and no others."""

import json
import shutil
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from manifests import store
from manifests.seal import SealError
from manifests.settings import SettingsError
from pipelines import config as configs
from pipelines import repair as repairing
from pipelines.corpora import CorpusError
from pipelines.engine import Threads
from pipelines.locators import Images
from pipelines.repair import RepairError, repair
from pipelines.sealed_config import config_of
from shards.images import codecs
from shards.reader import Dataset
from shards.reshard import reshard
from shards.validate import validate
from tests.pipelines.damaged import DAMAGE, QUIET, Made, contents, flip, make, rewrite_manifest


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Nobody changes it."""
    return make(tmp_path_factory.mktemp("repair"))


@pytest.fixture
def made(original: Made, tmp_path: Path) -> Made:
    """A copy that a test may damage."""
    return original.copy(tmp_path)


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): path.stat() for path in files}
    return {name: (status.st_ino, status.st_mtime_ns) for name, status in found.items()}


def others_untouched(made: Made, before: dict[str, tuple[int, int]], *mended: Path) -> bool:
    names = {path.relative_to(made.out).as_posix() for path in mended}
    after = identities(made.out)
    return {n: i for n, i in before.items() if n not in names} == {
        n: i for n, i in after.items() if n not in names
    }


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("corpus", ["cc3m", "robots"])
def test_a_damaged_tar_is_made_anew_and_nothing_else(made, original, damage, corpus):
    tar, before = made.tar(corpus), identities(made.out)
    DAMAGE[damage](tar)
    done = made.repair()
    assert (done.whole, len(done.mended)) == (True, 1)
    assert done.mended[0].startswith(f"{corpus}/{tar.name} (")
    assert contents(made.out) == contents(original.out)
    assert others_untouched(made, before, tar)
    assert (done.sealed.root, list(validate(made.out))) == (original.seal.root, [])


def test_a_whole_corpus_that_was_deleted_is_made_anew(made, original):
    shutil.rmtree(made.out / "robots")
    shutil.rmtree(made.out / "manifests/robots")
    done = made.repair()
    assert (done.whole, len(done.mended)) == (True, 3)
    assert contents(made.out) == contents(original.out)


@pytest.mark.parametrize("damage", ["a flipped bit", "cut off", "deleted"])
def test_a_damaged_manifest_is_made_anew_beside_a_tar_that_stays(made, original, damage):
    manifest, before = made.manifest("coco"), identities(made.out)
    DAMAGE[damage](manifest)
    done = made.repair()
    assert (done.whole, len(done.mended)) == (True, 1)
    assert contents(made.out) == contents(original.out)
    assert others_untouched(made, before, manifest)


def test_what_was_wrong_is_told_by_record(made):
    tar = made.tar("coco")
    key = next(Dataset(made.out).records("coco", "train")).key
    flip(tar)
    said = str(made.repair())
    count, root = len(made.seal.shards), made.seal.root
    name = tar.relative_to(made.out).as_posix()
    assert said.startswith(f"repaired 1 of {count} shards: {name} (record {key}: ")
    assert said.endswith(f"; root {root}, unchanged")


def test_two_tars_that_changed_places_are_two_damaged_shards(made, original):
    one, other = made.tar("coco"), made.tar("gqa")
    one.rename(made.out / "aside")
    other.rename(one)
    (made.out / "aside").rename(other)
    done = made.repair()
    assert (done.whole, len(done.mended)) == (True, 2)
    assert contents(made.out) == contents(original.out)


def test_no_image_is_read_but_those_of_the_damaged_shard(made, monkeypatch):
    read: list[str] = []

    def noted(images: Images, locator: str) -> bytes:
        read.append(locator)
        return kept(images, locator)

    kept = Images.read
    monkeypatch.setattr(Images, "read", noted)
    flip(made.tar("gqa"))
    assert made.repair().whole
    rows = pq.read_table(made.manifest("gqa")).to_pylist()
    written = [row["locator"] for row in rows if row["status"] == "written"]
    assert len(written) > 0
    assert read == written


def test_a_whole_data_set_is_read_and_not_written(made):
    before = identities(made.out)
    done = made.repair()
    assert done.whole
    assert str(done) == f"no shard is damaged; root {made.seal.root}"
    assert identities(made.out) == before


def recaption(raw: Path) -> None:
    path = raw / "coco/annotations/captions_train2017.json"
    text = path.read_text()
    assert "Something red and round." in text
    path.write_text(text.replace("Something red and round.", "Something round and red."))


@pytest.mark.parametrize("which", ["tar", "manifest"])
def test_sources_that_have_changed_since_change_nothing(made, which):
    recaption(made.raw)
    damaged = made.tar("coco") if which == "tar" else made.manifest("coco")
    shard = made.seal.select("coco", "train")[0]
    flip(damaged)
    before = contents(made.out)
    done = made.repair()
    assert contents(made.out) == before
    assert (done.whole, done.mended) == (False, ())
    (said,) = done.failed
    assert said.startswith(f"{shard.tar} is damaged still: the sources have changed since it was ")
    assert f"sha256 {shard.sha256[:16]}, now " in said
    assert said.endswith(f"python -m pipelines build --config C --out {made.out}")
    assert ("; 1 of its records: coco-000000391895. " in said) == (which == "tar")


def test_what_can_be_mended_is_beside_a_shard_that_cannot(made, original):
    recaption(made.raw)
    damaged, mended = made.tar("coco"), made.tar("robots", "val")
    for tar in (damaged, mended):
        flip(tar)
    done = made.repair()
    assert [line.partition(" ")[0] for line in done.mended] == [f"robots/{mended.name}"]
    assert [line.partition(" ")[0] for line in done.failed] == [f"coco/{damaged.name}"]
    now, then = contents(made.out), contents(original.out)
    assert {name for name in now if now[name] != then[name]} == {f"coco/{damaged.name}"}


def test_other_codecs_than_the_sealed_ones_are_named(made):
    sealed = msgspec.structs.replace(made.seal, codecs=made.seal.codecs | {"jpeg": "9.9"})
    store.commit(made.out, sealed)
    flip(made.tar("coco"))
    assert made.repair().whole, "the bytes decide"
    recaption(made.raw)
    flip(made.tar("coco"))
    (said,) = made.repair().failed
    assert f" It was made with jpeg 9.9; here is {codecs()['jpeg']}. " in said


def test_a_source_that_is_gone_is_named(made):
    flip(made.tar("gqa"))
    before = contents(made.out)
    shutil.rmtree(made.raw / "gqa")
    (said,) = made.repair().failed
    assert f"gqa/{made.tar('gqa').name} is damaged still: the sources have no row of it." in said
    assert f"{made.raw}/gqa" in said
    shutil.rmtree(made.raw)
    with pytest.raises(CorpusError, match=f"root {made.raw} does not exist.*--set root=DIR"):
        made.repair()
    assert contents(made.out) == before


@pytest.mark.parametrize(
    ("nbytes", "told"),
    [(1, "with rows_digest "), (64, "with records 2, now 1; turns 2, now 1; ")],
)
def test_a_source_image_that_was_damaged_since_leaves_the_shard_as_it_is(made, nbytes, told):
    """One byte of its header changes no pixel, but then it is not the image that was sealed."""
    flip(made.tar("cc3m"))
    before = contents(made.out)
    source = made.raw / "cc3m/train/00000.tar"
    data = bytearray(source.read_bytes())
    data[515 : 515 + nbytes] = bytes([data[515] ^ 1]) * nbytes
    source.write_bytes(data)
    (said,) = made.repair().failed
    assert told in said
    assert "; 1 of its records: cc3m-train-00000-0. " in said
    assert contents(made.out) == before


def test_a_manifest_of_another_parquet_writer_gets_its_name_into_the_seal(made, original):
    rewrite_manifest(made, "coco")
    assert list(validate(made.out)) == []
    assert made.seal.root == original.seal.root
    assert made.seal.shards != original.seal.shards
    flip(made.manifest("coco"))
    done = made.repair()
    assert (done.whole, done.sealed) == (True, original.seal)
    assert contents(made.out) == contents(original.out)


def test_look_alikes_are_those_that_the_build_found(made):
    """Its fingerprints lie in the data set; without them and with another result, that is said."""
    flip(made.tar("gqa"))
    shutil.rmtree(made.out / "fingerprints")
    assert made.repair().whole
    recaption(made.raw)
    flip(made.tar("coco"))
    (said,) = made.repair().failed
    assert f" images have no fingerprint in {made.out}/fingerprints, to tell look-alikes. " in said
    assert not (made.out / "fingerprints").exists()


def test_an_index_is_removed_if_it_is_damaged_or_its_manifest_was(made):
    for corpus in ("coco", "gqa", "cc3m"):
        list(Dataset(made.out).records(corpus, "train"))
    flip(made.out / "index/coco-train.idx", 40)
    flip(made.manifest("gqa"))
    done = made.repair()
    assert (done.whole, done.remade) == (True, ("index/coco-train.idx",))
    assert [path.name for path in (made.out / "index").iterdir()] == ["cc3m-train.idx"]


def test_a_folder_in_a_tar_s_place_is_named_and_another_shard_is_mended(made, original):
    tar, other = made.tar("coco"), made.tar("gqa")
    tar.unlink()
    tar.mkdir()
    flip(other)
    (made.out / ".tmp-build").symlink_to(made.raw)  # leads to nothing of a repair's
    done = made.repair()
    assert [line.partition(" ")[0] for line in done.mended] == [f"gqa/{other.name}"]
    (said,) = done.failed
    name = f"coco/{tar.name}"
    assert said.startswith(
        f"{name} is damaged still: {tar} is a folder; move it away and repair again. "
    )
    tar.rmdir()
    assert made.repair().whole
    assert contents(made.out) == contents(original.out)
    assert (made.raw / "coco").is_dir()


def test_files_that_are_no_shard_s_are_left_and_named(made):
    stray = made.out / "coco/coco-train-00000-01234567.tar"
    stray.write_bytes(b"not ours")
    ledger = made.out / made.seal.reasons.path
    flip(ledger, 50)
    sealed = made.out / "dataset.json"
    sealed.write_bytes(sealed.read_bytes() + b"\n")
    flip(made.tar("coco"))
    done = made.repair()
    assert (len(done.mended), done.whole) == (1, False)
    assert stray.read_bytes() == b"not ours"
    of_seal, of_stray, of_ledger = done.left
    assert (
        of_stray.removesuffix(" as it is")
        == "coco/coco-train-00000-01234567.tar: not listed in dataset.json; left"
    )
    again = f"Write it anew: python -m pipelines build --deep --config C --out {made.out}"
    assert of_ledger == f"manifests/{ledger.name}: sha256 is not the sealed one. {again}"
    assert of_seal.startswith("dataset.json: ") and of_seal.endswith(again)


def test_shards_that_were_divided_since_the_build_are_repaired_as_they_are_now(made):
    reshard(made.out, "coco/train", 2)
    after, root = contents(made.out), made.seal.root
    tar = made.out / made.seal.select("coco", "train")[-1].tar
    flip(tar)
    done = made.repair()
    assert (done.whole, len(done.mended), done.sealed.root) == (True, 1, root)
    assert contents(made.out) == after


def test_the_config_must_be_the_one_it_was_built_with(made, tmp_path):
    flip(made.tar("coco"))
    story = json.loads((made.out / "build.json").read_text())
    (made.out / "build.json").unlink()
    before = contents(made.out)
    with pytest.raises(SettingsError, match=f"Name it: python -m shards repair {made.out} --conf"):
        made.repair()
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps(story["config"] | {"paraphrases": 1, "root": str(made.raw)}))
    with pytest.raises(SettingsError, match="was sealed with config .* Name the one that it was"):
        repair(made.out, configs.load(config), Threads(1), QUIET)
    assert contents(made.out) == before
    config.write_text(json.dumps(story["config"] | {"root": str(made.raw), "workers": 1}))
    assert repair(made.out, configs.load(config), Threads(1), QUIET).whole


def test_a_folder_without_a_seal_is_not_touched(made, tmp_path):
    (tmp_path / "empty").mkdir()
    config = config_of(made.out)
    with pytest.raises(SealError, match="is not a sealed data set"):
        repair(tmp_path / "empty", config, Threads(1), QUIET)
    with pytest.raises(SealError, match="is not a sealed data set"):
        repair(tmp_path / "none", config, Threads(1), QUIET)
    assert not (tmp_path / "none").exists()


def test_nobody_repairs_while_a_build_writes(made):
    flip(made.tar("coco"))
    with store.sole_writer(made.out), pytest.raises(BlockingIOError, match="another build is"):
        made.repair()


def test_a_disk_that_reads_back_something_else_is_noticed(made, monkeypatch):
    def unsound(temporary: Path, final: Path) -> None:
        publish(temporary, final)
        if ".tmp-" not in str(final):
            flip(final)

    publish = store.publish
    flip(tar := made.tar("coco"), 900)
    monkeypatch.setattr(repairing.store, "publish", unsound)
    with pytest.raises(RepairError, match=f"read back otherwise.* coco/{tar.name}"):
        made.repair()
