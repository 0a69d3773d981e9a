"""Every way to fail at every call that changes a disk: one whole data set stands at every instant,
and the next run makes of what was left what an undisturbed one makes.

For every n: a run starts from the data set A (or none) and is killed, or fails, at the n-th call.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
import yaml
from rich.console import Console

from manifests.disk import TEMPORARY
from manifests.seal import Seal
from shards.validate import validate
from tests.bench.kill import files, kill, standing
from tests.faults import NO_FAULT, Fault, How
from tests.forks import Forks, Job, Result, attempt, serve

FIXTURES = Path(__file__).parents[1] / "fixtures"
KILLS = ("kill", "torn", "power", "blank")  # faults that only a process of its own can meet


class Case(NamedTuple):
    """A run from the folder `before` (None: from nothing), and what it makes, undisturbed."""

    forks: Forks
    config: Path
    before: Path | None
    after: Path
    do: Literal["build", "reshard"]
    gone_on: set[frozenset]  # what was left of runs that another has gone on from

    def run(self, out: Path, fault: Fault = NO_FAULT) -> Result:
        job = Job(self.do, str(self.config), str(out), fault)
        return self.forks.attempt(job) if fault.how in KILLS else attempt(job)

    def fresh(self, out: Path) -> Path:
        """`out` as it is when the run starts."""
        if out.exists():
            shutil.rmtree(out)
        if self.before:
            shutil.copytree(self.before, out)
        return out


def root(folder: Path) -> str | None:
    """The root of the data set that stands in a folder, all of it read."""
    sealed = standing(folder)
    return sealed.root if sealed else None


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    """A: two shards of COCO; B: one of them changed; C: A with more shards."""
    folder = tmp_path_factory.mktemp("kill")
    for name in ("a", "b"):
        shutil.copytree(FIXTURES / "base_vlm/coco", folder / name / "coco")
        settings = {
            "root": str(folder / name),
            "corpora": {"coco": {}},
            "protect": {"image": [], "text": [], "near_duplicates": "off"},
            "max_quarantined": 1,
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    captions = folder / "b/coco/annotations/captions_train2017.json"
    captions.write_text(captions.read_text().replace("Something red", "A thing, red"))
    a, b, c = (folder / name for name in "ABC")
    with serve(folder / "a.yaml", folder / "warm") as forks:
        assert attempt(Job("build", str(folder / "a.yaml"), str(a))).code == 0
        shutil.copytree(a, c)
        assert attempt(Job("reshard", "", str(c))).code == 0
        assert attempt(Job("build", str(folder / "b.yaml"), str(b))).code == 0
        assert [str(problem) for made in (a, b, c) for problem in validate(made)] == []
        assert len({Seal.read(made).root for made in (a, b, c)}) == 3
        yield {
            "first": Case(forks, folder / "b.yaml", None, b, do="build", gone_on=set()),
            "changed": Case(forks, folder / "b.yaml", a, b, do="build", gone_on=set()),
            "unchanged": Case(forks, folder / "a.yaml", a, a, do="build", gone_on=set()),
            "reshard": Case(forks, folder / "a.yaml", a, c, do="reshard", gone_on=set()),
        }


def calls_of(case: Case, out: Path) -> list[str]:
    """The calls of an undisturbed run, which leaves what it should."""
    result = case.run(case.fresh(out))
    assert (result.code, result.error) == (0, None)
    assert files(out) == files(case.after)
    return result.calls


def goes_on(case: Case, out: Path) -> None:
    """The next run makes of what was left what an undisturbed one makes, to the byte."""
    assert case.run(out).code == 0
    assert files(out) == files(case.after)


def goes_on_once(case: Case, out: Path) -> None:
    """As `goes_on`, once for each content of the folder: it decides what the next run does."""
    left = frozenset((re.sub(r"\.tmp-[0-9a-f]{16}", "", n), of) for n, of in files(out).items())
    if left not in case.gone_on:
        goes_on(case, out)
        case.gone_on.add(left)


RUNS = ("first", "changed", "unchanged", "reshard")


ENDS = [(run, how) for run in RUNS for how in ("kill", "torn")]
ENDS += [("first", "power"), ("changed", "power"), ("changed", "blank")]


@pytest.mark.parametrize(("run", "how"), ENDS)
def test_a_run_that_ends_at_any_call_leaves_one_whole_data_set(cases, tmp_path, run: str, how: How):
    case, out = cases[run], tmp_path / "out"
    old = case.before and Seal.read(case.before).root
    new = Seal.read(case.after).root
    calls = calls_of(case, out)
    found = []
    for n, call in enumerate(calls):
        if how == "torn" and call != "write":
            continue
        assert case.run(case.fresh(out), Fault(how, n)).code == -9
        found.append(root(out))
        (goes_on if (run, how) == ("changed", "kill") else goes_on_once)(case, out)
    assert set(found) <= {old, new}
    assert found == sorted(found, key=[old, new].index), "once the new one stands, it stays"
    assert found[0] == old
    assert how == "torn" or found[-1] == new
    print(f"{run}: {how} at each of {len(found)} calls")  # noqa: T201 - with pytest -s


def left_behind(out: Path, case: Case) -> set[str]:
    """What is not of the data set that stands."""
    stands = root(out)
    whole = next((f for f in (case.before, case.after) if f and Seal.read(f).root == stands), None)
    return set(files(out)) - set(files(whole) if whole else ())


REFUSED = "the disk of .* is full; what was sealed there stays whole|No space left on device"


ERRORS = [("changed", "ENOSPC"), ("changed", "full")]
ERRORS += [("first", "EIO"), ("changed", "EIO"), ("reshard", "EIO")]


@pytest.mark.parametrize(("run", "how"), ERRORS)
def test_a_call_that_fails_is_told_and_leaves_nothing(cases, tmp_path, run: str, how: How):
    case, out = cases[run], tmp_path / "out"
    for n, call in enumerate(calls_of(case, out)):
        if how != "EIO" and call in ("unlink", "chmod"):  # which need no room
            continue
        result = case.run(case.fresh(out), Fault(how, n))
        assert result.code == 1, "a clean error"
        assert re.search("Input/output error" if how == "EIO" else REFUSED, result.error)
        assert str(tmp_path) in result.error, "and it names the place"
        assert call == "unlink" or left_behind(out, case) == set()
        goes_on_once(case, out)


@pytest.mark.parametrize("run", RUNS)
def test_a_write_that_takes_half_is_gone_on_with(cases, tmp_path, run: str):
    case, out = cases[run], tmp_path / "out"
    writes = [n for n, call in enumerate(calls_of(case, out)) if call == "write"]
    assert writes
    for n in writes:
        assert case.run(case.fresh(out), Fault("short", n)).code == 0
        assert files(out) == files(case.after)


def test_only_unfinished_names_are_left_before_anything_is_published(cases, tmp_path):
    case, out = cases["changed"], tmp_path / "out"
    published = calls_of(case, out).index("rename")
    assert case.run(case.fresh(out), Fault("kill", published)).code == -9
    left = left_behind(out, case)
    assert any(name.startswith(f"coco/{TEMPORARY}") for name in left)
    assert all(TEMPORARY in name for name in left)


def test_builds_killed_at_random_moments_leave_one_whole_data_set(tmp_path):
    found = kill(tmp_path, 3, 40, Console(quiet=True))
    assert (found.kills, found.before + found.after, len(found.records)) == (3, 3, 1)
