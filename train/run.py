"""Train: torchrun train/run.py --mixture demo.yaml [more.yaml ...] [--data D] [--out R]"""

import sys
from pathlib import Path

# torchrun puts train/ itself first, where it would shadow other modules and miss the repository's.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse

from rich.console import Console

from manifests.seal import SealError
from manifests.settings import SettingsError
from shards.reader import DamageError
from train import stage as stages
from train.checkpoint import CheckpointError
from train.distributed import join
from train.loop import train
from train.track import TrainingError

EXPECTED = (SettingsError, SealError, CheckpointError, DamageError, TrainingError)


def main() -> int:
    parser = argparse.ArgumentParser(description="Train stages one after the other.")
    parser.add_argument("--mixture", nargs="+", required=True, help="a YAML, or a name of one")
    parser.add_argument("--data", type=Path, default=Path("data/shards"), help="sealed shards")
    parser.add_argument("--out", type=Path, help="the run's folder (default: runs/<stage>)")
    parser.add_argument("--set", action="append", default=[], metavar="optim.lr=1e-4")
    given = parser.parse_args()
    if given.out and len(given.mixture) > 1:
        parser.error("--out names one run; leave it out for several mixtures")
    console = Console(stderr=True)
    with join() as place:
        try:
            for name in given.mixture:
                stage = stages.load(name, given.set)
                out = given.out or Path("runs") / stage.name
                last = train(stage, given.data, out, place, console)
                if place.leads:
                    console.print(f"stage {stage.name} is done: {last}", highlight=False)
        except (*EXPECTED, ValueError) as error:
            console.print(f"[bold red]training stopped:[/] {error}", highlight=False)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
