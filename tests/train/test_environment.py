"""A `.env` fills in what the environment lacks."""

import os
import sys
from pathlib import Path

import pytest

from train.environment import read_env

NAMES = ("KNOWN", "KEY", "EMPTY", "DISABLE_WANDB")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")  # which is put back in the end, whatever was read
        monkeypatch.delenv(name)
    monkeypatch.setenv("KNOWN", "before")


def now() -> dict[str, str]:
    return {name: os.environ[name] for name in NAMES if name in os.environ}


def test_it_is_read_and_what_is_set_already_stays(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# keys\nexport KEY='a b'\nKNOWN=after\nEMPTY=\nDISABLE_WANDB=1")
    assert read_env(tmp_path) is None
    assert now() == {"KNOWN": "before", "KEY": "a b", "EMPTY": "", "DISABLE_WANDB": "1"}


def test_without_one_nothing_changes(tmp_path: Path) -> None:
    assert read_env(tmp_path) is None
    assert now() == {"KNOWN": "before"}


def test_one_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dotenv", None)
    assert read_env(tmp_path) is None  # there is none to read
    (tmp_path / ".env").write_text("KEY=a")
    told = read_env(tmp_path)
    assert told is not None and "pip install 'embervlm[track]'" in told
    assert now() == {"KNOWN": "before"}
