"""What a run shows: a bar and a table on a terminal, lines elsewhere."""

import io
from typing import Any

import pytest
from rich.console import Console

from train.screen import Screen

LINE: dict[str, Any] = {
    "step": 4,
    "loss": 2.5,
    "objectives": {"language": 2.25, "robots": None},
    "sources": {"coco": 2.125, "robots [x]": 3.0},
    "mixture": {
        "coco": {"asked": 0.75, "rounded": 0.75, "realised": 0.7512},
        "robots [x]": {"asked": 0.25, "rounded": 0.25, "realised": 0.2488},
        "gqa": {"asked": 0.0, "rounded": 0.0, "realised": 0.0},
    },
    "lr": 2e-4,
    "samples_per_s": 1234.5,
    "wait": 0.015,
    "memory_gb": 12.34,
}
ROBOTS = {
    "records": 9,
    "accuracy": 0.75,
    "macro_f1": 0.625,
    "expected_calibration_error": 0.05,
    "multi_robot_exact_match": None,
    "multi_robot_jaccard": 0.5,
}


def shown(terminal: bool) -> tuple[Screen, io.StringIO]:
    sink = io.StringIO()
    console = Console(file=sink, force_terminal=terminal, width=120, color_system=None)
    return Screen("stage1", 2, 9, console), sink


def last_frame(sink: io.StringIO) -> str:
    """What stands on the screen in the end: all after the bar was last drawn."""
    return sink.getvalue()[sink.getvalue().rindex("stage1") :]


def test_without_a_terminal_a_log_line_is_a_line_of_text() -> None:
    screen, sink = shown(terminal=False)
    screen.step(5)
    assert sink.getvalue() == ""
    screen.line(LINE)
    screen.close()
    (line,) = sink.getvalue().splitlines()
    assert line.startswith("step     5/9  loss 2.500  coco 2.125  robots [x] 3.000  lr 2.0e-04  ")
    assert "1234.5 samples/s  waiting 1.5%" in line


def test_a_terminal_has_a_bar_that_moves_between_lines() -> None:
    screen, sink = shown(terminal=True)
    screen.step(4)
    screen.close()
    assert "4/9 steps" in last_frame(sink)


def test_a_terminal_shows_each_source_with_its_share_asked_and_realised() -> None:
    screen, sink = shown(terminal=True)
    screen.line(LINE)
    screen.step(5)
    screen.close()
    told = last_frame(sink)
    assert "5/9 steps" in told and " left" in told
    assert "loss 2.500   of language 2.250, robots -   lr 2.0e-04   1,234.5 samples/s" in told
    assert "waiting 1.5%   12.3 GB" in told
    rows = [row.split() for row in told.splitlines()]
    assert ["coco", "2.125", "75.00%", "75.12%"] in rows
    assert ["robots", "[x]", "3.000", "25.00%", "24.88%"] in rows  # no markup of rich's
    assert ["gqa", "-", "0.00%", "0.00%"] in rows  # none of it was drawn since the last line


@pytest.mark.parametrize("terminal", [True, False])
def test_what_was_evaluated_and_said_stays_above(terminal: bool) -> None:
    screen, sink = shown(terminal)
    screen.evaluated(4, {"loss": 2.0, "robots": ROBOTS, "score": 0.625})
    screen.evaluated(8, {"loss": None, "robots": None, "score": -2.0})
    screen.say("a [red]sentence[/red]")
    screen.close()
    told = sink.getvalue()
    assert (
        "val after step 5: loss 2.000  robots: accuracy 0.750  macro F1 0.625  calibration error "
        "0.050  teams: exact -  Jaccard 0.500\n"
    ) in told
    assert "val after step 9: loss -\n" in told
    assert "a [red]sentence[/red]\n" in told


def test_after_its_end_nothing_is_drawn_over() -> None:
    screen, sink = shown(terminal=True)
    screen.close()
    drawn = len(sink.getvalue())
    screen.close()
    screen.say("done")
    assert sink.getvalue()[drawn:] == "done\n"
