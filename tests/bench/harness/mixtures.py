"""How well three sources are mixed: see tests/bench/peers/mixture.py, which is run four times."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from harness import prepared
from harness.children import run
from harness.environments import python_of

WEIGHTS = {"first": 0.6, "second": 0.3, "third": 0.1}
PEERS = ("webdataset", "litdata", "mosaicml", "energon", "ours")
_CONVERTED = ("litdata", "mosaicml", "energon")  # which wants a data set for each source


class Mixture(NamedTuple):
    """`error` and `error_at_100`: the most samples that a source had too few or too many of, at any
    prefix and at 100 of them. `resumed`: how many of `batches` came again after a restart, from a
    state of `state` bytes; None if there is no state to save."""

    draws: int
    error: float
    error_at_100: float
    repeatable: bool
    batches: int
    resumed: int | None
    state: int | None


def of(peer: str, mixed: Path) -> Mixture:
    """What a library makes of the three corpora in `mixed`. Raises ChildError or InstallError."""
    if peer == "ours":
        python, folders = Path(sys.executable), [mixed]
    else:
        python = python_of("mosaicml" if peer == "mosaicml" else "peers")
        folders = [mixed / corpus for corpus in WEIGHTS]
    if peer in _CONVERTED:
        folders = [prepared.converted(peer, folder, python) for folder in folders]
    first, again = (run(python, "mixture.py", peer, "order", *folders) for _ in range(2))
    with TemporaryDirectory() as temporary:
        state = Path(temporary) / "state"
        went_on = run(python, "mixture.py", peer, "stop", state, *folders)
        nbytes = went_on["state"]
        resumed = None
        if nbytes is not None:
            told = run(python, "mixture.py", peer, "resume", state, *folders)["batches"]
            resumed = sum(a == b for a, b in zip(went_on["batches"], told, strict=True))
    return Mixture(
        draws=first["draws"],
        error=first["error"],
        error_at_100=first["error_at_100"],
        repeatable=first["order"] == again["order"],
        batches=len(went_on["batches"]),
        resumed=resumed,
        state=nbytes,
    )
