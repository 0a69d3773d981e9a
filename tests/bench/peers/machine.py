"""What a process and all below it take of the machine, and what others do meanwhile."""

import time

import psutil


def family() -> list[psutil.Process]:
    """This process and all below it."""
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def pss() -> float:
    """MB of the family, shared pages divided among those who share them."""
    return sum(process.memory_full_info().pss for process in family()) / 1e6


def uss() -> float:
    """MB of the family that would be free without it: what no other process shares."""
    return sum(process.memory_full_info().uss for process in family()) / 1e6


class Others:
    """The processors' time that is not the family's, from when it is made."""

    def __init__(self) -> None:
        self._begun, self._at = time.perf_counter(), self._seconds()

    def cores(self) -> float:
        """How many cores others kept busy: near 0 on a quiet machine."""
        passed = time.perf_counter() - self._begun
        return max(0.0, (self._seconds() - self._at) / passed)

    def _seconds(self) -> float:
        whole = psutil.cpu_times()
        busy = whole.user + whole.nice + whole.system + whole.irq + whole.softirq + whole.steal
        own = (process.cpu_times() for process in family())
        return busy - sum(times.user + times.system for times in own)
