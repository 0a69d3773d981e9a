"""A repair that is killed: each file is as it was or mended, and the next repair mends the rest."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from manifests.disk import TEMPORARY
from shards.validate import validate
from tests.faults import Fault
from tests.forks import Forks, serve
from tests.pipelines.damaged import Made, contents, flip, make, rewrite_manifest


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("repair"), "cc3m", "robots")


@pytest.fixture(scope="module")
def forks(original: Made) -> Iterator[Forks]:
    folder = original.out.parent
    with serve(folder / "build.yaml", folder / "warm") as ready:
        yield ready


@pytest.fixture
def made(original: Made, tmp_path: Path) -> Made:
    """A tar is damaged, and a manifest: this one's is to have another name then, in a new seal."""
    made = original.copy(tmp_path)
    rewrite_manifest(made, "coco")
    flip(made.manifest("coco"))
    flip(made.tar("gqa"))
    return made


def named(folder: Path) -> dict[str, bytes]:
    """All but what is under a temporary name."""
    return {name: data for name, data in contents(folder).items() if TEMPORARY not in name}


def test_a_killed_repair_makes_nothing_worse_wherever_it_was_killed(
    made, original, forks, tmp_path
):
    config, calls_out = original.out.parent / "build.yaml", made.copy(tmp_path / "undisturbed").out
    before, after = named(made.out), named(original.out)
    undisturbed = forks.repair(config, calls_out)
    assert (undisturbed.code, undisturbed.error) == (0, None)
    assert contents(calls_out) == contents(original.out)
    # What a reader sees changes by renames, and when the old manifest and index are removed.
    points = [n for n, call in enumerate(undisturbed.calls) if call == "rename"]
    assert (len(points), undisturbed.calls[-2:]) == (7, ["unlink", "unlink"])
    points += [len(undisturbed.calls) - 2, len(undisturbed.calls) - 1]
    for at in points:
        trial = made.copy(tmp_path / f"killed-{at}")
        died = forks.repair(config, trial.out, Fault("power", at))
        assert died.code == -9
        left = named(trial.out)
        assert all(data in (before.get(name), after.get(name)) for name, data in left.items())
        assert {name for name in before if name in after} <= left.keys()
        assert trial.seal.root == original.seal.root
        again = forks.repair(config, trial.out)
        assert (again.code, again.error) == (0, None)
        now = contents(trial.out)
        assert {name: now.get(name) for name in after} == after
        # If it was killed between the new seal and this, the old manifest is there, unlisted.
        assert now.keys() - after.keys() <= before.keys() - after.keys()
        assert len(list(validate(trial.out))) == len(now.keys() - after.keys())


@pytest.mark.parametrize("how", ["ENOSPC", "EIO"])
def test_a_disk_that_fails_is_an_error_and_leaves_nothing_behind(
    made, original, forks, tmp_path, how
):
    """The shard it failed on is as it was; another may be mended by then."""
    config, before, after = original.out.parent / "build.yaml", named(made.out), named(original.out)
    failed = forks.repair(config, made.out, Fault(how, 3))
    assert failed.code == 1
    assert {"ENOSPC": "is full", "EIO": "Input/output error"}[how] in str(failed.error)
    left = contents(made.out)
    assert left.keys() == before.keys(), "nothing is left behind"
    assert all(data in (before[name], after.get(name)) for name, data in left.items())
