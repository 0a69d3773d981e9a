"""Train: torchrun train/run.py --mixture demo.yaml [more.yaml ...] [--data D|s3://...] [--out R]"""

import sys
from pathlib import Path

# torchrun puts train/ itself first, where it would shadow other modules and miss the repository's.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse

from rich.console import Console
from safetensors import SafetensorError

from shards.reader import DamageError
from train import stage as stages
from train.distributed import join
from train.loop import train
from train.track import TrainingError

# What can be told in a sentence; anything else is a defect of ours and keeps its stack trace.
EXPECTED = (ValueError, OSError, DamageError, TrainingError, SafetensorError)


def main() -> int:
    parser = argparse.ArgumentParser(description="Train stages one after the other.")
    parser.add_argument("--mixture", nargs="+", required=True, help="a YAML, or a name of one")
    parser.add_argument("--data", default="data/shards", help="sealed shards: a folder or a URL")
    parser.add_argument("--out", type=Path, help="the run's folder (default: runs/<stage>)")
    parser.add_argument("--set", action="append", default=[], metavar="optim.lr=1e-4")
    given = parser.parse_args()
    if given.out and len(given.mixture) > 1:
        parser.error("--out names one run; leave it out for several mixtures")
    console = Console(stderr=True)
    with join() as place:
        try:
            last = None  # each stage begins with the weights of the one before
            for name in given.mixture:
                stage = stages.load(name, given.set)
                out = given.out or Path("runs") / stage.name
                last = train(stage, given.data, out, place, console, start=last)
                if place.leads:
                    console.print(f"stage {stage.name} is done: {last}", highlight=False)
        except EXPECTED as error:
            console.print(
                f"training stopped: {error}", markup=False, highlight=False, soft_wrap=True
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
