"""Energy is measured offline, once, over all starts of a run."""

import json
import socket
import sys
from pathlib import Path

import msgspec
import pytest

from train.energy import Energy, Spent


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Connections that were tried."""
    tried: list[object] = []

    def connect(self, address: object) -> None:
        tried.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    return tried


def test_totals_of_all_starts_are_kept_in_the_runs_folder(
    tmp_path: Path, no_network: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.energy._SECONDS", 0.1)
    monkeypatch.setenv("CODECARBON_SAVE_TO_FILE", "true")
    monkeypatch.setenv("CODECARBON_OUTPUT_METHODS", "csv,api")
    monkeypatch.setenv("CODECARBON_ELECTRICITYMAPS_API_TOKEN", "token")
    monkeypatch.chdir(tmp_path)
    run, said = tmp_path / "run", []
    run.mkdir()
    first = Energy(run, "FRA", said.append)
    assert (run / "energy.json").exists()  # a run that is killed has lost little
    first.add(3000)
    spent = first.close()
    assert spent is not None
    assert spent.samples == 3000 and spent.country == "France" and spent.kwh > 0 < spent.kg_co2
    assert spent.per_million == pytest.approx((spent.kwh * 1e6 / 3000, spent.kg_co2 * 1e6 / 3000))
    kept = json.loads((run / "energy.json").read_bytes())
    assert kept["kwh"] == spent.kwh
    assert kept["kwh_per_million_samples"] == pytest.approx(spent.kwh * 1e6 / 3000)

    second = Energy(run, "FRA", said.append)  # the run goes on
    second.add(1000)
    more = second.close()
    assert more is not None and second.close() is None
    assert more.samples == 4000
    assert more.kwh > spent.kwh and more.seconds > spent.seconds
    assert json.loads((run / "energy.json").read_bytes())["kg_co2"] == more.kg_co2
    assert [path.name for path in run.iterdir()] == ["energy.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not no_network
    assert not said


def test_an_unknown_country_counts_as_the_world(tmp_path: Path) -> None:
    energy = Energy(tmp_path, "QQQ", print)
    spent = energy.close()
    assert spent is not None and spent.country is None and spent.kg_co2 > 0
    assert "the world's mean power" in str(spent)


def test_it_is_told_by_the_million(tmp_path: Path) -> None:
    spent = Spent(kwh=0.5, kg_co2=0.25, samples=2_000_000, country="France")
    assert str(spent) == (
        "energy: 0.5 kWh, 0.25 kg CO2 (power of France); a million samples take 0.25 kWh, 0.125 kg "
        "CO2"
    )
    assert "million" not in str(Spent(kwh=0.5))


@pytest.mark.parametrize("how", ["not installed", "does not run"])
def test_without_codecarbon_it_is_said_once(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "not installed":
        monkeypatch.setitem(sys.modules, "codecarbon", None)
    else:
        monkeypatch.setattr("codecarbon.OfflineEmissionsTracker.start", lambda self: None)
    said: list[str] = []
    energy = Energy(tmp_path, "FRA", said.append)
    energy.add(4)
    assert energy.spent is None and energy.close() is None
    assert len(said) == 1 and how in said[0]
    assert not (tmp_path / "energy.json").exists()


def test_totals_that_cannot_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    said: list[str] = []
    (tmp_path / "energy.json").write_bytes(msgspec.json.encode(Spent(kwh=1.0))[:-3])
    Energy(tmp_path, "FRA", said.append)
    assert "energy.json cannot be read" in said[0]
