"""What a command was asked to write lies outside of the data set; failing to is told by option."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_outside(option: str, out: Path, folder: Path | str) -> None:
    """Raises ValueError if `out`, which `option` names, is the data set's `folder` or below it."""
    if out.resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(
            f"{option} {out} lies in the data set {folder}, where only its own files belong; "
            f"choose a place outside of it"
        )


@contextmanager
def writing(option: str, out: Path) -> Iterator[None]:
    """While the block writes `out`. Raises OSError that names `option` if the system refuses."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:  # ours, which says what to do
            raise
        raise OSError(
            f"{option} {out} cannot be written: {error.strerror}; choose another place"
        ) from error
