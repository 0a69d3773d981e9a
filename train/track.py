"""What a run writes down: `log.jsonl`, one line a logged step, and a line on the screen."""

import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console


class Log:
    """Appends to `run/log.jsonl`; lines past `step` (of a run that died) are dropped first."""

    def __init__(self, run: Path, step: int, console: Console) -> None:
        self._path, self._console = run / "log.jsonl", console
        kept = [line for line in read(run) if line["step"] < step]
        self._path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in kept))
        self._file = self._path.open("ab")
        self._begun = time.monotonic()

    def write(self, line: dict[str, Any], steps: int) -> None:
        """One line: at least step, loss, lr, samples_per_s, wait and losses by source."""
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()
        sources = "  ".join(f"{name} {loss:.3f}" for name, loss in line["sources"].items())
        left = (time.monotonic() - self._begun) / max(1, line["done"]) * (steps - line["step"] - 1)
        self._console.print(
            f"step {line['step'] + 1:>5}/{steps}  loss {line['loss']:.3f}  {sources}  "
            f"lr {line['lr']:.1e}  {line['samples_per_s']:.1f} samples/s  "
            f"waiting {line['wait']:.1%}  {left / 60:.1f} min left",
            highlight=False,
            soft_wrap=True,
        )


def read(run: Path) -> list[dict[str, Any]]:
    """The logged lines of a run, oldest first; a torn last line is not one."""
    path = run / "log.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    whole: list[dict[str, Any]] = []
    for line in lines:
        try:
            whole.append(msgspec.json.decode(line))
        except msgspec.DecodeError:
            break
    return whole
