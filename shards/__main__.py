"""python -m shards ..."""

import os
import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:  # not the current folder: it may be one that somebody else filled
        sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    try:
        from shards.cli import app

        try:
            app(prog_name="python -m shards")
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:  # while modules are imported; later, typer tells it
        sys.exit(130)
    except OSError as error:
        if error.filename is not None:  # not of stdout: a defect of ours
            raise
        sys.stderr.write(f"writing to stdout failed: {error}\n")
        os._exit(1)  # an ordinary end would try to write it again
