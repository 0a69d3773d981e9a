"""Nodes on threads: order, progress, and the end of it at the first error."""

import io
import re
import time
from threading import Event

import pytest
from rich.console import Console

from pipelines.engine import Threads, Walk


def test_results_come_in_the_order_of_the_specs_and_each_advances_once():
    last, done = Event(), []

    def function(spec: int) -> int:
        if spec == 0:
            assert last.wait(5), "the others run beside the first"
        done.append(spec)
        if spec == 4:
            last.set()
        return spec * spec

    advanced = []
    specs = range(5)
    results = Threads(2).each("n", function, specs, list("abcde"), lambda: advanced.append(1))
    assert results == [0, 1, 4, 9, 16]
    assert done == [1, 2, 3, 4, 0]
    assert len(advanced) == 5
    assert Threads(2).each("n", function, [], [], lambda: None) == []


def test_the_first_error_ends_it_and_what_is_queued_is_not_begun():
    begun = []

    def function(spec: int) -> None:
        begun.append(spec)
        if spec == 1:
            raise KeyError("spec 1")
        time.sleep(0.3 if spec > 1 else 0)  # the one that may have begun before the error is seen

    with pytest.raises(KeyError, match="spec 1"):
        Threads(1).each("n", function, range(20), [""] * 20, lambda: None)
    assert begun in ([0, 1], [0, 1, 2])


def test_a_walk_remembers_its_nodes_and_prints_a_line_for_each():
    said = io.StringIO()
    walk = Walk(Console(file=said, force_terminal=False), Threads(2))

    def full(spec: str) -> None:
        raise OSError("full")

    assert walk.each("survey", str.upper, ["a", "b"], ["a", "b"]) == ["A", "B"]
    walk.each("pack", str.upper, list("abcdefghi"), list("abcdefghi"))
    with pytest.raises(OSError, match="full"):
        walk.each("seal", full, ["a"], ["a"])
    assert [(node["node"], node["specs"]) for node in walk.nodes] == [("survey", 2), ("pack", 9)]
    assert all(0 <= float(node["seconds"]) < 5 for node in walk.nodes)
    lines = [re.sub(r"\d\.\d s$", "T s", line) for line in said.getvalue().splitlines()]
    assert lines == ["    survey  2 done in T s", "      pack  9 done in T s"]


def test_on_a_terminal_there_is_a_bar_too():
    said = io.StringIO()
    walk = Walk(Console(file=said, force_terminal=True, width=80), Threads(1))
    walk.each("pack", str.upper, ["a", "b", "c"], ["a", "b", "c"])
    assert any(f"{done}/3" in said.getvalue() for done in range(4))
    assert "pack  3 done in " in said.getvalue()
