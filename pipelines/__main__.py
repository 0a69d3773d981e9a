"""python -m pipelines ..."""

from pipelines.cli import app

if __name__ == "__main__":  # helpers that draw scenes are spawned, and import this file
    app(prog_name="python -m pipelines")
