"""The console script `eds`."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Runs the command `eds` with the arguments of the process and exits with its exit code."""
    # Python handles Ctrl-C only between its own instructions, and the command runs in Rust. If the process
    # was started to ignore the signal, as by nohup, it stays ignored.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from edgesentry._core import run_command

    sys.exit(run_command(["eds", *sys.argv[1:]]))
