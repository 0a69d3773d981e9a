"""Two arms that meet only on disk: the import graph is the architecture."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "manifests": set(),
    "shards": {"manifests"},
    "pipelines": {"manifests", "shards"},
    "embervlm": set(),
    "train": {"manifests", "shards", "embervlm"},
}
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """The top-level names of every module that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative imports hide which way an arrow points"
            found.add(node.module.partition(".")[0])
    return found


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_arrows_point_the_right_way(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    wrong = imports(path) & (ROOMS.keys() - ROOMS[room] - {room})
    assert not wrong, f"{name(path)} imports {wrong}; {room} may import {ROOMS[room] or 'none'}"


def test_torch_stays_out_of_the_data_arm() -> None:
    data = [path for path in FILES if path.relative_to(ROOT).parts[0] not in ("embervlm", "train")]
    assert data
    assert [name(p) for p in data if imports(p) & {"torch", "torchvision", "timm"}] == []


def test_prefect_lives_in_one_file() -> None:
    assert [name(p) for p in FILES if "prefect" in imports(p)] == ["pipelines/flows.py"]


def test_polars_stays_where_tables_are() -> None:
    with_polars = {name(path) for path in FILES if "polars" in imports(path)}
    tables = {f"pipelines/{name}.py" for name in ("alike", "buckets", "build", "gate", "plan")}
    asked = {f"shards/{name}.py" for name in ("diff", "duplicates", "inspect", "sample")}
    assert with_polars == {"manifests/store.py", *asked, *tables}


def test_making_robots_tasks_and_scenes_is_light() -> None:
    light = {"PIL", "numpy", "yaml", "manifests", "pipelines"}
    for path in (ROOT / "pipelines" / "robots").rglob("*.py"):
        heavy = imports(path) - light - set(__import__("sys").stdlib_module_names)
        assert not heavy, f"{name(path)} imports {heavy}"


def test_rooms_are_small_and_named() -> None:
    assert not [name(path) for path in FILES if path.name in ("utils.py", "helpers.py")]
    long = {name(p): n for p in FILES if (n := len(p.read_text().splitlines())) > 320}
    assert long == {}


def test_entry_point_is_short_and_finds_the_repository_first() -> None:
    source = (ROOT / "train" / "run.py").read_text()
    assert len(source.splitlines()) < 80
    body = ast.parse(source).body
    assert isinstance(body[0], ast.Expr)  # the docstring
    first = next(n for n in body if not isinstance(n, ast.Expr | ast.Import | ast.ImportFrom))
    assert ast.unparse(first) == "sys.path[0] = str(Path(__file__).resolve().parents[1])"
    before = body[1 : body.index(first)]
    assert {ast.unparse(n) for n in before} == {"import sys", "from pathlib import Path"}
