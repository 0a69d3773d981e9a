"""The energy that a run takes, by codecarbon: offline, on the machine of rank 0, over all starts.

A GPU counts its own energy, and so does a CPU that has a meter (RAPL); another CPU is estimated by
its load, and memory by its size. Its carbon is that of a country's mean power plant.
"""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import torch

from manifests import store

ENERGY = "energy.json"
_SECONDS = 15.0  # between two measurements, after each of which `energy.json` is written anew


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has taken so far: kilowatt hours, of which by GPUs, and kilograms of CO2, while it
    trained on so many `samples` in so many `seconds`. `country` is whose power plants were counted;
    None: the world's."""

    kwh: float = 0.0
    gpu_kwh: float = 0.0
    kg_co2: float = 0.0
    samples: int = 0
    seconds: float = 0.0
    country: str | None = None

    @property
    def per_million(self) -> tuple[float, float] | None:
        """Kilowatt hours and kilograms of CO2 for a million samples."""
        if not self.samples:
            return None
        return self.kwh / self.samples * 1e6, self.kg_co2 / self.samples * 1e6

    def __str__(self) -> str:
        of = f"power of {self.country}" if self.country else "the world's mean power"
        told = f"energy: {self.kwh:.4g} kWh, {self.kg_co2:.4g} kg CO2 ({of})"
        if self.per_million:
            kwh, kg = self.per_million
            told += f"; a million samples take {kwh:.4g} kWh, {kg:.4g} kg CO2"
        return told


class Energy:
    """Measures from its making to `close`, and adds to what earlier starts of the run took."""

    def __init__(self, run: Path, country: str, say: Callable[[str], None]) -> None:
        self._path, self._country, self._say = run / ENERGY, country, say
        self._before = self._read()
        self._now: Any = None  # codecarbon's totals since the start
        self._samples = 0
        self._tracker = self._start()

    def add(self, samples: int) -> None:
        """So many more samples were trained on."""
        self._samples += samples

    @property
    def spent(self) -> Spent | None:
        """Of all starts, as last measured; None if nothing can be measured."""
        if self._now is None:
            return None
        before, now = self._before, self._now
        return Spent(
            kwh=before.kwh + now.energy_consumed,
            gpu_kwh=before.gpu_kwh + now.gpu_energy,
            kg_co2=before.kg_co2 + now.emissions,
            samples=before.samples + self._samples,
            seconds=before.seconds + now.duration,
            country=now.country_name,
        )

    def close(self) -> Spent | None:
        """Measure a last time and write it down."""
        if self._tracker is None:
            return None
        self._tracker.stop()
        self._tracker = None
        try:
            self._write()
        except OSError as error:
            self._say(f"{self._path} is not written: {error}")
        return self.spent

    def _start(self) -> Any:
        try:
            from codecarbon import OfflineEmissionsTracker
            from codecarbon.output_methods.base_output import BaseOutput
        except ImportError:
            self._say(
                "energy is not measured, as codecarbon is not installed: pip install "
                "'embervlm[track]'"
            )
            return None
        energy = self

        class Written(BaseOutput):
            """codecarbon's way out; called from a thread of its own."""

            def live_out(self, total: Any, delta: Any) -> None:
                energy._now = total
                with suppress(OSError):  # `close` tries again, and tells
                    energy._write()

            def out(self, total: Any, delta: Any) -> None:
                energy._now = total

        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
        tracker = OfflineEmissionsTracker(
            country_iso_code=self._country,
            measure_power_secs=_SECONDS,
            api_call_interval=1,  # our output hears of every measurement
            gpu_ids=_gpus(),
            output_handlers=[Written()],
            output_dir=str(self._path.parent),
            allow_multiple_runs=True,  # without its lock file, and its handlers of signals
            log_level="critical",
            # What a user's codecarbon settings could turn on of files and network stays off.
            output_methods=[],
            emissions_endpoint=False,  # type: ignore[arg-type] - None would mean: as configured
            electricitymaps_api_token="",
            country_2letter_iso_code=None,
            region=None,
            cloud_provider=None,
            cloud_region=None,
        )
        tracker.start()  # codecarbon raises nothing: it only falls silent
        if self._now is None:
            self._say("energy is not measured: codecarbon does not run on this machine")
            return None
        return tracker

    def _read(self) -> Spent:
        if not self._path.exists():
            return Spent()
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Spent)
        except msgspec.DecodeError as error:
            self._say(f"{self._path} cannot be read, so energy counts from this start on: {error}")
            return Spent()

    def _write(self) -> None:
        if (spent := self.spent) is None:
            return
        told = msgspec.structs.asdict(spent)
        if spent.per_million:
            kwh, kg = spent.per_million
            told |= {"kwh_per_million_samples": kwh, "kg_co2_per_million_samples": kg}
        store.write(self._path, msgspec.json.format(msgspec.json.encode(told)) + b"\n")


def _gpus() -> list[str] | None:
    """The GPUs of this machine that the run's ranks use; others may work for somebody else."""
    if not torch.cuda.is_available():
        return None
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (visible.split(",") if visible else [str(n) for n in range(ranks)])[:ranks]
