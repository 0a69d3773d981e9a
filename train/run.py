"""Train: torchrun train/run.py --mixture demo.yaml [more.yaml ...] [--data D|s3://...] [--out R]"""

import sys
from pathlib import Path

# torchrun puts train/ itself first, where it would shadow other modules and miss the repository's.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse

from rich.console import Console

from train import failures
from train import stage as stages
from train.distributed import join
from train.environment import read_env
from train.loop import begun, train


def main() -> int:
    parser = argparse.ArgumentParser(description="Train stages one after the other.")
    parser.add_argument("--mixture", nargs="+", required=True, help="a YAML, or a name of one")
    parser.add_argument("--data", default="data/shards", help="sealed shards: a folder or a URL")
    parser.add_argument("--out", type=Path, help="the run's folder (default: runs/<stage>)")
    parser.add_argument("--start", type=Path, help="a run or checkpoint: the weights to begin with")
    parser.add_argument("--set", action="append", default=[], metavar="optim.lr=1e-4")
    parser.add_argument("--max-steps", type=int, help="stop after so many steps of a stage in all")
    parser.add_argument("--allow-change", action="store_true", help="go on with other settings")
    given = parser.parse_args()
    if given.out and len(given.mixture) > 1:
        parser.error("--out names one run; leave it out for several mixtures")
    try:
        _train(given)
    except failures.EXPECTED as error:
        return failures.tell(error)
    return 0


def _train(given: argparse.Namespace) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    sentence = read_env(Path())  # before anything looks for GPUs, keys or caches
    chain = [stages.load(name, given.set) for name in given.mixture]
    with join(max(stage.timeout_s for stage in chain)) as place:
        if sentence and place.leads:
            console.print(sentence, markup=False)
        last = begun(given.start) if given.start else None
        for stage in chain:  # each begins with the weights of the one before
            out = given.out or Path("runs") / stage.name
            how = (given.max_steps, given.allow_change)
            last = train(stage, given.data, out, place, console, last, *how)
            if place.leads:
                console.print(f"stage {stage.name}: {last}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
