"""How fast batches come from shards, beside other libraries and bare decoders, on two cores.

    make bench NAME=stream

The work: a JPEG to uint8 224x224x3, a caption to 64 ids, shuffled batches of 32 as torch tensors,
by two workers. "keep": shards of 640x480; "squash": the same pictures at 224x224. Each
configuration is a process, in the same rounds, by turns forwards and backwards; a process warms up,
then counts in three windows. Medians over the rounds are told; a ratio is taken round by round, of
what was measured within minutes, and the median of these is told. Where others kept more than a
quarter of a core busy it is measured again, three times at most, and the quietest counts.

- bare: two processes that decode what they hold in memory
- peers, from their own locks: each with a fast decoder (simplejpeg scaled, then OpenCV), pictures
  with channels first, as they mostly are there, or left as decoded (HWC), which is quicker; DALI
  with its own; "loose" is a plain Dataset on a JSON list and files
- ours: by threads, by one helper process, by two; a mixture of three corpora; unverified

Then, once: three sources mixed, by all that can: how exactly, how repeatably, and resumed.

ROUNDS (3) and SECONDS (1.5, of a window) say how long. FILL says which of ours are measured
(threads,processes,processes2), ONLY which parts: some of bare, ours, mixture and the peers' names.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from harness import mixtures, prepared
from harness.children import ChildError, run
from harness.environments import InstallError, python_of
from harness.report import QUIET, Case, Found, Measured, report
from rich.console import Console

from tests.bench import photos

T = TypeVar("T")
Command = tuple[Path, str, tuple[object, ...]]  # python, script, and what it is told
_VARIANTS, _DECODERS = ("squash", "keep"), ("fast", "fast, HWC")
_BARE = ("simplejpeg", "torchvision", "Pillow")
_PEERS = ("loose", "webdataset", "litdata", "mosaicml", "energon", "hf", "dali")
_CONVERTED = ("loose", "litdata", "mosaicml")  # the others read our tars
_TRIES = 3
_ROUNDS = int(os.environ.get("ROUNDS") or 3)
_SECONDS = os.environ.get("SECONDS") or "1.5"
_FILLS = (os.environ.get("FILL") or "threads,processes,processes2").split(",")
_ONLY = (os.environ.get("ONLY") or ",".join(["bare", "ours", "mixture", *_PEERS])).split(",")


def main() -> None:
    console = Console(width=116, highlight=False)
    drawn = photos.drawn(console)
    folders = {name: prepared.sealed(name, drawn, console) for name in (*_VARIANTS, "mixed")}
    failed: dict[str, str] = {}  # why something was not measured, by its name

    def attempt(name: str, work: Callable[[], T]) -> T | None:
        if name not in failed:
            try:
                return work()
            except (ChildError, InstallError) as error:
                failed[name] = str(error)
        return None

    def measure(python: Path, script: str, said: tuple[object, ...]) -> Measured:
        tries = []
        while len(tries) < _TRIES and all(one.others > QUIET for one in tries):
            tries.append(Measured(**run(python, script, *said)))
        return min(tries, key=lambda one: one.others)

    commands: dict[Case, Command] = {}
    for name in filter(_ONLY.__contains__, ("bare", *_PEERS, "ours")):
        console.print(f"preparing {name} ...")
        cases = {"bare": _bare, "ours": _ours}.get(name, _peer)
        commands.update(attempt(name, lambda n=name, c=cases: dict(c(n, folders))) or {})
    _read_all(prepared.HOME)
    found: Found = {case: [] for case in commands}
    for turn in range(_ROUNDS):
        for case in list(commands)[:: -1 if turn % 2 else 1]:
            said = attempt(str(case), lambda case=case: measure(*commands[case]))
            found[case].append(said)
            rate = f"{said.rate:,.0f} a second" if said else failed[str(case)]
            console.print(f"round {turn + 1} of {_ROUNDS}: {case}: {rate}", markup=False)
    mixed = {
        peer: attempt(f"mixture {peer}", lambda peer=peer: mixtures.of(peer, folders["mixed"]))
        for peer in mixtures.PEERS
        if {peer, "mixture"} <= set(_ONLY)
    }
    report(console, found, mixed, failed)


def _bare(name: str, folders: dict[str, Path]) -> Iterator[tuple[Case, Command]]:
    python = python_of("peers")
    for variant in _VARIANTS:
        for decoder in _BARE:
            said = (decoder, folders[variant], _SECONDS)
            yield Case(variant, name, decoder), (python, "limits.py", said)


def _peer(name: str, folders: dict[str, Path]) -> Iterator[tuple[Case, Command]]:
    python = python_of("mosaicml" if name == "mosaicml" else "peers")
    for variant in _VARIANTS:
        folder = folders[variant]
        if name in _CONVERTED:
            folder = prepared.converted(name, folder, python)
        for decoder in _DECODERS if name != "dali" else ("its own",):
            said = (name, variant, folder, decoder, _SECONDS)
            yield Case(variant, name, decoder), (python, "stream.py", said)


def _ours(name: str, folders: dict[str, Path]) -> Iterator[tuple[Case, Command]]:
    def case(
        variant: str, how: str, data: str, weights: str, fill: str, *more: str
    ) -> tuple[Case, Command]:
        said = (folders[data], weights, fill, _SECONDS, *more)
        return Case(variant, name, how), (Path(sys.executable), "ours.py", said)

    for variant in _VARIANTS:
        for fill in _FILLS:
            yield case(variant, fill, variant, "coco=1", fill)
    first, weights = _FILLS[0], ",".join(f"{n}={w}" for n, w in mixtures.WEIGHTS.items())
    # Next to one another, for their ratios are near 1.
    yield case("squash", f"{first}, three corpora", "mixed", weights, first)
    yield case("squash", f"{first}, one corpus", "squash", "coco=1", first)
    yield case("squash", f"{first}, unverified", "squash", "coco=1", first, "unverified")


def _read_all(folder: Path) -> None:
    """Read every file, so that the page cache holds it."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.read_bytes()


if __name__ == "__main__":
    main()
