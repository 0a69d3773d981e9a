"""Runs scripts of tests/bench/peers, each in a process of its own, and reads what they print."""

import contextlib
import json
import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

SCRIPTS = Path(__file__).parents[1] / "peers"
_CACHES = Path("data/bench/caches").resolve()
_PATIENCE = 240  # seconds


class ChildError(RuntimeError):
    """A script failed; the message is the last line of what it said."""


def run(
    python: Path | str,
    script: str,
    *said: object,
    patience: float = _PATIENCE,
    aloud: bool = False,
) -> Any:
    """What the script prints last, which is JSON (None if it is nothing). Raises ChildError.

    It may take `patience` seconds; `aloud`, its stderr is shown as it comes. When it ends, whatever
    it started ends too, so that it disturbs no later measurement.
    """
    command = [str(python), str(SCRIPTS / script), *map(str, said)]
    with ExitStack() as stack:
        # Files, not pipes: what it started may hold these open for longer than it lives.
        printed, wrong = (stack.enter_context(TemporaryFile("w+")) for _ in range(2))
        temporary = stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True))
        process = subprocess.Popen(
            command,
            env=_environment(temporary),
            stdout=printed,
            stderr=None if aloud else wrong,
            start_new_session=True,
        )
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            raise ChildError(f"not done after {patience:g} seconds") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said_last = _last(printed)
        if process.returncode:
            raise ChildError(_last(wrong) or f"exit code {process.returncode}")
        return json.loads(said_last) if said_last else None


def _environment(temporary: str) -> dict[str, str]:
    """This process's, but compiled modules are kept, as they are wherever programs run twice; and
    nothing is asked of the network."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **kept,
        "TMPDIR": temporary,
        "PYTHONPYCACHEPREFIX": str(_CACHES / "bytecode"),
        "HF_HOME": str(_CACHES / "huggingface"),
        "HF_HUB_OFFLINE": "1",
    }


def _last(file: IO[str]) -> str:
    """The last line that is not empty."""
    file.seek(0)
    return next((line.strip() for line in reversed(file.readlines()) if line.strip()), "")
