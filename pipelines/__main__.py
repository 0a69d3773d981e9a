"""python -m pipelines ..."""

import io
import sys

from pipelines.cli import app

if __name__ == "__main__":  # helper processes are spawned, and import this file
    for stream in (sys.stdout, sys.stderr):  # names that the terminal has no letters for are told
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="python -m pipelines")
