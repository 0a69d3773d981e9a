"""Where weights and vocabularies come from: a local path first, the hub only when there is none."""

import os
from collections.abc import Sequence
from pathlib import Path


def locate(source: str | os.PathLike[str], files: Sequence[str]) -> Path:
    """The local path of `source`: itself if it exists, else a snapshot of that hub repository.

    Only `files` (names or globs) are fetched. Raises FileNotFoundError for what can only be a path
    and does not exist, and huggingface_hub's own errors for a repository that cannot be had.
    """
    path = Path(source).expanduser()
    if path.exists():
        return path
    name = os.fspath(source)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"{name} does not exist")
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=list(files)))
