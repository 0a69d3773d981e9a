"""`prefect deployment run build-shards`, as typed; Prefect itself asks for FLOW/DEPLOYMENT.

A plugin of Prefect: its entry point and the setting that switches it on are in pyproject.toml,
which Prefect reads in the repository's root. Our deployments are called like their flows, so the
one word is completed before Prefect's command line reads it. No other command is touched.
"""

import sys
from pathlib import Path

import pluggy

DEPLOYMENTS = ("build-shards", "plan", "download", "validate")
_COMMAND = ["deployment", "run"]


def completed(argv: list[str]) -> list[str]:
    """`argv` with the name of one of our deployments written out, if that is what it runs."""
    programs = ("prefect", "-m", "__main__.py")  # `-m`: python -m prefect, while it is imported
    if argv and Path(argv[0]).name in programs and argv[1:3] == _COMMAND and len(argv) > 3:
        name = argv[3]
        if name in DEPLOYMENTS:
            return [*argv[:3], f"{name}/{name}", *argv[4:]]
    return argv


# Named as Prefect's own marker, prefect.plugins.register_hook, which would import Prefect.
@pluggy.HookimplMarker("prefect-experimental")
def setup_environment(*, ctx: object) -> None:
    """Called by Prefect while it is imported, before its command line reads `sys.argv`."""
    sys.argv[:] = completed(sys.argv)
