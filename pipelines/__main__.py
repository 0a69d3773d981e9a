"""python -m pipelines ..."""

import io
import os
import signal
import sys

if __name__ == "__main__":  # helper processes are spawned, and import this file
    if not sys.flags.safe_path:  # not the current folder: it may be one that somebody else filled
        sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    for stream in (sys.stdout, sys.stderr):  # names that the terminal has no letters for are told
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended, too
    try:
        from pipelines.cli import app

        try:
            app(prog_name="python -m pipelines")
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:  # while modules are imported; later, it is told what was stopped
        sys.exit(130)
    except OSError as error:
        if error.filename is not None:  # not of stdout: a defect of ours
            raise
        sys.stderr.write(f"writing to stdout failed: {error}\n")
        os._exit(1)  # an ordinary end would try to write it again
