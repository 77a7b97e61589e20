"""Operations from Python end with the calling process, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PATIENCE_S = 120

# A drill that starts PostgreSQL twice, and takes longer than its start. It has the signals of a terminal.
SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
from edgesentry import ops
ops.drill_db_failover(records=1_000_000)
"""


def wait_until(what: str, holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, f"it never came to this: {what}"
        time.sleep(0.05)


def processes_of(folder: Path) -> list[str]:
    """Returns the command lines of processes that name a directory."""
    lines = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in line:
            lines.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return lines


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_drill_ends_with_the_process_that_waits_for_it(tmp_path: Path, ending: signal.Signals) -> None:
    tmp_path.chmod(0o711)
    for parent in tmp_path.parents:
        if parent.owner() != "root" or parent == Path("/tmp"):
            break
        parent.chmod(parent.stat().st_mode | 0o011)
    waiting = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    running = "edgesentry-drill-*/data/postmaster.pid"
    wait_until("PostgreSQL runs", lambda: any(tmp_path.glob(running)) or waiting.poll() is not None)
    assert waiting.poll() is None, waiting.communicate()
    # Only to this process, as from a notebook or a supervisor.
    waiting.send_signal(ending)
    _, stderr = waiting.communicate(timeout=PATIENCE_S)
    assert waiting.returncode == -ending, stderr
    if ending == signal.SIGINT:
        # No child process remains.
        assert "KeyboardInterrupt" in stderr
        assert list(tmp_path.iterdir()) == []
        assert processes_of(tmp_path) == []
    wait_until("nothing is left", lambda: not list(tmp_path.iterdir()) and not processes_of(tmp_path))
