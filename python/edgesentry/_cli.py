"""The console script `eds`."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Runs the command `eds` with the arguments of the process and exits with its exit code."""
    # Python answers Ctrl-C only between its own instructions; the command is none of them.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from edgesentry._core import run_command

    sys.exit(run_command(["eds", *sys.argv[1:]]))
