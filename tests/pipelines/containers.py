"""Writes the tars that tests read."""

import io
import tarfile
from pathlib import Path
from typing import Any


def write_tar(path: Path, files: dict[str, bytes], **options: Any) -> Path:
    """A tar of these files in their order; `options` are those of tarfile.open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as archive:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return path
