"""A process that mirrors a data set and holds what it is told.

    with Holder(url, cache, limit) as holder:
        assert holder.ask("hold", 3) == "held"      # the fourth shard of the seal
        holder.ask("drop", 3)

The first line that it reads is of its mirror and settings, each later one is a command; each is
answered by a line.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from manifests.seal import Seal
from shards import cache, origin
from shards.remote import Mirror

ROOT = Path(__file__).parents[3]


class Holder:
    """The other end. Ends its process when the block does."""

    def __init__(
        self, url: str, folder: Path, limit: int, settings: Mapping[str, float] | None = None
    ) -> None:
        command = [sys.executable, "-m", "tests.shards.remote.holder"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        self._send({"url": url, "cache": str(folder), "limit": limit, **(settings or {})})

    def __enter__(self) -> "Holder":
        assert self.answer() == "ready"
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()

    def tell(self, *command: Any) -> None:
        """Give a command, whose answer is read later."""
        self._send(command)

    def answer(self) -> str:
        told = self.process.stdout
        assert told
        return json.loads(told.readline())

    def ask(self, *command: Any) -> str:
        """hold N: its tar is fetched and held; drop N; walk N...: each is held in its turn, the one
        before it until then. The answer is "held", or what went wrong."""
        self.tell(*command)
        return self.answer()

    def _send(self, message: Any) -> None:
        pipe = self.process.stdin
        assert pipe
        pipe.write(json.dumps(message) + "\n")
        pipe.flush()


def main(asked: IO[str], told: IO[str]) -> None:
    def say(answer: str) -> None:
        told.write(json.dumps(answer) + "\n")
        told.flush()

    said = json.loads(asked.readline())
    origin.PAUSE = said.get("pause", 0.01)
    origin.STALL = said.get("stall", origin.STALL)
    cache.PATIENCE = said.get("patience", cache.PATIENCE)
    mirror = Mirror(said["url"], Path(said["cache"]), said["limit"])
    shards = Seal.read(mirror.folder).shards
    held: dict[int, int] = {}

    def hold(number: int) -> None:
        held[number] = mirror.hold(shards[number])

    def drop(number: int) -> None:
        file = held.pop(number)
        assert os.fstat(file).st_nlink == 1, "it was removed while it was held"
        os.close(file)

    say("ready")
    for line in asked:
        verb, *numbers = json.loads(line)
        try:
            for number in numbers if verb == "walk" else []:
                before = [*held]
                hold(number)
                for one in before:
                    drop(one)
            for number in numbers if verb != "walk" else []:
                {"hold": hold, "drop": drop}[verb](number)
            say("held")
        except (AssertionError, OSError, ValueError) as error:
            say(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
