"""The peers' libraries, in environments of their own, from locks with hashes."""

import hashlib
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_UV = _ROOT / ".uv/bin/uv"
_LOCKS = Path(__file__).parents[1] / "peers"
LOCKS = {"peers": _LOCKS / "requirements.lock", "mosaicml": _LOCKS / "mosaicml.lock"}


class InstallError(RuntimeError):
    """An environment cannot be made; the message is the last line of what uv said."""


def python_of(name: str) -> Path:
    """The Python of `.venv-<name>`, which is installed anew when its lock has changed."""
    lock, folder = LOCKS[name], _ROOT / f".venv-{name}"
    python, done = folder / "bin/python", folder / "installed"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not done.is_file() or done.read_text() != wanted:
        _uv("venv", "--clear", "--python", sys.executable, folder)
        _uv("pip", "install", "--python", python, "--require-hashes", "-r", lock)
        done.write_text(wanted)
    return python


def _uv(*said: str | Path) -> None:
    if not _UV.is_file():
        raise InstallError(f"{_UV} is not there; `make bench` fetches it")
    command = [str(word) for word in (_UV, "--quiet", *said)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise InstallError((done.stderr.strip().splitlines() or ["uv failed"])[-1])
