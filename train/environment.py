"""The user's `.env`: keys and switches that a run's environment lacks."""

import os
from pathlib import Path


def read_env(folder: Path) -> str | None:
    """Put what `folder/.env` says into this process's environment; what is set there already stays.

    Call it before anything looks at the environment (CUDA does when it is first used). Returns what
    is to be told if the file is there and cannot be read, else None.
    """
    path = folder / ".env"
    if not path.is_file():
        return None
    try:
        from dotenv import dotenv_values
    except ImportError:
        return (
            f"{path} is not read, as python-dotenv is not installed: pip install "
            f"'embervlm[track]', or export what it says"
        )
    for name, value in dotenv_values(path).items():
        if value is not None:
            os.environ.setdefault(name, value)
    return None
